//! What a batch of entries changes about tasks.

use std::time::Duration;

use delegation::time::Timestamp;
use issuance::audit::{CommitError, Entry};
use issuance::task::{KeptTask, Over, Slot, Status, TaskChange};

use super::uses;
use crate::store::{Row, StoreTransaction, sql};

/// How long a task that is over can still be looked at.
const SHOWN_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Makes the changes of those `entries` that have not lost, and notes why one loses: its task is over.
///
/// Tasks are taken in the order of their ids, so that two nodes never wait for each other in a circle, and the entries of one
/// task in the order in which they came. Of an entry that loses nothing is kept, not even what it used up.
pub(super) async fn change(
    transaction: &mut StoreTransaction<'_>,
    entries: &[Entry],
    lost: &mut [Option<CommitError>],
) -> Result<(), sqlx::Error> {
    let going_on = entries.iter().zip(lost).filter(|(_, lost)| lost.is_none());
    let mut changes: Vec<_> = going_on.filter_map(|(entry, lost)| Some((entry.task.as_ref()?, entry, lost))).collect();
    // Stable: those of one task stay in their order.
    changes.sort_by(|(one, ..), (other, ..)| id(one).cmp(id(other)));
    for (change, entry, lost) in changes {
        let over = match change {
            TaskChange::Opens { task, token } => {
                open(transaction, task, token).await?;
                None
            }
            TaskChange::Takes(slot) => take(transaction, slot).await?,
            TaskChange::Ends { id, status } => end(transaction, id, *status).await?,
        };
        if let Some(over) = over {
            uses::give_back(transaction, entry).await?;
            *lost = Some(CommitError::Over(over));
        }
    }
    Ok(())
}

fn id(change: &TaskChange) -> &str {
    match change {
        TaskChange::Opens { task, .. } => &task.id,
        TaskChange::Takes(slot) => &slot.task,
        TaskChange::Ends { id, .. } => id,
    }
}

async fn open(transaction: &mut StoreTransaction<'_>, task: &KeptTask, token: &[u8; 32]) -> Result<(), sqlx::Error> {
    let columns = "INSERT INTO tasks (id, token, creator, actor, status, tokens, max_tokens, created_at, expires_at, terms, forget_at)";
    let statement = sql(columns).row([
        (&task.id).into(),
        token.to_vec().into(),
        task.creator.as_str().into(),
        task.actor.as_str().into(),
        task.status.as_str().into(),
        i64::from(task.tokens).into(),
        i64::from(task.max_tokens).into(),
        task.created_at.millis().into(),
        task.expires_at.millis().into(),
        (&task.terms).into(),
        task.expires_at.plus(SHOWN_AFTER).millis().into(),
    ]);
    transaction.execute(statement).await.map(drop)
}

/// Takes a place in the count of a task, unless the attempt has one.
async fn take(transaction: &mut StoreTransaction<'_>, slot: &Slot) -> Result<Option<Over>, sqlx::Error> {
    // 1. The task is held until the end of the transaction: whatever else would change it waits.
    let hold = sql("UPDATE tasks SET tokens = tokens WHERE id = $1 RETURNING status, tokens, max_tokens").bind(&slot.task);
    let rows = transaction.fetch(hold).await?;
    let Some(row) = rows.first() else {
        return Ok(Some(Over::Expired));
    };
    if let Some(over) = over(row)? {
        return Ok(Some(over));
    }

    // 2. The attempt's own place, for as long as its first token lives.
    if let Some(attempt) = &slot.attempt {
        let own = sql("SELECT until FROM task_attempts WHERE task = $1 AND attempt = $2");
        let rows = transaction.fetch(own.bind(&slot.task).bind(attempt)).await?;
        let until = rows.first().map(|row| row.get::<i64>("until")).transpose()?;
        if until.is_some_and(|until| Timestamp::from_millis(until) > slot.now) {
            return Ok(None);
        }
    }

    // 3. A new place.
    let (taken, most): (i64, i64) = (row.get("tokens")?, row.get("max_tokens")?);
    if taken >= most {
        return Ok(Some(Over::Exhausted));
    }
    let place = sql("UPDATE tasks SET tokens = tokens + 1 WHERE id = $1").bind(&slot.task);
    transaction.execute(place).await?;
    if let Some(attempt) = &slot.attempt {
        let until = slot.until.millis();
        let row = [(&slot.task).into(), attempt.into(), until.into(), until.into()];
        let noted = sql("INSERT INTO task_attempts (task, attempt, until, forget_at)")
            .row(row)
            .then(" ON CONFLICT (task, attempt) DO UPDATE SET until = excluded.until, forget_at = excluded.forget_at");
        transaction.execute(noted).await?;
    }
    Ok(None)
}

/// Ends a task that is open.
pub(crate) async fn end(transaction: &mut StoreTransaction<'_>, id: &str, status: Status) -> Result<Option<Over>, sqlx::Error> {
    let ends = sql("UPDATE tasks SET status = $2 WHERE id = $1 AND status = 'open'");
    if transaction.execute(ends.bind(id).bind(status.as_str())).await? == 1 {
        return Ok(None);
    }
    let rows = transaction.fetch(sql("SELECT status FROM tasks WHERE id = $1").bind(id)).await?;
    match rows.first() {
        Some(row) => Ok(Some(over(row)?.unwrap_or(Over::Expired))),
        None => Ok(Some(Over::Expired)),
    }
}

fn over(row: &Row) -> Result<Option<Over>, sqlx::Error> {
    let status: String = row.get("status")?;
    match Status::parse(&status) {
        Some(Status::Open) => Ok(None),
        Some(Status::Completed) => Ok(Some(Over::Completed)),
        Some(Status::Cancelled) => Ok(Some(Over::Cancelled)),
        // One that is not understood is not one that goes on.
        None => Err(sqlx::Error::Decode("unknown status of a task".into())),
    }
}
