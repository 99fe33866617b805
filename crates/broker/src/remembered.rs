//! Tokens of each kind that were verified before. A token of one kind is never one of another.

use delegation::token::{ActorToken, Authentic, SubjectToken, TxnToken};
pub(crate) use narrows_guard::remembered::{Digest, Memory};

/// The tokens of each kind that held when they were last looked at.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) subjects: Memory<Authentic<SubjectToken>>,
    pub(crate) transactions: Memory<Authentic<TxnToken>>,
    pub(crate) actors: Memory<Authentic<ActorToken>>,
}
