//! What is kept of one of our own tokens, beside what it says itself: its transaction and its task.

use delegation::oauth::Reason;
use delegation::registry::Moment;
use delegation::token::SubjectEvidence;

use crate::audit::Transaction;
use crate::policy::TaskFacts;
use crate::task::KeptTask;

/// What is kept of one of our own tokens, beside what it says itself.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Its transaction.
    pub transaction: Option<Transaction>,
    /// Its task, if it hangs from one.
    pub task: Option<KeptTask>,
}

impl Kept {
    /// What policy may read of the task that `subject` hangs from. One that cannot be read, or is over, is no task's token.
    pub(crate) fn task_of(&self, subject: &SubjectEvidence, moment: &Moment) -> Result<Option<TaskFacts>, Reason> {
        match (&subject.task, &self.task) {
            (None, _) => Ok(None),
            (Some(id), Some(task)) if *id == task.id => match task.over(moment.now) {
                Some(_) => Err(Reason::SubjectTokenRevoked),
                None => task.facts(moment.now).map(Some).ok_or(Reason::StoreUnavailable),
            },
            (Some(_), _) => Err(Reason::StoreUnavailable),
        }
    }
}

/// What was read of the subject when the transaction began, and whether it begins now.
pub(crate) fn transaction(
    moment: &Moment,
    subject: &SubjectEvidence,
    kept: Option<&Transaction>,
    txn: String,
) -> Result<(Transaction, bool), Reason> {
    match (&subject.facts, kept) {
        (Some(facts), _) => Ok((
            Transaction {
                txn,
                subject: subject.subject.clone(),
                kind: facts.kind,
                attributes: facts.attributes.clone(),
                requested_by: facts.requested_by.clone(),
                began: moment.now,
                forget_at: subject.exp,
            },
            true,
        )),
        (None, Some(kept)) if kept.subject == subject.subject => Ok((kept.clone(), false)),
        (None, _) => Err(Reason::StoreUnavailable),
    }
}
