//! What a broker puts on record beside what it issues: changes of what is in force, and refusals.

use delegation::oauth::Reason;
use issuance::audit::{CommitError, Decision, Entry, Journal, Kind, Record, Use, commit_denial};

use super::Broker;
use crate::denied::give_up_last;
use crate::ids;
use crate::refusals::{Counted, Refusals};

impl Broker {
    pub(super) async fn record_change(&self, reason: &str) -> Result<u64, CommitError> {
        let in_force = self.in_force.load();
        let mut record = Record::new(ids::decision(), self.now(), Kind::Config);
        record.decision = Decision::Done;
        record.reason = reason.to_owned();
        record.config_version.clone_from(&in_force.snapshot.config_version);
        record.policy_version = issuance::policy::Policy::version(&in_force.policy).to_owned();
        self.journal.commit(Entry::of(record)).await
    }

    /// Makes a refusal durable and gives the reason and id to answer with.
    ///
    /// `uses` is `None` for a stranger: those are counted together, the first of a second at once.
    pub(crate) async fn record_denial(&self, reason: Reason, record: Record, uses: Option<Vec<Use>>) -> (Reason, String) {
        let id = record.id.clone();
        let Some(uses) = uses else {
            return match self.record_stranger(record.denied(reason)).await {
                Ok(id) => (reason, id),
                Err(_) => (Reason::StoreUnavailable, id),
            };
        };
        let (mut reason, mut uses) = (reason, uses);
        loop {
            match commit_denial(&self.journal, reason, record.clone(), uses.clone()).await {
                Ok(_) => return (reason, id),
                // Something was shown before: that is the reason, and the record of it does not use it up.
                Err(CommitError::AlreadyUsed) if !uses.is_empty() => reason = give_up_last(&mut uses),
                Err(_) => return (Reason::StoreUnavailable, id),
            }
        }
    }

    /// Counts the refusal of a stranger, or of nobody in particular; gives the id of the record that it is in.
    pub(crate) async fn record_stranger(&self, record: Record) -> Result<String, CommitError> {
        let id = record.id.clone();
        match self.counted(record.effect.is_some()).count(record, None) {
            Counted::First(first) => self.journal.commit(*first).await.map(|_| id),
            Counted::Behind(other) => Ok(other),
            Counted::Before => Ok(id),
        }
    }

    /// Where refusals of strangers are counted: what was only observed takes no place of what was refused.
    pub(crate) fn counted(&self, observed: bool) -> &Refusals {
        if observed { &self.observed } else { &self.refusals }
    }

    /// Writes what is counted, but for the second that is given.
    pub(super) async fn flush_refusals(&self, now: Option<i64>) {
        for refusals in [&self.refusals, &self.observed] {
            refusals.flush(&self.store, &self.journal, now).await;
        }
    }
}
