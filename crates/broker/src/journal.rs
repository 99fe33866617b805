//! The journal: one task owns the writing connection, and entries that gather share one commit.
//!
//! On PostgreSQL several nodes write at once. Each takes what it uses up in one global order, and the row `log_head` last,
//! so that none waits for another in a circle; that row is the order of the log, without gap or fork.

mod tasks;
mod uses;

pub(crate) use tasks::end as end_task;
pub(crate) use uses::{take as take_uses, used};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use issuance::audit::{CommitError, Entry, Journal, Record, Transaction};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::overload;
use crate::store::{Connection, Purpose, Store, StoreTransaction, insert_opaque_tokens, insert_revocation, sql};

/// No more entries than this share a commit.
const BATCH: usize = 256;
/// How long several entries wait for more. A single one does not wait.
const LINGER: Duration = Duration::from_millis(1);
/// How many entries may wait.
const WAITING: usize = 4096;
/// A commit that takes longer has an unknown outcome: behind a broken network it would never end.
const DEADLINE: Duration = Duration::from_secs(10);
/// After a commit that failed, so long passes between two looks at whether the next one would succeed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How many expired rows are forgotten at a time.
const FORGET: i64 = 512;
/// After so many entries some are.
const FORGET_EVERY: usize = 64;

type Answer = oneshot::Sender<Result<u64, CommitError>>;

/// A [`Journal`] on a [`Store`].
#[derive(Debug)]
pub struct StoreJournal {
    entries: mpsc::Sender<(Entry, Answer)>,
    writer: Mutex<Option<JoinHandle<()>>>,
    closing: tokio_util::sync::CancellationToken,
    /// Whether the last commit, or the last look at whether one would succeed, went well.
    writes: Arc<AtomicBool>,
}

impl StoreJournal {
    /// Starts the task that writes.
    pub fn start(store: &Store) -> Self {
        let (entries, waiting) = mpsc::channel(WAITING);
        let closing = tokio_util::sync::CancellationToken::new();
        let writes = Arc::new(AtomicBool::new(true));
        let writer = tokio::spawn(write(store.clone(), waiting, closing.clone(), Arc::clone(&writes)));
        Self {
            entries,
            writer: Mutex::new(Some(writer)),
            closing,
            writes,
        }
    }

    /// Whether entries are being written, as far as is known.
    pub(crate) fn writes(&self) -> bool {
        self.writes.load(Ordering::Relaxed)
    }

    /// Writes what waits, then stops. Entries that come later are `Unavailable`.
    pub async fn close(&self) {
        self.closing.cancel();
        if let Some(writer) = self.writer.lock().await.take() {
            let _ = writer.await;
        }
    }
}

impl StoreJournal {
    /// Puts `entry` in line and gives what will tell its outcome: its place in the order is settled when this returns.
    ///
    /// A line without room is `Unavailable` at once; nothing of the entry happens then.
    pub(crate) fn submit(&self, entry: Entry) -> Result<oneshot::Receiver<Result<u64, CommitError>>, CommitError> {
        if self.entries.capacity() <= overload::must_leave_free(&entry) {
            return Err(CommitError::Unavailable);
        }
        let (answer, answered) = oneshot::channel();
        self.entries.try_send((entry, answer)).map_err(|_| CommitError::Unavailable)?;
        Ok(answered)
    }
}

impl Journal for StoreJournal {
    async fn commit(&self, entry: Entry) -> Result<u64, CommitError> {
        // A writer that is gone drops the sender: unknown, and so unavailable.
        self.submit(entry)?.await.unwrap_or(Err(CommitError::Unavailable))
    }
}

async fn write(
    store: Store,
    mut waiting: mpsc::Receiver<(Entry, Answer)>,
    closing: tokio_util::sync::CancellationToken,
    writes: Arc<AtomicBool>,
) {
    let mut connection = None;
    let mut gathered = Vec::with_capacity(BATCH);
    let mut since_forgotten = 0;
    loop {
        // While the last commit was being synced, more gathered; they go together.
        let count = tokio::select! {
            biased;
            count = waiting.recv_many(&mut gathered, BATCH) => count,
            () = closing.cancelled() => {
                waiting.close();
                waiting.recv_many(&mut gathered, BATCH).await
            }
            // Nobody may ask for anything while we say that we are not ready: we find out by ourselves when we are.
            () = tokio::time::sleep(LOOK_AGAIN), if !writes.load(Ordering::Relaxed) => {
                let looked = tokio::time::timeout(DEADLINE, look(&store, &mut connection)).await;
                let works = matches!(looked, Ok(Ok(())));
                writes.store(works, Ordering::Relaxed);
                if !works {
                    connection = None;
                }
                continue;
            }
        };
        if count == 0 {
            return;
        }
        // Where several came at once more are on their way: a commit costs its sync, however many share it.
        if (2..BATCH).contains(&count) && !closing.is_cancelled() {
            tokio::time::sleep(LINGER).await;
            while gathered.len() < BATCH
                && let Ok(entry) = waiting.try_recv()
            {
                gathered.push(entry);
            }
        }
        let (entries, answers): (Vec<_>, Vec<_>) = gathered.drain(..).unzip();
        let committed = tokio::time::timeout(DEADLINE, batch(&store, &mut connection, &entries)).await;
        let committed = committed.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        writes.store(committed.is_ok(), Ordering::Relaxed);
        if let Err(error) = &committed {
            // Unknown: the commit may have happened. The connection is not trusted again.
            tracing::error!(%error, entries = entries.len(), "the journal could not commit");
            connection = None;
        }
        let outcomes = committed.unwrap_or_else(|_| vec![Err(CommitError::Unavailable); answers.len()]);
        since_forgotten += entries.len();
        let now = entries.last().map_or(0, |entry| entry.record.time.millis());
        for ((entry, answer), outcome) in entries.into_iter().zip(answers).zip(outcomes) {
            if let (Some(begins), Ok(_)) = (entry.begins, &outcome) {
                store.remember(begins);
            }
            // Known here before it is acknowledged; other nodes read it from the store.
            if let (Some(revocation), Ok(_)) = (entry.revokes, &outcome) {
                store.learn(&revocation);
            }
            let _ = answer.send(outcome);
        }
        // Everybody has an answer; that this goes wrong is no failure of a commit.
        if since_forgotten >= FORGET_EVERY
            && let Some(open) = &mut connection
        {
            since_forgotten = 0;
            let forgotten = tokio::time::timeout(DEADLINE, forget(open, now)).await;
            if !matches!(forgotten, Ok(Ok(()))) {
                tracing::warn!("what has expired could not be forgotten; it will be tried again");
                connection = None;
            }
        }
    }
}

/// Takes what a writer takes, and writes nothing.
async fn look(store: &Store, connection: &mut Option<Connection>) -> Result<(), sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(store.connect().await.map_err(|error| error.0)?),
    };
    let mut transaction = connection.begin(Purpose::Write).await?;
    transaction.execute(sql("DELETE FROM records WHERE idx < 0")).await?;
    hold(&mut transaction).await?;
    transaction.commit().await
}

/// Commits `entries` together. One whose use was used before loses alone.
async fn batch(
    store: &Store,
    connection: &mut Option<Connection>,
    entries: &[Entry],
) -> Result<Vec<Result<u64, CommitError>>, sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(store.connect().await.map_err(|error| error.0)?),
    };
    let mut transaction = connection.begin(Purpose::Write).await?;

    // 1. Uses, in one global order, so that two writers never wait for each other in a circle.
    let mut lost = uses::take(&mut transaction, entries).await?;

    // 2. Tasks that are opened, redeemed and ended, in one global order too.
    tasks::change(&mut transaction, entries, &mut lost).await?;

    // 3. Transactions that begin, or are needed for longer, opaque tokens, and the records in their order.
    let won: Vec<_> = entries.iter().zip(&lost).filter(|(_, lost)| lost.is_none()).map(|(entry, _)| entry).collect();
    let mut begins = BTreeMap::<_, &Transaction>::new();
    for each in won.iter().filter_map(|entry| entry.begins.as_ref()) {
        let longest = begins.entry(&each.txn).or_insert(each);
        if each.forget_at > longest.forget_at {
            *longest = each;
        }
    }
    let begins: Vec<_> = begins.into_values().collect();
    for chunk in begins.chunks(64) {
        let mut statement = sql("INSERT INTO transactions (txn, issuer_name, iss, sub, kind, attributes, requested_by, began, forget_at)");
        for begins in chunk {
            statement = statement.row([
                (&begins.txn).into(),
                (&begins.subject.issuer_name).into(),
                (&begins.subject.iss).into(),
                (&begins.subject.sub).into(),
                begins.kind.as_str().into(),
                serde_json::to_string(&begins.attributes).unwrap_or_default().into(),
                // As JSON, since an outside token may name anything, and PostgreSQL keeps no U+0000.
                begins.requested_by.as_ref().map(|text| serde_json::Value::from(text.as_str()).to_string()).into(),
                begins.began.millis().into(),
                begins.forget_at.millis().into(),
            ]);
        }
        let longer = " ON CONFLICT (txn) DO UPDATE SET forget_at = excluded.forget_at WHERE excluded.forget_at > transactions.forget_at";
        transaction.execute(statement.then(longer)).await?;
    }
    let kept: Vec<_> = won.iter().filter_map(|entry| entry.keeps.as_ref()).collect();
    insert_opaque_tokens(&mut transaction, &kept).await?;
    let records: Vec<_> = won.iter().flat_map(|entry| told(entry)).collect();
    let first = append(&mut transaction, &records).await?;
    let mut next = first;
    for entry in &won {
        if let Some(revocation) = &entry.revokes {
            insert_revocation(&mut transaction, i64::try_from(next).unwrap_or(i64::MAX), revocation).await?;
        }
        next += told(entry).count() as u64;
    }

    // The point of no return: after this commit the records are durable, and only then may anything be signed.
    transaction.commit().await?;
    let mut next = first;
    let outcome = |(entry, lost): (&Entry, Option<CommitError>)| {
        if let Some(why) = lost {
            return Err(why);
        }
        let index = next;
        next += told(entry).count() as u64;
        Ok(index)
    };
    Ok(entries.iter().zip(lost).map(outcome).collect())
}

/// The records of an entry, in their order.
fn told(entry: &Entry) -> impl Iterator<Item = &Record> {
    std::iter::once(&entry.record).chain(entry.beside.as_deref())
}

/// Forgets what no living token can need, a little at a time.
///
/// Apart from every commit: whoever holds the order of the log waits for nobody, and a row that is to be forgotten may be held
/// by who waits for the order.
async fn forget(connection: &mut Connection, now: i64) -> Result<(), sqlx::Error> {
    for expired in [
        "DELETE FROM uses WHERE forget_at < $1 AND (kind, issuer, id) IN (SELECT kind, issuer, id FROM uses WHERE forget_at < $1 LIMIT $2)",
        "DELETE FROM transactions WHERE forget_at < $1 AND txn IN (SELECT txn FROM transactions WHERE forget_at < $1 LIMIT $2)",
        "DELETE FROM task_attempts WHERE forget_at < $1 AND (task, attempt) IN \
         (SELECT task, attempt FROM task_attempts WHERE forget_at < $1 LIMIT $2)",
        "DELETE FROM opaque_tokens WHERE forget_at < $1 AND digest IN \
         (SELECT digest FROM opaque_tokens WHERE forget_at < $1 LIMIT $2)",
        "DELETE FROM token_places WHERE forget_at < $1 AND token IN (SELECT token FROM token_places WHERE forget_at < $1 LIMIT $2)",
        "DELETE FROM tasks WHERE forget_at < $1 AND id IN (SELECT id FROM tasks WHERE forget_at < $1 LIMIT $2)",
        "DELETE FROM revocations WHERE forget_at < $1 AND seq IN (SELECT seq FROM revocations WHERE forget_at < $1 LIMIT $2)",
        "DELETE FROM usage_days WHERE day < $1 / 86400000 - 90 AND (day, audience, service, client, route, what, name) IN \
         (SELECT day, audience, service, client, route, what, name FROM usage_days WHERE day < $1 / 86400000 - 90 LIMIT $2)",
    ] {
        let mut transaction = connection.begin(Purpose::Write).await?;
        transaction.execute(sql(expired).bind(now).bind(FORGET)).await?;
        transaction.commit().await?;
    }
    Ok(())
}

/// Holds the order of the log until the transaction ends: what is read then, nobody changes who holds it first too.
pub(crate) async fn hold(transaction: &mut StoreTransaction<'_>) -> Result<(), sqlx::Error> {
    transaction.execute(sql("UPDATE log_head SET size = size WHERE one = 1")).await.map(drop)
}

/// Gives `records` their places in the log, inside a transaction that its caller commits. Returns the first index.
///
/// The row that is the order of the log stays locked until then: whatever else a transaction locks, it locks before.
pub(crate) async fn append(transaction: &mut StoreTransaction<'_>, records: &[&Record]) -> Result<u64, sqlx::Error> {
    let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
    let taken = sql("UPDATE log_head SET size = size + $1 WHERE one = 1 RETURNING size").bind(count);
    let size: i64 = match transaction.fetch(taken).await?.first() {
        Some(row) => row.get("size")?,
        None => return Err(sqlx::Error::RowNotFound),
    };
    let first = size - count;
    let numbered: Vec<_> = (first..size).zip(records).collect();
    for chunk in numbered.chunks(128) {
        let mut statement = sql("INSERT INTO records (idx, body)");
        for (index, record) in chunk {
            statement = statement.row([(*index).into(), record.to_line(*index).into()]);
        }
        transaction.execute(statement).await?;
    }
    Ok(u64::try_from(first).unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use delegation::time::Timestamp;
    use issuance::audit::{CommitError, Entry, Kind, Record};

    use super::{StoreJournal, WAITING};
    use crate::overload::RESERVED;
    use crate::store::{Store, StoreAddress};

    fn entry(id: usize, kind: Kind) -> Entry {
        Entry::of(Record::new(format!("d-{id}"), Timestamp::from_seconds(1), kind))
    }

    /// One thread, and nothing is waited for until the line is full: so the writer has taken nothing out of it.
    #[tokio::test]
    async fn requests_fill_the_line_up_to_the_reserved_places_and_what_must_get_through_fills_those() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreAddress::sqlite(folder.path().join("narrows.db"))).await.unwrap();
        let journal = StoreJournal::start(&store);
        let mut waiting = Vec::new();
        let mut fill = |kind| {
            let before = waiting.len();
            while let Ok(answer) = journal.submit(entry(waiting.len(), kind)) {
                waiting.push(answer);
            }
            waiting.len() - before
        };
        assert_eq!(fill(Kind::Exchange), WAITING - RESERVED);
        assert_eq!(fill(Kind::ClientAuth), 0, "refusals of strangers find no room either");
        assert_eq!(fill(Kind::Leak), 0, "nor do reports of strangers that end nothing");
        assert_eq!(fill(Kind::Operator), RESERVED, "a change of standing does");
        assert_eq!(journal.submit(entry(0, Kind::Key)).err(), Some(CommitError::Unavailable));
        for (at, answer) in waiting.into_iter().enumerate() {
            assert_eq!(
                answer.await.unwrap(),
                Ok(at as u64),
                "everything that found a place is written, in order"
            );
        }
        assert!(journal.submit(entry(0, Kind::Exchange)).is_ok(), "there is room again");
        journal.close().await;
    }
}
