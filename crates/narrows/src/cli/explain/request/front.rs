//! The boundary that a request comes to.

use narrows_guard::hygiene::host::Host;

use super::super::{ExplainArgs, Failure};
use crate::config::{Front, Loaded};

/// The boundary that serves the host.
pub(super) fn front<'l>(args: &ExplainArgs, loaded: &'l Loaded, authority: &str) -> Result<&'l Front, Failure> {
    let host = Host::parse(authority.as_bytes()).map_err(|malformed| format!("`{authority}`: {malformed}"))?;
    let is_meant = |front: &&Front| {
        args.boundary.as_ref().is_none_or(|name| *name == front.settings.name)
            && args.client.as_ref().is_none_or(|client| *client == front.client.as_str())
    };
    let meant: Vec<_> = loaded.fronts.iter().filter(is_meant).collect();
    let names = |fronts: &[&Front]| fronts.iter().map(|front| front.settings.name.clone()).collect::<Vec<_>>().join(", ");
    let all: Vec<_> = loaded.fronts.iter().collect();
    let serving: Vec<_> = meant
        .iter()
        .copied()
        .filter(|front| front.settings.table.services_at(&host).next().is_some())
        .collect();
    match (serving.as_slice(), meant.as_slice()) {
        ([only], _) => Ok(only),
        ([], []) if loaded.fronts.is_empty() => Err("there is no boundary; add a table `[[boundaries]]`".into()),
        ([], []) => Err(format!("no boundary has this name and this client; there are: {}", names(&all)).into()),
        // Named, so what happens there is told: it has no route.
        ([], [only]) if args.boundary.is_some() => Ok(only),
        ([], _) => Err(format!("no boundary serves the host `{}`; add it to `hosts` of a service", host.name()).into()),
        (several, _) => Err(format!("several boundaries serve this host; name one with --boundary: {}", names(several)).into()),
    }
}
