//! Boundaries, services and routes that only observe: what is decided there binds nobody, until a day.
//!
//! The most specific word holds: a route's, else its service's, else the boundary's. No word without a day observes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use delegation::time::Timestamp;
use http::{HeaderMap, HeaderName};
use narrows_guard::hygiene::headers::{ProxyHeaders, strange};
use narrows_guard::hygiene::host::Host;
use narrows_guard::route::{Matched, Mode, Rule, Service, Table};
use narrows_guard::{Body, Call};

use crate::ext_authz::PARTIAL;
pub(crate) use narrows_guard::hygiene::form::Form;
pub(crate) use narrows_guard::hygiene::method::names_method;

/// The moment `time`. A clock that is before 1970 is wrong, and nobody knows what day it is: that is the last of all days, on
/// which everything enforces.
pub(crate) fn at(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok());
    Timestamp::from_millis(since.unwrap_or(i64::MAX))
}

/// What a proxy in front that is believed says of the caller, and of itself.
const OF_A_PROXY: [&str; 7] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-real-ip",
];

/// Whether any of `headers` is [strange] at a door with these `proxy_headers`; those that a proxy adds may be there if it is
/// `believed`.
pub(crate) fn is_strange(headers: &HeaderMap, proxy_headers: ProxyHeaders, believed: bool) -> bool {
    let may = |name: &HeaderName| (believed && OF_A_PROXY.contains(&name.as_str())) || name == PARTIAL;
    headers.keys().any(|name| strange(name, proxy_headers) && !may(name))
}

/// What a boundary or a service says about whether decisions bind there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its mode, where it says one.
    pub mode: Option<Mode>,
    /// From then on it enforces; for its routes, too, that say themselves to observe.
    pub until: Option<Timestamp>,
}

/// What a boundary and its services say.
#[derive(Clone, Debug, Default)]
pub struct Modes {
    /// The boundary.
    pub boundary: Said,
    /// Its services, by their names.
    pub services: BTreeMap<String, Said>,
}

impl Modes {
    /// From when on a route of `service` that says `route` enforces; `None` where it does now.
    pub fn observes_until(&self, route: Option<Mode>, service: &str) -> Option<Timestamp> {
        let service = self.services.get(service).copied().unwrap_or_default();
        match (route, service.mode, self.boundary.mode) {
            (Some(Mode::Observe), ..) => service.until.or(self.boundary.until),
            (None, Some(Mode::Observe), _) => service.until,
            (None, None, Some(Mode::Observe)) => self.boundary.until,
            (Some(Mode::Enforce), ..) | (None, Some(Mode::Enforce), _) | (None, None, _) => None,
        }
    }

    /// Whether what `matched` is the route of goes on at `now`, whatever is decided.
    pub(crate) fn observes(&self, matched: &Matched<'_>, now: Timestamp) -> bool {
        self.observes_until(matched.route().mode(), &matched.service().name)
            .is_some_and(|until| now < until)
    }

    /// Whether a program that reads less strictly may take `call`, whose route observes, for a request of a route that enforces.
    pub(crate) fn resembles_enforced(&self, table: &Table, call: &Call, now: Timestamp) -> bool {
        let enforces = |matched: &Matched<'_>| !matches!(matched.route().rule(), Rule::Public) && !self.observes(matched, now);
        table.resembling(call).iter().any(enforces)
    }

    /// Whether a route that enforces may be meant by `call` under another method than its own, one of those that `may_be`.
    pub(crate) fn enforces_other_method(&self, table: &Table, call: &Call, now: Timestamp, may_be: impl Fn(&str) -> bool) -> bool {
        let host = call.host().to_string();
        let routes = table.services_at(call.host()).flat_map(|service| &service.routes);
        let methods: BTreeSet<_> = routes.map(|route| route.pattern().method()).collect();
        let enforces = |matched: Matched<'_>| !matches!(matched.route().rule(), Rule::Public) && !self.observes(&matched, now);
        let mut others = methods.into_iter().filter(|method| *method != call.method().as_str() && may_be(method));
        others.any(|method| {
            let other = Call::parse(method, host.as_bytes(), call.target().as_bytes(), &HeaderMap::new(), Body::Absent);
            // The rest of it could be read.
            other.is_ok_and(|other| table.find(&other).is_some_and(enforces) || self.resembles_enforced(table, &other, now))
        })
    }

    /// Whether a request without a route goes on whatever is decided, to `host` as far as that is known.
    ///
    /// What is not understood could be a request for anything there, written so that we do not know it again: it goes on only where
    /// no route enforces that it might be meant for.
    pub(crate) fn observes_unmatched(&self, table: &Table, host: Option<&Host>, now: Timestamp) -> bool {
        let whole = |service: &Service| {
            let routes = service.routes.iter().map(|route| route.mode());
            std::iter::once(None)
                .chain(routes)
                .all(|mode| self.observes_until(mode, &service.name).is_some_and(|until| now < until))
        };
        let mut served = host.into_iter().flat_map(|host| table.services_at(host)).peekable();
        if served.peek().is_some() {
            return served.all(whole);
        }
        let boundary = self.boundary.mode == Some(Mode::Observe) && self.boundary.until.is_some_and(|until| now < until);
        boundary && table.services().iter().all(whole)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use delegation::time::Timestamp;
    use narrows_guard::route::Mode;

    use super::{Modes, Said, at};

    #[test]
    fn a_clock_that_is_wrong_observes_nothing() {
        let modes = Modes {
            boundary: Said {
                mode: Some(Mode::Observe),
                until: Some(Timestamp::from_seconds(1_800_000_000)),
            },
            ..Modes::default()
        };
        let observes = |time| modes.observes_until(None, "any").is_some_and(|until| at(time) < until);
        assert!(observes(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        assert!(!observes(UNIX_EPOCH - Duration::from_secs(1)));
    }
}
