//! A refusal as the caller sees it: a status, a challenge, and a body for programs or for people.

use axum::body::Body;
use delegation::oauth::Reason;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use narrows_guard::Needs;
use narrows_guard::live::Denied;
use serde_json::json;

use crate::challenge;
use crate::exchanger::Refused;
use crate::settings::Settings;

/// What is said where the credential of a route is not to be had.
const NOT_KEPT: &str = "the credential that this route goes on with is not to be had; the operator's record says why";

/// A refusal that is on record, ready to be written by any door.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status that is meant; a door whose protocol lacks it writes another.
    pub status: StatusCode,
    /// Why.
    pub reason: Reason,
    /// Its record.
    pub decision_id: String,
    /// `WWW-Authenticate`.
    pub challenge: Option<HeaderValue>,
    /// Whether the same request may pass in a moment.
    retry: bool,
    /// What in particular is wrong, where it can be said without a word of what was sent.
    detail: String,
}

impl Refusal {
    /// `needs` is what the request would have needed, if it got as far as that.
    pub(crate) fn new(refused: Refused, detail: String, settings: &Settings, needs: Option<&Needs>) -> Self {
        let Refused { reason, decision_id } = refused;
        let status = status(reason);
        // Of such a route the broker says the same whether its store is away or it keeps no credential, which no retry brings.
        let needs_credential = reason == Reason::StoreUnavailable && needs.is_some_and(|needs| needs.connection.is_some());
        let detail = if needs_credential && detail.is_empty() {
            NOT_KEPT.to_owned()
        } else {
            detail
        };
        Self {
            status,
            reason,
            decision_id,
            challenge: challenge::of(reason, &detail, status, settings, needs),
            retry: may_pass_later(status) && !needs_credential,
            detail,
        }
    }

    /// What a guard refused, which says itself what that means.
    pub(crate) fn of_guard(denied: Denied) -> Self {
        let Denied { decision_id, refusal } = denied;
        let status = refusal.status();
        Self {
            status,
            reason: refusal.reason,
            decision_id,
            challenge: refusal.challenge(),
            retry: may_pass_later(status),
            detail: refusal.description().to_owned(),
        }
    }

    /// The same, with what in particular is wrong, of which no word was sent.
    #[must_use]
    pub(crate) fn saying(self, detail: String) -> Self {
        Self { detail, ..self }
    }

    /// The headers beside the body.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = &self.challenge {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        if self.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        headers
    }

    /// The body and its type: problem details (RFC 9457), or a page where a browser asks.
    pub(crate) fn body(&self, asked: &HeaderMap) -> (&'static str, String) {
        let title = self.status.canonical_reason().unwrap_or_default();
        let detail = if self.detail.is_empty() {
            self.reason.description()
        } else {
            &self.detail
        };
        let help = format!("the operator finds this decision by its id: narrows why {}", self.decision_id);
        if wants_page(asked) {
            return ("text/html; charset=utf-8", page(title, detail, &self.decision_id));
        }
        let problem = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": detail, "reason": self.reason.as_str(),
            "decision_id": self.decision_id, "help": help,
        });
        ("application/problem+json", problem.to_string())
    }

    /// The whole as a response, in answer to a request with these headers.
    pub(crate) fn reply(&self, asked: &HeaderMap) -> Response<Body> {
        let (media, body) = self.body(asked);
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
        response
    }
}

/// Whether the same request may pass in a moment.
fn may_pass_later(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// The status for a reason, as the contract's table has it.
fn status(reason: Reason) -> StatusCode {
    match reason {
        Reason::NoToken
        | Reason::SubjectTokenInvalid
        | Reason::SubjectTokenExpired
        | Reason::SubjectTokenRevoked
        | Reason::SubjectTokenNotForClient
        | Reason::SubjectDisabled
        | Reason::TaskCompleted
        | Reason::TaskCancelled
        | Reason::TaskExpired
        | Reason::TaskExhausted
        | Reason::TaskPayloadMismatch
        | Reason::InvalidDpopProof
        | Reason::InsufficientUserAuthentication
        | Reason::OverbroadToken
        | Reason::TokenUsed => StatusCode::UNAUTHORIZED,
        Reason::MalformedRequest | Reason::MalformedScope | Reason::MalformedDetails | Reason::UnreadInput => StatusCode::BAD_REQUEST,
        Reason::PolicyDenied
        | Reason::WiderThanSubject
        | Reason::ScopeNotMapped
        | Reason::ChainTooLong
        | Reason::MayActMismatch
        | Reason::NoRoute
        | Reason::UnknownAudience
        | Reason::SeveralAudiences
        | Reason::AudienceClosed
        | Reason::UnknownType
        | Reason::UnknownAction
        | Reason::UnknownMember
        | Reason::NothingAsked
        | Reason::NotYours
        | Reason::ActorTokenInvalid
        | Reason::ActorTokenExpired
        | Reason::ActorTokenRevoked
        | Reason::ActorTokenNotForClient
        | Reason::UnsupportedTokenType
        | Reason::UnauthorizedClient
        | Reason::UnsupportedGrantType => StatusCode::FORBIDDEN,
        Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        // The boundary itself is not known to the broker: nothing the caller could mend.
        Reason::StoreUnavailable | Reason::IssuerUnavailable | Reason::RevocationViewStale | Reason::ClientAuthenticationFailed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// What of `headers` says how a refusal is to be written: for whoever may need it later, and is to keep nothing else.
pub(crate) fn wishes(headers: &HeaderMap) -> HeaderMap {
    headers.get_all(ACCEPT).iter().map(|line| (ACCEPT, line.clone())).collect()
}

/// Whether a page is liked better than JSON (RFC 9110 §12.5.1); whoever likes both alike is a program.
fn wants_page(asked: &HeaderMap) -> bool {
    let lines: Vec<_> = asked.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).collect();
    let page = liking(&lines, "text", "html");
    let json = liking(&lines, "application", "problem+json").max(liking(&lines, "application", "json"));
    page > json
}

/// How well a type is liked, from 0 to 1000: by the range that names it most closely.
fn liking(lines: &[&str], kind: &str, subtype: &str) -> u16 {
    let ranges = lines.iter().flat_map(|line| line.split(','));
    let fits = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let (named_kind, named_subtype) = parts.next()?.split_once('/')?;
        let closeness = if named_kind.eq_ignore_ascii_case(kind) && named_subtype.eq_ignore_ascii_case(subtype) {
            2
        } else if named_kind.eq_ignore_ascii_case(kind) && named_subtype == "*" {
            1
        } else if (named_kind, named_subtype) == ("*", "*") {
            0
        } else {
            return None;
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        Some((closeness, weight.map_or(1000, thousandths)))
    });
    fits.max().map_or(0, |(_, weight)| weight)
}

/// A weight such as `0.8`; what is none counts as nothing.
fn thousandths(weight: &str) -> u16 {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" if digits && part.bytes().all(|byte| byte == b'0') => 1000,
        "0" if digits => format!("{part:0<3}").parse().unwrap_or_default(),
        _ => 0,
    }
}

/// What a person sees. No word of it comes from the request.
fn page(title: &str, detail: &str, decision_id: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}}\
         code{{font-size:.9rem}}</style>\n<h1>{title}</h1>\n<p>{detail}.</p>\n\
         <p>If you think you should be let through, send this to whoever runs the service:<br><code>{decision_id}</code></p>\n</html>\n"
    )
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use http::header::ACCEPT;
    use http::{HeaderMap, HeaderValue};

    use super::wants_page;

    #[test]
    fn a_page_is_for_those_who_like_it_better_than_json() {
        let rows = [
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", true),
            ("*/*;q=0.1, TEXT/HTML", true),
            ("application/json;q=0.5, text/html;q=0.75", true),
            ("text/*", true),
            ("text/html", true),
            ("text/html;q=0.5, application/json", false),
            ("text/html;q=0, */*;q=0.1", false),
            ("text/html, application/json", false),
            ("text/html, application/problem+json", false),
            ("application/json, text/html", false),
            ("text/html;q=2, */*;q=0.1", false),
            ("text/html;q=0.1234", false),
            ("*/*", false),
            ("image/png", false),
            ("", false),
        ];
        for (accept, is_page) in rows {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(wants_page(&headers), is_page, "{accept}");
        }
        assert!(!wants_page(&HeaderMap::new()));
        // Two lines are one list.
        let mut two = HeaderMap::new();
        two.append(ACCEPT, "text/html;q=0.5".parse().unwrap());
        two.append(ACCEPT, "application/json".parse().unwrap());
        assert!(!wants_page(&two));
    }
}
