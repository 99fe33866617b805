//! What lies in the store, table by table: what a backup holds.

/// A table, and what is in its columns; the first `key` of them are its key.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) key: usize,
    pub(super) columns: &'static [(&'static str, Column)],
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Integer,
    Text,
    MaybeText,
    Bytes,
}

use Column::{Bytes, Integer, MaybeText, Text};

/// Columns are only ever added at the end, with a default, so that an older backup can be read.
///
/// Every table but `log_head` and `store_version`, whose values the head of a backup holds. A test compares it with what
/// the migrations make, so that no table can be forgotten.
pub(super) const TABLES: [Table; 16] = [
    Table {
        name: "records",
        key: 1,
        columns: &[("idx", Integer), ("body", Text)],
    },
    Table {
        name: "uses",
        key: 3,
        columns: &[("kind", Text), ("issuer", Text), ("id", Text), ("forget_at", Integer)],
    },
    Table {
        name: "transactions",
        key: 1,
        columns: &[
            ("txn", Text),
            ("issuer_name", Text),
            ("iss", Text),
            ("sub", Text),
            ("kind", Text),
            ("attributes", Text),
            ("requested_by", MaybeText),
            ("began", Integer),
            ("forget_at", Integer),
        ],
    },
    Table {
        name: "signing_keys",
        key: 1,
        columns: &[
            ("kid", Text),
            ("algorithm", Text),
            ("state", Text),
            ("created_at", Integer),
            ("changed_at", Integer),
            ("public_jwk", Text),
            ("sealed", Bytes),
            ("longest_life", Integer),
        ],
    },
    Table {
        name: "standing_clients",
        key: 1,
        columns: &[("client", Text), ("disabled_at", Integer)],
    },
    Table {
        name: "standing_subjects",
        key: 2,
        columns: &[("issuer_name", Text), ("sub", Text), ("disabled_at", Integer)],
    },
    Table {
        name: "revocations",
        key: 1,
        columns: &[
            ("seq", Integer),
            ("kind", Text),
            ("name", Bytes),
            ("at", Integer),
            ("forget_at", Integer),
        ],
    },
    Table {
        name: "operators",
        key: 1,
        columns: &[
            ("name", Text),
            ("token", Bytes),
            ("roles", Text),
            ("iss", MaybeText),
            ("sub", MaybeText),
            ("added_at", Integer),
        ],
    },
    Table {
        name: "standing_risks",
        key: 2,
        columns: &[("issuer_name", Text), ("sub", Text), ("risk", Text), ("said_at", Integer)],
    },
    Table {
        name: "tasks",
        key: 1,
        columns: &[
            ("id", Text),
            ("token", Bytes),
            ("creator", Text),
            ("actor", Text),
            ("status", Text),
            ("tokens", Integer),
            ("max_tokens", Integer),
            ("created_at", Integer),
            ("expires_at", Integer),
            ("terms", Text),
            ("forget_at", Integer),
        ],
    },
    Table {
        name: "task_attempts",
        key: 2,
        columns: &[("task", Text), ("attempt", Text), ("until", Integer), ("forget_at", Integer)],
    },
    Table {
        name: "dead_secrets",
        key: 1,
        columns: &[("digest", Bytes), ("died_at", Integer)],
    },
    Table {
        name: "opaque_tokens",
        key: 1,
        columns: &[("digest", Bytes), ("claims", Text), ("forget_at", Integer)],
    },
    Table {
        name: "connections",
        key: 4,
        columns: &[
            ("name", Text),
            ("kind", Text),
            ("iss", Text),
            ("id", Text),
            ("origin", Text),
            ("header", Text),
            ("sealed", Bytes),
            ("changed_at", Integer),
        ],
    },
    Table {
        name: "usage_days",
        key: 7,
        columns: &[
            ("day", Integer),
            ("audience", Text),
            ("service", Text),
            ("client", Text),
            ("route", Text),
            ("what", Text),
            ("name", Text),
            ("granted", Integer),
            ("used", Integer),
        ],
    },
    Table {
        name: "token_places",
        key: 1,
        columns: &[("token", Bytes), ("place", Text), ("forget_at", Integer)],
    },
];

impl Table {
    /// The names of its first `count` columns, with commas between.
    pub(super) fn names(&self, count: usize) -> String {
        self.columns.iter().take(count).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::{Store, StoreAddress, sql};
    use super::TABLES;

    #[tokio::test]
    async fn a_backup_holds_every_column_of_every_table() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreAddress::sqlite(folder.path().join("n.db"))).await.unwrap();
        let made = "SELECT m.name || '.' || c.name AS made FROM sqlite_master m, pragma_table_info(m.name) c \
                    WHERE m.type = 'table' AND m.name NOT IN ('log_head', 'store_version')";
        let rows = store.fetch(sql(made)).await.unwrap();
        let made: std::collections::BTreeSet<String> = rows.iter().map(|row| row.get("made").unwrap()).collect();
        let held = TABLES
            .iter()
            .flat_map(|table| table.columns.iter().map(|(name, _)| format!("{}.{name}", table.name)));
        assert_eq!(made, held.collect());
    }
}
