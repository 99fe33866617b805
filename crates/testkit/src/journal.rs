//! A journal in memory that fails on command.

use std::collections::BTreeSet;
use std::sync::Mutex;

use issuance::audit::{CommitError, Entry, Journal, Record, Use};

/// When a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fails {
    /// Never.
    Never,
    /// Before it takes effect.
    Before,
    /// After it took effect: the caller cannot know.
    After,
}

/// A [`Journal`] whose records can be read back.
#[derive(Debug)]
pub struct MemoryJournal {
    fails: Fails,
    kept: Mutex<(Vec<Record>, BTreeSet<Use>)>,
}

impl MemoryJournal {
    /// An empty one that fails as told.
    pub fn new(fails: Fails) -> Self {
        Self {
            fails,
            kept: Mutex::default(),
        }
    }

    /// What was committed.
    pub fn records(&self) -> Vec<Record> {
        self.kept.lock().unwrap().0.clone()
    }
}

impl Journal for MemoryJournal {
    async fn commit(&self, entry: Entry) -> Result<u64, CommitError> {
        let mut kept = self.kept.lock().unwrap();
        if self.fails == Fails::Before {
            return Err(CommitError::Unavailable);
        }
        if entry.uses.iter().any(|key| kept.1.contains(key)) {
            return Err(CommitError::AlreadyUsed);
        }
        kept.1.extend(entry.uses);
        kept.0.push(entry.record);
        if self.fails == Fails::After {
            Err(CommitError::Unavailable)
        } else {
            Ok(kept.0.len() as u64 - 1)
        }
    }
}
