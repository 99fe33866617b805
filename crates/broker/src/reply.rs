//! What leaves the token endpoint: RFC 6749 §5 JSON, never cached, never an echo.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use delegation::authority::Authority;
use delegation::details::Detail;
use delegation::oauth::{ErrorCode, Manner, Reason, TokenType};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use issuance::mint::Minted;
use issuance::task::Opened;
use serde_json::{Map, Value, json};

/// A refusal, ready to be written.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) decision_id: String,
    /// What of the request decides between two error codes.
    pub(crate) manner: Manner,
    /// Whether credentials came in the `Authorization` header, which asks for a challenge.
    pub(crate) header_used: bool,
}

/// The reply that carries a token (RFC 6749 §5.1, RFC 8693 §2.2.1).
pub(crate) fn issued(minted: &Minted) -> Response {
    let own = [
        ("access_token", json!(minted.token)),
        ("issued_token_type", json!(minted.kind.as_str())),
        ("token_type", json!(token_type(minted.kind))),
        ("expires_in", json!(minted.expires_in)),
    ];
    with_authority(own, &minted.authority)
}

/// How a token is used (RFC 6749 §7.1): one that is no access token, in no way of OAuth's (RFC 8693 §2.2.1).
pub(crate) fn token_type(kind: TokenType) -> &'static str {
    match kind {
        TokenType::AccessToken => "Bearer",
        _ => "N_A",
    }
}

/// The reply that carries a task token, which is no access token (RFC 8693 §2.2.1).
pub(crate) fn opened(opened: &Opened) -> Response {
    let own = [
        ("access_token", json!(opened.token.expose())),
        ("issued_token_type", json!(TokenType::Task.as_str())),
        ("token_type", json!("N_A")),
        ("expires_in", json!(opened.expires_in)),
        ("task_id", json!(opened.id)),
    ];
    with_authority(own, &opened.authority)
}

fn with_authority<const N: usize>(own: [(&str, Value); N], authority: &Authority) -> Response {
    let mut members: Map<String, Value> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let scopes: Vec<_> = authority.scopes.iter().map(|scope| scope.as_str()).collect();
    if !scopes.is_empty() {
        members.insert("scope".to_owned(), json!(scopes.join(" ")));
    }
    if !authority.details.is_empty() {
        let details = authority.details.iter().map(Detail::to_json);
        members.insert("authorization_details".to_owned(), Value::from_iter(details));
    }
    json_reply(StatusCode::OK, &Value::Object(members))
}

/// The reply that says no (RFC 6749 §5.2).
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let code = refusal.reason.code(refusal.manner);
    let status = match code {
        _ if refusal.reason == Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        _ if refusal.reason == Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::InvalidClient => StatusCode::UNAUTHORIZED,
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({
        "error": code.as_str(),
        "error_description": refusal.reason.description(),
        "reason": refusal.reason.as_str(),
        "decision_id": refusal.decision_id,
    });
    let mut response = json_reply(status, &body);
    let headers = response.headers_mut();
    if code == ErrorCode::InvalidClient && refusal.header_used {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"narrows\", charset=\"UTF-8\""),
        );
    }
    if code == ErrorCode::TemporarilyUnavailable {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// The reply to any method but POST, which no cache keeps either.
pub(crate) async fn post_only() -> impl IntoResponse {
    let headers = [
        (ALLOW, HeaderValue::from_static("POST")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::METHOD_NOT_ALLOWED, headers)
}

fn json_reply(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
