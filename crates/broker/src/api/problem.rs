//! What `/v1` says when it refuses: problem details (RFC 9457) with a stable `reason`.

use axum::body::Body;
use axum::response::Response;
use delegation::oauth::Reason;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use issuance::task::Over;
use serde_json::{Map, Value};

use crate::store::StoreUnavailable;

/// Why a request was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The request is not one that is described; the text says what to mend and repeats nothing of it.
    Malformed(&'static str),
    /// It names a party that the configuration does not know, so nothing would come of it.
    UnknownParty,
    /// Nobody is known to be asking. Every cause looks the same.
    Unauthenticated,
    /// Whoever asks may not.
    NotPermitted,
    /// There is no such thing, or it is not the caller's to see.
    NotFound,
    /// The path is served, by other methods.
    MethodNotAllowed,
    /// The task ended before, in another way.
    TaskOver(Over),
    /// The token that it is about is not taken, for this reason.
    Token(Reason),
    /// What the caller has is not continued here: read everything anew.
    Gap,
    /// The body is larger than is taken.
    TooLarge,
    /// Too much, or too many.
    RateLimited,
    /// The store does not answer.
    StoreUnavailable,
    /// The keys of the issuer that a token names are not to be had.
    IssuerUnavailable,
    /// What is known of revocations is too old.
    ViewStale,
}

impl Problem {
    /// One of each.
    #[cfg(test)]
    pub(super) const ALL: [Self; 22] = [
        Self::TaskOver(Over::Completed),
        Self::TaskOver(Over::Cancelled),
        Self::TaskOver(Over::Expired),
        Self::Token(Reason::SubjectTokenInvalid),
        Self::Token(Reason::SubjectTokenExpired),
        Self::Token(Reason::SubjectTokenRevoked),
        Self::Token(Reason::SubjectTokenNotForClient),
        Self::Token(Reason::SubjectDisabled),
        Self::Token(Reason::InvalidDpopProof),
        Self::Token(Reason::TokenUsed),
        Self::Malformed(""),
        Self::UnknownParty,
        Self::Unauthenticated,
        Self::NotPermitted,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Gap,
        Self::TooLarge,
        Self::RateLimited,
        Self::StoreUnavailable,
        Self::IssuerUnavailable,
        Self::ViewStale,
    ];

    /// Why a token was not taken, or could not be looked at.
    pub(super) fn of_token(reason: Reason) -> Self {
        match reason {
            Reason::RateLimited => Self::RateLimited,
            Reason::StoreUnavailable => Self::StoreUnavailable,
            Reason::IssuerUnavailable => Self::IssuerUnavailable,
            Reason::RevocationViewStale => Self::ViewStale,
            Reason::ClientAuthenticationFailed => Self::Unauthenticated,
            other => Self::Token(other),
        }
    }

    /// The status that it goes out under.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::NotPermitted => StatusCode::FORBIDDEN,
            Self::UnknownParty | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TaskOver(_) | Self::Token(Reason::TokenUsed) => StatusCode::CONFLICT,
            Self::Token(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Gap => StatusCode::GONE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::StoreUnavailable | Self::IssuerUnavailable | Self::ViewStale => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether it counts against whoever is not known: what such a request costs was spent for nothing.
    pub(super) fn is_a_strangers(self) -> bool {
        matches!(
            self,
            Self::Unauthenticated | Self::Malformed(_) | Self::TooLarge | Self::IssuerUnavailable
        )
    }

    /// The stable word.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_request",
            Self::UnknownParty => "unknown_party",
            Self::Unauthenticated => "unauthenticated",
            Self::NotPermitted => "not_permitted",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TaskOver(over) => over.reason().as_str(),
            Self::Token(reason) => reason.as_str(),
            Self::Gap => "gap",
            Self::TooLarge => "too_large",
            Self::RateLimited => "rate_limited",
            Self::StoreUnavailable => "store_unavailable",
            Self::IssuerUnavailable => "issuer_unavailable",
            Self::ViewStale => "revocation_view_stale",
        }
    }

    /// One sentence on what to mend.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::Malformed(detail) => detail,
            Self::UnknownParty => "the configuration knows no such issuer, client or connection",
            Self::Unauthenticated => "show an operator token, or a client's own access token for this broker, as a bearer token",
            Self::NotPermitted => "the role or scope that this takes is missing",
            Self::NotFound => "there is nothing here, or nothing that is yours to see",
            Self::MethodNotAllowed => "this path is served by other methods",
            Self::TaskOver(over) => over.reason().description(),
            Self::Token(reason) => reason.description(),
            Self::Gap => "what follows this place is not known any more; begin again without it",
            Self::TooLarge => "the body is larger than this broker takes",
            Self::RateLimited => "too many requests; try again later",
            Self::StoreUnavailable => "the store is not available; try again",
            Self::IssuerUnavailable => "the keys of the token's issuer are not available; try again",
            Self::ViewStale => "the view of revocations is too old; try again",
        }
    }

    /// The reply; `decision_id` names its record, if there is one.
    pub(crate) fn reply(self, decision_id: Option<&str>) -> Response {
        let status = self.status();
        let mut members = Map::new();
        // `about:blank`: the status says what kind of problem it is, and `reason` which (RFC 9457 §4.2.1).
        members.insert("type".to_owned(), Value::from("about:blank"));
        members.insert("title".to_owned(), Value::from(status.canonical_reason().unwrap_or_default()));
        members.insert("status".to_owned(), Value::from(status.as_u16()));
        members.insert("detail".to_owned(), Value::from(self.detail()));
        members.insert("reason".to_owned(), Value::from(self.reason()));
        if let Some(id) = decision_id {
            members.insert("decision_id".to_owned(), Value::from(id));
        }
        let mut response = Response::new(Body::from(Value::Object(members).to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"narrows\""));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl From<StoreUnavailable> for Problem {
    fn from(_: StoreUnavailable) -> Self {
        Self::StoreUnavailable
    }
}
