//! The opaque form of a token, for audiences that want nothing readable.

use delegation::oauth::Reason;
use delegation::registry::{Audience, Moment, TokenForm};
use delegation::time::Timestamp;
use delegation::token::{OpaqueForm, OpaqueKind};

use super::Fresh;

/// The secret that is handed out in place of a signed token.
#[derive(Clone, Debug)]
pub(crate) struct Opaque {
    pub(crate) token: OpaqueForm,
    /// From when on nothing that came from it can be alive: whoever finds it until then may report it as leaked.
    pub(crate) forget_at: Timestamp,
}

impl Opaque {
    /// What a token for `audience` is that ends at `expires_at`; `None` if it is to be signed.
    pub(super) fn of(moment: &Moment, audience: &Audience, fresh: &Fresh, expires_at: Timestamp) -> Result<Option<Self>, Reason> {
        match audience.form {
            TokenForm::Jwt | TokenForm::Txn => Ok(None),
            TokenForm::Opaque => Ok(Some(Self {
                // Without randomness nothing is a secret.
                token: OpaqueForm::make(OpaqueKind::Access, fresh.secret.as_ref().ok_or(Reason::StoreUnavailable)?),
                // A deferred task is all that outlives what it was made from.
                forget_at: expires_at.plus(moment.snapshot.lifetimes.deferred_task),
            })),
        }
    }
}
