//! How a task ends: its status, and with it the end of every token that hangs from it, in one commit with the record.

use delegation::oauth::Manner;
use delegation::registry::Moment;
use delegation::revocation::{Key, MarkKind, Revocation};
use issuance::audit::{CommitError, Decision, Entry, Journal, Record, Use};
use issuance::task::{KeptTask, Status, TaskChange};

use crate::broker::Broker;
use crate::denied::Denied;
use delegation::oauth::Reason;

/// Ends `task`, durably before this returns. One that is over already is, however it ended.
pub(crate) async fn end(
    broker: &Broker,
    task: &KeptTask,
    status: Status,
    uses: Vec<Use>,
    moment: &Moment,
    record: &mut Record,
) -> Result<(), Denied> {
    record.decision = Decision::Done;
    record.reason = status.as_str().to_owned();
    record.task = Some(task.id.clone());
    record.txn = task.txn();
    let longest = moment.snapshot.lifetimes.max;
    let entry = Entry {
        uses: uses.clone(),
        revokes: Some(Revocation::new(MarkKind::Task, Key::of(&task.id), moment.now, longest)),
        task: Some(TaskChange::Ends {
            id: task.id.clone(),
            status,
        }),
        ..Entry::of(record.clone())
    };
    let reason = match broker.journal().commit(entry).await {
        Ok(_) => return Ok(()),
        Err(CommitError::Over(_)) => {
            // Nothing happened, and nothing has to: what was asked is on record with what it uses up.
            record.reason = "ended_before".to_owned();
            let entry = Entry {
                uses,
                ..Entry::of(record.clone())
            };
            match broker.journal().commit(entry).await {
                Ok(_) => return Ok(()),
                Err(CommitError::AlreadyUsed) => Reason::ClientAuthenticationFailed,
                Err(_) => Reason::StoreUnavailable,
            }
        }
        Err(CommitError::AlreadyUsed) => Reason::ClientAuthenticationFailed,
        Err(CommitError::Unavailable) => Reason::StoreUnavailable,
    };
    Err(Denied::recorded_anew(reason, Manner::default(), record))
}
