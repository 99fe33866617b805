//! Headers that no client may send on.

use http::{HeaderMap, HeaderName, header};

use super::Malformed;
use super::names::{ADDRESSES, ANOTHER_REQUEST, CERTIFICATES, COMMANDS, OF_PROXIES, OURS, PERSONS, is_any};

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

/// What is decided on, and so goes on as it was decided on: for the next connection, not for this one alone.
const DECIDED_ON: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
    HeaderName::from_static("dpop"),
];

/// What says, beside these, where the body ends and what becomes of the connection.
const OF_CONNECTION: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether the header `name` of a client's request does not go on.
///
/// All that is no letter and no digit counts as `-`: programs that put headers into variables make `_` of `-`, some of them of `.`
/// too, and some of every such character.
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
    // Another spelling of what was decided on may say something else to whoever reads it for that.
    let twin = DECIDED_ON.iter().chain(&OF_CONNECTION).any(|read| *read == folded.as_str() && read != name);
    let address = is_any(&folded, &ADDRESSES) && (proxy_headers != ProxyHeaders::Kept || folded != name.as_str());
    let others = [&OURS[..], &ANOTHER_REQUEST, &COMMANDS, &PERSONS, &CERTIFICATES, &OF_PROXIES];
    twin || address || others.iter().any(|names| is_any(&folded, names))
}

/// Whether the header `name` says who asks, and nothing else of the request.
pub fn says_who_asks(name: &HeaderName) -> bool {
    let folded = folded(name);
    is_any(&folded, &PERSONS) || is_any(&folded, &CERTIFICATES)
}

/// Whether a request with the header `name` may be meant for another route than its own, where it goes on as it came.
///
/// Who asks is no matter then: where Narrows does not decide yet, whoever decides goes by that.
pub fn strange(name: &HeaderName, proxy_headers: ProxyHeaders) -> bool {
    removed(name, proxy_headers) && !says_who_asks(name)
}

/// Removes what does not go on.
pub fn clean(headers: &mut HeaderMap, proxy_headers: ProxyHeaders) {
    let unwanted: Vec<_> = headers.keys().filter(|name| removed(name, proxy_headers)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
}

/// Refuses a `Connection` that names what was decided on, or what only a proxy may say: whoever reads it by the letter takes that
/// header off, and another does not (RFC 9110 §7.6.1).
pub(crate) fn nominated(headers: &HeaderMap) -> Result<(), Malformed> {
    let names = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    for name in names {
        if DECIDED_ON.contains(&name) || removed(&name, ProxyHeaders::Removed) {
            return Err(Malformed("Connection names a header that is not for one connection"));
        }
    }
    Ok(())
}

/// Removes the header `name` in every spelling that a reader may take for it.
pub fn remove_spellings(headers: &mut HeaderMap, name: &HeaderName) {
    let said = folded(name);
    let spelt: Vec<_> = headers.keys().filter(|each| folded(each) == said).cloned().collect();
    for each in spelt {
        headers.remove(each);
    }
}

fn folded(name: &HeaderName) -> String {
    let folded: String = name.as_str().chars().map(|each| if each.is_ascii_alphanumeric() { each } else { '-' }).collect();
    folded.trim_matches('-').to_owned()
}
