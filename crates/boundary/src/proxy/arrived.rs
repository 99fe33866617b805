//! The request as it arrived: one host, one path, one end of its body, or it is malformed.

use http::HeaderValue;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
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
    // One line and one way to write it: an upstream might read another number, or refuse what was allowed (RFC 9110 §8.6).
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    if !lengths.next().is_none_or(is_plain_number) || lengths.next().is_some() {
        return Err(Malformed::new("the length of the body is not one plain number"));
    }
    Ok(())
}

fn is_plain_number(text: &[u8]) -> bool {
    text == b"0" || (matches!(text, [b'1'..=b'9', ..]) && text.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use http::Request;
    use http::header::CONTENT_LENGTH;

    use super::framed;

    #[test]
    fn a_body_has_one_length_in_plain_digits() {
        for (lines, is_framed) in [
            (&[][..], true),
            (&["0"], true),
            (&["5"], true),
            (&["120"], true),
            (&["05"], false),
            (&["00"], false),
            (&["+5"], false),
            (&["5 "], false),
            (&["0x5"], false),
            (&[""], false),
            (&["5, 5"], false),
            (&["5", "5"], false),
            (&["5", "6"], false),
        ] {
            let mut request = Request::builder();
            for line in lines {
                request = request.header(CONTENT_LENGTH, *line);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(framed(&parts).is_ok(), is_framed, "{lines:?}");
        }
    }
}
