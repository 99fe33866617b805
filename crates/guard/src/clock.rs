//! The clocks of the live rim; everything else here is handed the time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use delegation::time::Timestamp;

/// A clock of the wall, by which tokens begin and end. Ages and waits are measured by one that is never set.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's. One that is before 1970 is wrong, and then it is the last of all days: nothing holds, and everything enforces.
    pub fn machine() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the live guard looks at the machine's clock"
        )]
        Self::showing(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            let millis = since.and_then(|since| i64::try_from(since.as_millis()).ok());
            Timestamp::from_millis(millis.unwrap_or(i64::MAX))
        })
    }

    /// One that shows what `shows` says: that of a broker in this process, or one that stands still in a test.
    pub fn showing(shows: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(shows))
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Clock")
    }
}
