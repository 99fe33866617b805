//! What time it is: a value that the broker is given, like its keys and its policies.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use delegation::time::Timestamp;

/// A clock of the wall. Ages of what the process itself did are measured by the monotonic one and not by this.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's.
    System,
    /// One that stands still until it is set: with it, a test lets months of key rotation pass. Clones show the same.
    Standing(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `now`.
    pub fn standing(now: Timestamp) -> Self {
        Self::Standing(Arc::new(AtomicI64::new(now.millis())))
    }

    /// What it shows; a machine whose clock is before 1970 is taken to be there.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Self::Standing(millis) => Timestamp::from_millis(millis.load(Ordering::SeqCst)),
        }
    }

    /// Sets a standing clock; the machine's cannot be set, and this does nothing to it.
    pub fn set(&self, now: Timestamp) {
        if let Self::Standing(millis) = self {
            millis.store(now.millis(), Ordering::SeqCst);
        }
    }
}
