//! `[[connections]]`: upstream credentials, each with the one place that it may go to, and the routes that ask for them.

use boundary::{Origin, Upstream};
use broker::connections::{ByName, Connection, Per};
use http::HeaderName;
use narrows_guard::hygiene::headers::{ProxyHeaders, strange};

use super::data_plane::distinct;
use super::either::{OneOrMany, Rule};
use super::file::{Boundary, Connection as Written, File, RouteRule, SendTo, Service};
use super::problem::{Problem, Problems};
use super::services::required;

/// Headers that are for one connection alone, that frame a message, or that the own proxy writes for a reason of its own.
const NOT_THESE: [&str; 17] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "accept-encoding",
    "range",
    "if-range",
    "expect",
];

/// Every connection that is right. A route that asks for one must lead where it may go, and nowhere else.
pub(super) fn build(file: &File, problems: &mut Problems) -> ByName {
    distinct("connections", file.connections.iter().map(|each| each.name.as_str()), problems);
    let each = |(at, written)| connection(written, &format!("connections[{at}]"), problems);
    let known: ByName = file.connections.iter().enumerate().filter_map(each).map(|each| (each.name.clone(), each)).collect();
    for (at, service) in file.services.iter().enumerate() {
        for (key, rule) in asking(&service.routes) {
            let path = format!("services[{at}].routes.{key}.connection");
            asks(file, &known, rule, service.upstream.as_deref(), &path, problems);
        }
    }
    for (at, server) in file.mcp.iter().enumerate() {
        for (tool, rule) in asking(&server.tools) {
            let path = format!("mcp[{at}].tools.{tool}.connection");
            asks(file, &known, rule, server.upstream.as_deref(), &path, problems);
        }
    }
    for (at, boundary) in file.boundaries.iter().enumerate().filter(|(_, boundary)| boundary.proxy.is_none()) {
        for service in served(file, boundary).filter(|service| asking(&service.routes).next().is_some()) {
            let mend = format!(
                "a route of `{}` goes on with an upstream credential, which only the own proxy puts on requests; add `proxy`",
                service.name
            );
            problems.add(&format!("boundaries[{at}].services"), mend);
        }
    }
    known
}

/// Warns of boundaries where another proxy could ask for such a route: it is refused there.
pub(super) fn elsewhere(file: &File, problems: &Problems) -> Vec<Problem> {
    let mut found = Vec::new();
    for (at, boundary) in file.boundaries.iter().enumerate() {
        let others = [&boundary.ext_authz_grpc, &boundary.ext_authz_http, &boundary.forward_auth];
        if others.iter().all(|door| door.is_none()) {
            continue;
        }
        for service in served(file, boundary) {
            for (key, _) in asking(&service.routes) {
                let told = format!(
                    "`{key}` of `{}` goes on with an upstream credential, which no other proxy gets: at those doors it is `no_route`",
                    service.name
                );
                found.push(problems.at(&format!("boundaries[{at}].services"), told));
            }
        }
    }
    found
}

/// Warns of guards before such a route where no boundary puts the credential on: there the request goes on without it.
pub(super) fn missed(file: &File, problems: &Problems) -> Vec<Problem> {
    let shown = |name: &str| {
        let proxies = file.boundaries.iter().filter(|boundary| boundary.proxy.is_some());
        proxies.flat_map(|boundary| served(file, boundary)).any(|service| service.name == name)
    };
    let mut found = Vec::new();
    for (at, guard) in file.guards.iter().enumerate().filter(|(_, guard)| !shown(&guard.service)) {
        for service in file.services.iter().filter(|service| service.name == guard.service) {
            for (key, _) in asking(&service.routes) {
                let told = format!(
                    "`{key}` of `{}` goes on without its `connection`: a guard shows no credential, and no boundary with `proxy` serves it; \
                     add one, or leave `connection` out",
                    service.name
                );
                found.push(problems.at(&format!("guards[{at}].service"), told));
            }
        }
    }
    found
}

/// The services of a boundary.
fn served<'f>(file: &'f File, boundary: &'f Boundary) -> impl Iterator<Item = &'f Service> {
    let named = boundary.services.as_ref().map_or(&[][..], OneOrMany::as_slice);
    file.services
        .iter()
        .filter(move |service| named.iter().any(|each| each == "*" || *each == service.name))
}

/// The routes that ask for a credential.
fn asking(routes: &std::collections::BTreeMap<String, Rule>) -> impl Iterator<Item = (&String, &RouteRule)> {
    routes.iter().filter_map(|(key, rule)| match rule {
        Rule::Long(rule) if rule.connection.is_some() => Some((key, rule.as_ref())),
        _ => None,
    })
}

/// One route that asks for a credential, of what stands at `upstream`.
fn asks(file: &File, known: &ByName, rule: &RouteRule, upstream: Option<&str>, path: &str, problems: &mut Problems) {
    let name = rule.connection.as_deref().unwrap_or_default();
    if !file.connections.iter().any(|connection| connection.name == name) {
        problems.add(path, format!("there is no connection `{name}`"));
    }
    if rule.upgrade.is_some() {
        problems.add(
            path,
            "an upstream's echo is not looked for behind an `upgrade`; use one of the two".to_owned(),
        );
    }
    // What is wrong with either of them was told where it stands.
    let Some(connection) = known.get(name) else { return };
    let Some(origin) = upstream.and_then(|url| Some(url::Url::parse(url).ok()?.origin().ascii_serialization())) else {
        return;
    };
    if origin != connection.origin {
        problems.add(
            path,
            format!("`{name}` may go to `{}` alone, and `upstream` is at `{origin}`", connection.origin),
        );
    }
}

fn connection(written: &Written, path: &str, problems: &mut Problems) -> Option<Connection> {
    required(
        path,
        &[("kind", written.kind.is_some()), ("send", written.send.is_some())],
        problems,
    );
    for kind in written.kind.iter().filter(|kind| *kind != "key") {
        problems.add(&format!("{path}.kind"), format!("expected key, found `{kind}`"));
    }
    let per = written.per.as_deref().unwrap_or("all");
    let parsed = Per::parse(per);
    if parsed.is_none() {
        problems.add(&format!("{path}.per"), format!("expected all, client or user, found `{per}`"));
    }
    let SendTo { origin, header, form } = written.send.as_ref()?;
    let parsed_origin = Upstream::parse(origin).and_then(|_| Origin::parse(origin));
    if parsed_origin.is_err() {
        let expected = format!("expected scheme, host and port such as `https://api.example`, and nothing behind them, found `{origin}`");
        problems.add(&format!("{path}.send.origin"), expected);
    }
    let parsed_header = header_named(header);
    if let Err(why) = parsed_header {
        problems.add(&format!("{path}.send.header"), format!("`{header}` {why}"));
    }
    let around = around(form.as_deref().unwrap_or("{}"));
    if around.is_none() {
        problems.add(
            &format!("{path}.send.as"),
            "expected printable ASCII with exactly one `{}` for the credential, such as `Bearer {}`".to_owned(),
        );
    }
    Some(Connection {
        name: written.name.clone(),
        per: parsed?,
        origin: parsed_origin.ok()?.as_str().to_owned(),
        header: parsed_header.ok()?,
        around: around?,
    })
}

/// A header that a credential may go in: none that would change what the request is, or that never goes on.
fn header_named(text: &str) -> Result<HeaderName, &'static str> {
    let name: HeaderName = text.parse().map_err(|_| "is no name of a header")?;
    // `_` and `.` would be another spelling of a name that an upstream may take for the same.
    if NOT_THESE.contains(&name.as_str()) || strange(&name, ProxyHeaders::Removed) || name == "dpop" {
        return Err("says something else than who asks, or is never sent on; name another header");
    }
    Ok(name)
}

/// What stands before and behind the one `{}`.
fn around(form: &str) -> Option<(String, String)> {
    let (before, behind) = form.split_once("{}")?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && !text.contains("{}");
    let fits = is_plain(before) && is_plain(behind) && !before.starts_with(' ') && !behind.ends_with(' ');
    fits.then(|| (before.to_owned(), behind.to_owned()))
}
