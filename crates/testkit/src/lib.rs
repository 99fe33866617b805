//! For tests only: issuers that sign what they are told, snapshots to try things on, ports that fail on command.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod certificates;
mod issuer;
mod journal;
mod policy;
mod postgres;
mod signer;
mod snapshot;
mod vendors;

pub use certificates::{CertificateAuthority, Issued};
pub use issuer::FakeIssuer;
pub use journal::{Fails, MemoryJournal};
pub use policy::FixedPolicy;
pub use postgres::{PostgresDatabase, PostgresServer};
pub use signer::MemorySigner;
pub use snapshot::{BROKER, CORP, EDGE_AUDIENCE, moment, now, snapshot, user_claims};
pub use vendors::{VendorCase, VendorFile, vendor_files};
