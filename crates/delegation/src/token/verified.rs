//! The second proof: it holds at this moment.

use std::marker::PhantomData;
use std::ops::Deref;

use super::kind::TokenKind;
use crate::registry::Moment;

/// A token of kind `K` that holds at one [`Moment`]: its times, its audience rule and revocation were checked there.
///
/// It borrows the moment, so it cannot be kept for a later request.
///
/// ```
/// use delegation::registry::Moment;
/// use delegation::token::{SubjectToken, Verified};
/// fn within<'m>(moment: &'m Moment, token: Verified<'m, SubjectToken>) -> i64 {
///     let _ = moment;
///     token.exp.seconds()
/// }
/// ```
///
/// ```compile_fail
/// use delegation::registry::Moment;
/// use delegation::token::{SubjectToken, Verified};
/// fn keep<'m>(moment: &'m Moment, token: Verified<'m, SubjectToken>) -> Verified<'static, SubjectToken> {
///     let _ = moment;
///     token
/// }
/// ```
#[derive(Debug)]
pub struct Verified<'m, K: Holds> {
    evidence: K::Evidence,
    moment: PhantomData<&'m Moment>,
    kind: PhantomData<K>,
}

/// A kind of token with what is known once it holds.
pub trait Holds: TokenKind {
    /// The claims that may be relied on.
    type Evidence: std::fmt::Debug;
}

impl<'m, K: Holds> Verified<'m, K> {
    pub(super) fn new(_moment: &'m Moment, evidence: K::Evidence) -> Self {
        Self {
            evidence,
            moment: PhantomData,
            kind: PhantomData,
        }
    }
}

impl<K: Holds> Deref for Verified<'_, K> {
    type Target = K::Evidence;

    fn deref(&self) -> &K::Evidence {
        &self.evidence
    }
}
