//! What a door for another proxy answers: built here and nowhere else, so that no answer is empty, contradicts itself, or leaves a
//! header to the client that the proxy was told to take from us.

use axum::body::Body;
use delegation::oauth::TokenType;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::exchanger::Granted;
use crate::refusal::Refusal;

/// The status that is meant, where the proxy takes only some.
const MEANT: HeaderName = HeaderName::from_static("narrows-status");

/// By which the operator finds the record of a refusal, for a proxy that writes a body of its own.
const DECISION: HeaderName = HeaderName::from_static("narrows-decision");

/// In which Envoy is told what to take off a request.
const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");

/// The header of a transaction token (draft-ietf-oauth-transaction-tokens, *"Txn-Token" HTTP Header*).
const TXN_TOKEN: HeaderName = HeaderName::from_static("txn-token");

/// The header in which the upstream gets a token.
pub(crate) type Carried = (HeaderName, HeaderValue);

/// The one header that the upstream gets from us: the token, or, on a public route, nothing.
///
/// `None` if the token holds what no header can, which is no reason to let the request through without one.
pub(crate) fn carried(granted: Option<&Granted>) -> Option<Option<Carried>> {
    let Some(granted) = granted else { return Some(None) };
    let (name, text) = match granted.kind {
        TokenType::TxnToken => (TXN_TOKEN, granted.token.clone()),
        _ => (AUTHORIZATION, format!("Bearer {}", granted.token)),
    };
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(Some((name, value)))
}

/// The request may go on: 200, with what the upstream gets from us. A proxy that was told to take `Authorization` and `Txn-Token`
/// from us removes the client's where there is none.
pub(crate) fn allowed(carried: Option<Carried>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some((name, value)) = carried {
        headers.insert(name, value);
    }
    response
}

/// The request goes on as it came: with the credentials that it came with, which a proxy that was told to take them from us would
/// remove otherwise.
pub(crate) fn as_it_came(asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    for name in [AUTHORIZATION, HeaderName::from_static("dpop"), TXN_TOKEN] {
        for value in asked.get_all(&name) {
            let mut value = value.clone();
            value.set_sensitive(true);
            response.headers_mut().append(name.clone(), value);
        }
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The request may go on without the headers `removed`, for Envoy, which keeps what the client sent of all that is not named.
pub(crate) fn allowed_without(carried: Option<Carried>, removed: &[&HeaderName]) -> Response<Body> {
    let names: Vec<_> = removed.iter().map(|name| name.as_str()).collect();
    let Ok(names) = HeaderValue::try_from(names.join(",")) else {
        return plain(StatusCode::FORBIDDEN);
    };
    let mut response = allowed(carried);
    if !names.is_empty() {
        response.headers_mut().insert(TO_REMOVE, names);
    }
    response
}

/// The request does not go on. `only` are the statuses that the proxy passes on as they are; another becomes 403.
pub(crate) fn refused(refusal: &Refusal, asked: &HeaderMap, only: Option<&[StatusCode]>) -> Response<Body> {
    let mut response = refusal.reply(asked);
    if let Ok(id) = HeaderValue::try_from(refusal.decision_id.as_str()) {
        response.headers_mut().insert(DECISION, id);
    }
    if let Some(only) = only {
        response.headers_mut().insert(MEANT, HeaderValue::from(refusal.status.as_u16()));
        if !only.contains(&refusal.status) {
            *response.status_mut() = StatusCode::FORBIDDEN;
        }
    }
    response
}

/// An answer without a decision: to a peer that is none, or to a question that is too large.
pub(crate) fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
