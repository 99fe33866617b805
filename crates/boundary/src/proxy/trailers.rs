//! What comes behind the body of a response (RFC 9110 §6.5).

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, EXPIRES, HOST, LOCATION,
    MAX_FORWARDS, RETRY_AFTER, SET_COOKIE, TRAILER, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::back::OF_TOKENS;
use super::hop;

/// What counts in a head alone (RFC 9110 §6.5.1): a reader that puts both together would take it for that.
const OF_THE_HEAD: [HeaderName; 16] = [
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    DATE,
    EXPIRES,
    HOST,
    LOCATION,
    MAX_FORWARDS,
    RETRY_AFTER,
    SET_COOKIE,
    VARY,
    WWW_AUTHENTICATE,
];

/// Whether it says to be said by Narrows, however the name is spelt: some programs take `narrows_subject` for `Narrows-Subject`.
pub(super) fn is_in_our_name(name: &HeaderName) -> bool {
    let spelt = name.as_str().trim_start_matches(|each: char| !each.is_ascii_alphanumeric());
    let behind = spelt.strip_prefix("narrows");
    behind.is_some_and(|behind| !behind.starts_with(|each: char| each.is_ascii_alphanumeric()))
}

/// Whether this may come behind a body: nothing that is for one connection, that is said in our name, or that counts in a head.
fn may_follow(name: &HeaderName) -> bool {
    !hop::is_of_one_connection(name) && !is_in_our_name(name) && !OF_THE_HEAD.contains(name) && !OF_TOKENS.contains(name)
}

/// The trailers that go on.
pub(super) fn passed(trailers: &HeaderMap) -> HeaderMap {
    let fields = trailers.iter().filter(|(name, _)| may_follow(name));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The names that `headers` announce of them, as one value; HTTP/1.1 sends none that is not announced.
pub(super) fn announced(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(TRAILER).iter().filter_map(|line| line.to_str().ok());
    let names = lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok());
    let names: Vec<_> = names.filter(may_follow).map(|name| name.to_string()).collect();
    HeaderValue::try_from(names.join(", ")).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, SET_COOKIE, TRAILER};
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{announced, passed};

    #[test]
    fn a_trailer_is_no_second_head() {
        let own = HeaderName::from_static("grpc-status");
        let names = [
            own.clone(),
            HeaderName::from_static("narrows-subject"),
            HeaderName::from_static("narrows_subject"),
            HeaderName::from_static("_narrows.subject"),
            HeaderName::from_static("dpop-nonce"),
            HeaderName::from_static("authentication-info"),
            HeaderName::from_static("connection"),
            SET_COOKIE,
            CONTENT_TYPE,
        ];
        let trailers: HeaderMap = names.map(|name| (name, HeaderValue::from_static("0"))).into_iter().collect();
        assert_eq!(
            passed(&trailers).into_iter().collect::<Vec<_>>(),
            [(Some(own), HeaderValue::from_static("0"))]
        );
        let head = |line| announced(&HeaderMap::from_iter([(TRAILER, HeaderValue::from_static(line))]));
        assert_eq!(
            head("Grpc-Status, Narrows-Subject,set-cookie"),
            Some(HeaderValue::from_static("grpc-status"))
        );
        assert_eq!(head("narrows-subject"), None);
    }
}
