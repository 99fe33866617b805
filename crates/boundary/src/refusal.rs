//! A refusal as the caller sees it: a status, a challenge, and a body for programs or for people.

use axum::body::Body;
use delegation::oauth::Reason;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use narrows_guard::Needs;
use serde_json::json;

use crate::challenge;
use crate::exchanger::Refused;
use crate::settings::Settings;

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
    /// What in particular is wrong, where it can be said without a word of what was sent.
    detail: String,
}

impl Refusal {
    /// `needs` is what the request would have needed, if it got as far as that.
    pub(crate) fn new(refused: Refused, detail: String, settings: &Settings, needs: Option<&Needs>) -> Self {
        let Refused { reason, decision_id } = refused;
        let status = status(reason);
        Self {
            status,
            reason,
            decision_id,
            challenge: challenge::of(reason, status, settings, needs),
            detail,
        }
    }

    /// The headers beside the body.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = &self.challenge {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
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

/// Whether a page is asked for before anything that a program would take.
fn wants_page(asked: &HeaderMap) -> bool {
    let mut ranges = asked.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    ranges.next().is_some_and(|first| {
        let media = first.split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case("text/html")
    })
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
