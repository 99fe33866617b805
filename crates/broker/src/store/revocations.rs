//! Revocations: written with their record, followed by every node of the store.

use std::sync::atomic::{AtomicI64, Ordering};

use delegation::revocation::{Key, MarkKind, Revocation, Revoked};
use delegation::time::Timestamp;
use issuance::audit::Record;
use tokio::sync::watch;

use super::{Purpose, Row, Statement, Store, StoreTransaction, StoreUnavailable, sql};
use crate::journal::append;

/// How many are read at a time.
const PAGE: i64 = 10_000;

/// How far this process has read.
#[derive(Debug)]
pub(super) struct Followed {
    seq: AtomicI64,
    /// The epoch of the store: another one says that it was set back, and everything is read again.
    epoch: AtomicI64,
}

impl Default for Followed {
    fn default() -> Self {
        Self {
            seq: AtomicI64::new(-1),
            epoch: AtomicI64::new(0),
        }
    }
}

/// A revocation with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) seq: i64,
    pub(crate) revocation: Revocation,
}

impl Store {
    /// Everything that this process knows to be revoked.
    pub(crate) fn revoked(&self) -> &std::sync::Arc<Revoked> {
        &self.revoked
    }

    /// Reads what was revoked since the last time, here or by another node.
    ///
    /// A place in the log is taken under a lock that is held until the commit, so none before one that was read can come later.
    pub(crate) async fn follow_revocations(&self) -> Result<(), StoreUnavailable> {
        let epoch = self.epoch().await?;
        if self.followed.epoch.swap(epoch, Ordering::AcqRel) != epoch {
            self.followed.seq.store(-1, Ordering::Release);
        }
        loop {
            let page = self.revocations_after(self.followed.seq.load(Ordering::Acquire), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            for each in &page {
                self.learn(&each.revocation);
            }
            self.followed.seq.store(last.seq, Ordering::Release);
        }
    }

    /// Writes `revocation` with its record, while a broker runs or not; gives its place.
    pub async fn revoke(&self, revocation: &Revocation, record: &Record) -> Result<u64, StoreUnavailable> {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;
        let index = append(&mut transaction, &[record]).await?;
        insert(&mut transaction, i64::try_from(index).unwrap_or(i64::MAX), revocation).await?;
        transaction.commit().await?;
        self.learn(revocation);
        Ok(index)
    }

    /// Takes note of a revocation that is durable, and wakes whoever waits for one.
    pub(crate) fn learn(&self, revocation: &Revocation) {
        self.revoked.add(revocation);
        self.news.send_replace(());
    }

    /// Changes whenever this process learns of a revocation.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// The epoch of the store: another one says that it was set back.
    pub(crate) async fn epoch(&self) -> Result<i64, StoreUnavailable> {
        let head = self.fetch(sql("SELECT epoch FROM log_head WHERE one = 1")).await?;
        Ok(head.first().ok_or(sqlx::Error::RowNotFound)?.get("epoch")?)
    }

    /// Whether there is a revocation at the place `seq` that is not forgotten.
    pub(crate) async fn holds_revocation(&self, seq: i64) -> Result<bool, StoreUnavailable> {
        let one = self.fetch(sql("SELECT seq FROM revocations WHERE seq = $1").bind(seq)).await?;
        Ok(!one.is_empty())
    }

    /// Revocations after the place `seq`, in order, at most `limit`.
    pub(crate) async fn revocations_after(&self, seq: i64, limit: i64) -> Result<Vec<Placed>, StoreUnavailable> {
        let page = "SELECT seq, kind, name, at, forget_at FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = self.fetch(sql(page).bind(seq).bind(limit)).await?;
        Ok(rows.iter().map(placed).collect::<Result<_, _>>()?)
    }
}

/// Writes `revocation` at the place of its record, in a transaction that its caller commits.
pub(crate) async fn insert(transaction: &mut StoreTransaction<'_>, seq: i64, revocation: &Revocation) -> Result<(), sqlx::Error> {
    let statement: Statement<'_> = sql("INSERT INTO revocations (seq, kind, name, at, forget_at)").row([
        seq.into(),
        revocation.kind.as_str().into(),
        revocation.key.as_bytes().to_vec().into(),
        revocation.at.millis().into(),
        revocation.forget_at.millis().into(),
    ]);
    transaction.execute(statement).await.map(drop)
}

fn placed(row: &Row) -> Result<Placed, sqlx::Error> {
    let decode = |error: &str| sqlx::Error::Decode(error.into());
    let (kind, name): (String, Vec<u8>) = (row.get("kind")?, row.get("name")?);
    let revocation = Revocation {
        // One that is not understood must not be passed over as if nothing had been revoked.
        kind: MarkKind::parse(&kind).ok_or_else(|| decode("unknown kind of revocation"))?,
        key: Key::from_bytes(<[u8; 32]>::try_from(name).map_err(|_| decode("malformed name of a revocation"))?),
        at: Timestamp::from_millis(row.get("at")?),
        forget_at: Timestamp::from_millis(row.get("forget_at")?),
    };
    Ok(Placed {
        seq: row.get("seq")?,
        revocation,
    })
}
