//! `mode` and `observe_until`: what binds, and what is only observed for a while.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use boundary::{Modes, Said};
use broker::Observing;
use delegation::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use narrows_guard::live;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Mode, Service as Routes};

use super::Loaded;
use super::either::{OneOrMany, Rule};
use super::file::{Boundary, File, Guard, Service};
use super::problem::{Problem, Problems};

/// The longest that a part may only observe.
const MOST_DAYS: i32 = 90;

/// Enforce, or observe until a day that is not far.
fn mode(mode: Option<&String>, until: Option<&String>, path: &str, problems: &mut Problems) {
    match (mode.map(String::as_str), until) {
        (None | Some("enforce"), None) => {}
        (Some("observe"), Some(text)) => day(text, path, problems),
        (Some("observe"), None) => problems.add(
            &format!("{path}.observe_until"),
            format!("is required to observe: a day at most {MOST_DAYS} days ahead"),
        ),
        (None | Some("enforce"), Some(_)) => problems.add(
            &format!("{path}.observe_until"),
            "says nothing without `mode = \"observe\"`; remove it".to_owned(),
        ),
        (Some(other), _) => problems.add(&format!("{path}.mode"), format!("expected enforce or observe, found `{other}`")),
    }
}

/// The same of a boundary, whose day is also that of routes behind it that observe and whose service has none.
pub(super) fn of_boundary(file: &File, boundary: &Boundary, path: &str, problems: &mut Problems) {
    let observes = file.services.iter().any(|each| serves(boundary, each) && observes(each));
    in_front(observes, boundary.mode.as_ref(), boundary.observe_until.as_ref(), path, problems);
}

/// The same of a guard.
pub(super) fn of_guard(file: &File, guard: &Guard, path: &str, problems: &mut Problems) {
    let observes = file.services.iter().any(|each| each.name == guard.service && observes(each));
    in_front(observes, guard.mode.as_ref(), guard.observe_until.as_ref(), path, problems);
}

/// `observes`: whether anything behind it says so.
fn in_front(observes: bool, said: Option<&String>, until: Option<&String>, path: &str, problems: &mut Problems) {
    match (said.map(String::as_str), until) {
        (None | Some("enforce"), Some(text)) if observes => day(text, path, problems),
        _ => mode(said, until, path, problems),
    }
}

/// What says that requests to `service` are only observed: keys of the configuration, in the order in which they are written.
pub(super) fn observing_keys(file: &File, service: &Service) -> Vec<String> {
    let is_told = |said: &Option<String>| word(said.as_deref()) == Some(Mode::Observe);
    let guards = file
        .guards
        .iter()
        .enumerate()
        .filter(|(_, guard)| guard.service == service.name && is_told(&guard.mode));
    let own = is_told(&service.mode).then(|| format!("services.{}.mode", service.name));
    let routes = observing_routes(service).map(|key| format!("services.{}.routes.\"{key}\".mode", service.name));
    own.into_iter().chain(routes).chain(guards.map(|(at, _)| format!("guards[{at}].mode"))).collect()
}

fn observes(service: &Service) -> bool {
    word(service.mode.as_deref()) == Some(Mode::Observe) || observing_routes(service).next().is_some()
}

/// The same of a service, whose day is also that of those of its routes that observe.
pub(super) fn of_service(file: &File, service: &Service, path: &str, problems: &mut Problems) {
    let observing: Vec<_> = observing_routes(service).collect();
    match (service.mode.as_deref(), &service.observe_until) {
        (None | Some("enforce"), Some(text)) if !observing.is_empty() => day(text, path, problems),
        _ => mode(service.mode.as_ref(), service.observe_until.as_ref(), path, problems),
    }
    // Without a day it would enforce, which is not what is written.
    let boundaries = file.boundaries.iter().filter(|boundary| serves(boundary, service));
    let guards = file.guards.iter().filter(|guard| guard.service == service.name);
    let mut days = boundaries.map(|each| &each.observe_until).chain(guards.map(|each| &each.observe_until));
    let has_day = service.observe_until.is_some() || days.all(Option::is_some);
    for key in observing.iter().filter(|_| !has_day) {
        problems.add(
            &format!("{path}.routes.{key}.mode"),
            "observes until the `observe_until` of its service, or of its boundary or guard: write one".to_owned(),
        );
    }
}

/// The keys of its routes that say themselves to observe.
fn observing_routes(service: &Service) -> impl Iterator<Item = &String> {
    let routes = service.routes.iter().filter(|(_, rule)| said(rule) == Some(Mode::Observe));
    routes.map(|(key, _)| key)
}

fn serves(boundary: &Boundary, service: &Service) -> bool {
    let named = boundary.services.as_ref().map_or(&[][..], OneOrMany::as_slice);
    named.iter().any(|name| name == "*" || *name == service.name)
}

fn day(text: &str, path: &str, problems: &mut Problems) {
    let days = text.parse::<Date>().ok().and_then(|day| day.since(today()).ok()).map(|span| span.get_days());
    if days.is_none_or(|days| days > MOST_DAYS) {
        problems.add(
            &format!("{path}.observe_until"),
            format!("expected a day at most {MOST_DAYS} days ahead, found `{text}`"),
        );
    }
}

fn today() -> Date {
    jiff::Timestamp::now().to_zoned(TimeZone::UTC).date()
}

/// What says to observe and does no more.
pub(super) fn over(file: &File, problems: &Problems) -> Vec<Problem> {
    let of_boundaries = file
        .boundaries
        .iter()
        .enumerate()
        .map(|(at, each)| (format!("boundaries[{at}]"), &each.observe_until));
    let of_guards = file.guards.iter().enumerate().map(|(at, each)| (format!("guards[{at}]"), &each.observe_until));
    let of_services = file.services.iter().enumerate().map(|(at, each)| (format!("services[{at}]"), &each.observe_until));
    let is_over = |(path, until): (String, &Option<String>)| {
        let text = until.as_ref()?;
        let is_over = text.parse::<Date>().is_ok_and(|day| day <= today());
        let message = format!("`{text}` has come, so it enforces; remove `mode` and `observe_until`");
        is_over.then(|| problems.at(&format!("{path}.observe_until"), message))
    };
    of_boundaries.chain(of_guards).chain(of_services).filter_map(is_over).collect()
}

/// Routes that observe beside one that enforces, and that a request may be written for which is meant for that one.
pub(super) fn beside(file: &File, problems: &Problems) -> Vec<Problem> {
    let mut found = Vec::new();
    for (at, service) in file.services.iter().enumerate() {
        // What a route does not say itself, its service says, or else the boundary or guard.
        let own = word(service.mode.as_deref());
        let guards = file.guards.iter().filter(|guard| guard.service == service.name);
        let in_front: Vec<_> = file.boundaries.iter().map(|each| &each.mode).chain(guards.map(|each| &each.mode)).collect();
        let enforces = |rule: &Rule| match said(rule).or(own) {
            Some(mode) => mode == Mode::Enforce,
            None => !in_front.iter().any(|said| word(said.as_deref()) == Some(Mode::Observe)),
        };
        let patterns = |key: &str| Pattern::parse(key).ok();
        for (key, rule) in service.routes.iter().filter(|(_, rule)| !enforces(rule)) {
            let hidden: Vec<_> = service
                .routes
                .iter()
                .filter(|(_, other)| enforces(other) && !is_public(other))
                .filter(|(other, _)| patterns(key).zip(patterns(other)).is_some_and(|(own, other)| own.hides(&other)))
                .map(|(other, _)| format!("`{other}`"))
                .collect();
            if is_public(rule) || hidden.is_empty() {
                continue;
            }
            let message = format!(
                "`{key}` observes beside {}, which enforces: a request that the service takes for that one, and Narrows does not, goes \
                 on without a token; name what is meant, or enforce",
                hidden.join(" and ")
            );
            found.push(problems.at(&format!("services[{at}].routes.{key}"), message));
        }
    }
    found
}

fn is_public(rule: &Rule) -> bool {
    match rule {
        Rule::Short(text) => text == "public",
        Rule::Long(_) => false,
    }
}

/// The mode that a route says itself.
fn said(rule: &Rule) -> Option<Mode> {
    match rule {
        Rule::Short(_) => None,
        Rule::Long(rule) => word(rule.mode.as_deref()),
    }
}

/// The mode that a word means; one that is not known was told before, and enforces.
pub(super) fn word(mode: Option<&str>) -> Option<Mode> {
    mode.map(|mode| if mode == "observe" { Mode::Observe } else { Mode::Enforce })
}

/// What is said by a boundary or guard of this mode, and by the services behind it.
pub(super) fn of_one(own: Option<&String>, until: Option<&String>, services: &[&Service]) -> Modes {
    let said = |mode: Option<&String>, until: Option<&String>| Said {
        mode: word(mode.map(String::as_str)),
        until: until.and_then(|text| begins(text)),
    };
    let of_service = |service: &&Service| {
        let said = said(service.mode.as_ref(), service.observe_until.as_ref());
        (service.name.clone(), said)
    };
    Modes {
        boundary: said(own, until),
        services: services.iter().map(of_service).collect::<BTreeMap<_, _>>(),
    }
}

/// What binds at a guard of `service`, where both say something: of two days the first, so that nothing observes for longer than either
/// says.
pub(super) fn at_guard(said: &Modes, service: &str) -> live::Modes {
    let (guard, of) = (said.boundary, said.services.get(service).copied().unwrap_or_default());
    live::Modes {
        mode: of.mode.or(guard.mode),
        until: guard.until.into_iter().chain(of.until).min(),
    }
}

/// When a day begins, in UTC.
fn begins(day: &str) -> Option<Timestamp> {
    let begins = day.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp::from_seconds(begins.timestamp().as_second()))
}

/// All that only observes, boundary by boundary and guard by guard, as those who look after the broker are told.
pub(crate) fn observing(loaded: &Loaded) -> Vec<Observing> {
    let mut parts = Vec::new();
    for front in &loaded.fronts {
        let settings = &front.settings;
        parts.extend(parts_of(
            (&settings.name, None),
            "boundary",
            &settings.modes,
            settings.table.services(),
        ));
    }
    for post in &loaded.posts {
        let name = format!("guard {}", post.routes.name);
        parts.extend(parts_of(
            (&name, Some(post.listen)),
            "guard",
            &post.modes,
            std::slice::from_ref(&post.routes),
        ));
    }
    parts
}

/// What observes of the boundary or guard of this name and address, which is a `kind`.
fn parts_of((name, listen): (&str, Option<SocketAddr>), kind: &str, modes: &Modes, services: &[Routes]) -> Vec<Observing> {
    let mut parts = Vec::new();
    let mut add = |part: String, until: Option<Timestamp>| {
        let boundary = name.to_owned();
        parts.extend(until.map(|until| Observing {
            boundary,
            listen,
            part,
            until,
        }));
    };
    let said = modes.boundary;
    add(kind.to_owned(), said.until.filter(|_| said.mode == Some(Mode::Observe)));
    for service in services {
        let said = modes.services.get(&service.name).copied().unwrap_or_default();
        add(
            format!("service {}", service.name),
            said.until.filter(|_| said.mode == Some(Mode::Observe)),
        );
        for route in service.routes.iter().filter(|route| route.mode() == Some(Mode::Observe)) {
            let until = modes.observes_until(route.mode(), &service.name);
            add(format!("route {} of {}", route.name(), service.name), until);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use boundary::{Modes, Said};
    use delegation::time::Timestamp;
    use narrows_guard::route::Mode;

    use super::at_guard;

    #[test]
    fn of_two_days_at_a_guard_the_first_counts() {
        let said = |mode, until: Option<i64>| Said {
            mode,
            until: until.map(Timestamp::from_seconds),
        };
        let observe = Some(Mode::Observe);
        for (guard, service, mode, until) in [
            (said(observe, Some(2)), said(None, None), observe, Some(2)),
            (said(observe, Some(2)), said(None, Some(1)), observe, Some(1)),
            (said(observe, Some(1)), said(None, Some(2)), observe, Some(1)),
            (
                said(observe, Some(2)),
                said(Some(Mode::Enforce), None),
                Some(Mode::Enforce),
                Some(2),
            ),
            (said(None, None), said(observe, Some(3)), observe, Some(3)),
            (said(None, None), said(None, None), None, None),
        ] {
            let both = Modes {
                boundary: guard,
                services: BTreeMap::from([("tickets".to_owned(), service)]),
            };
            let found = at_guard(&both, "tickets");
            assert_eq!((found.mode, found.until), (mode, until.map(Timestamp::from_seconds)), "{both:?}");
        }
    }
}
