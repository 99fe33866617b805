//! What is answered where something goes wrong after the decision, which has no record of its own.

use axum::body::Body as HttpBody;
use http::{HeaderValue, Response, StatusCode};

/// Whether a request broke off because its own body did.
pub(super) fn is_of_the_body(error: &hyper_util::client::legacy::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<hyper::Error>())
        .is_some_and(hyper::Error::is_user)
}

/// Why an upstream was not reached, down to what the handshake says: for the log.
pub(super) fn why(error: &hyper_util::client::legacy::Error) -> String {
    let mut told = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        let text = source.to_string();
        // Many say the same as what is below them.
        if !told.ends_with(&text) {
            told = format!("{told}: {text}");
        }
        next = source.source();
    }
    told
}

pub(super) fn malformed_body() -> Response<HttpBody> {
    failed(StatusCode::BAD_REQUEST, "malformed_request", "the body is malformed")
}

pub(super) fn upstream_failed(status: StatusCode) -> Response<HttpBody> {
    failed(status, "upstream_unavailable", "the service behind this boundary did not answer")
}

fn failed(status: StatusCode, reason: &str, detail: &str) -> Response<HttpBody> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "reason": reason, "detail": detail,
    });
    let mut response = Response::new(HttpBody::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
