//! `[[boundaries]]` and `[[operators]]`: their names must mean something, their words must be known.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipnet::IpNet;

use super::either::OneOrMany;
use super::file::{Boundary, File};
use super::modes::of_boundary;
use super::problem::Problems;

/// Finds what is wrong with them.
pub(super) fn check(file: &File, problems: &mut Problems) {
    distinct("boundaries", file.boundaries.iter().map(|each| each.name.as_str()), problems);
    for (at, each) in file.boundaries.iter().enumerate() {
        boundary(file, each, &format!("boundaries[{at}]"), problems);
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

pub(super) fn client(file: &File, id: Option<&str>, path: &str, problems: &mut Problems) {
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

pub(super) fn listens(address: Option<&str>, path: &str, problems: &mut Problems) {
    for address in address.iter().filter(|address| address.parse::<SocketAddr>().is_err()) {
        problems.add(path, format!("expected ADDRESS:PORT such as `127.0.0.1:8430`, found `{address}`"));
    }
}

pub(super) fn word(value: Option<&String>, known: &[&str], path: &str, problems: &mut Problems) {
    if let Some(value) = value.filter(|value| !known.contains(&value.as_str())) {
        problems.add(path, format!("expected one of {}, found `{value}`", known.join(", ")));
    }
}
