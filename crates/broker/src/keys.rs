//! Keys to verify with, wherever they come from: our own, the trusted issuers' and the clients'.

use std::sync::Arc;

use arc_swap::ArcSwap;
use delegation::token::{Authentic, AuthenticateError, KeySet, TokenKind, Unverified};
use fetch::{IssuerKeys, IssuerUnavailable};

/// The name under which our own keys are found; no issuer in the configuration may have it.
pub(crate) const OURS: &str = "narrows";

/// Every key set that a token may be checked with, by name.
#[derive(Debug)]
pub(crate) struct VerificationKeys {
    outside: ArcSwap<IssuerKeys>,
    ours: ArcSwap<Option<Arc<KeySet>>>,
}

impl VerificationKeys {
    pub(crate) fn new(outside: IssuerKeys, ours: Option<KeySet>) -> Self {
        Self {
            outside: ArcSwap::from_pointee(outside),
            ours: ArcSwap::from_pointee(ours.map(Arc::new)),
        }
    }

    /// Puts another set of issuers in force.
    pub(crate) fn swap_outside(&self, outside: IssuerKeys) {
        self.outside.store(Arc::new(outside));
    }

    /// Puts another set of our own keys in force.
    pub(crate) fn swap_ours(&self, ours: Option<KeySet>) {
        self.ours.store(Arc::new(ours.map(Arc::new)));
    }

    /// The issuers' keys.
    pub(crate) fn outside(&self) -> Arc<IssuerKeys> {
        self.outside.load_full()
    }

    /// The set under `name` as it is now.
    pub(crate) async fn current(&self, name: &str) -> Result<Arc<KeySet>, IssuerUnavailable> {
        if name == OURS {
            return self.ours.load().as_ref().clone().ok_or_else(|| IssuerUnavailable(name.to_owned()));
        }
        self.outside.load_full().keys(name).await
    }

    /// Checks `token` with the keys held under `name`; a key unknown there is looked for once more at its source.
    pub(crate) async fn authenticate<K: TokenKind>(
        &self,
        name: &str,
        token: &Unverified<K>,
    ) -> Result<Result<Authentic<K>, AuthenticateError>, IssuerUnavailable> {
        if name == OURS {
            let ours = self.ours.load();
            return Ok(ours.as_ref().as_ref().map_or(Err(AuthenticateError::UnknownKey), |keys| token.authenticate(keys)));
        }
        let outside = self.outside.load_full();
        match token.authenticate(&*outside.keys(name).await?) {
            Err(AuthenticateError::UnknownKey) => Ok(token.authenticate(&*outside.refetch(name).await?)),
            settled => Ok(settled),
        }
    }
}
