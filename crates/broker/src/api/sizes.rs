//! How large bodies may be, in bytes. `docs/api.md` says the same, door by door.
//!
//! Where a request holds a form's worth of members, as at a boundary, it is `limits.body` instead.

/// Where nothing else is said: a token is no longer.
pub(super) const USUAL: usize = 16 * 1024;
/// Sums of a guard.
pub(super) const SUMS: usize = 512 * 1024;
/// What a guard refused, or saw: what a token says may be repeated in each of its refusals.
pub(super) const BATCH: usize = 1024 * 1024;
