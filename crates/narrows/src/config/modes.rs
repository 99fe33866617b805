//! `mode` and `observe_until`: what binds, and what is only observed for a while.

use std::collections::BTreeMap;

use boundary::{Modes, Said};
use broker::Observing;
use delegation::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use narrows_guard::route::Mode;
use narrows_guard::route::pattern::Pattern;

use super::boundaries::Front;
use super::either::{OneOrMany, Rule};
use super::file::{Boundary, File, Service};
use super::problem::{Problem, Problems};

/// The longest that a part may only observe.
const MOST_DAYS: i32 = 90;

/// Enforce, or observe until a day that is not far.
pub(super) fn mode(mode: Option<&String>, until: Option<&String>, path: &str, problems: &mut Problems) {
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
    let observes = |service: &Service| word(service.mode.as_deref()) == Some(Mode::Observe) || observing_routes(service).next().is_some();
    match (boundary.mode.as_deref(), &boundary.observe_until) {
        (None | Some("enforce"), Some(text)) if file.services.iter().any(|each| serves(boundary, each) && observes(each)) => {
            day(text, path, problems);
        }
        _ => mode(boundary.mode.as_ref(), boundary.observe_until.as_ref(), path, problems),
    }
}

/// The same of a service, whose day is also that of those of its routes that observe.
pub(super) fn of_service(file: &File, service: &Service, path: &str, problems: &mut Problems) {
    let observing: Vec<_> = observing_routes(service).collect();
    match (service.mode.as_deref(), &service.observe_until) {
        (None | Some("enforce"), Some(text)) if !observing.is_empty() => day(text, path, problems),
        _ => mode(service.mode.as_ref(), service.observe_until.as_ref(), path, problems),
    }
    // Without a day it would enforce, which is not what is written.
    let mut boundaries = file.boundaries.iter().filter(|boundary| serves(boundary, service));
    let has_day = service.observe_until.is_some() || boundaries.all(|each| each.observe_until.is_some());
    for key in observing.iter().filter(|_| !has_day) {
        problems.add(
            &format!("{path}.routes.{key}.mode"),
            "observes until the `observe_until` of its service, or of its boundary: write one".to_owned(),
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
    let of_services = file.services.iter().enumerate().map(|(at, each)| (format!("services[{at}]"), &each.observe_until));
    let is_over = |(path, until): (String, &Option<String>)| {
        let text = until.as_ref()?;
        let is_over = text.parse::<Date>().is_ok_and(|day| day <= today());
        let message = format!("`{text}` has come, so it enforces; remove `mode` and `observe_until`");
        is_over.then(|| problems.at(&format!("{path}.observe_until"), message))
    };
    of_boundaries.chain(of_services).filter_map(is_over).collect()
}

/// Routes that observe beside one that enforces, and that a request may be written for which is meant for that one.
pub(super) fn beside(file: &File, problems: &Problems) -> Vec<Problem> {
    let mut found = Vec::new();
    for (at, service) in file.services.iter().enumerate() {
        // What a route does not say itself, its service says, or else the boundary.
        let own = word(service.mode.as_deref());
        let enforces = |rule: &Rule| match said(rule).or(own) {
            Some(mode) => mode == Mode::Enforce,
            None => !file.boundaries.iter().any(|each| word(each.mode.as_deref()) == Some(Mode::Observe)),
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

/// What a boundary and the services behind it say.
pub(super) fn of(boundary: &Boundary, services: &[&Service]) -> Modes {
    let said = |mode: Option<&String>, until: Option<&String>| Said {
        mode: word(mode.map(String::as_str)),
        until: until.and_then(|text| begins(text)),
    };
    let of_service = |service: &&Service| {
        let said = said(service.mode.as_ref(), service.observe_until.as_ref());
        (service.name.clone(), said)
    };
    Modes {
        boundary: said(boundary.mode.as_ref(), boundary.observe_until.as_ref()),
        services: services.iter().map(of_service).collect::<BTreeMap<_, _>>(),
    }
}

/// When a day begins, in UTC.
fn begins(day: &str) -> Option<Timestamp> {
    let begins = day.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp::from_seconds(begins.timestamp().as_second()))
}

/// All that only observes, boundary by boundary, as those who look after the broker are told.
pub(crate) fn observing(fronts: &[Front]) -> Vec<Observing> {
    let mut parts = Vec::new();
    for front in fronts {
        let (name, modes) = (&front.settings.name, &front.settings.modes);
        let mut add = |part: String, until: Option<Timestamp>| {
            let boundary = name.clone();
            parts.extend(until.map(|until| Observing { boundary, part, until }));
        };
        let said = modes.boundary;
        add("boundary".to_owned(), said.until.filter(|_| said.mode == Some(Mode::Observe)));
        for service in front.settings.table.services() {
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
    }
    parts
}
