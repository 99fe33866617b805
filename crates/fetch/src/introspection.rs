//! Asking an issuer about one of its opaque tokens (RFC 7662).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use delegation::token::OpaqueToken;
use url::{Url, form_urlencoded};

use crate::fetcher::Fetcher;
use crate::issuer_keys::IssuerUnavailable;

/// The introspection endpoint of an issuer, and who we are there.
#[derive(Clone, PartialEq, Eq)]
pub struct Introspection {
    /// The issuer's name.
    pub name: String,
    /// The issuer's identifier.
    pub issuer: String,
    /// The endpoint.
    pub url: Url,
    /// Our client identifier there.
    pub client_id: String,
    /// Our secret there.
    pub client_secret: String,
}

impl Introspection {
    /// What the issuer answers about `token`, as it came. Asked anew each time: an answer is true only once.
    ///
    /// Whatever is not a reply with status 200 means that the issuer is not available for this token.
    pub async fn ask(&self, fetcher: &Fetcher, token: &OpaqueToken) -> Result<Vec<u8>, IssuerUnavailable> {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("token", token.as_str())
            .append_pair("token_type_hint", "access_token")
            .finish();
        // RFC 6749 §2.3.1: both halves are form-encoded before they are joined.
        let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let credentials = STANDARD.encode(format!("{}:{}", encoded(&self.client_id), encoded(&self.client_secret)));
        fetcher.post_form(&self.url, &format!("Basic {credentials}"), form).await.map_err(|error| {
            tracing::warn!(issuer = self.name, %error, "a token could not be introspected");
            IssuerUnavailable(self.name.clone())
        })
    }
}

impl fmt::Debug for Introspection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Introspection").field("name", &self.name).finish_non_exhaustive()
    }
}
