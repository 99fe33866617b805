//! From verified tokens to a recorded, permitted and minted one.
//!
//! The road has one direction: [`exchange::Exchange::propose`] · [`policy::decide`] · [`audit::commit`] ·
//! [`mint::mint`]. Each step takes what the one before made and nothing else, so skipping one does not compile.
//! Pure: no I/O, no clock, no randomness; the three ports ([`policy::Policy`], [`audit::Journal`],
//! [`mint::Signer`]) are implemented elsewhere, by the contracts written beside them.
#![deny(missing_docs)]

pub mod audit;
pub mod evaluation;
pub mod exchange;
pub mod mint;
pub mod policy;
pub mod recheck;
pub mod reuse;
pub mod task;
