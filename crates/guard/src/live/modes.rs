//! Whether decisions bind: everywhere, or not until a day.

use delegation::time::Timestamp;

use crate::call::Call;
use crate::route::{Matched, Mode, Rule, Table};

/// What a guard says about whether its decisions bind. A route's own word goes before it; no word without a day observes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// The guard's own mode.
    pub mode: Option<Mode>,
    /// From then on it enforces; for its routes, too, that say themselves to observe.
    pub until: Option<Timestamp>,
}

impl Modes {
    /// Whether what `call` asks goes on at `now`, whatever is decided.
    ///
    /// A request that a program which reads less strictly may take for one of a route that enforces does not.
    pub(crate) fn observes(&self, table: &Table, call: &Call, now: Timestamp) -> bool {
        let Some(matched) = table.find(call) else {
            return self.observes_all(table, now);
        };
        let enforces = |matched: &Matched<'_>| !matches!(matched.route().rule(), Rule::Public) && !self.are(matched.route().mode(), now);
        self.are(matched.route().mode(), now) && !table.resembling(call).iter().any(enforces)
    }

    /// Whether everything goes on, so that what could not be read may be meant for whatever it likes.
    pub(crate) fn observes_all(&self, table: &Table, now: Timestamp) -> bool {
        let routes = table.services().iter().flat_map(|service| &service.routes).map(|route| route.mode());
        std::iter::once(None).chain(routes).all(|mode| self.are(mode, now))
    }

    /// Whether a route that says `route` observes.
    fn are(&self, route: Option<Mode>, now: Timestamp) -> bool {
        route.or(self.mode) == Some(Mode::Observe) && self.until.is_some_and(|until| now < until)
    }
}
