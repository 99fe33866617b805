//! Tables whose work is not built yet: read and checked whole. Inert ones warn; those that would protect refuse.

use super::duration;
use super::file::File;
use super::problem::{Problem, Problems};

/// Refuses what would promise protection that is not there; gives warnings for the rest.
pub(super) fn check(file: &File, problems: &mut Problems) -> Vec<Problem> {
    // A setting that protects and is not served would be worse than none: people would rely on it.
    if file.tls.is_some() {
        problems.add(
            "tls",
            "is not served yet; put a TLS proxy before `listen`, and listen on loopback".to_owned(),
        );
    }
    for (at, audience) in file.audiences.iter().enumerate() {
        let path = format!("audiences[{at}]");
        for (key, value, built) in [("sender", &audience.sender, "none"), ("token", &audience.token, "jwt")] {
            if value.as_deref().is_some_and(|value| value != built) {
                problems.add(&format!("{path}.{key}"), format!("only `{built}` is served yet"));
            }
        }
        if audience.single_use {
            problems.add(&format!("{path}.single_use"), "is not served yet; remove it".to_owned());
        }
        if audience.on_duplicate.as_deref().is_some_and(|word| !matches!(word, "report" | "revoke")) {
            problems.add(&format!("{path}.on_duplicate"), "expected report or revoke".to_owned());
        }
    }
    let durations = [
        (
            "tasks.max_lifetime",
            file.tasks.as_ref().and_then(|tasks| tasks.max_lifetime.clone()),
        ),
        (
            "tasks.deferred_max_lifetime",
            file.tasks.as_ref().and_then(|tasks| tasks.deferred_max_lifetime.clone()),
        ),
        (
            "tasks.deferred_token_lifetime",
            file.tasks.as_ref().and_then(|tasks| tasks.deferred_token_lifetime.clone()),
        ),
        ("broker.deadline", file.broker.as_ref().and_then(|broker| broker.deadline.clone())),
    ];
    for (key, text) in durations {
        if let Some(text) = text.filter(|text| duration::parse(text).is_none()) {
            problems.add(key, format!("expected a duration such as `90s` or `150ms`, found `{text}`"));
        }
    }
    references(file, problems);

    let rates = file.limits.as_ref().and_then(|limits| limits.requests_per_second.clone());
    let rates = rates.is_some_and(|rates| rates.per_client.is_some() || rates.per_address.is_some());
    let inert = [
        ("services", !file.services.is_empty()),
        ("boundaries", !file.boundaries.is_empty()),
        ("guards", !file.guards.is_empty()),
        ("mcp", !file.mcp.is_empty()),
        ("connections", !file.connections.is_empty()),
        (
            "broker",
            file.broker
                .as_ref()
                .is_some_and(|broker| broker.urls.is_some() || broker.client.is_some() || broker.key.is_some()),
        ),
        (
            "exceptions",
            file.exceptions
                .as_ref()
                .is_some_and(|table| table.max_days.is_some() || table.on_overdue.is_some() || table.break_glass.is_some()),
        ),
        (
            "notify",
            file.notify.as_ref().is_some_and(|notify| notify.webhook.is_some() || notify.smtp.is_some()),
        ),
        (
            "audit",
            file.audit.as_ref().is_some_and(|audit| audit.checkpoints.is_some() || audit.export.is_some()),
        ),
        ("operators", !file.operators.is_empty()),
        ("policy.shadow", file.policy.as_ref().is_some_and(|policy| policy.shadow.is_some())),
        ("limits.requests_per_second", rates),
    ];
    let warn = |(key, _): (&str, bool)| problems.at(key, "is understood and checked, and does nothing yet".to_owned());
    inert.into_iter().filter(|(_, there)| *there).map(warn).collect()
}

/// Names that must mean something.
fn references(file: &File, problems: &mut Problems) {
    let audience = |id: &Option<String>| id.as_ref().is_none_or(|id| file.audiences.iter().any(|audience| audience.id == *id));
    let client = |id: &Option<String>| id.as_ref().is_none_or(|id| file.clients.iter().any(|client| client.id == *id));
    let service = |name: &str| name == "*" || file.services.iter().any(|service| service.name == name);
    for (at, each) in file.services.iter().enumerate() {
        if !audience(&each.audience) {
            problems.add(&format!("services[{at}].audience"), "there is no such audience".to_owned());
        }
        if each.hosts.is_none() || each.upstream.is_none() || each.routes.is_empty() {
            problems.add(&format!("services[{at}]"), "needs `hosts`, `upstream` and `routes`".to_owned());
        }
        mode(&each.mode, &each.observe_until, &format!("services[{at}]"), problems);
    }
    for (at, each) in file.boundaries.iter().enumerate() {
        if !client(&each.client) {
            problems.add(&format!("boundaries[{at}].client"), "there is no such client".to_owned());
        }
        for name in each.services.clone().map(super::file::OneOrMany::into_vec).unwrap_or_default() {
            if !service(&name) {
                problems.add(&format!("boundaries[{at}].services"), format!("there is no service `{name}`"));
            }
        }
        if each.name.is_empty() || each.origin.is_none() {
            problems.add(&format!("boundaries[{at}]"), "needs `name` and `origin`".to_owned());
        }
        let doors = [&each.proxy, &each.ext_authz_grpc, &each.ext_authz_http, &each.forward_auth];
        for door in doors.into_iter().flatten().filter(|door| door.parse::<std::net::SocketAddr>().is_err()) {
            problems.add(&format!("boundaries[{at}]"), format!("expected ADDRESS:PORT, found `{door}`"));
        }
        for net in each
            .peers
            .iter()
            .chain(&each.trusted_proxies)
            .flatten()
            .filter(|net| net.parse::<ipnet::IpNet>().is_err())
        {
            problems.add(&format!("boundaries[{at}]"), format!("expected a network, found `{net}`"));
        }
        if each.forwarded.as_deref().is_some_and(|word| !matches!(word, "rebuild" | "drop")) {
            problems.add(&format!("boundaries[{at}].forwarded"), "expected rebuild or drop".to_owned());
        }
        for name in each
            .login
            .iter()
            .flatten()
            .filter(|name| !file.trusted_issuers.iter().any(|issuer| issuer.name == **name))
        {
            problems.add(&format!("boundaries[{at}].login"), format!("there is no trusted issuer `{name}`"));
        }
        if each.tls.is_some() {
            problems.add(&format!("boundaries[{at}].tls"), "is not served yet; remove it".to_owned());
        }
        mode(&each.mode, &each.observe_until, &format!("boundaries[{at}]"), problems);
    }
    for (at, each) in file.guards.iter().enumerate() {
        if !service(&each.service) || !client(&each.client) {
            problems.add(&format!("guards[{at}]"), "names a service or client that there is not".to_owned());
        }
        let words = [
            ("excess", &each.excess, ["none", "same_resource", "any"].as_slice()),
            ("forward", &each.forward, &["token", "identity", "nothing"]),
            ("recheck", &each.recheck, &["never", "each"]),
        ];
        for (key, value, known) in words {
            if value.as_deref().is_some_and(|value| !known.contains(&value)) {
                problems.add(&format!("guards[{at}].{key}"), format!("expected one of {}", known.join(", ")));
            }
        }
        let address = each.listen.as_deref().is_none_or(|listen| listen.parse::<std::net::SocketAddr>().is_ok());
        if !address || each.tls.is_some() || each.fixed.as_ref().is_some_and(|fixed| fixed.keys().any(String::is_empty)) {
            problems.add(
                &format!("guards[{at}]"),
                "`listen` is ADDRESS:PORT, `fixed` names constraints, and `tls` is not served yet".to_owned(),
            );
        }
        let _ = each.trust_network;
        mode(&each.mode, &each.observe_until, &format!("guards[{at}]"), problems);
    }
    for (at, each) in file.mcp.iter().enumerate() {
        let boundary = each
            .boundary
            .as_ref()
            .is_none_or(|name| file.boundaries.iter().any(|boundary| boundary.name == *name));
        if !boundary
            || !audience(&each.audience)
            || each.name.is_empty()
            || each.path.is_none()
            || each.upstream.is_none()
            || each.tools.is_empty()
        {
            problems.add(
                &format!("mcp[{at}]"),
                "needs `name`, `path`, `upstream` and `tools`, a boundary and an audience that there are".to_owned(),
            );
        }
    }
    for (at, each) in file.connections.iter().enumerate() {
        let kind = matches!(each.kind.as_deref(), None | Some("key"));
        let per = matches!(each.per.as_deref(), None | Some("all" | "client" | "user"));
        if !kind || !per || each.name.is_empty() || each.send.is_none() {
            problems.add(
                &format!("connections[{at}]"),
                "needs `name`, `kind = \"key\"`, `per` and `send`".to_owned(),
            );
        }
    }
    for (at, each) in file.operators.iter().enumerate() {
        let roles = each
            .roles
            .iter()
            .all(|role| matches!(role.as_str(), "admin" | "approver" | "auditor" | "responder"));
        if !roles || each.group.is_empty() || !file.trusted_issuers.iter().any(|issuer| issuer.name == each.issuer) {
            problems.add(
                &format!("operators[{at}]"),
                "needs a trusted issuer, a group, and roles among admin, approver, auditor, responder".to_owned(),
            );
        }
    }
    let data_plane = file.clients.iter().filter(|client| client.data_plane).count();
    tracing::debug!(data_plane, "clients that a boundary or guard will act as");
}

fn mode(mode: &Option<String>, until: &Option<String>, path: &str, problems: &mut Problems) {
    match (mode.as_deref(), until) {
        (None | Some("enforce"), None) => {}
        (Some("observe"), Some(day)) => {
            let today = jiff::Zoned::now().date();
            let days = day
                .parse::<jiff::civil::Date>()
                .ok()
                .and_then(|day| day.since(today).ok())
                .map(|span| span.get_days());
            if days.is_none_or(|days| days > 90) {
                problems.add(
                    &format!("{path}.observe_until"),
                    format!("expected a day at most 90 days ahead, found `{day}`"),
                );
            }
        }
        _ => problems.add(
            &format!("{path}.mode"),
            "expected enforce, or observe together with `observe_until`".to_owned(),
        ),
    }
}
