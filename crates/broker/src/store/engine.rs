//! The two engines: how each is reached, read and written. Above this file nothing knows which one it is.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Decode, Postgres, Row as _, Sqlite, Type};

use super::address::{self, Place, StoreAddress};
use super::statement::Statement;

/// How long a connection may take to come up before the store counts as away.
const CONNECT: Duration = Duration::from_secs(2);
/// How long reading may take: a server behind a broken network never answers, and nobody waits for ever.
const READ: Duration = Duration::from_secs(5);
/// How long SQLite waits for another process's lock.
const BUSY: Duration = Duration::from_secs(5);
/// Where it does not wait by itself, so long passes between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(10);
/// How many connections read.
const READERS: u32 = 8;
/// How many prepared statements a connection keeps: one for each size of a batch, of three kinds.
const STATEMENTS: usize = 512;

/// An engine that answers.
#[derive(Clone, Debug)]
pub(super) enum Engine {
    Sqlite {
        path: PathBuf,
        readers: SqlitePool,
    },
    /// Its options hold the password, and so stay inside the pool, whose `Debug` does not show them.
    Postgres {
        readers: PgPool,
    },
}

/// A connection that writes.
#[derive(Debug)]
pub(crate) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// What is committed whole or not at all. Dropped, it is rolled back.
#[derive(Debug)]
pub(crate) enum Transaction<'c> {
    Sqlite(sqlx::Transaction<'c, Sqlite>),
    Postgres(sqlx::Transaction<'c, Postgres>),
}

/// A row that was read.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To write. Each statement sees what others committed before it began; the order of the log is taken last.
    Write,
    /// To read one state of the whole store, while others write.
    Snapshot,
}

impl Engine {
    pub(super) async fn open(at: &StoreAddress) -> Result<Self, sqlx::Error> {
        match at.place() {
            Place::Sqlite(path) => {
                keep_private(path)?;
                make(path).await?;
                let readers = SqlitePoolOptions::new().max_connections(READERS).acquire_timeout(CONNECT);
                Ok(Self::Sqlite {
                    path: path.clone(),
                    readers: readers.connect_with(sqlite(path)?.read_only(true)).await?,
                })
            }
            Place::Postgres(url) => {
                let options = address::postgres(url).map_err(|error| sqlx::Error::Configuration(Box::new(error)))?;
                // Lazy: `connect` is asked next and says what is wrong.
                let readers = PgPoolOptions::new().max_connections(READERS).acquire_timeout(CONNECT);
                Ok(Self::Postgres {
                    readers: readers.connect_lazy_with(bounded(options)),
                })
            }
        }
    }

    /// A new connection that writes.
    pub(super) async fn connect(&self) -> Result<Connection, sqlx::Error> {
        match self {
            Self::Sqlite { path, .. } => Ok(Connection::Sqlite(sqlite(path)?.connect().await?)),
            Self::Postgres { readers } => {
                let options = readers.connect_options();
                let connected = tokio::time::timeout(CONNECT, options.connect()).await;
                let mut connection = connected.map_err(|_| timed_out())??;
                is_durable(&mut connection).await?;
                Ok(Connection::Postgres(connection))
            }
        }
    }

    /// Reads, outside of any transaction.
    pub(super) async fn fetch(&self, statement: Statement<'_>) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite { readers, .. } => Ok(rows(statement.query::<Sqlite>()?.fetch_all(readers).await?, Row::Sqlite)),
            Self::Postgres { readers } => {
                let read = tokio::time::timeout(READ, statement.query::<Postgres>()?.fetch_all(readers)).await;
                Ok(rows(read.map_err(|_| timed_out())??, Row::Postgres))
            }
        }
    }

    /// The words of a migration in the engine's own dialect.
    pub(super) fn dialect(&self, text: &str) -> String {
        let [bytes, place, clustered] = match self {
            Self::Sqlite { .. } => ["BLOB", "INTEGER", "WITHOUT ROWID"],
            Self::Postgres { .. } => ["BYTEA", "BIGINT", ""],
        };
        text.replace("{bytes}", bytes).replace("{place}", place).replace("{clustered}", clustered)
    }
}

impl Connection {
    pub(crate) async fn begin(&mut self, purpose: Purpose) -> Result<Transaction<'_>, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => {
                let words = match purpose {
                    // At once, so that it never has to fail where it would become a writer.
                    Purpose::Write => "BEGIN IMMEDIATE",
                    Purpose::Snapshot => "BEGIN",
                };
                Ok(Transaction::Sqlite(connection.begin_with(words).await?))
            }
            Self::Postgres(connection) => {
                let words = match purpose {
                    Purpose::Write => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
                    Purpose::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                };
                Ok(Transaction::Postgres(connection.begin_with(words).await?))
            }
        }
    }
}

impl Transaction<'_> {
    /// Runs a statement and gives how many rows it changed.
    pub(crate) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(inner) => statement.query::<Sqlite>()?.execute(&mut **inner).await?.rows_affected(),
            Self::Postgres(inner) => statement.query::<Postgres>()?.execute(&mut **inner).await?.rows_affected(),
        })
    }

    /// Runs a statement and gives the rows that it returns.
    pub(crate) async fn fetch(&mut self, statement: Statement<'_>) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(inner) => rows(statement.query::<Sqlite>()?.fetch_all(&mut **inner).await?, Row::Sqlite),
            Self::Postgres(inner) => rows(statement.query::<Postgres>()?.fetch_all(&mut **inner).await?, Row::Postgres),
        })
    }

    /// Runs the statements of a migration, which take no values.
    pub(super) async fn execute_all(&mut self, text: String) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(inner) => sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **inner).await.map(drop),
            Self::Postgres(inner) => sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **inner).await.map(drop),
        }
    }

    /// The point of no return: after `Ok` everything in it survives a crash of this machine.
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(inner) => inner.commit().await,
            Self::Postgres(inner) => inner.commit().await,
        }
    }
}

impl Row {
    /// The value of a column.
    pub(crate) fn get<T>(&self, column: &str) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

fn rows<R>(rows: Vec<R>, wrap: fn(R) -> Row) -> Vec<Row> {
    rows.into_iter().map(wrap).collect()
}

/// Makes the file, by a connection that may write: readers may not.
///
/// To turn a new file to its write-ahead log SQLite takes a lock for which it never waits, so that of two processes that
/// make one file at once one would be refused: it tries again.
async fn make(path: &Path) -> Result<(), sqlx::Error> {
    let began = Instant::now();
    loop {
        match sqlite(path)?.connect().await {
            Ok(connection) => return connection.close().await,
            Err(error) if is_busy(&error) && began.elapsed() < BUSY => tokio::time::sleep(TRY_AGAIN).await,
            Err(error) => return Err(error),
        }
    }
}

/// Whether another process held a lock (`SQLITE_BUSY`).
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == "5")
}

fn sqlite(path: &Path) -> Result<SqliteConnectOptions, sqlx::Error> {
    let options = SqliteConnectOptions::from_str("sqlite:")?.filename(path);
    Ok(options
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging())
}

/// Bounds on the server's side: a node that vanished without a word must not hold the order of the log for the others.
fn bounded(options: PgConnectOptions) -> PgConnectOptions {
    let bounds = [
        ("lock_timeout", "5s"),
        ("statement_timeout", "30s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("tcp_user_timeout", "10s"),
    ];
    options
        .application_name("narrows")
        .options(bounds)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging()
}

/// Refuses a server that answers before a commit lies on its disk, that cannot hold every character, or that is a copy.
async fn is_durable(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let row = sqlx::query(
        "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS waits, \
         current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby",
    )
    .fetch_one(connection)
    .await?;
    let text = |name: &str| row.try_get::<String, _>(name);
    let wrong = if text("fsync")? == "off" {
        "the server runs with `fsync = off`, so that a record could be lost after it was answered; turn it on"
    } else if text("waits")? == "off" {
        "`synchronous_commit` is `off` here, so that a record could be lost after it was answered; turn it on"
    } else if text("encoding")? != "UTF8" {
        "the database is not encoded in UTF8; make one that is"
    } else if row.try_get("standby")? {
        "this server is a standby, which may lag behind; name the primary"
    } else {
        return Ok(());
    };
    Err(sqlx::Error::Configuration(wrong.into()))
}

fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::from(std::io::ErrorKind::TimedOut))
}

/// Makes the file for its owner alone, before SQLite would make it for more.
fn keep_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}
