//! From a backup to a store again.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

use delegation::revocation::{Key, MarkKind, Revocation};
use delegation::time::Timestamp;
use issuance::audit::{Decision, Kind, Record};
use serde_json::json;
use tokio::sync::mpsc;

use super::backup::{Backup, BackupError, BackupRow, ROWS, read};
use super::tables::{TABLES, Table};
use super::{Purpose, Statement, Store, StoreTransaction, Value, insert_revocation, sql};
use crate::ids;
use crate::journal::{append, hold};

/// What becomes of what the store holds already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// A store that holds anything is left alone.
    Keep,
    /// It goes.
    Replace,
}

/// Why nothing was restored: the store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup, or the store while it was written.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// It holds something.
    #[error("the store is not empty: it holds {0} records; restore into an empty one, or say that it may be replaced")]
    NotEmpty(i64),
}

impl From<super::StoreUnavailable> for RestoreError {
    fn from(error: super::StoreUnavailable) -> Self {
        Self::Backup(error.into())
    }
}

impl From<sqlx::Error> for RestoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Backup(error.into())
    }
}

/// Reads the backup at `path` to its end: every line parses, the log has no gap, the digest fits.
pub fn verify(path: &Path, mut progress: impl FnMut(u64)) -> Result<Backup, BackupError> {
    let mut count = 0;
    read(BufReader::new(File::open(path)?), |_| {
        count += 1;
        progress(count);
        Ok(())
    })
}

impl Store {
    /// How many records it holds, if it holds anything: `None` for a store that nobody has used.
    pub async fn occupied(&self) -> Result<Option<i64>, super::StoreUnavailable> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Snapshot).await?;
        Ok(occupied(&mut transaction).await?)
    }

    /// Puts the backup at `path` into this store, in one commit: killed at any point, the store is as it was.
    ///
    /// The epoch rises past both, the backup's and the store's, and a record says so: what was issued or ended between the
    /// backup and now is not known here any more.
    pub async fn restore(
        &self,
        path: &Path,
        existing: Existing,
        now: Timestamp,
        mut progress: impl FnMut(u64),
    ) -> Result<(Backup, i64), RestoreError> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;
        // Whoever else writes to the log waits until this is over.
        hold(&mut transaction).await?;
        if let Some(records) = occupied(&mut transaction).await? {
            if existing == Existing::Keep {
                return Err(RestoreError::NotEmpty(records));
            }
            for table in &TABLES {
                transaction.execute(Statement::of_own_words(format!("DELETE FROM {}", table.name))).await?;
            }
        }

        // The file is read beside the writing, and what it is worth is known at its end, before the commit.
        let (rows, mut taken) = mpsc::channel::<BackupRow>(2 * ROWS);
        let file = BufReader::new(File::open(path).map_err(BackupError::from)?);
        let reader = tokio::task::spawn_blocking(move || {
            // A receiver that is gone has met an error of its own, which is the one to tell.
            read(file, |row| {
                rows.blocking_send(row).map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe).into())
            })
        });
        let (mut waiting, mut count) = (Vec::with_capacity(ROWS), 0);
        let mut of: Option<(&'static Table, usize)> = None;
        while let Some(row) = taken.recv().await {
            let next = (row.table, row.values.len());
            if let Some((table, width)) = of
                && ((table.name, width) != (next.0.name, next.1) || waiting.len() == rows_at_once(table))
            {
                insert(&mut transaction, table, &mut waiting).await?;
            }
            of = Some(next);
            waiting.push(row.values);
            count += 1;
            progress(count);
        }
        if let Some((table, _)) = of {
            insert(&mut transaction, table, &mut waiting).await?;
        }
        let read = reader.await.map_err(|error| BackupError::File(std::io::Error::other(error)))?;
        let backup = read.map_err(RestoreError::Backup)?;

        // Whoever was removed after the backup was made would be let in again by their old token: all are added anew.
        let operators = transaction.execute(sql("DELETE FROM operators")).await?;
        let size = sql("UPDATE log_head SET size = $1 WHERE one = 1").bind(backup.head.log_size);
        transaction.execute(size).await?;
        let epoch = raise_epoch(&mut transaction, backup.head.epoch).await?;
        let mut record = Record::new(ids::decision(), now, Kind::Operator);
        record.decision = Decision::Done;
        "store_restored".clone_into(&mut record.reason);
        record.inputs = json!({ "sha256": backup.end.sha256, "made_at": backup.head.made_at, "log_size": backup.head.log_size, "epoch": epoch, "operators_removed": operators });
        let index = append(&mut transaction, &[&record]).await?;
        // What ended since the backup is not known here any more: whatever was issued before now is dead.
        let restored = Revocation::new(MarkKind::Restore, Key::of(""), now, Duration::ZERO);
        insert_revocation(&mut transaction, i64::try_from(index).unwrap_or(i64::MAX), &restored).await?;
        transaction.commit().await?;
        Ok((backup, epoch))
    }
}

/// Raises the epoch past this store's own and past `other`. The one place where it changes.
async fn raise_epoch(transaction: &mut StoreTransaction<'_>, other: i64) -> Result<i64, sqlx::Error> {
    let past = "UPDATE log_head SET epoch = CASE WHEN epoch > $1 THEN epoch ELSE $2 END + 1 WHERE one = 1 RETURNING epoch";
    let rows = transaction.fetch(sql(past).bind(other).bind(other)).await?;
    rows.first().ok_or(sqlx::Error::RowNotFound)?.get("epoch")
}

async fn occupied(transaction: &mut StoreTransaction<'_>) -> Result<Option<i64>, sqlx::Error> {
    let rows = transaction.fetch(sql("SELECT size FROM log_head WHERE one = 1")).await?;
    let size: i64 = rows.first().ok_or(sqlx::Error::RowNotFound)?.get("size")?;
    let mut any = size > 0;
    for table in &TABLES {
        let first = Statement::of_own_words(format!("SELECT 1 AS one FROM {} LIMIT 1", table.name));
        any |= !transaction.fetch(first).await?.is_empty();
    }
    Ok(any.then_some(size))
}

/// How many rows one statement takes: SQLite numbers parameters up to 32,766.
fn rows_at_once(table: &Table) -> usize {
    (4_000 / table.columns.len()).min(ROWS)
}

async fn insert(transaction: &mut StoreTransaction<'_>, table: &Table, rows: &mut Vec<Vec<Value<'static>>>) -> Result<(), sqlx::Error> {
    let Some(first) = rows.first() else { return Ok(()) };
    let mut statement = Statement::of_own_words(format!("INSERT INTO {} ({})", table.name, table.names(first.len())));
    for row in rows.drain(..) {
        statement = statement.row_of(row);
    }
    transaction.execute(statement).await.map(drop)
}
