//! The shape of the store, and how an older one becomes the present one.

use super::StoreError;
use super::engine::{Engine, Purpose};
use super::statement::sql;

/// One text for each version, the same for both engines but for three words: `{bytes}`, the type of bytes; `{place}`, of
/// the key that is a record's place in the log; `{clustered}`, for tables that lie in the order of their key.
///
/// They are only ever added to. The first may meet a store that was made before versions were counted.
const MIGRATIONS: [&str; 11] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
];

/// The version of the store that this program reads and writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Brings the store to the present version, whoever else is doing so, and refuses one that is newer.
///
/// Each version is one transaction: a crash leaves the one before or the one after.
pub(super) async fn migrate(engine: &Engine) -> Result<(), StoreError> {
    let mut attempts = 0;
    loop {
        match run(engine).await {
            Ok(VERSION) => return Ok(()),
            Ok(newer) => {
                return Err(StoreError::Newer {
                    found: newer,
                    known: VERSION,
                });
            }
            // PostgreSQL lets one of two nodes that make the same table at once fail; by then the other has made it.
            Err(error) if attempts < 5 && exists(&error) => attempts += 1,
            Err(error) => return Err(StoreError::Failed(error)),
        }
    }
}

/// Whether a table could not be made because somebody else had just made it: PostgreSQL says so in three ways.
fn exists(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["23505", "42710", "42P07"].contains(&&*code))
}

async fn run(engine: &Engine) -> Result<i64, sqlx::Error> {
    // 1. What is there? The look takes no lock, so that the many short verbs do not wait for each other.
    if let Ok(rows) = engine.fetch(sql("SELECT version FROM store_version")).await
        && let Some(row) = rows.first()
        && let version @ VERSION.. = row.get("version")?
    {
        return Ok(version);
    }

    // 2. The row of the version is the lock: whoever holds it migrates, and the others then find it done.
    let mut connection = engine.connect().await?;
    let mut transaction = connection.begin(Purpose::Write).await?;
    let counted = "CREATE TABLE IF NOT EXISTS store_version (one BIGINT PRIMARY KEY CHECK (one = 1), version BIGINT NOT NULL)";
    transaction.execute(sql(counted)).await?;
    transaction
        .execute(sql("INSERT INTO store_version (one, version) VALUES (1, 0) ON CONFLICT DO NOTHING"))
        .await?;
    transaction.commit().await?;
    loop {
        let mut transaction = connection.begin(Purpose::Write).await?;
        let held = sql("UPDATE store_version SET version = version WHERE one = 1 RETURNING version");
        let version: i64 = match transaction.fetch(held).await?.first() {
            Some(row) => row.get("version")?,
            None => return Err(sqlx::Error::RowNotFound),
        };
        let Some(next) = usize::try_from(version).ok().and_then(|at| MIGRATIONS.get(at)) else {
            return Ok(version);
        };
        transaction.execute_all(engine.dialect(next)).await?;
        let done = sql("UPDATE store_version SET version = $1 WHERE one = 1").bind(version + 1);
        transaction.execute(done).await?;
        transaction.commit().await?;
    }
}
