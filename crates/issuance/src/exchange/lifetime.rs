//! How long a token lives: the shortest of all that has a say.

use std::time::Duration;

use delegation::registry::{Audience, Moment};
use delegation::time::Timestamp;

/// The expiry, in whole seconds: what was asked, capped by broker, audience and the tokens it is made from.
/// A token of a task for later work, `later`, has a bound of its own.
pub(crate) fn expiry(
    moment: &Moment,
    audience: &Audience,
    asked_seconds: Option<u64>,
    not_after: Option<Timestamp>,
    later: bool,
) -> Timestamp {
    let lifetimes = &moment.snapshot.lifetimes;
    let longest = if later {
        lifetimes.deferred_token.min(lifetimes.max)
    } else {
        lifetimes.max
    };
    let asked = asked_seconds.map_or(lifetimes.default, Duration::from_secs);
    let life = asked.min(longest).min(audience.max_lifetime.unwrap_or(lifetimes.max));
    let wanted = Timestamp::from_seconds(moment.now.seconds()).plus(life);
    not_after.map_or(wanted, |bound| wanted.min(bound))
}
