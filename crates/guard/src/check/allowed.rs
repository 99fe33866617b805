//! What a guard answers, and what a backend may rely on.

use std::ops::Deref;
use std::sync::Arc;

use delegation::oauth::Reason;
use delegation::token::AccessClaims;

use super::presented::Presented;
use super::refusal::Refusal;
use super::{Exact, Verified};
use crate::intent::Needs;

/// What a guard answers to one request.
#[derive(Debug)]
pub enum Verdict<'m> {
    /// The route needs no token; no identity goes on.
    Public,
    /// It goes on.
    Allowed(Box<Allowed<'m>>),
    /// It goes on once the broker has said that the token was not used before.
    Unspent(Box<Unspent<'m>>),
    /// It does not.
    Refused(Refusal),
}

/// A request that passed every check, with what its token says.
///
/// It is not made by hand:
///
/// ```
/// use narrows_guard::check::Allowed;
/// fn subject<'a>(request: &'a Allowed<'_>) -> &'a str {
///     &request.sub
/// }
/// ```
///
/// ```compile_fail
/// use narrows_guard::check::{Allowed, Verified};
/// fn forge(token: Verified<'_>) -> Allowed<'_> {
///     Allowed { verified: token, needs: todo!() }
/// }
/// ```
#[derive(Debug)]
pub struct Allowed<'m> {
    verified: Verified<'m>,
    needs: Box<Needs>,
}

/// The same, but that its token is good for one request, and nobody knows yet whether this is it.
///
/// It is no [`Allowed`] until the broker has answered:
///
/// ```
/// use narrows_guard::check::{Allowed, Refusal, Unspent, Use};
/// fn spend(request: Unspent<'_>, answer: Use) -> Result<Allowed<'_>, Refusal> {
///     request.answered(answer)
/// }
/// ```
///
/// ```compile_fail
/// use narrows_guard::check::{Allowed, Refusal, Unspent, Use};
/// fn spend(request: Unspent<'_>, answer: Use) -> Result<Allowed<'_>, Refusal> {
///     Ok(request.allowed)
/// }
/// ```
#[derive(Debug)]
pub struct Unspent<'m> {
    allowed: Allowed<'m>,
    presented: Arc<Presented>,
}

/// A request that goes on, with what its token says, for as long as it is served.
///
/// What was true when it was decided need not be true any more; only [`Allowed`] makes one.
///
/// ```compile_fail
/// use narrows_guard::check::Admitted;
/// let forged = Admitted { said: todo!(), needs: todo!() };
/// ```
#[derive(Clone, Debug)]
pub struct Admitted {
    said: Arc<AccessClaims>,
    needs: Arc<Needs>,
}

/// What the broker answers to the use of a token (`POST /v1/uses`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// This is its use; it is on record.
    Accepted,
    /// It was used before.
    Used,
    /// It is not taken, for this reason.
    Refused(Reason),
    /// It did not answer, or not in time: whether this is its use nobody knows.
    Unavailable,
}

impl<'m> Verdict<'m> {
    pub(super) fn of(exact: Exact<'m>, is_good_once: bool, presented: Arc<Presented>, needs: Box<Needs>) -> Self {
        let allowed = Allowed {
            verified: exact.verified,
            needs,
        };
        if is_good_once {
            Self::Unspent(Box::new(Unspent { allowed, presented }))
        } else {
            Self::Allowed(Box::new(allowed))
        }
    }
}

impl Allowed<'_> {
    /// What the request needed, and how it is served.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// The same without its moment: for the response, and not for another request.
    pub fn admitted(self) -> Admitted {
        Admitted {
            said: self.verified.said,
            needs: self.needs.into(),
        }
    }
}

impl Admitted {
    /// What the request needed, and how it is served.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }
}

impl Deref for Admitted {
    type Target = AccessClaims;

    fn deref(&self) -> &AccessClaims {
        &self.said
    }
}

impl Deref for Allowed<'_> {
    type Target = AccessClaims;

    fn deref(&self) -> &AccessClaims {
        &self.verified
    }
}

impl<'m> Unspent<'m> {
    /// The token, for the broker alone.
    pub fn token(&self) -> &str {
        self.presented.token()
    }

    /// What the request needs, and how it is served.
    pub fn needs(&self) -> &Needs {
        self.allowed.needs()
    }

    /// What the token says.
    pub fn claims(&self) -> &AccessClaims {
        &self.allowed
    }

    /// The request, if the broker has taken this for the use of its token.
    pub fn answered(self, answer: Use) -> Result<Allowed<'m>, Refusal> {
        let refuse = |reason: Reason| Refusal::from(reason).about(&self.allowed);
        match answer {
            Use::Accepted => Ok(self.allowed),
            Use::Used => Err(refuse(Reason::TokenUsed)),
            Use::Refused(reason) => Err(refuse(reason)),
            Use::Unavailable => Err(refuse(Reason::StoreUnavailable)),
        }
    }
}
