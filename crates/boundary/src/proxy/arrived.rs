//! The request as it arrived: one host, one path, one end of its body, or it is malformed.

use http::HeaderValue;
use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use narrows_guard::hygiene::Malformed;
use narrows_guard::{Body, Call};

/// The request as it came: HTTP/2 names the host in `:authority`, HTTP/1.1 in `Host`; both, if both are there.
pub(crate) fn call(parts: &Parts, body: Body) -> Result<Call, Malformed> {
    let host = host(parts)?;
    framed(parts)?;
    let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    Call::parse(parts.method.as_str(), host, target.as_bytes(), &parts.headers, body)
}

/// The one host that the request names.
pub(super) fn host(parts: &Parts) -> Result<&[u8], Malformed> {
    const HOST_TWICE: Malformed = Malformed::new("the request names two hosts");
    let mut lines = parts.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, lines.next(), lines.next()) {
        (_, _, Some(_)) => Err(HOST_TWICE),
        (Some(authority), Some(said), _) if !authority.eq_ignore_ascii_case(said) => Err(HOST_TWICE),
        (Some(host), _, _) | (None, Some(host), _) => Ok(host),
        (None, None, _) => Ok(b""),
    }
}

/// Everybody agrees on where its body ends.
pub(crate) fn framed(parts: &Parts) -> Result<(), Malformed> {
    // The library takes the last coding for the one that counts; another reader might not.
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !codings.next().is_none_or(chunked) || codings.next().is_some() {
        return Err(Malformed::new("the body comes in a coding other than chunked"));
    }
    Ok(())
}
