//! The store: SQLite or PostgreSQL, by the same statements; read here and written by the journal.

mod address;
mod backup;
mod decisions;
mod engine;
mod leaked;
mod migrations;
mod observed;
mod opaque_tokens;
mod operators;
mod places;
mod restore;
mod revocations;
mod signals;
mod standing;
mod statement;
mod tables;
mod tasks;
mod usage;

pub use address::{AddressError, StoreAddress};
pub use backup::{Backup, BackupEnd, BackupError, BackupHead};
pub(crate) use engine::{Connection, Purpose, Row, Transaction as StoreTransaction};
pub(crate) use opaque_tokens::insert as insert_opaque_tokens;
pub(crate) use operators::OperatorsByToken;
pub use restore::{Existing, RestoreError, verify};
pub(crate) use revocations::{Placed, insert as insert_revocation};
pub(crate) use signals::Signalled;
pub use standing::{Party, Standing, SubjectName, SubjectStanding};
pub(crate) use statement::{Statement, Value, sql};
pub(crate) use usage::{DAY, KEPT, Used};

use std::sync::{Arc, Mutex, PoisonError};

use delegation::identity::{Subject, SubjectKind};
use delegation::revocation::Revoked;
use delegation::time::Timestamp;
use issuance::audit::{Record, Transaction};

use engine::Engine;
use revocations::Followed;
use tokio::sync::watch;

use crate::journal::append;

/// How many transactions are remembered, so that a later hop need not read the disk.
const REMEMBERED: usize = 50_000;

/// A store that could not be opened. The texts are for operators, and never hold the address: it may have a password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine said no.
    #[error("store: {0}")]
    Failed(#[source] sqlx::Error),
    /// A later version of the program has written it.
    #[error("store: it has version {found}, and this program knows {known}; run the program that made it, or a later one")]
    Newer {
        /// The version of the store.
        found: i64,
        /// The latest that this program knows.
        known: i64,
    },
}

/// The store did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the store is not available: {0}")]
pub struct StoreUnavailable(#[from] pub(crate) sqlx::Error);

impl StoreUnavailable {
    /// What is to be written finds no place, or its outcome is not known.
    pub(crate) fn busy() -> Self {
        Self(sqlx::Error::Io(std::io::ErrorKind::WouldBlock.into()))
    }
}

impl From<StoreUnavailable> for StoreError {
    fn from(error: StoreUnavailable) -> Self {
        Self::Failed(error.0)
    }
}

/// An open store: a pool of readers; the one writer belongs to the journal.
///
/// Clones are the same store. Whatever is written is durable once its transaction has committed.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Engine,
    recent: Arc<Mutex<Recent>>,
    revoked: Arc<Revoked>,
    followed: Arc<Followed>,
    /// Tells those who wait that something was revoked.
    news: Arc<watch::Sender<()>>,
}

#[derive(Debug, Default)]
struct Recent {
    by_txn: std::collections::HashMap<String, Transaction>,
    order: std::collections::VecDeque<String>,
}

impl Store {
    /// Opens the store at `address` and brings its tables to the present version; a SQLite file is made, with mode 0600,
    /// if it is not there, a PostgreSQL database is not.
    pub async fn open(address: &StoreAddress) -> Result<Self, StoreError> {
        let engine = Engine::open(address).await.map_err(StoreError::Failed)?;
        migrations::migrate(&engine).await?;
        Ok(Self {
            engine,
            recent: Arc::default(),
            revoked: Arc::default(),
            followed: Arc::default(),
            news: Arc::default(),
        })
    }

    /// A connection that writes, for the journal and for short writes of the command line.
    pub(crate) async fn connect(&self) -> Result<Connection, StoreUnavailable> {
        Ok(self.engine.connect().await?)
    }

    /// Reads, outside of any transaction.
    pub(crate) async fn fetch(&self, statement: Statement<'_>) -> Result<Vec<Row>, StoreUnavailable> {
        Ok(self.engine.fetch(statement).await?)
    }

    /// Makes `change` with the record of it, in one commit; `false` if it changes nothing, and nothing happened.
    pub(crate) async fn change(&self, change: Statement<'_>, record: &Record) -> Result<bool, StoreUnavailable> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;
        if transaction.execute(change).await? == 0 {
            return Ok(false);
        }
        append(&mut transaction, &[record]).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Whether the store answers.
    pub async fn is_reachable(&self) -> bool {
        self.fetch(sql("SELECT size FROM log_head")).await.is_ok()
    }

    /// What was kept when the transaction `txn` began.
    pub async fn transaction(&self, txn: &str) -> Result<Option<Transaction>, StoreUnavailable> {
        if let Some(found) = self.recent.lock().unwrap_or_else(PoisonError::into_inner).by_txn.get(txn) {
            return Ok(Some(found.clone()));
        }
        let kept = "SELECT issuer_name, iss, sub, kind, attributes, requested_by, began, forget_at FROM transactions WHERE txn = $1";
        let rows = self.fetch(sql(kept).bind(txn)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let kind: String = row.get("kind")?;
        let attributes: String = row.get("attributes")?;
        let requested_by: Option<String> = row.get("requested_by")?;
        let decode = |error: &str| sqlx::Error::Decode(error.into());
        let transaction = Transaction {
            txn: txn.to_owned(),
            subject: Subject {
                issuer_name: row.get("issuer_name")?,
                iss: row.get("iss")?,
                sub: row.get("sub")?,
            },
            kind: SubjectKind::parse(&kind).ok_or_else(|| decode("unknown kind of subject"))?,
            attributes: serde_json::from_str(&attributes).map_err(|_| decode("malformed attributes"))?,
            requested_by: requested_by
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|_| decode("malformed `requested_by`"))?,
            began: Timestamp::from_millis(row.get("began")?),
            forget_at: Timestamp::from_millis(row.get("forget_at")?),
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
        let page = sql("SELECT body FROM records WHERE idx >= $1 ORDER BY idx LIMIT $2").bind(first).bind(limit);
        let rows = self.fetch(page).await?;
        Ok(rows.iter().map(|row| row.get("body")).collect::<Result<_, _>>()?)
    }
}
