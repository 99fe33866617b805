//! Puts what was counted on record.

use std::collections::{BTreeMap, BTreeSet};

use issuance::audit::{CommitError, Entry, Journal, Use, UseKind};

use super::Refusals;
use crate::journal::{StoreJournal, used};
use crate::store::Store;

/// It is kept for the next time.
struct NotWritten;

impl Refusals {
    /// Writes all that is counted but what the second `now` goes on counting. What could not be written is kept.
    pub(crate) async fn flush(&self, store: &Store, journal: &StoreJournal, now: Option<i64>) {
        let mut counted = self.take(now).into_iter();
        while let Some(entry) = counted.next() {
            match write(store, journal, entry.clone()).await {
                Ok(()) => self.forget(&entry.uses),
                Err(NotWritten) => {
                    tracing::error!("refusals of strangers could not be put on record; they are kept until they can");
                    self.put_back(std::iter::once(entry).chain(counted));
                    return;
                }
            }
        }
    }
}

async fn write(store: &Store, journal: &StoreJournal, mut entry: Entry) -> Result<(), NotWritten> {
    loop {
        match journal.commit(entry.clone()).await {
            Ok(_) => return Ok(()),
            Err(CommitError::AlreadyUsed) => {}
            Err(CommitError::Over(_) | CommitError::Unavailable) => return Err(NotWritten),
        }
        // Said to another node too, some of them are on record there: the others are what this one stands for.
        let there = known(store, &entry.uses).await?;
        let before = entry.uses.len();
        entry.uses.retain(|told| !there.contains(&(told.issuer.clone(), told.id.clone())));
        let fewer = before - entry.uses.len();
        let left = entry.record.count.unwrap_or(1).saturating_sub(fewer as u64);
        match (fewer, left) {
            (0, _) => return Err(NotWritten),
            (_, 0) => return Ok(()),
            (_, left) => entry.record.count = Some(left),
        }
    }
}

/// Which of `uses` are on record, by issuer and id.
async fn known(store: &Store, uses: &[Use]) -> Result<BTreeSet<(String, String)>, NotWritten> {
    let mut by_issuer = BTreeMap::<&str, Vec<&str>>::new();
    for told in uses {
        by_issuer.entry(&told.issuer).or_default().push(&told.id);
    }
    let mut known = BTreeSet::new();
    for (issuer, ids) in by_issuer {
        let there = used(store, UseKind::GuardRefusal, issuer, &ids).await.map_err(|_| NotWritten)?;
        known.extend(there.into_iter().map(|id| (issuer.to_owned(), id)));
    }
    Ok(known)
}
