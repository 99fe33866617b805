//! How a task ends: its status, and with it the end of every token that hangs from it, in one commit with the record.

use delegation::registry::Moment;
use delegation::revocation::{Key, MarkKind, Revocation};
use issuance::audit::{CommitError, Decision, Entry, Journal, Record, Use};
use issuance::task::{KeptTask, Over, Status, TaskChange};

use crate::broker::Broker;

/// What ends `task` at `moment`; `record` is filled with it.
pub(crate) fn entry(task: &KeptTask, status: Status, uses: Vec<Use>, moment: &Moment, record: &mut Record) -> Entry {
    record.decision = Decision::Done;
    record.reason = status.as_str().to_owned();
    record.task = Some(task.id.clone());
    record.txn = task.txn();
    let longest = moment.snapshot.lifetimes.max;
    Entry {
        uses,
        revokes: Some(Revocation::new(MarkKind::Task, Key::of(&task.id), moment.now, longest)),
        task: Some(TaskChange::Ends {
            id: task.id.clone(),
            status,
        }),
        ..Entry::of(record.clone())
    }
}

/// Makes `entry` durable. A task that was over before is left as it ended, which is what is returned; that it was asked for
/// is on record too.
pub(crate) async fn commit(broker: &Broker, entry: Entry) -> Result<Option<Over>, CommitError> {
    let (mut record, uses) = (entry.record.clone(), entry.uses.clone());
    match broker.journal().commit(entry).await {
        Ok(_) => Ok(None),
        Err(CommitError::Over(over)) => {
            "ended_before".clone_into(&mut record.reason);
            let entry = Entry { uses, ..Entry::of(record) };
            broker.journal().commit(entry).await.map(|_| Some(over))
        }
        Err(error) => Err(error),
    }
}
