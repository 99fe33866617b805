//! Who decides about the request: a boundary, or the guards of a service.

use narrows_guard::hygiene::host::Host;
use narrows_guard::route::Table;

use super::super::{ExplainArgs, Failure};
use super::guards::{self, Guards};
use crate::config::{Front, Loaded};

/// Where a request comes to.
pub(super) enum Door<'l> {
    Boundary(&'l Front),
    Guards(Guards<'l>),
}

impl Door<'_> {
    /// The routes that it goes by.
    pub(super) fn table(&self) -> &Table {
        match self {
            Self::Boundary(front) => &front.settings.table,
            Self::Guards(guards) => guards.table(),
        }
    }

    /// What it is, for whoever is told that it serves no such host.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Boundary(_) => "boundary",
            Self::Guards(_) => "guard",
        }
    }
}

/// The one that is named, or the one that serves the host: a boundary, or where none does, the guards of a service.
pub(super) fn door<'l>(args: &ExplainArgs, loaded: &'l Loaded, authority: &str) -> Result<Door<'l>, Failure> {
    let host = Host::parse(authority.as_bytes()).map_err(|malformed| format!("`{authority}`: {malformed}"))?;
    let mut guarded = guards::all(loaded)?;
    if let Some(named) = &args.guard {
        let at = guarded.iter().position(|guards| guards.service() == named);
        let found = at.map(|at| Door::Guards(guarded.swap_remove(at)));
        return found.ok_or_else(|| format!("service `{named}` has no guard; there are those of: {}", services(&guarded)).into());
    }
    let is_at_boundary = loaded.fronts.iter().any(|front| serves(&front.settings.table, &host));
    if args.boundary.is_some() || is_at_boundary {
        return front(args, loaded, &host).map(Door::Boundary);
    }
    let there_are_none = guarded.is_empty();
    guarded.retain(|guards| serves(guards.table(), &host));
    match guarded.pop() {
        Some(only) if guarded.is_empty() => Ok(Door::Guards(only)),
        Some(last) => {
            guarded.push(last);
            let named = services(&guarded);
            Err(format!("guards of several services are for this host; name one with --guard: {named}").into())
        }
        None if there_are_none => front(args, loaded, &host).map(Door::Boundary),
        None => Err(format!(
            "no boundary serves the host `{}`, and no guard; add it to `hosts` of a service",
            host.name()
        )
        .into()),
    }
}

fn serves(table: &Table, host: &Host) -> bool {
    table.services_at(host).next().is_some()
}

fn services(guarded: &[Guards<'_>]) -> String {
    guarded.iter().map(Guards::service).collect::<Vec<_>>().join(", ")
}

/// The boundary that serves the host.
fn front<'l>(args: &ExplainArgs, loaded: &'l Loaded, host: &Host) -> Result<&'l Front, Failure> {
    let is_meant = |front: &&Front| {
        args.boundary.as_ref().is_none_or(|name| *name == front.settings.name)
            && args.client.as_ref().is_none_or(|client| *client == front.client.as_str())
    };
    let meant: Vec<_> = loaded.fronts.iter().filter(is_meant).collect();
    let names = |fronts: &[&Front]| fronts.iter().map(|front| front.settings.name.clone()).collect::<Vec<_>>().join(", ");
    let all: Vec<_> = loaded.fronts.iter().collect();
    let serving: Vec<_> = meant.iter().copied().filter(|front| serves(&front.settings.table, host)).collect();
    match (serving.as_slice(), meant.as_slice()) {
        ([only], _) => Ok(only),
        ([], []) if loaded.fronts.is_empty() => {
            Err("there is no boundary and no guard; add a table `[[boundaries]]` or `[[guards]]`".into())
        }
        ([], []) => Err(format!("no boundary has this name and this client; there are: {}", names(&all)).into()),
        // Named, so what happens there is told: it has no route.
        ([], [only]) if args.boundary.is_some() => Ok(only),
        ([], _) => Err(format!("no boundary serves the host `{}`; add it to `hosts` of a service", host.name()).into()),
        (several, _) => Err(format!("several boundaries serve this host; name one with --boundary: {}", names(several)).into()),
    }
}
