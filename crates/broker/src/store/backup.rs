//! A copy of the whole store in one file, the same whichever engine it comes from.
//!
//! Lines of JSON: a head; a row of a table in each line, `["records", 0, "…"]`; and an end with the count of rows and the
//! SHA-256 of all bytes before it. What is encrypted in the store is encrypted in the file.

use std::io::{self, BufRead, Write};

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delegation::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::tables::{Column, TABLES, Table};
use super::{Purpose, Row, Statement, Store, StoreTransaction, StoreUnavailable, Value, migrations, sql};

/// How many rows are read or written at a time.
pub(super) const ROWS: usize = 500;
/// No line of a backup is longer: a record is far shorter.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// The first line of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// The version of this format.
    pub narrows_backup: u32,
    /// The version of the store's tables.
    pub store_version: i64,
    /// When it was made, in milliseconds since the epoch.
    pub made_at: i64,
    /// How many records the log had.
    pub log_size: i64,
    /// How often the store had been restored, and one.
    pub epoch: i64,
}

/// The last line of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupEnd {
    /// How many rows it holds.
    pub rows: u64,
    /// The SHA-256 of everything before this line, in hex.
    pub sha256: String,
}

/// A backup that was written, or read and found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its first line.
    pub head: BackupHead,
    /// Its last line.
    pub end: BackupEnd,
}

/// Why there is no backup, or none that may be trusted.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
    /// The file.
    #[error("{0}")]
    File(#[from] io::Error),
    /// It is not one, or no longer.
    #[error("line {line}: {what}")]
    Damaged {
        /// Where.
        line: u64,
        /// What was expected.
        what: &'static str,
    },
    /// A later version of the program has made it.
    #[error("it was made by a later version of narrows; use that one, or a later one")]
    Newer,
}

impl From<sqlx::Error> for BackupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(StoreUnavailable(error))
    }
}

/// One row of a backup.
pub(super) struct BackupRow {
    pub(super) table: &'static Table,
    pub(super) values: Vec<Value<'static>>,
}

impl Store {
    /// Writes the state of this moment to `out`, while others write to the store; tells `progress` how many rows lie behind.
    ///
    /// The caller makes the file durable. A backup that was cut off has no end, and is refused by whoever reads it.
    pub async fn backup(&self, out: impl Write, now: Timestamp, mut progress: impl FnMut(u64)) -> Result<Backup, BackupError> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Snapshot).await?;
        let rows = transaction.fetch(sql("SELECT size, epoch FROM log_head")).await?;
        let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
        let head = BackupHead {
            narrows_backup: 1,
            store_version: migrations::VERSION,
            made_at: now.millis(),
            log_size: row.get("size")?,
            epoch: row.get("epoch")?,
        };
        let mut out = Digested {
            inner: out,
            context: Context::new(&SHA256),
        };
        let mut count = 0;
        writeln!(out, "{}", json(&head)?)?;
        for table in &TABLES {
            let mut last = None;
            loop {
                let rows = page(&mut transaction, table, last).await?;
                for row in &rows {
                    writeln!(out, "{}", line(table, row)?)?;
                    count += 1;
                }
                progress(count);
                last = match rows.last() {
                    Some(row) if rows.len() == ROWS => Some(key(table, row)?),
                    _ => break,
                };
            }
        }
        let end = BackupEnd {
            rows: count,
            sha256: hex(out.context.clone().finish().as_ref()),
        };
        writeln!(out, "{}", json(&end)?)?;
        out.flush()?;
        Ok(Backup { head, end })
    }
}

/// Reads a backup to its end and gives every row to `take`; only its `Ok` says that the rows were whole and unchanged.
pub(super) fn read(mut file: impl BufRead, mut take: impl FnMut(BackupRow) -> Result<(), BackupError>) -> Result<Backup, BackupError> {
    let damaged = |line: u64, what: &'static str| BackupError::Damaged { line, what };
    let (mut context, mut text, mut number) = (Context::new(&SHA256), String::new(), 0);
    let mut next = |text: &mut String, number: &mut u64| {
        text.clear();
        *number += 1;
        let read = io::Read::take(&mut file, LONGEST_LINE).read_line(text)?;
        Ok::<_, BackupError>(read > 0 && text.ends_with('\n'))
    };
    if !next(&mut text, &mut number)? {
        return Err(damaged(number, "expected the head of a backup"));
    }
    let head: BackupHead = serde_json::from_str(&text).map_err(|_| damaged(number, "expected the head of a backup"))?;
    if head.narrows_backup != 1 || head.store_version > migrations::VERSION {
        return Err(BackupError::Newer);
    }
    context.update(text.as_bytes());
    let (mut rows, mut records) = (0, 0);
    loop {
        if !next(&mut text, &mut number)? {
            return Err(damaged(number, "the file ends here, and its end is missing: it was cut off"));
        }
        if text.starts_with('{') {
            break;
        }
        let row = parse(&text, head.store_version == migrations::VERSION)
            .ok_or_else(|| damaged(number, "expected a row of a table that this program knows"))?;
        // The log has no gap: its records lie in their order, from the first on.
        if row.table.name == "records" {
            if !matches!(row.values.first(), Some(Value::Integer(index)) if *index == records) {
                return Err(damaged(number, "expected the next record of the log"));
            }
            records += 1;
        }
        context.update(text.as_bytes());
        rows += 1;
        take(row)?;
    }
    let end: BackupEnd = serde_json::from_str(&text).map_err(|_| damaged(number, "expected the end of a backup"))?;
    if end.rows != rows || records != head.log_size || end.sha256 != hex(context.finish().as_ref()) {
        return Err(damaged(number, "the digest does not fit: the file was changed"));
    }
    if next(&mut text, &mut number)? || !text.is_empty() {
        return Err(damaged(number, "expected nothing after the end"));
    }
    Ok(Backup { head, end })
}

async fn page(transaction: &mut StoreTransaction<'_>, table: &Table, after: Option<Vec<Value<'static>>>) -> Result<Vec<Row>, sqlx::Error> {
    let (names, key) = (table.names(table.columns.len()), table.names(table.key));
    let from = match &after {
        None => String::new(),
        Some(values) => {
            let places: Vec<_> = (1..=values.len()).map(|at| format!("${at}")).collect();
            format!(" WHERE ({key}) > ({})", places.join(", "))
        }
    };
    let mut statement = Statement::of_own_words(format!("SELECT {names} FROM {}{from} ORDER BY {key} LIMIT {ROWS}", table.name));
    for value in after.unwrap_or_default() {
        statement = statement.bind(value);
    }
    transaction.fetch(statement).await
}

fn value(row: &Row, name: &str, column: Column) -> Result<Value<'static>, sqlx::Error> {
    Ok(match column {
        Column::Integer => Value::Integer(row.get(name)?),
        Column::Text => row.get::<String>(name)?.into(),
        Column::MaybeText => row.get::<Option<String>>(name)?.into(),
        Column::Bytes => Value::Bytes(row.get(name)?),
    })
}

fn key(table: &Table, row: &Row) -> Result<Vec<Value<'static>>, sqlx::Error> {
    table.columns.iter().take(table.key).map(|(name, column)| value(row, name, *column)).collect()
}

/// A row as a line of the file.
fn line(table: &Table, row: &Row) -> Result<Json, sqlx::Error> {
    let mut line = vec![Json::from(table.name)];
    for (name, column) in table.columns {
        line.push(match value(row, name, *column)? {
            Value::Integer(value) => value.into(),
            Value::Text(value) => value.into_owned().into(),
            Value::Absent => Json::Null,
            Value::Bytes(value) => STANDARD.encode(value).into(),
        });
    }
    Ok(line.into())
}

/// A line of the file as a row: each value of its column's type; of an older store, the last columns may be missing.
fn parse(line: &str, is_present: bool) -> Option<BackupRow> {
    let Json::Array(mut items) = serde_json::from_str(line).ok()? else {
        return None;
    };
    let values = items.split_off(1.min(items.len()));
    let name = items.first()?.as_str()?;
    let table = TABLES.iter().find(|table| table.name == name)?;
    let fits = if is_present {
        values.len() == table.columns.len()
    } else {
        (table.key..=table.columns.len()).contains(&values.len())
    };
    if !fits {
        return None;
    }
    let typed = values.into_iter().zip(table.columns).map(|(value, (_, column))| match (column, value) {
        (Column::Integer, Json::Number(value)) => value.as_i64().map(Value::Integer),
        (Column::Text | Column::MaybeText, Json::String(value)) => Some(value.into()),
        (Column::MaybeText, Json::Null) => Some(Value::Absent),
        (Column::Bytes, Json::String(value)) => STANDARD.decode(value).ok().map(Value::Bytes),
        _ => None,
    });
    Some(BackupRow {
        table,
        values: typed.collect::<Option<_>>()?,
    })
}

fn json(value: &impl Serialize) -> Result<String, io::Error> {
    serde_json::to_string(value).map_err(io::Error::other)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes on, and digests what passes.
struct Digested<W> {
    inner: W,
    context: Context,
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.context.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
