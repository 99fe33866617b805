//! What a boundary in another process may ask for.

use std::collections::BTreeSet;

use delegation::oauth::{AudienceId, ClientId};

/// A boundary of the configuration, as far as whoever asks for it is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The client that acts there: nobody else asks.
    pub client: ClientId,
    /// The upstream credentials that its routes go on with, each with the audience of its service: no other is given out.
    pub connections: BTreeSet<(AudienceId, String)>,
}

impl Asking {
    /// Whether a route of it goes on with `connection`, with a token for `audience` where that is named.
    pub(crate) fn shows(&self, audience: Option<&str>, connection: &str) -> bool {
        let is_it = |(of, name): &(AudienceId, String)| name == connection && audience.is_none_or(|audience| of.as_str() == audience);
        self.connections.iter().any(is_it)
    }
}
