//! An upstream credential on its way: to one origin, in one header, and never back.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use narrows_guard::hygiene::headers::remove_spellings;
use zeroize::Zeroizing;

use crate::settings::{Origin, Upstream};

/// A shorter secret would be found everywhere in a response that is searched for it.
pub(crate) const SHORTEST: usize = 8;

/// What an upstream is shown beside the token, for one request that was allowed.
#[derive(Clone)]
pub struct Credential {
    connection: String,
    origin: Origin,
    header: HeaderName,
    value: HeaderValue,
    secret: Arc<Zeroizing<String>>,
}

/// Without value and secret.
impl std::fmt::Debug for Credential {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = out.debug_struct("Credential");
        shown.field("connection", &self.connection).field("origin", &self.origin);
        shown.field("header", &self.header).finish_non_exhaustive()
    }
}

impl Credential {
    /// The credential of `connection`, which goes to `origin` alone, as `value` in `header`. `secret` is what of that must not come
    /// back: at least eight visible ASCII characters, or there is no credential.
    pub fn new(connection: String, origin: Origin, header: HeaderName, mut value: HeaderValue, secret: &str) -> Option<Self> {
        if secret.len() < SHORTEST || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        value.set_sensitive(true);
        Some(Self {
            connection,
            origin,
            header,
            value,
            secret: Arc::new(Zeroizing::new(secret.to_owned())),
        })
    }

    /// The name of its connection.
    pub fn connection(&self) -> &str {
        &self.connection
    }

    /// Whether it may go to `upstream`: its very scheme, host and port.
    pub(crate) fn is_for(&self, upstream: &Upstream) -> bool {
        format!("{}://{}", upstream.scheme, upstream.authority) == self.origin.as_str()
    }

    /// Puts it on a request, in place of whatever the client sent under that name in any spelling.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        remove_spellings(headers, &self.header);
        headers.insert(self.header.clone(), self.value.clone());
    }

    /// What must not come back.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::Credential;
    use crate::settings::{Origin, Upstream};

    fn credential() -> Credential {
        let origin = Origin::parse("https://api.example").unwrap();
        let header = HeaderName::from_static("x-api-key");
        Credential::new(
            "key".to_owned(),
            origin,
            header,
            HeaderValue::from_static("k-0123456789"),
            "k-0123456789",
        )
        .unwrap()
    }

    #[test]
    fn it_is_for_its_very_scheme_host_and_port() {
        let is_for = |url| credential().is_for(&Upstream::parse(url).unwrap());
        assert!(is_for("https://api.example") && is_for("https://API.example:443/"));
        for other in [
            "http://api.example",
            "https://api.example:8443",
            "https://api.example.evil",
            "https://example",
            "http://api.example:443",
        ] {
            assert!(!is_for(other), "{other}");
        }
    }

    #[test]
    fn it_takes_the_place_of_every_spelling_of_its_header() {
        let mut headers = HeaderMap::new();
        for name in ["x-api-key", "x_api_key", "x.api-key", "x-api_key", "x-api-key-", "x-api-keys"] {
            headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("mine"));
        }
        headers.append("x-api-key", HeaderValue::from_static("mine too"));
        credential().put(&mut headers);
        let said: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said.contains(&("x-api-key", "k-0123456789")) && said.contains(&("x-api-keys", "mine")));
    }

    #[test]
    fn what_is_printed_of_it_holds_no_secret() {
        assert!(!format!("{:?}", credential()).contains("0123456789"));
        let origin = Origin::parse("https://api.example").unwrap();
        let short = Credential::new("key".to_owned(), origin, http::header::COOKIE, HeaderValue::from_static("a"), "a");
        assert!(short.is_none(), "it would be cut out of everything");
    }
}
