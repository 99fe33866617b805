//! The journal on SQLite: one task owns the writing connection, and entries that gather share one commit.

use std::collections::BTreeSet;
use std::time::Duration;

use issuance::audit::{CommitError, Entry, Journal, Record};
use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{Connection, QueryBuilder, Row, Transaction};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::store::{Store, StoreError};

/// No more entries than this share a commit.
const BATCH: usize = 256;
/// How long several entries wait for more. A single one does not wait.
const LINGER: Duration = Duration::from_millis(1);
/// How many entries may wait.
const WAITING: usize = 4096;
/// How many expired rows are forgotten at a time.
const FORGET: i64 = 512;

type Answer = oneshot::Sender<Result<u64, CommitError>>;

/// A [`Journal`] on a [`Store`].
#[derive(Debug)]
pub struct SqliteJournal {
    entries: mpsc::Sender<(Entry, Answer)>,
    writer: Mutex<Option<JoinHandle<()>>>,
    closing: tokio_util::sync::CancellationToken,
}

impl SqliteJournal {
    /// Starts the task that writes.
    pub async fn start(store: &Store) -> Result<Self, StoreError> {
        let (entries, waiting) = mpsc::channel(WAITING);
        let closing = tokio_util::sync::CancellationToken::new();
        let writer = tokio::spawn(write(store.clone(), waiting, closing.clone()));
        Ok(Self {
            entries,
            writer: Mutex::new(Some(writer)),
            closing,
        })
    }

    /// Writes what waits, then stops. Entries that come later are `Unavailable`.
    pub async fn close(&self) {
        self.closing.cancel();
        if let Some(writer) = self.writer.lock().await.take() {
            let _ = writer.await;
        }
    }
}

impl Journal for SqliteJournal {
    async fn commit(&self, entry: Entry) -> Result<u64, CommitError> {
        let (answer, answered) = oneshot::channel();
        self.entries.send((entry, answer)).await.map_err(|_| CommitError::Unavailable)?;
        // A writer that is gone drops the sender: unknown, and so unavailable.
        answered.await.unwrap_or(Err(CommitError::Unavailable))
    }
}

async fn write(store: Store, mut waiting: mpsc::Receiver<(Entry, Answer)>, closing: tokio_util::sync::CancellationToken) {
    let mut connection = None;
    let mut gathered = Vec::with_capacity(BATCH);
    loop {
        // While the last commit was being synced, more gathered; they go together.
        let count = tokio::select! {
            biased;
            count = waiting.recv_many(&mut gathered, BATCH) => count,
            () = closing.cancelled() => {
                waiting.close();
                waiting.recv_many(&mut gathered, BATCH).await
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
        let committed = batch(&store, &mut connection, &entries).await;
        if let Err(error) = &committed {
            // Unknown: the commit may have happened. The connection is not trusted again.
            tracing::error!(%error, entries = entries.len(), "the journal could not commit");
            connection = None;
        }
        let outcomes = committed.unwrap_or_else(|_| vec![Err(CommitError::Unavailable); answers.len()]);
        for ((entry, answer), outcome) in entries.into_iter().zip(answers).zip(outcomes) {
            if let (Some(begins), Ok(_)) = (entry.begins, &outcome) {
                store.remember(begins);
            }
            let _ = answer.send(outcome);
        }
    }
}

/// Commits `entries` together. One whose use was used before loses alone.
async fn batch(
    store: &Store,
    connection: &mut Option<SqliteConnection>,
    entries: &[Entry],
) -> Result<Vec<Result<u64, CommitError>>, sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        none => none.insert(store.writer().await.map_err(|error| error.0)?),
    };
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;

    // 1. Uses, in one global order, so that two writers never wait for each other in a circle.
    let mut lost = vec![false; entries.len()];
    let mut uses: Vec<_> = entries
        .iter()
        .enumerate()
        .flat_map(|(at, entry)| entry.uses.iter().map(move |key| (key, at)))
        .collect();
    uses.sort();
    let mut took = Vec::with_capacity(uses.len());
    for chunk in uses.chunks(64) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO uses (kind, issuer, id, forget_at) ");
        query.push_values(chunk, |mut row, (key, _)| {
            row.push_bind(key.kind.as_str())
                .push_bind(&key.issuer)
                .push_bind(&key.id)
                .push_bind(key.forget_at.millis());
        });
        query.push(" ON CONFLICT DO NOTHING RETURNING kind, issuer, id");
        let mut taken = BTreeSet::<(String, String, String)>::new();
        for row in query.build().fetch_all(&mut *transaction).await? {
            taken.insert((row.try_get("kind")?, row.try_get("issuer")?, row.try_get("id")?));
        }
        // Each was taken once: of two entries that use one key, the later finds it gone.
        for (key, at) in chunk {
            if taken.remove(&(key.kind.as_str().to_owned(), key.issuer.clone(), key.id.clone())) {
                took.push((*key, *at));
            } else if let Some(lost) = lost.get_mut(*at) {
                *lost = true;
            }
        }
    }
    // An entry that lost one of several gives back the others: nothing of it happened.
    for (key, _) in took.iter().filter(|(_, at)| lost.get(*at) == Some(&true)) {
        sqlx::query("DELETE FROM uses WHERE kind = $1 AND issuer = $2 AND id = $3")
            .bind(key.kind.as_str())
            .bind(&key.issuer)
            .bind(&key.id)
            .execute(&mut *transaction)
            .await?;
    }

    // 2. Transactions that begin, and the records in their order.
    let won: Vec<_> = entries.iter().zip(&lost).filter(|(_, lost)| !**lost).map(|(entry, _)| entry).collect();
    let begins: Vec<_> = won.iter().filter_map(|entry| entry.begins.as_ref()).collect();
    for chunk in begins.chunks(64) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "INSERT INTO transactions (txn, issuer_name, iss, sub, kind, attributes, requested_by, began, forget_at) ",
        );
        query.push_values(chunk, |mut row, begins| {
            row.push_bind(begins.txn.clone())
                .push_bind(begins.subject.issuer_name.clone())
                .push_bind(begins.subject.iss.clone())
                .push_bind(begins.subject.sub.clone())
                .push_bind(begins.kind.as_str())
                .push_bind(serde_json::to_string(&begins.attributes).unwrap_or_default())
                .push_bind(begins.requested_by.clone())
                .push_bind(begins.began.millis())
                .push_bind(begins.forget_at.millis());
        });
        query.build().execute(&mut *transaction).await?;
    }
    let records: Vec<_> = won.iter().map(|entry| &entry.record).collect();
    let mut next = append(&mut transaction, &records).await?;

    // 3. What no living token can need is forgotten, a little at a time.
    let now = records.first().map_or(0, |record| record.time.millis());
    if next % 64 < records.len() as u64 {
        forget(&mut transaction, now).await?;
    }

    // The point of no return: after this commit the records are durable, and only then may anything be signed.
    transaction.commit().await?;
    let outcome = |lost: &bool| {
        if *lost {
            return Err(CommitError::AlreadyUsed);
        }
        let index = next;
        next += 1;
        Ok(index)
    };
    Ok(lost.iter().map(outcome).collect())
}

async fn forget(transaction: &mut Transaction<'_, Sqlite>, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM uses WHERE (kind, issuer, id) IN (SELECT kind, issuer, id FROM uses WHERE forget_at < $1 LIMIT $2)")
        .bind(now)
        .bind(FORGET)
        .execute(&mut **transaction)
        .await?;
    sqlx::query("DELETE FROM transactions WHERE txn IN (SELECT txn FROM transactions WHERE forget_at < $1 LIMIT $2)")
        .bind(now)
        .bind(FORGET)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

/// Gives `records` their places in the log, inside a transaction that its caller commits. Returns the first index.
pub(crate) async fn append(transaction: &mut Transaction<'_, Sqlite>, records: &[&Record]) -> Result<u64, sqlx::Error> {
    let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
    let size: i64 = sqlx::query("UPDATE log_head SET size = size + $1 WHERE one = 1 RETURNING size")
        .bind(count)
        .fetch_one(&mut **transaction)
        .await?
        .try_get("size")?;
    let first = size - count;
    let numbered: Vec<_> = (first..size).zip(records).collect();
    for chunk in numbered.chunks(128) {
        let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO records (idx, body) ");
        query.push_values(chunk, |mut row, (index, record)| {
            row.push_bind(*index).push_bind(record.to_line(*index));
        });
        query.build().execute(&mut **transaction).await?;
    }
    Ok(u64::try_from(first).unwrap_or_default())
}
