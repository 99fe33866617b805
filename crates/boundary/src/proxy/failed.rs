//! What is answered where something goes wrong after the decision, which has no record of its own.

use axum::body::Body as HttpBody;
use http::{HeaderValue, Response, StatusCode};

/// Said of a service that stands behind a boundary or behind a guard.
const NO_ANSWER: &str = "the service did not answer";
/// Where to look, since there is no decision to look up.
const HELP: &str =
    "the request went on, so this is no decision and on no record; the log of the boundary or guard before the service says why";

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
    let said = (
        "malformed_request",
        "the body is malformed",
        "send the request again, with all of its body",
    );
    failed(StatusCode::BAD_REQUEST, said)
}

pub(super) fn upstream_failed(status: StatusCode) -> Response<HttpBody> {
    failed(status, ("upstream_unavailable", NO_ANSWER, HELP))
}

fn failed(status: StatusCode, (reason, detail, help): (&str, &str, &str)) -> Response<HttpBody> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "reason": reason, "detail": detail, "help": help,
    });
    let mut response = Response::new(HttpBody::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
