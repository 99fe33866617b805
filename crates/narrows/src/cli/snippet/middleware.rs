//! Middlewares for backends that check for themselves: one text for each language, and the same rules in each.

mod axum;
mod rules;

use clap::ValueEnum;
use narrows_guard::route::{Route, Rule};

use super::template::{self, Values};
use super::written::label;
use crate::config::{Backend, Loaded};
use rules::Rules;

/// What a backend is written with.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Middleware {
    /// axum and tower, with narrows-guard: a guard in the backend's own process.
    Axum,
    /// ASGI: FastAPI and Starlette, with joserfc.
    Fastapi,
    /// Express, with jose.
    Express,
    /// A filter of com.sun.net.httpserver, with the JDK alone.
    Java,
}

/// What is printed, and what is said beside it.
pub(super) struct Printed {
    pub(super) text: String,
    pub(super) warnings: Vec<String>,
}

impl Middleware {
    /// The whole text for the service of this name, or for the only one.
    pub(super) fn snippet(self, loaded: &Loaded, service: Option<&str>) -> Result<Printed, String> {
        let backend = named(loaded, service)?;
        let rules = Rules::of(backend, loaded)?;
        let mut values = match self {
            Self::Axum => axum::values(backend, loaded, &rules)?,
            Self::Fastapi | Self::Express | Self::Java => {
                refuse(backend)?;
                Values::default()
            }
        };
        values.set("service", label(&backend.service.name));
        // It stands in a comment, where some languages read escapes too.
        let unlike = |each: char| !each.is_ascii_graphic() || each == '\\';
        values.set("audience", rules.audience().replace(unlike, "?"));
        values.set("excess", rules.excess());
        values.set("max_lifetime", rules.max_lifetime());
        values.set_each("rules", rules.lines().into_iter().map(|line| self.quoted(&line)));
        Ok(Printed {
            text: template::fill(self.template(), &values),
            warnings: [enforces(backend), first_of(backend)].into_iter().flatten().collect(),
        })
    }

    fn template(self) -> &'static str {
        match self {
            Self::Axum => include_str!("axum.rs.in"),
            Self::Fastapi => include_str!("fastapi.py"),
            Self::Express => include_str!("express.mjs"),
            Self::Java => include_str!("NarrowsFilter.java"),
        }
    }

    /// A line of the rules where a text over several lines stands; a text block of Java reads escapes itself.
    fn quoted(self, line: &str) -> String {
        match self {
            Self::Axum | Self::Fastapi | Self::Express => line.to_owned(),
            Self::Java => line.replace('\\', "\\\\"),
        }
    }
}

/// That whoever wrote `mode = "observe"` gets something else: refusals, from the first request on.
fn enforces(backend: &Backend) -> Option<String> {
    (!backend.observes.is_empty()).then(|| {
        format!(
            "warning: {}: says to observe, and this enforces from its first request on. To observe first, send callers to the guard of \
             service `{}` (`[[guards]]`) until its `observe_until`, and add this to the backend then",
            backend.observes.join(", "),
            backend.service.name
        )
    })
}

/// Which of several guards the text goes by.
fn first_of(backend: &Backend) -> Option<String> {
    let [first, _, ..] = backend.guards.as_slice() else { return None };
    Some(format!(
        "note: service `{}` has {} guards; `excess` and `fixed` are those of the first one, which listens at {first}",
        backend.service.name,
        backend.guards.len()
    ))
}

fn named<'l>(loaded: &'l Loaded, name: Option<&str>) -> Result<&'l Backend, String> {
    let names = || loaded.backends.iter().map(|backend| backend.service.name.as_str()).collect::<Vec<_>>().join(", ");
    match (name, loaded.backends.as_slice()) {
        (None, [only]) => Ok(only),
        (None, []) => Err("there is no service; add a table `[[services]]`".to_owned()),
        (None, _) => Err(format!("there are several services; name one with --service: {}", names())),
        (Some(name), backends) => {
            let found = backends.iter().find(|backend| backend.service.name == name);
            found.ok_or_else(|| format!("there is no service `{name}`; there are: {}", names()))
        }
    }
}

/// Refuses what no middleware could check: one that lets it pass, or refuses everybody, would be no help.
fn refuse(backend: &Backend) -> Result<(), String> {
    let name = &backend.service.name;
    if let Some(why) = backend.asks_more.first() {
        return Err(format!(
            "the audience of service `{name}` has {why}: put a guard before this backend (`[[guards]]`)"
        ));
    }
    let reads = |route: &&Route| match route.rule() {
        Rule::Public => false,
        Rule::Needs(_) => route.reading().reads_attributes(),
    };
    match backend.service.routes.iter().find(reads) {
        Some(route) => Err(format!(
            "`{}` of service `{name}` reads an attribute of the subject, which a boundary alone knows; make its detail of the request",
            route.name()
        )),
        None => Ok(()),
    }
}
