//! What a revocation names.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::time::Timestamp;
use crate::token::sha256;

/// One revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What it names.
    pub kind: MarkKind,
    /// Which.
    pub key: Key,
    /// For an epoch: whatever was issued in this second or before is dead. Else when it was revoked.
    pub at: Timestamp,
    /// From when on it can touch nothing that is alive.
    pub forget_at: Timestamp,
}

/// What hangs from a token can be alive no longer than this after it: work for later ends within a week.
pub const LONGEST_WORK: Duration = Duration::from_secs(7 * 24 * 3600);

impl Revocation {
    /// A revocation at `at`, where our tokens live for `longest_life` at most.
    ///
    /// How long a token of another issuer lives nobody knows here, and epochs are few: both are kept for good.
    pub fn new(kind: MarkKind, key: Key, at: Timestamp, longest_life: Duration) -> Self {
        let kept = if kind == MarkKind::Outside || kind.is_epoch() {
            Duration::MAX
        } else {
            longest_life.max(LONGEST_WORK) + LONGEST_WORK
        };
        Self {
            kind,
            key,
            at,
            forget_at: at.plus(kept),
        }
    }
}

/// The kinds of things that can be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkKind {
    /// One of our tokens, with all that came from it.
    Jti,
    /// A token of a trusted issuer, with all that came from it.
    Outside,
    /// A task.
    Task,
    /// A transaction.
    Txn,
    /// An exception.
    Exception,
    /// An approval.
    Approval,
    /// An epoch: what was issued for a subject.
    Subject,
    /// An epoch: what was issued to a client, or on which it acts.
    Client,
    /// An epoch: what came from a trusted issuer.
    Issuer,
    /// An epoch of the whole store, which was set back: what ended meanwhile is not known.
    Restore,
}

impl MarkKind {
    /// Every kind, with its word in the feed and in the store.
    pub const ALL: [(&'static str, Self); 10] = [
        ("jti", Self::Jti),
        ("outside", Self::Outside),
        ("task", Self::Task),
        ("txn", Self::Txn),
        ("exception", Self::Exception),
        ("approval", Self::Approval),
        ("subject", Self::Subject),
        ("client", Self::Client),
        ("issuer", Self::Issuer),
        ("restore", Self::Restore),
    ];

    /// The kind by its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, kind)| kind)
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }

    /// Whether it ends what was issued up to a second, and not one thing for ever.
    pub fn is_epoch(self) -> bool {
        matches!(self, Self::Subject | Self::Client | Self::Issuer | Self::Restore)
    }
}

/// The name of what was revoked, as a SHA-256: a feed of them tells nothing to who does not know the name.
///
/// It means something beside its kind alone: a `txn` that reads like a `jti` is not that `jti`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of a thing with one name.
    pub fn of(id: &str) -> Self {
        Self(sha256(id.as_bytes()))
    }

    /// The key of a thing that an issuer named: a subject, or a token of an issuer, which `chain` names alike.
    pub fn of_pair(iss: &str, id: &str) -> Self {
        Self(sha256(format!("{iss}\n{id}").as_bytes()))
    }

    /// What an entry of `chain` names.
    pub fn of_entry(entry: &str) -> (MarkKind, Self) {
        let outside = entry.strip_prefix("o_").and_then(|digest| URL_SAFE_NO_PAD.decode(digest).ok());
        match outside.and_then(|digest| <[u8; 32]>::try_from(digest).ok()) {
            Some(digest) => (MarkKind::Outside, Self(digest)),
            None => (MarkKind::Jti, Self::of(entry)),
        }
    }

    /// A key from the feed or the store.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first 128 bits.
    pub(super) fn first_half(&self) -> u128 {
        self.0.iter().take(16).fold(0, |half, byte| half << 8 | u128::from(*byte))
    }
}
