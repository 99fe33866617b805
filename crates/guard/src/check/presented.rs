//! What a caller shows, before anything of it is believed.

use delegation::token::{AccessToken, Authentic, KeySet, Unverified};
use http::HeaderMap;

use super::refusal::Refusal;
use crate::call::Call;
use crate::hygiene::credential::{Credential, CredentialError, Scheme};

/// The one credential of a request.
#[derive(Debug)]
pub struct Presented(Credential);

impl Presented {
    /// The credential of `call` with its `headers`; `None` where it shows nothing at all.
    pub(super) fn of(headers: &HeaderMap, call: &Call) -> Result<Option<Self>, Refusal> {
        let shown = Credential::of(headers, call)?;
        if shown.as_ref().is_some_and(|shown| shown.is_repeated(headers, call)) {
            return Err(CredentialError::Elsewhere.into());
        }
        Ok(shown.map(Self))
    }

    /// The proof that the issuer of `keys` signed it as an access token.
    pub(super) fn authenticate(&self, keys: &KeySet) -> Result<Authentic<AccessToken>, Refusal> {
        Ok(Unverified::parse(self.0.token())?.authenticate(keys)?)
    }

    /// How it is shown.
    pub(super) fn scheme(&self) -> Scheme {
        self.0.scheme()
    }

    /// The token.
    pub(super) fn token(&self) -> &str {
        self.0.token()
    }
}
