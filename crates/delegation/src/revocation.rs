//! What is dead though not expired: the view, and its rule.
//!
//! A token names its whole line: its ancestors by `chain`, its transaction, its task. So ending one of these ends all that
//! came from it, and nothing has to be looked up: [`View::kills`] compares what a token says with what has been revoked.

mod dead;
mod disabled;
mod epochs;
mod mark;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use disabled::{Disabled, Party, PartyKind};
pub use mark::{Key, LONGEST_WORK, MarkKind, Revocation};

use crate::chain::ActorChain;
use crate::identity::{Risk, Subject};
use crate::oauth::ClientId;
use crate::time::Timestamp;
use crate::token::sha256;
use dead::Dead;
use epochs::Epochs;

/// Standing, which is replaced whole, and revocations, which are added as they come.
///
/// It is read when a token is looked at and again right before a decision is committed; the second look sees what was
/// added since.
#[derive(Clone, Debug, Default)]
pub struct View {
    clients: BTreeSet<ClientId>,
    subjects: BTreeSet<(String, String)>,
    risks: BTreeMap<(String, String), Risk>,
    dead_secrets: BTreeSet<[u8; 32]>,
    version: [u8; 32],
    disabled: Arc<Disabled>,
    revoked: Arc<Revoked>,
}

impl View {
    /// A view in which these clients and these subjects, as (issuer name, `sub`), are disabled, and nothing is revoked.
    pub fn new(clients: impl IntoIterator<Item = ClientId>, subjects: impl IntoIterator<Item = (String, String)>) -> Self {
        let (clients, subjects): (BTreeSet<_>, BTreeSet<_>) = (clients.into_iter().collect(), subjects.into_iter().collect());
        Self {
            version: version(&clients, &subjects, &BTreeMap::new()),
            disabled: Arc::new(clients.iter().map(key_of_client).collect()),
            clients,
            subjects,
            risks: BTreeMap::new(),
            dead_secrets: BTreeSet::new(),
            revoked: Arc::default(),
        }
    }

    /// This standing, in which these subjects are as risky as is said here, whatever their tokens say.
    #[must_use]
    pub fn with_risks(self, risks: impl IntoIterator<Item = ((String, String), Risk)>) -> Self {
        let risks = risks.into_iter().collect();
        Self {
            version: version(&self.clients, &self.subjects, &risks),
            risks,
            ..self
        }
    }

    /// This standing, in which the client secrets with these digests are taken no more, whatever the configuration says.
    ///
    /// They are not in [`version`](Self::version): who may ask is for nobody but the broker.
    #[must_use]
    pub fn with_dead_secrets(self, digests: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let dead_secrets = digests.into_iter().collect();
        Self { dead_secrets, ..self }
    }

    /// This standing beside `revoked`, which goes on growing.
    #[must_use]
    pub fn beside(self, revoked: Arc<Revoked>) -> Self {
        Self { revoked, ..self }
    }

    /// This standing, in which those parties are disabled [by key](Self::disables).
    #[must_use]
    pub fn with_disabled(self, disabled: Arc<Disabled>) -> Self {
        Self { disabled, ..self }
    }

    /// The keys of everybody who is disabled here by name, where the issuer of this name is the one that `iss_of` says. Of an issuer that
    /// is not known nobody has a key: none of our tokens is for somebody there.
    pub fn keys_of_disabled<'s>(&self, iss_of: impl Fn(&str) -> Option<&'s str>) -> Disabled {
        let subjects = self.subjects.iter();
        let subjects = subjects.filter_map(|(name, sub)| Some((PartyKind::Subject, Key::of_pair(iss_of(name)?, sub))));
        self.clients.iter().map(key_of_client).chain(subjects).collect()
    }

    /// Everybody who is disabled, by key.
    pub fn disabled(&self) -> &Arc<Disabled> {
        &self.disabled
    }

    /// Who of a token's line is disabled, if anybody: its subject, the client that it was issued to, or one that acts.
    ///
    /// A subject is found by the name of its issuer, or by the key that [`with_disabled`](Self::with_disabled) was told; clients have
    /// their keys by themselves.
    pub fn disables(&self, line: &Line<'_>) -> Option<PartyKind> {
        if !self.subjects.is_empty() && self.is_subject_disabled(line.subject) {
            return Some(PartyKind::Subject);
        }
        self.disabled.of(line)
    }

    /// The version of this standing: another one says that somebody's changed. Revocations are not in it.
    pub fn version(&self) -> &[u8; 32] {
        &self.version
    }

    /// Whether `client` is disabled.
    pub fn is_client_disabled(&self, client: &ClientId) -> bool {
        self.clients.contains(client)
    }

    /// Whether `subject` is disabled.
    pub fn is_subject_disabled(&self, subject: &Subject) -> bool {
        self.subjects.contains(&(subject.issuer_name.clone(), subject.sub.clone()))
    }

    /// How risky `subject` is said to be, in place of what its token says.
    pub fn risk(&self, subject: &Subject) -> Option<Risk> {
        self.risks.get(&(subject.issuer_name.clone(), subject.sub.clone())).copied()
    }

    /// Whether the client secret with this SHA-256 is taken no more.
    pub fn is_secret_dead(&self, digest: &[u8; 32]) -> bool {
        self.dead_secrets.contains(digest)
    }

    /// Whether this very thing is dead for ever; of what it came from, and of epochs, nothing is asked.
    pub fn is_dead(&self, kind: MarkKind, key: &Key) -> bool {
        self.revoked.dead.holds(kind, key)
    }

    /// What has ended a token of this line, if anything has.
    pub fn kills(&self, line: &Line<'_>) -> Option<MarkKind> {
        self.revoked.kills(line, line.named())
    }

    /// The same where `named` is what the line [names](Line::named): a digest of each takes longer than to look for it.
    pub fn kills_named(&self, line: &Line<'_>, named: &[(MarkKind, Key)]) -> Option<MarkKind> {
        self.revoked.kills(line, named.iter().copied())
    }
}

fn key_of_client(client: &ClientId) -> Party {
    (PartyKind::Client, Key::of(client.as_str()))
}

/// A digest of everybody's standing; no two say the same in the same bytes, since JSON tells where each text ends.
fn version(clients: &BTreeSet<ClientId>, subjects: &BTreeSet<(String, String)>, risks: &BTreeMap<(String, String), Risk>) -> [u8; 32] {
    let clients: Vec<_> = clients.iter().map(ClientId::as_str).collect();
    let risks: Vec<_> = risks.iter().map(|(subject, risk)| (subject, risk.as_str())).collect();
    sha256(serde_json::json!([clients, subjects, risks]).to_string().as_bytes())
}

/// What a token says of where it comes from and whom it is for: all that revocation can name.
#[derive(Clone, Copy, Debug)]
pub struct Line<'t> {
    /// Its ancestors' `jti`s and its own, root first; an outside token's entry begins with `o_`.
    pub chain: &'t [String],
    /// Its transaction.
    pub txn: Option<&'t str>,
    /// Its task.
    pub task: Option<&'t str>,
    /// Whom it is for, as the outside issuer names them.
    pub subject: &'t Subject,
    /// The client that it was issued to; of our own tokens alone.
    pub client: Option<&'t str>,
    /// Who acts, by our own word.
    pub act: Option<&'t ActorChain>,
    /// When it was issued.
    pub iat: Timestamp,
}

impl Line<'_> {
    /// The key of its subject.
    fn subject_key(&self) -> Key {
        Key::of_pair(&self.subject.iss, &self.subject.sub)
    }

    /// Every client in it. Every actor in a token of ours is a client of ours: we wrote it there.
    fn clients(&self) -> impl Iterator<Item = &str> {
        let acting = self.act.into_iter().flat_map(|act| act.iter().map(|actor| actor.sub.as_str()));
        self.client.into_iter().chain(acting)
    }
}

/// Everything that has been revoked and could still touch a living token.
///
/// Shared by all that look; adding to it is seen by the next look. How old it is, its owner knows.
#[derive(Debug, Default)]
pub struct Revoked {
    dead: Dead,
    epochs: Epochs,
    /// Everything that was issued in this second or before is dead: raised when a store was set back.
    floor: AtomicI64,
}

impl Revoked {
    /// Adds a revocation. Adding one twice is adding it once.
    pub fn add(&self, revocation: &Revocation) {
        match revocation.kind {
            MarkKind::Restore => {
                self.floor.fetch_max(revocation.at.seconds(), Ordering::AcqRel);
            }
            MarkKind::Subject | MarkKind::Client | MarkKind::Issuer => self.epochs.add(revocation),
            kind => self.dead.add(kind, &revocation.key, revocation.forget_at),
        }
    }

    /// So many calls of [`forget`](Self::forget) go once through all that is dead.
    pub const PARTS: usize = dead::SHARDS;

    /// Forgets, in the next part of what is dead, what can touch nothing that is alive at `now`.
    ///
    /// A part at a time, so that whoever looks meanwhile waits for little, however much there is.
    pub fn forget(&self, now: Timestamp) {
        self.dead.forget(now);
    }

    /// How many things are dead for ever, and how many epochs there are.
    pub fn len(&self) -> usize {
        self.dead.len() + self.epochs.len()
    }

    /// Whether nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn kills(&self, line: &Line<'_>, mut named: impl Iterator<Item = (MarkKind, Key)>) -> Option<MarkKind> {
        // 1. Epochs: whatever was issued in that second or before.
        let iat = line.iat.seconds();
        if iat <= self.floor.load(Ordering::Acquire) {
            return Some(MarkKind::Restore);
        }
        if let Some(kind) = self.epochs.kills(line, iat) {
            return Some(kind);
        }
        // 2. Dead for ever, with all that names it.
        if self.dead.is_empty() {
            return None;
        }
        named.find(|(kind, key)| self.dead.holds(*kind, key)).map(|(kind, _)| kind)
    }
}

impl<'t> Line<'t> {
    /// All of it that is ended once and for ever, by key: its chain, its transaction and its task.
    pub fn named(&self) -> impl Iterator<Item = (MarkKind, Key)> + use<'t> {
        let of_chain = self.chain.iter().map(|entry| Key::of_entry(entry));
        let by_name = [(MarkKind::Txn, self.txn), (MarkKind::Task, self.task)];
        of_chain.chain(by_name.into_iter().filter_map(|(kind, id)| Some((kind, Key::of(id?)))))
    }
}
