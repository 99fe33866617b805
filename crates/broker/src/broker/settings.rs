//! What a broker is told by its configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use delegation::registry::Snapshot;
use delegation::token::Algorithm;
use fetch::Introspection;
use policy_cedar::CedarPolicy;

use crate::asking::Asking;
use crate::connections::ByName;
use crate::guarded::Guarded;
use crate::limits::Rates;
use crate::store::StoreAddress;

/// What a running broker needs beside parties and policies.
///
/// Of these the store, the key files and the number of connections do not change while it runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the store is.
    pub store: StoreAddress,
    /// The key files: the first encrypts, all decrypt.
    pub key_files: Vec<PathBuf>,
    /// The algorithm of issued tokens.
    pub algorithm: Algorithm,
    /// When a signing key is followed by a new one.
    pub rotate_every: Duration,
    /// How long a key is published before it signs.
    pub publish_before: Duration,
    /// The largest form, in bytes.
    pub body_limit: usize,
    /// A view of standing that is older refuses every request.
    pub max_view_age: Duration,
    /// The most connections at a time.
    pub connections: usize,
}

/// What a change of configuration or policy replaces, whole.
#[derive(Debug)]
pub struct InForce {
    /// Parties, types and lifetimes.
    pub snapshot: Arc<Snapshot>,
    /// The policies.
    pub policy: CedarPolicy,
    /// How many requests in a second.
    pub rates: Rates,
    /// The one issuer whose opaque tokens are taken.
    pub introspection: Option<Introspection>,
    /// The boundaries, by name, with who asks for them and for what.
    pub boundaries: BTreeMap<String, Asking>,
    /// The services that are guarded, by name, with who asks for them.
    pub guards: BTreeMap<String, Guarded>,
    /// The upstream credentials that routes may ask for.
    pub connections: ByName,
}
