//! The doors for Envoy's `ext_authz` filter, version 3: its gRPC service, and its HTTP flavour.
//!
//! Envoy sends the request on itself, so what must not go on is named in the answer: of what it does not hear of, it keeps what the
//! client sent.

mod check_request;
mod check_response;
pub mod grpc;
pub mod http;

use ::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use narrows_guard::Body;
use narrows_guard::hygiene::headers::{ProxyHeaders, removed};

use crate::answer::Carried;

/// In which Envoy says whether the body that it sends along is cut off.
pub(crate) const PARTIAL: &str = "x-envoy-auth-partial-body";

/// The headers that Envoy removes before the request goes on.
///
/// Envoy removes after it sets, so what is `replaced` is not named: the client's own is written over.
fn unwanted<'h>(headers: &'h HeaderMap, replaced: Option<&Carried>) -> Vec<&'h HeaderName> {
    let unwanted = |name: &&HeaderName| match name.as_str() {
        _ if replaced.is_some_and(|(replaced, _)| replaced == *name) => false,
        "authorization" | "dpop" => true,
        _ => removed(name, ProxyHeaders::KeptOfEnvoy),
    };
    headers.keys().filter(unwanted).collect()
}

/// The body, if Envoy says that this is all of it.
///
/// A client may send the header itself, and Envoy overwrites it only where it sends a body along: nothing is never the whole.
fn shown(headers: &HeaderMap, body: Bytes) -> Body {
    let mut said = headers.get_all(PARTIAL).iter().peekable();
    let whole = said.peek().is_some() && said.all(|partial| partial == "false");
    if whole && !body.is_empty() {
        Body::Whole(body)
    } else {
        Body::Hidden
    }
}
