//! The only outbound client: issuers' keys and discovery documents, and a broker in another process, at addresses that come from
//! configuration.
//!
//! One guard against private addresses and one cap on bodies, so that no caller can forget either.

mod discovery;
mod fetcher;
mod guard;
mod introspection;
mod issuer_keys;
mod stream;

pub use fetcher::{Answer, FetchError, FetchSettings, Fetcher};
pub use introspection::Introspection;
pub use issuer_keys::{IssuerEntry, IssuerKeys, IssuerStatus, IssuerUnavailable, KeySource};
pub use stream::Stream;
