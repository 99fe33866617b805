//! The store: one SQLite file, read here and written by the journal.

mod standing;

pub use standing::{Party, Standing};

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use delegation::identity::{Subject, SubjectKind};
use delegation::time::Timestamp;
use issuance::audit::Transaction;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Row};

/// What the store holds. The order of the log is a row, so that several writers need nobody to ask for a number.
const SCHEMA: &str = include_str!("store/schema.sql");
/// How many transactions are remembered, so that a later hop need not read the disk.
const REMEMBERED: usize = 50_000;

/// A store that could not be opened. The texts are for operators.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address is not one.
    #[error("store: expected `sqlite:PATH`, found `{0}`")]
    Address(String),
    /// Another problem.
    #[error("store `{path}`: {cause}")]
    Failed {
        /// The file.
        path: String,
        /// What went wrong.
        cause: String,
    },
}

/// The store did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the store is not available: {0}")]
pub struct StoreUnavailable(#[from] pub(crate) sqlx::Error);

/// An open store: a pool of readers; the one writer belongs to the journal.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    readers: SqlitePool,
    recent: Arc<Mutex<Recent>>,
}

#[derive(Debug, Default)]
struct Recent {
    by_txn: std::collections::HashMap<String, Transaction>,
    order: std::collections::VecDeque<String>,
}

impl Store {
    /// Opens `sqlite:PATH` and makes the file, with mode 0600, and its tables if they are not there.
    pub async fn open(address: &str) -> Result<Self, StoreError> {
        let path = address.strip_prefix("sqlite:").ok_or_else(|| StoreError::Address(address.to_owned()))?;
        let path = PathBuf::from(path.trim_start_matches("//"));
        let failed = |cause: String| StoreError::Failed {
            path: path.display().to_string(),
            cause,
        };
        keep_private(&path).map_err(|error| failed(error.to_string()))?;
        let mut writer = writer(&path).await.map_err(|error| failed(error.to_string()))?;
        sqlx::raw_sql(SCHEMA).execute(&mut writer).await.map_err(|error| failed(error.to_string()))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(8)
            .acquire_timeout(Duration::from_secs(2))
            .connect_with(options(&path).map_err(|error| failed(error.to_string()))?.read_only(true))
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(Self {
            path,
            readers,
            recent: Arc::default(),
        })
    }

    /// A connection that writes, for the journal and for short writes of the command line.
    pub(crate) async fn writer(&self) -> Result<SqliteConnection, StoreUnavailable> {
        Ok(writer(&self.path).await?)
    }

    /// The readers.
    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Whether the store answers.
    pub async fn is_reachable(&self) -> bool {
        sqlx::query("SELECT size FROM log_head").fetch_one(&self.readers).await.is_ok()
    }

    /// What was kept when the transaction `txn` began.
    pub async fn transaction(&self, txn: &str) -> Result<Option<Transaction>, StoreUnavailable> {
        if let Some(found) = self.recent.lock().unwrap_or_else(PoisonError::into_inner).by_txn.get(txn) {
            return Ok(Some(found.clone()));
        }
        let row =
            sqlx::query("SELECT issuer_name, iss, sub, kind, attributes, requested_by, began, forget_at FROM transactions WHERE txn = $1")
                .bind(txn)
                .fetch_optional(&self.readers)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let kind: String = row.try_get("kind")?;
        let attributes: String = row.try_get("attributes")?;
        let decode = |error: &str| sqlx::Error::Decode(error.into());
        let transaction = Transaction {
            txn: txn.to_owned(),
            subject: Subject {
                issuer_name: row.try_get("issuer_name")?,
                iss: row.try_get("iss")?,
                sub: row.try_get("sub")?,
            },
            kind: SubjectKind::parse(&kind).ok_or_else(|| decode("unknown kind of subject"))?,
            attributes: serde_json::from_str(&attributes).map_err(|_| decode("malformed attributes"))?,
            requested_by: row.try_get("requested_by")?,
            began: Timestamp::from_millis(row.try_get("began")?),
            forget_at: Timestamp::from_millis(row.try_get("forget_at")?),
        };
        self.remember(transaction.clone());
        Ok(Some(transaction))
    }

    /// Keeps a transaction that is durable at hand.
    pub(crate) fn remember(&self, transaction: Transaction) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.by_txn.contains_key(&transaction.txn) {
            return;
        }
        if recent.order.len() >= REMEMBERED
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.by_txn.remove(&oldest);
        }
        recent.order.push_back(transaction.txn.clone());
        recent.by_txn.insert(transaction.txn.clone(), transaction);
    }

    /// Records from `first` on, at most `limit`, as JSON text.
    pub async fn records(&self, first: i64, limit: i64) -> Result<Vec<String>, StoreUnavailable> {
        let rows = sqlx::query("SELECT body FROM records WHERE idx >= $1 ORDER BY idx LIMIT $2")
            .bind(first)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.iter().map(|row| row.try_get("body")).collect::<Result<_, _>>()?)
    }

    /// The records whose decision id begins with `prefix`, newest first, at most two: enough to see a prefix that is not unique.
    ///
    /// The look-up table is filled behind the commits; what it does not hold yet is scanned.
    pub async fn decisions(&self, prefix: &str) -> Result<Vec<String>, StoreUnavailable> {
        let pattern: String = prefix.chars().filter(|each| each.is_ascii_alphanumeric() || *each == '-').collect();
        let rows = sqlx::query("SELECT body FROM records WHERE json_extract(body, '$.id') LIKE $1 || '%' ORDER BY idx DESC LIMIT 2")
            .bind(pattern)
            .fetch_all(&self.readers)
            .await?;
        Ok(rows.iter().map(|row| row.try_get("body")).collect::<Result<_, _>>()?)
    }
}

fn options(path: &Path) -> Result<SqliteConnectOptions, sqlx::Error> {
    let options = SqliteConnectOptions::from_str("sqlite:")?.filename(path);
    Ok(options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .disable_statement_logging())
}

async fn writer(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    options(path)?.connect().await
}

/// Makes the file for its owner alone, before SQLite would make it for more.
fn keep_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}
