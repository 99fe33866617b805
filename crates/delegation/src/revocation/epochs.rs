//! Epochs: whatever was issued in a second or before is dead. They are few, and kept.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::Line;
use super::mark::{Key, MarkKind, Revocation};

/// By key, the last second whose tokens are dead.
#[derive(Debug, Default)]
pub(super) struct Epochs(RwLock<HashMap<(MarkKind, Key), i64>>);

impl Epochs {
    /// Adds one; of two for the same party the later counts.
    pub(super) fn add(&self, revocation: &Revocation) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = all.entry((revocation.kind, revocation.key)).or_insert(i64::MIN);
        *at = (*at).max(revocation.at.seconds());
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Which kind of epoch has ended a token that was issued in the second `iat`.
    pub(super) fn kills(&self, line: &Line<'_>, iat: i64) -> Option<MarkKind> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return None;
        }
        let ended = |kind, key| all.get(&(kind, key)).is_some_and(|at| iat <= *at);
        if ended(MarkKind::Subject, line.subject_key()) {
            return Some(MarkKind::Subject);
        }
        if ended(MarkKind::Issuer, Key::of(&line.subject.iss)) {
            return Some(MarkKind::Issuer);
        }
        let by_client = line.clients().any(|client| ended(MarkKind::Client, Key::of(client)));
        by_client.then_some(MarkKind::Client)
    }
}
