//! Requests that went on already and wait for their decision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many may wait; the next go on without a decision.
const MOST: usize = 1024;

/// Those of one boundary or guard.
#[derive(Debug)]
pub(crate) struct Backlog {
    room: Arc<Semaphore>,
    /// How many went on without a decision since the last that had one.
    missed: AtomicU64,
}

impl Default for Backlog {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(MOST)),
            missed: AtomicU64::new(0),
        }
    }
}

impl Backlog {
    /// Room for one more at the boundary or guard `name`, for as long as the value is held; without, nobody waits for any.
    pub(crate) fn enter(&self, name: &str) -> Option<OwnedSemaphorePermit> {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        match self.missed.swap(0, Ordering::Relaxed) {
            0 => {}
            missed => tracing::warn!(name, missed, "requests went on without a record of what would be decided"),
        }
        Some(room)
    }
}
