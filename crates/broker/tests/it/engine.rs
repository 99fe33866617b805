//! The two engines: every claim about the store is made of both.

use broker::store::{Store, StoreAddress};
use tempfile::TempDir;
use testkit::PostgresDatabase;

/// A place for one store; gone when it is dropped.
#[derive(Debug)]
pub(crate) enum Engine {
    Sqlite(TempDir),
    Postgres(PostgresDatabase),
}

impl Engine {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().unwrap())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(PostgresDatabase::new())
    }

    pub(crate) fn address(&self) -> StoreAddress {
        match self {
            Self::Sqlite(folder) => StoreAddress::sqlite(folder.path().join("narrows.db")),
            Self::Postgres(database) => database.address().parse().unwrap(),
        }
    }

    /// The bytes in which signing keys lie, as a thief of the disk would have them.
    pub(crate) fn bytes_of_keys(&self) -> Vec<u8> {
        match self {
            Self::Sqlite(folder) => {
                let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap_or_default();
                [read("narrows.db"), read("narrows.db-wal")].concat()
            }
            Self::Postgres(database) => {
                let hex = database.run("SELECT encode(sealed, 'hex') || encode(public_jwk::bytea, 'hex') FROM signing_keys");
                let digits: Vec<_> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
                let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
                digits.chunks(2).map(byte).collect()
            }
        }
    }

    /// The encrypted private halves of signing keys as hex, by `kid`, in an order that stays.
    pub(crate) async fn sealed(&self) -> Vec<(String, String)> {
        let text = match self {
            Self::Sqlite(folder) => {
                use sqlx::{ConnectOptions, Connection, Row};
                let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("narrows.db"));
                let mut connection = file.connect().await.unwrap();
                let rows = sqlx::query("SELECT kid || '|' || hex(sealed) FROM signing_keys")
                    .fetch_all(&mut connection)
                    .await
                    .unwrap();
                connection.close().await.unwrap();
                rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
            }
            Self::Postgres(database) => database.run("SELECT kid || '|' || encode(sealed, 'hex') FROM signing_keys"),
        };
        let mut found: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once('|'))
            .map(|(kid, hex)| (kid.to_owned(), hex.to_owned()))
            .collect();
        found.sort();
        found
    }

    /// Puts private halves back, as a process that was killed would have left them.
    pub(crate) async fn restore_sealed(&self, halves: &[(String, String)]) {
        for (kid, hex) in halves {
            let statement = match self {
                Self::Sqlite(_) => format!("UPDATE signing_keys SET sealed = x'{hex}' WHERE kid = '{kid}'"),
                Self::Postgres(_) => format!("UPDATE signing_keys SET sealed = decode('{hex}', 'hex') WHERE kid = '{kid}'"),
            };
            self.run(&statement).await;
        }
    }

    /// Runs SQL that no program of ours would.
    pub(crate) async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(folder) => {
                use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
                let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("narrows.db"));
                let mut connection = file.connect().await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Self::Postgres(database) => drop(database.run(sql)),
        }
    }

    /// Opens the store, as one more node would.
    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.address()).await.unwrap()
    }
}

/// Makes each claim, an `async fn(Engine)`, a test on both engines.
macro_rules! on_both_engines {
    ($($claim:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $claim() { super::$claim(crate::engine::Engine::sqlite()).await; })+
        }
        mod on_postgres {
            $(#[tokio::test] async fn $claim() { super::$claim(crate::engine::Engine::postgres()).await; })+
        }
    };
}
pub(crate) use on_both_engines;
