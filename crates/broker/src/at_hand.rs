//! What a guard in this process has at hand, without asking.

use std::sync::Arc;
use std::time::Duration;

use delegation::oauth::{ClientId, Reason};
use delegation::registry::AuthenticatedClient;
use delegation::revocation::View;
use delegation::token::KeySet;
use serde_json::Value;

use crate::broker::Broker;
use crate::introspection_endpoint;

impl Broker {
    /// Our own public keys of now; none before they could be read.
    pub fn own_keys(&self) -> Option<Arc<KeySet>> {
        self.keys().ours()
    }

    /// What was revoked and who is disabled, and how long ago that was read, by a clock that is never set.
    pub fn standing(&self) -> (Arc<View>, Duration) {
        (self.view(), self.view_age())
    }

    /// Whether `client`, which is of this process, may ask anything: it is in force, and nobody has disabled it.
    pub fn takes(&self, client: &ClientId) -> bool {
        let moment = self.moment(&self.in_force());
        AuthenticatedClient::in_process(&moment, client).is_ok()
    }

    /// What `token` says to `client`, which is of this process: the members of the endpoint's answer (RFC 7662), if the token is alive and
    /// the client's to see. On record when it is given.
    pub async fn introspect(&self, client: &ClientId, token: &str) -> Result<Option<Value>, Reason> {
        introspection_endpoint::within(self, client, token).await
    }
}
