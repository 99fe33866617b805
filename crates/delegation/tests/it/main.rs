//! Claims about the words of delegation.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    reason = "a test may panic"
)]

mod access;
mod actors;
mod claims;
mod details;
mod forgeries;
mod forms;
mod id_jag;
mod identities;
mod jws;
mod kept_tokens;
mod mutants;
mod opaque;
mod order;
mod own_tokens;
mod revocation;
mod revoked;
mod rich_requests;
mod standing;
mod stated;
mod txn_tokens;
