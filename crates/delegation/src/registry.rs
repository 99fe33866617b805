//! What the configuration says about the parties: a value, swapped whole.

mod audience;
mod authenticated;
mod client;
mod issuer;
mod snapshot;

pub use audience::{Audience, OnDuplicate, TokenForm};
pub use authenticated::{AuthenticatedClient, AuthenticationFailed};
pub use client::{AuthMethod, Client, ClientAuth, LabelValue, Receives, SecretDigest, WorkloadMatch};
pub use issuer::{Ceiling, Profile, TrustedIssuer, TypRule};
pub use snapshot::{Lifetimes, Moment, Snapshot};
