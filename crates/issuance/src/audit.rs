//! The record of a decision, durable before its effect.

mod record;

use std::future::Future;

pub use record::{Decision, Effect, Kind, Record, RequestLine};

use delegation::identity::{Attributes, Subject, SubjectKind};
use delegation::oauth::Reason;
use delegation::revocation::Revocation;
use delegation::time::Timestamp;
use delegation::token::KeptToken;

use crate::policy::{Permit, Proposal};
use crate::task::{Over, TaskChange};

/// A durable, append-only list of records, and the memory of what has been used up.
///
/// Contract. `Ok`: the entry's record has its place in the order, survives a crash of this process and of this
/// machine, every use in it was unused and is now used, its transaction and its opaque token are kept, and its task is changed
/// as it says, all in one commit. `AlreadyUsed` and `Over`: nothing of this entry happened. `Unavailable`: unknown; the caller must not act on it.
/// Calls may overlap; entries that overlap may share one commit, and one that loses leaves the others alone.
/// A call whose future is dropped may or may not have happened.
pub trait Journal: Send + Sync {
    /// Makes `entry` durable and gives the record's index.
    fn commit(&self, entry: Entry) -> impl Future<Output = Result<u64, CommitError>> + Send;
}

/// What is committed together.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The record.
    pub record: Record,
    /// What else is told of it, right behind the record.
    pub beside: Option<Box<Record>>,
    /// What this decision uses up.
    pub uses: Vec<Use>,
    /// The transaction that this decision begins.
    pub begins: Option<Transaction>,
    /// What this decision ends: whoever looks after the commit finds it dead.
    pub revokes: Option<Revocation>,
    /// What this decision changes about a task.
    pub task: Option<TaskChange>,
    /// What the opaque token stands for that this decision issues.
    pub keeps: Option<KeptToken>,
}

impl Entry {
    /// An entry of `record` alone.
    pub fn of(record: Record) -> Self {
        Self {
            record,
            beside: None,
            uses: Vec::new(),
            begins: None,
            revokes: None,
            task: None,
            keeps: None,
        }
    }
}

/// Something that may be used once: the key is (kind, issuer, id), so no two parties can use up each other's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Use {
    /// What it is.
    pub kind: UseKind,
    /// Who issued it.
    pub issuer: String,
    /// Its id there.
    pub id: String,
    /// From when on it may be forgotten: past its expiry and any leeway.
    pub forget_at: Timestamp,
}

/// What kinds of things are used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UseKind {
    /// The `jti` of a client assertion.
    ClientAssertion,
    /// The `jti` of an ID-JAG.
    IdJag,
    /// The `jti` of a security event.
    SecurityEvent,
    /// The `jti` of one of our own tokens.
    Token,
    /// The id of a refusal that a guard puts on record.
    GuardRefusal,
    /// The `jti` of a token that a guard says was shown from two places.
    Sighting,
}

impl UseKind {
    /// The word in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientAssertion => "client_assertion",
            Self::IdJag => "id_jag",
            Self::SecurityEvent => "security_event",
            Self::Token => "token",
            Self::GuardRefusal => "guard_refusal",
            Self::Sighting => "sighting",
        }
    }
}

/// What is kept of the subject from the outside token that began a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its id.
    pub txn: String,
    /// Whom it is for.
    pub subject: Subject,
    /// A person or a program.
    pub kind: SubjectKind,
    /// Attributes and groups as read then.
    pub attributes: Attributes,
    /// The outside client that the token was issued to.
    pub requested_by: Option<String>,
    /// When it began.
    pub began: Timestamp,
    /// From when on no token of it can be alive.
    pub forget_at: Timestamp,
}

/// Why an entry was not committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Something in it had been used before; nothing of the entry happened.
    #[error("already used")]
    AlreadyUsed,
    /// The task that it would change is over; nothing of the entry happened.
    #[error("the task is over")]
    Over(Over),
    /// Whether it happened is not known.
    #[error("the journal is not available")]
    Unavailable,
}

/// Proof that a record of this `T` is durable, and that everything it uses up was unused and is now used.
///
/// Made only by [`commit`]:
///
/// ```
/// use issuance::audit::Recorded;
/// use issuance::exchange::Exchange;
/// use issuance::policy::Permit;
/// fn index(recorded: &Recorded<Permit<Exchange>>) -> u64 {
///     recorded.index()
/// }
/// ```
///
/// ```compile_fail
/// use issuance::audit::Recorded;
/// use issuance::exchange::Exchange;
/// use issuance::policy::Permit;
/// fn skip_the_journal(permit: Permit<Exchange>) -> Recorded<Permit<Exchange>> {
///     Recorded { value: permit, index: 0 }
/// }
/// ```
#[derive(Debug)]
pub struct Recorded<T> {
    pub(crate) value: T,
    index: u64,
}

impl<T> Recorded<T> {
    /// The record's index in the log.
    pub fn index(&self) -> u64 {
        self.index
    }
}

/// Makes the record of what is permitted durable, with all that it uses up, begins and changes.
pub async fn commit<J: Journal, T: Proposal>(
    journal: &J,
    permit: Permit<T>,
    mut record: Record,
) -> Result<Recorded<Permit<T>>, CommitError> {
    record.decision = Decision::Allow;
    record.reason = "permitted".to_owned();
    let index = journal.commit(permit.permitted.entry(record)).await?;
    Ok(Recorded { value: permit, index })
}

/// Makes the record of what would be permitted durable, where decisions are only observed: the permit ends here, so that nothing
/// can be minted from it, and of what it would use up, begin and change nothing happens. `uses` are the client's own credentials.
pub async fn commit_observed<J: Journal, T: Proposal>(
    journal: &J,
    _permit: Permit<T>,
    mut record: Record,
    uses: Vec<Use>,
) -> Result<u64, CommitError> {
    record.decision = Decision::Allow;
    record.effect = Some(Effect::Observed);
    record.reason = "permitted".to_owned();
    let entry = Entry { uses, ..Entry::of(record) };
    journal.commit(entry).await
}

/// Makes the record of a refusal durable before it is answered; a client's assertion is used up by it too.
pub async fn commit_denial<J: Journal>(journal: &J, reason: Reason, record: Record, uses: Vec<Use>) -> Result<u64, CommitError> {
    let entry = Entry {
        uses,
        ..Entry::of(record.denied(reason))
    };
    journal.commit(entry).await
}
