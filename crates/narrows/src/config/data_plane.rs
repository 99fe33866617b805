//! `[[boundaries]]`, `[[guards]]` and `[[operators]]`: their names must mean something, their words must be known.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use delegation::details::ConstraintOrder;
use ipnet::IpNet;

use super::either::OneOrMany;
use super::file::{Boundary, File, Guard};
use super::issuers::is_loopback;
use super::modes::{mode, of_boundary};
use super::problem::Problems;

/// Finds what is wrong with them.
pub(super) fn check(file: &File, problems: &mut Problems) {
    distinct("boundaries", file.boundaries.iter().map(|each| each.name.as_str()), problems);
    for (at, each) in file.boundaries.iter().enumerate() {
        boundary(file, each, &format!("boundaries[{at}]"), problems);
    }
    for (at, each) in file.guards.iter().enumerate() {
        guard(file, each, &format!("guards[{at}]"), problems);
    }
    for (at, each) in file.operators.iter().enumerate() {
        let path = format!("operators[{at}]");
        issuer(file, &each.issuer, &format!("{path}.issuer"), problems);
        if each.group.is_empty() {
            problems.add(&format!("{path}.group"), "expected the name of a group".to_owned());
        }
        for role in &each.roles {
            word(
                Some(role),
                &["admin", "approver", "auditor", "responder"],
                &format!("{path}.roles"),
                problems,
            );
        }
    }
}

/// Names are there, have no `|`, and none comes twice.
pub(super) fn distinct<'n>(table: &str, names: impl Iterator<Item = &'n str>, problems: &mut Problems) {
    let mut seen = BTreeMap::new();
    for (at, name) in names.enumerate() {
        let path = format!("{table}[{at}].name");
        if name.is_empty() || name.contains('|') {
            problems.add(&path, format!("expected a name without `|`, found `{name}`"));
        }
        if let Some(other) = seen.insert(name, at) {
            problems.add_twice(&path, &format!("{table}[{other}].name"), name);
        }
    }
}

fn boundary(file: &File, boundary: &Boundary, path: &str, problems: &mut Problems) {
    client(file, boundary.client.as_deref(), path, problems);
    for name in boundary.services.as_ref().map_or(&[][..], OneOrMany::as_slice) {
        if name != "*" && !file.services.iter().any(|service| service.name == *name) {
            problems.add(&format!("{path}.services"), format!("there is no service `{name}`"));
        }
    }
    if boundary.origin.is_none() {
        problems.add(&format!("{path}.origin"), "is required".to_owned());
    }
    let doors = [
        ("proxy", &boundary.proxy),
        ("ext_authz_grpc", &boundary.ext_authz_grpc),
        ("ext_authz_http", &boundary.ext_authz_http),
        ("forward_auth", &boundary.forward_auth),
    ];
    if doors.iter().all(|(_, door)| door.is_none()) {
        problems.add(path, "needs one of proxy, ext_authz_grpc, ext_authz_http, forward_auth".to_owned());
    }
    for (key, door) in doors {
        listens(door.as_deref(), &format!("{path}.{key}"), problems);
    }
    for (key, nets) in [("peers", &boundary.peers), ("trusted_proxies", &boundary.trusted_proxies)] {
        for net in nets.iter().flatten().filter(|net| net.parse::<IpNet>().is_err()) {
            problems.add(
                &format!("{path}.{key}"),
                format!("expected a network such as `127.0.0.1/32`, found `{net}`"),
            );
        }
    }
    word(
        boundary.forwarded.as_ref(),
        &["rebuild", "drop"],
        &format!("{path}.forwarded"),
        problems,
    );
    for name in boundary.login.iter().flatten() {
        issuer(file, name, &format!("{path}.login"), problems);
    }
    of_boundary(file, boundary, path, problems);
}

fn guard(file: &File, guard: &Guard, path: &str, problems: &mut Problems) {
    client(file, guard.client.as_deref(), path, problems);
    if guard.listen.is_none() {
        problems.add(&format!("{path}.listen"), "is required".to_owned());
    }
    listens(guard.listen.as_deref(), &format!("{path}.listen"), problems);
    let words: [(&str, _, &[&str]); 3] = [
        ("excess", &guard.excess, &["none", "same_resource", "any"]),
        ("forward", &guard.forward, &["token", "identity", "nothing"]),
        ("recheck", &guard.recheck, &["never", "each"]),
    ];
    for (key, value, known) in words {
        word(value.as_ref(), known, &format!("{path}.{key}"), problems);
    }
    if guard.tls.is_some() {
        problems.add(&format!("{path}.tls"), "is not served yet; remove it".to_owned());
    }
    mode(guard.mode.as_ref(), guard.observe_until.as_ref(), path, problems);
    let Some(service) = file.services.iter().find(|service| service.name == guard.service) else {
        problems.add(&format!("{path}.service"), format!("there is no service `{}`", guard.service));
        return;
    };
    let named = file.clients.iter().find(|client| Some(&client.id) == guard.client.as_ref());
    if let (Some(named), Some(audience)) = (named, &service.audience)
        && !named.receives.iter().any(|receives| receives.audience() == audience)
    {
        problems.add(
            &format!("{path}.client"),
            format!("`{}` does not receive `{audience}`; add that to its `receives`", named.id),
        );
    }
    for (name, value) in guard.fixed.iter().flatten() {
        let fits = |order: &String| order == "equal" && ConstraintOrder::Equal.value(value).is_some();
        let declared = file.detail_types.iter().filter_map(|declared| declared.constraints.get(name));
        if !declared.into_iter().any(fits) {
            problems.add(
                &format!("{path}.fixed.{name}"),
                "expected a value of a constraint that is declared as `equal`".to_owned(),
            );
        }
    }
    // The headers that carry the identity are believed by whoever reads them, so nobody else may be able to send them.
    let near = service
        .upstream
        .as_ref()
        .and_then(|upstream| url::Url::parse(upstream).ok())
        .is_some_and(|url| is_loopback(&url));
    if guard.forward.as_deref() == Some("identity") && !near && guard.trust_network != Some(true) {
        problems.add(
            &format!("{path}.forward"),
            "identity headers leave this machine; forward the token, or say `trust_network = true`".to_owned(),
        );
    }
}

fn client(file: &File, id: Option<&str>, path: &str, problems: &mut Problems) {
    match id {
        None => problems.add(&format!("{path}.client"), "is required".to_owned()),
        Some(id) if file.clients.iter().any(|client| client.id == id) => {}
        Some(id) => problems.add(&format!("{path}.client"), format!("there is no client `{id}`")),
    }
}

fn issuer(file: &File, name: &str, path: &str, problems: &mut Problems) {
    if !file.trusted_issuers.iter().any(|issuer| issuer.name == name) {
        problems.add(path, format!("there is no trusted issuer `{name}`"));
    }
}

fn listens(address: Option<&str>, path: &str, problems: &mut Problems) {
    for address in address.iter().filter(|address| address.parse::<SocketAddr>().is_err()) {
        problems.add(path, format!("expected ADDRESS:PORT such as `127.0.0.1:8430`, found `{address}`"));
    }
}

fn word(value: Option<&String>, known: &[&str], path: &str, problems: &mut Problems) {
    if let Some(value) = value.filter(|value| !known.contains(&value.as_str())) {
        problems.add(path, format!("expected one of {}, found `{value}`", known.join(", ")));
    }
}
