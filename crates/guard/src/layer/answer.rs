//! A refusal as the caller sees it.

use axum_core::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::live::Denied;

/// Problem details (RFC 9457), with `detail` where something in particular is wrong. No word of the request is in it.
pub(super) fn refused(denied: &Denied, detail: Option<&str>) -> Response<Body> {
    let Denied { decision_id, refusal } = denied;
    let status = refusal.status();
    let problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or_default(),
        "status": status.as_u16(),
        "detail": detail.unwrap_or_else(|| refusal.description()),
        "reason": refusal.reason.as_str(),
        "decision_id": decision_id,
        "help": format!("the operator finds this decision by its id: narrows why {decision_id}"),
    });
    let mut response = Response::new(Body::from(problem.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(challenge) = refusal.challenge() {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
