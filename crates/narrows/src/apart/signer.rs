//! What signs assertions, by which the broker knows who asks for a token.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::assertion::ClientKey;
use crate::config::RemoteBroker;

/// What signs assertions.
pub(crate) type Signs = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Signs with the key of now for the issuer of now.
pub(super) struct Signer {
    client: String,
    state: ArcSwap<(Arc<ClientKey>, String)>,
}

impl Signer {
    pub(super) fn new(remote: &RemoteBroker, issuer: &str) -> Self {
        Self {
            client: remote.client.to_string(),
            state: ArcSwap::from_pointee((Arc::clone(&remote.key), issuer.to_owned())),
        }
    }

    /// Signs with another key from now on.
    pub(super) fn swap(&self, remote: &RemoteBroker, issuer: &str) {
        self.state.store(Arc::new((Arc::clone(&remote.key), issuer.to_owned())));
    }

    pub(super) fn signs(self: Arc<Self>) -> Signs {
        Box::new(move || self.assertion())
    }

    fn assertion(&self) -> Option<String> {
        let state = self.state.load();
        let (key, issuer) = &**state;
        key.assertion(&self.client, issuer).ok()
    }
}
