//! The clocks of the live rim; everything else here is handed the time.

use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use delegation::time::Timestamp;

/// A clock of the wall, by which tokens begin and end. Ages and waits are measured by one that is never set.
///
/// It may be set, but never to before what it showed when it was made and all that passed since: nothing that is over begins again.
#[derive(Clone)]
pub struct Clock(Arc<Watched>);

struct Watched {
    shows: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// What it showed at first, and when that was by one that is never set.
    first: (Timestamp, Instant),
}

impl Clock {
    /// The machine's; one in the process, however often it is asked for.
    ///
    /// One that is before 1970 is wrong, and then it is the last of all days: nothing holds, and everything enforces.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the live guard looks at the machine's clock"
    )]
    pub fn machine() -> Self {
        static MACHINE: LazyLock<Clock> = LazyLock::new(|| Clock::showing(|| read(SystemTime::now())));
        MACHINE.clone()
    }

    /// One that shows what `shows` says: in a test, what is set there. It does not stand still: time passes.
    #[expect(clippy::disallowed_methods, reason = "whatever shows the time, how much of it passes nobody sets")]
    pub fn showing(shows: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let first = (shows(), Instant::now());
        let shows = Box::new(shows);
        Self(Arc::new(Watched { shows, first }))
    }

    /// What it shows, or where it would be if nobody had set it, whichever is later.
    pub fn now(&self) -> Timestamp {
        self.look().latest()
    }

    /// What time it is at the least, for what is to be forgotten: a clock that was set ahead is not believed.
    pub(crate) fn earliest(&self) -> Timestamp {
        self.look().earliest()
    }

    fn look(&self) -> Looked {
        let (shown, then) = self.0.first;
        Looked {
            shown: (self.0.shows)(),
            unset: shown.plus(then.elapsed()),
        }
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Clock")
    }
}

/// A clock at one moment, beside where it would be if nobody had set it since it was first looked at.
struct Looked {
    shown: Timestamp,
    unset: Timestamp,
}

impl Looked {
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
