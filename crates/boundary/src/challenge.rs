//! `WWW-Authenticate`: what a caller is told to do about a refusal (RFC 6750 §3, RFC 9470, RFC 9728 §5.1).

use delegation::oauth::Reason;
use http::{HeaderValue, StatusCode};

use narrows_guard::Needs;

use crate::metadata;
use crate::settings::Settings;

/// The error word of RFC 6750 or RFC 9470 for a refusal with this status.
fn error(reason: Reason, status: StatusCode) -> Option<&'static str> {
    match (status, reason) {
        (_, Reason::NoToken | Reason::NoRoute) => None,
        (_, Reason::InsufficientUserAuthentication) => Some("insufficient_user_authentication"),
        (StatusCode::UNAUTHORIZED, _) => Some("invalid_token"),
        (StatusCode::FORBIDDEN, _) => Some("insufficient_scope"),
        (StatusCode::BAD_REQUEST, _) => Some("invalid_request"),
        _ => None,
    }
}

/// The challenge, where there is one: every 401, and a 403 that another token would mend. It says `detail` where there is one, which
/// holds no word of the request. It is for `Bearer` even where a token came as `DPoP`, since nothing else is served.
pub(crate) fn of(reason: Reason, detail: &str, status: StatusCode, settings: &Settings, needs: Option<&Needs>) -> Option<HeaderValue> {
    let error = error(reason, status);
    let challenges = status == StatusCode::UNAUTHORIZED || (status == StatusCode::FORBIDDEN && error.is_some());
    if !challenges {
        return None;
    }
    let mut parameters = Vec::new();
    if let Some(error) = error {
        parameters.push(format!("error=\"{error}\""));
        let description = if detail.is_empty() { reason.description() } else { detail };
        parameters.push(format!("error_description=\"{description}\""));
    }
    if let (Reason::InsufficientUserAuthentication, Some(needs)) = (reason, needs) {
        // What the configuration holds: no word of it comes from the request.
        let acr = needs.acr.iter().map(|acr| format!("acr_values=\"{acr}\""));
        parameters.extend(acr.chain(needs.max_auth_age.map(|age| format!("max_age={}", age.as_secs()))));
    }
    parameters.push(format!("resource_metadata=\"{}\"", metadata::address(settings)));
    HeaderValue::try_from(format!("Bearer {}", parameters.join(", "))).ok()
}
