//! The clocks of the live rim; everything else here is handed the time.

use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use delegation::time::Timestamp;

/// A clock of the wall, by which tokens begin and end. Ages and waits are measured by one that is never set.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's. It may be set, but never to before what it showed when it was first looked at and all that passed since:
    /// nothing that is over begins again.
    ///
    /// One that is before 1970 is wrong, and then it is the last of all days: nothing holds, and everything enforces.
    pub fn machine() -> Self {
        Self::showing(|| Looked::now().latest())
    }

    /// What time it is at the least, for what is to be forgotten: a clock that was set ahead is not believed.
    pub(crate) fn earliest() -> Timestamp {
        Looked::now().earliest()
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

/// The machine's clock at one moment, beside where it would be if nobody had set it since it was first looked at.
struct Looked {
    shown: Timestamp,
    unset: Timestamp,
}

impl Looked {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the live guard looks at the machine's clocks"
    )]
    fn now() -> Self {
        /// What the clock showed at first, and when that was by one that is never set.
        static FIRST: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| (read(SystemTime::now()), Instant::now()));
        let (shown, then) = *FIRST;
        Self {
            shown: read(SystemTime::now()),
            unset: shown.plus(then.elapsed()),
        }
    }

    fn latest(&self) -> Timestamp {
        self.shown.max(self.unset)
    }

    fn earliest(&self) -> Timestamp {
        self.shown.min(self.unset)
    }
}

fn read(time: SystemTime) -> Timestamp {
    let millis = time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_millis());
    Timestamp::from_millis(millis.and_then(|millis| i64::try_from(millis).ok()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What is over stays over, and what was revoked is not forgotten before its time.
    #[test]
    fn a_clock_that_was_set_ends_things_by_the_later_time_and_forgets_by_the_earlier() {
        let at = Timestamp::from_seconds;
        for (shown, unset) in [(1000, 1000), (1000, 4600), (4600, 1000)] {
            let looked = Looked {
                shown: at(shown),
                unset: at(unset),
            };
            assert_eq!((looked.latest(), looked.earliest()), (at(shown.max(unset)), at(shown.min(unset))));
        }
        assert_eq!(read(UNIX_EPOCH - Duration::from_secs(1)), Timestamp::from_millis(i64::MAX));
        assert_eq!(read(UNIX_EPOCH + Duration::from_secs(7)), at(7));
    }
}
