//! Claims about the road from a verified token to a minted one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod chains;
mod deferred;
mod evaluations;
mod opening;
mod proposals;
mod rechecks;
mod reused;
mod road;
