//! Who is disabled, by key: all of standing that a view elsewhere needs.

use std::collections::BTreeSet;

use super::Line;
use super::mark::Key;

/// Who can be disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartyKind {
    /// Whom a token is for.
    Subject,
    /// Whoever it was issued to, or acts on it.
    Client,
}

impl PartyKind {
    /// Its word in the feed, which is that of the [kind of revocation](super::MarkKind).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Client => "client",
        }
    }

    /// The kind by its word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Subject, Self::Client].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Somebody who can be disabled, by the key that a [revocation](super::Revocation) of the same kind has.
pub type Party = (PartyKind, Key);

/// Everybody who is disabled. Unlike what is revoked it can be taken back, so it is replaced and never only added to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disabled(BTreeSet<Party>);

impl Disabled {
    /// Where nobody is disabled.
    pub const fn nobody() -> Self {
        Self(BTreeSet::new())
    }

    /// Adds somebody, or takes them out.
    pub fn set(&mut self, party: Party, is_disabled: bool) {
        if is_disabled {
            self.0.insert(party);
        } else {
            self.0.remove(&party);
        }
    }

    /// Whether this one is among them.
    pub fn contains(&self, party: &Party) -> bool {
        self.0.contains(party)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What makes of `before` this: who came, with `true`, and who went.
    pub fn since<'d>(&'d self, before: &'d Self) -> impl Iterator<Item = (Party, bool)> + 'd {
        let came = self.0.difference(&before.0).map(|party| (*party, true));
        came.chain(before.0.difference(&self.0).map(|party| (*party, false)))
    }

    /// Who of `line` is disabled, if anybody: the subject first, since with a disabled one no other token would be better.
    pub(super) fn of(&self, line: &Line<'_>) -> Option<PartyKind> {
        if self.0.is_empty() {
            return None;
        }
        if self.0.contains(&(PartyKind::Subject, line.subject_key())) {
            return Some(PartyKind::Subject);
        }
        let by_client = line.clients().any(|client| self.0.contains(&(PartyKind::Client, Key::of(client))));
        by_client.then_some(PartyKind::Client)
    }
}

impl FromIterator<Party> for Disabled {
    fn from_iter<I: IntoIterator<Item = Party>>(parties: I) -> Self {
        Self(parties.into_iter().collect())
    }
}
