//! Headers that are for one connection alone (RFC 9110 §7.6.1).

use http::header::{CONNECTION, COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

const FIXED: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Whether it is for one connection alone, whoever sends it.
pub(super) fn is_of_one_connection(name: &HeaderName) -> bool {
    FIXED.contains(name)
}

/// Puts the cookies of a request on one line. HTTP/2 may send each by itself, and no other version knows that (RFC 9113 §8.2.3): what
/// is looked into is what goes on, and an upstream that reads one line reads all of them.
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Removes them, and those that `Connection` names. Called before anything of ours is set, so that nobody can name that.
pub(super) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in FIXED.iter().chain(&named) {
        headers.remove(name);
    }
}
