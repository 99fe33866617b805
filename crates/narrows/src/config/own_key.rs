//! The key that this process signs with as a client, by the name that its published half has.

use fetch::{IssuerEntry, KeySource};

use crate::assertion::ClientKey;

/// `key` under the `kid` of the client's `jwks_file`, where the configuration has one with this key in it: the broker finds it by that.
pub(super) fn named(key: ClientKey, client: &str, keys: &[IssuerEntry]) -> ClientKey {
    keys.iter()
        .filter(|entry| entry.issuer == client && entry.name.starts_with("client/"))
        .filter_map(|entry| match &entry.source {
            KeySource::File(path) => serde_json::from_slice(&std::fs::read(path).ok()?).ok(),
            _ => None,
        })
        .fold(key, |key, published| key.named_as_in(&published))
}
