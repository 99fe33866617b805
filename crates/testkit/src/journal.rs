//! A journal in memory that fails on command.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use delegation::token::KeptToken;
use issuance::audit::{CommitError, Entry, Journal, Record, Use};
use issuance::task::{KeptTask, Over, Status, TaskChange};

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
    tasks: Mutex<BTreeMap<String, KeptTask>>,
    opaque_tokens: Mutex<Vec<KeptToken>>,
}

impl MemoryJournal {
    /// An empty one that fails as told.
    pub fn new(fails: Fails) -> Self {
        Self {
            fails,
            kept: Mutex::default(),
            tasks: Mutex::default(),
            opaque_tokens: Mutex::default(),
        }
    }

    /// What was committed.
    pub fn records(&self) -> Vec<Record> {
        self.kept.lock().unwrap().0.clone()
    }

    /// The task with this id, as it is kept.
    pub fn task(&self, id: &str) -> Option<KeptTask> {
        self.tasks.lock().unwrap().get(id).cloned()
    }

    /// The opaque tokens that were issued, as they are kept.
    pub fn opaque_tokens(&self) -> Vec<KeptToken> {
        self.opaque_tokens.lock().unwrap().clone()
    }

    /// Changes a task, or says why it is over. It knows no attempts: each redemption takes a place.
    fn change(&self, change: Option<TaskChange>) -> Result<(), Over> {
        let mut tasks = self.tasks.lock().unwrap();
        let (id, ends) = match change {
            None => return Ok(()),
            Some(TaskChange::Opens { task, .. }) => {
                tasks.insert(task.id.clone(), *task);
                return Ok(());
            }
            Some(TaskChange::Takes(slot)) => (slot.task, None),
            Some(TaskChange::Ends { id, status }) => (id, Some(status)),
        };
        let task = tasks.get_mut(&id).ok_or(Over::Expired)?;
        match (task.status, ends) {
            (Status::Completed, _) => return Err(Over::Completed),
            (Status::Cancelled, _) => return Err(Over::Cancelled),
            (Status::Open, Some(status)) => task.status = status,
            (Status::Open, None) if task.tokens >= task.max_tokens => return Err(Over::Exhausted),
            (Status::Open, None) => task.tokens += 1,
        }
        Ok(())
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
        self.change(entry.task).map_err(CommitError::Over)?;
        self.opaque_tokens.lock().unwrap().extend(entry.keeps);
        kept.1.extend(entry.uses);
        kept.0.push(entry.record);
        if self.fails == Fails::After {
            Err(CommitError::Unavailable)
        } else {
            Ok(kept.0.len() as u64 - 1)
        }
    }
}
