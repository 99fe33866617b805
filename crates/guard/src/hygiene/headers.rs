//! Headers that no client may send on.

use http::{HeaderMap, HeaderName, header};

/// What becomes of the headers in which a proxy says what it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeaders {
    /// They came from the client, and are removed.
    Removed,
    /// A proxy in front that asks by `forward_auth` set them itself, and they stay.
    Kept,
    /// Envoy set those of them that it sets itself, and they stay.
    KeptOfEnvoy,
}

/// Headers that a proxy in front sets whatever the client sent. Every other one of these families is the client's.
const PROXYS_OWN: [&str; 10] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-method",
    "x-forwarded-uri",
    "x-forwarded-client-cert",
    "x-original-method",
    "x-original-uri",
];

/// The same that Envoy sets.
const ENVOYS_OWN: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-client-cert",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-envoy-expected-rq-timeout-ms",
];

/// Families of which no member goes on.
const FAMILIES: [&str; 4] = ["narrows-", "x-forwarded-", "x-original-", "x-envoy-"];

/// Single names that do not go on: identity, addresses, and what would make another method or path of a request.
const NAMES: [&str; 7] = [
    "txn-token",
    "forwarded",
    "proxy-authorization",
    "x-rewrite-url",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// Names that a door writes itself; another spelling of them is removed.
const WRITTEN: [HeaderName; 2] = [header::AUTHORIZATION, HeaderName::from_static("dpop")];

/// Whether the header `name` of a client's request does not go on.
///
/// `_` and `.` count as `-`, since programs that put headers into variables take them for the same.
pub fn removed(name: &HeaderName, proxy_headers: ProxyHeaders) -> bool {
    let kept = match proxy_headers {
        ProxyHeaders::Removed => &[][..],
        ProxyHeaders::Kept => &PROXYS_OWN,
        ProxyHeaders::KeptOfEnvoy => &ENVOYS_OWN,
    };
    if kept.contains(&name.as_str()) {
        return false;
    }
    let folded = folded(name);
    let twin = WRITTEN.iter().any(|written| *written == folded.as_str() && written != name);
    twin || NAMES.contains(&folded.as_str()) || FAMILIES.iter().any(|family| format!("{folded}-").starts_with(family))
}

/// Removes what does not go on.
pub fn clean(headers: &mut HeaderMap, proxy_headers: ProxyHeaders) {
    let unwanted: Vec<_> = headers.keys().filter(|name| removed(name, proxy_headers)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}

fn folded(name: &HeaderName) -> String {
    let folded: String = name.as_str().chars().map(|each| if matches!(each, '_' | '.') { '-' } else { each }).collect();
    folded.trim_matches('-').to_owned()
}
