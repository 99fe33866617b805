//! What ends a token that would hold otherwise: somebody's standing, or a revocation.

use super::claims::TokenError;
use crate::revocation::{Line, PartyKind, View};

/// Refuses a token of this line for as long as somebody in it is disabled, and for good once something that it names was revoked.
///
/// Every token that holds was asked this, whoever shows it and whatever for: its subject, the client that it was issued to, and all
/// that act. Standing comes first: of a subject whom nobody may act for, a newer token would be no better. A disabled client is said
/// as its revocation would be, since a token without it is good.
pub fn refuse_ended(line: &Line<'_>, view: &View) -> Result<(), TokenError> {
    match view.disables(line) {
        Some(PartyKind::Subject) => return Err(TokenError::SubjectDisabled),
        Some(PartyKind::Client) => return Err(TokenError::Revoked),
        None => {}
    }
    match view.kills(line) {
        Some(_) => Err(TokenError::Revoked),
        None => Ok(()),
    }
}
