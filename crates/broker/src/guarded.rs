//! What stands before a service, and who may ask for it.

use std::collections::BTreeSet;

use delegation::oauth::{AudienceId, ClientId};

/// A service that is guarded, as far as its guards in other processes are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// Whom tokens for it are for: its guards ask about no others.
    pub audience: AudienceId,
    /// The clients that its guards are: nobody else asks.
    pub clients: BTreeSet<ClientId>,
}
