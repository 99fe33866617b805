//! The words of delegation, and the proofs about them.
//!
//! Everything here is pure: no I/O, no clock, no engine, and nothing that can sign. What was checked is
//! a type that only its check can make ([`token::Authentic`], [`token::Verified`],
//! [`registry::AuthenticatedClient`]), so that code which skips a step does not compile.
#![deny(missing_docs)]

pub mod authority;
pub mod chain;
pub mod details;
pub mod identity;
pub mod json;
pub mod oauth;
pub mod registry;
pub mod revocation;
pub mod time;
pub mod token;
