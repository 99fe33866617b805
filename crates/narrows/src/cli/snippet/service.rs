//! What a proxy is told of each service and of its routes.

use boundary::{LARGEST_BODY, Upstream, UpstreamTls};
use http::uri::Scheme;
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::{Demand, Route, Rule, Service, Upgrade};
use url::{Host, Url};

use super::AUTHORITIES;
use super::place::Place;
use super::template::Values;
use super::written::{dns, file, label, path_regex, traefik_host};

/// What differs from one service to the next.
pub(super) fn service_values(service: &Service, upstream: &Upstream, place: &Place) -> Values {
    let scheme = if place.secure { "https" } else { "http" };
    let mut values = Values::default();
    values.set("service", label(&service.name));
    values.set("service_id", dns(&service.name));
    let address = format!("{}://{}", upstream.scheme, upstream.authority);
    let url = Url::parse(&address).ok();
    let by_name = url.as_ref().is_some_and(|url| matches!(url.host(), Some(Host::Domain(_))));
    values.set("upstream", &address);
    values.set(
        "upstream_address",
        url.as_ref().and_then(Url::host_str).unwrap_or_default().trim_matches(['[', ']']),
    );
    values.set(
        "upstream_port",
        url.as_ref().and_then(Url::port_or_known_default).unwrap_or_default(),
    );
    values.set("discovery", if by_name { "STRICT_DNS" } else { "STATIC" });
    values.set("resolution", if by_name { "DNS" } else { "STATIC" });
    values.set("domains", domains(&service.hosts));
    values.repeat(
        "verified",
        (upstream.scheme == Scheme::HTTPS).then(Values::default).into_iter().collect(),
    );
    values.set("hosts", joined(&service.hosts, " ", HostPattern::to_string));
    values.set(
        "addresses",
        joined(&service.hosts, ", ", |host| format!("{scheme}://{host}:{}", place.port)),
    );
    values.set("rule", joined(&service.hosts, " || ", traefik_host));
    verification(&mut values, upstream, &service.name);
    values.repeat("reading", reading(service).enumerate().map(route_values).collect());
    values.repeat("upgrading", upgrading(service).enumerate().map(route_values).collect());
    values
}

/// Whom the upstream of the service `name` has to prove to be, and what is shown to it, as `upstream_tls` has it.
fn verification(values: &mut Values, upstream: &Upstream, name: &str) {
    let files = upstream.tls.as_ref().map(UpstreamTls::files);
    let own = files.and_then(|files| files.ca_file.as_deref()).map(file);
    let trusted = own.clone().unwrap_or_else(|| AUTHORITIES.to_owned());
    let pair = files.and_then(|files| files.pair.as_ref());
    let pair = pair.map(|pair| (file(&pair.cert_file), file(&pair.key_file)));
    let shown = pair.as_ref().map(|(certificate, key)| {
        let mut values = Values::default();
        values.set("shown_certificate", certificate);
        values.set("shown_key", key);
        values
    });
    let mode = pair.as_ref().map_or_else(
        || "mode: SIMPLE".to_owned(),
        |(certificate, key)| format!("mode: MUTUAL, clientCertificate: {certificate}, privateKey: {key}"),
    );
    let verify = [
        Some("proxy_ssl_verify on;".to_owned()),
        Some("proxy_ssl_server_name on;".to_owned()),
        Some(format!("proxy_ssl_trusted_certificate {trusted};")),
        pair.as_ref().map(|(certificate, _)| format!("proxy_ssl_certificate {certificate};")),
        pair.as_ref().map(|(_, key)| format!("proxy_ssl_certificate_key {key};")),
    ];
    values.set_each("verify", verify.into_iter().flatten().filter(|_| upstream.scheme == Scheme::HTTPS));
    values.set_each("import", import(upstream, own.as_deref(), pair.as_ref()));
    values.set_each("transport", files.map(|_| format!("serversTransport: \"{}\"", label(name))));
    values.set_each("root", own.map(|own| format!("rootCAs: [{own}]")));
    values.set("trusted", trusted);
    values.set("tls_mode", mode);
    values.repeat("told", files.map(|_| Values::default()).into_iter().collect());
    values.repeat("shown", shown.into_iter().collect());
}

/// The same in a Caddyfile, where what is for this upstream alone stands in a block of its own.
fn import(upstream: &Upstream, trusted: Option<&str>, pair: Option<&(String, String)>) -> Vec<String> {
    let import = format!("import narrows {}://{}", upstream.scheme, upstream.authority);
    if trusted.is_none() && pair.is_none() {
        return vec![import];
    }
    let trust = trusted.map(|trusted| format!("\t\ttls_trust_pool file {trusted}"));
    let show = pair.map(|(certificate, key)| format!("\t\ttls_client_auth {certificate} {key}"));
    let open = [format!("{import} {{"), "\ttransport http {".to_owned()];
    open.into_iter().chain(trust).chain(show).chain(["\t}".to_owned(), "}".to_owned()]).collect()
}

/// What differs from one route to the next.
fn route_values((at, (route, demand)): (usize, (&Route, &Demand))) -> Values {
    let key = route.pattern().to_string();
    let (method, path) = key.split_once(' ').unwrap_or_default();
    let mut values = Values::default();
    values.set("route", &key);
    // As a string of JSON, which YAML reads too: whatever it is called, it ends where it is to.
    values.set("route_name", serde_json::Value::from(route.name()));
    values.set("number", at + 1);
    values.set("method", method);
    values.set("path", path_regex(path));
    values.set("route_max", demand.body_max.unwrap_or(LARGEST_BODY));
    values
}

/// The routes of a service whose decision needs the body.
fn reading(service: &Service) -> impl Iterator<Item = (&Route, &Demand)> {
    service.routes.iter().filter_map(|route| match route.rule() {
        Rule::Needs(demand) if route.reading().reads_body() => Some((route, demand.as_ref())),
        _ => None,
    })
}

/// The routes of a service that open a WebSocket.
fn upgrading(service: &Service) -> impl Iterator<Item = (&Route, &Demand)> {
    service.routes.iter().filter_map(|route| match route.rule() {
        Rule::Needs(demand) if demand.upgrade == Some(Upgrade::WebSocket) => Some((route, demand.as_ref())),
        _ => None,
    })
}

/// What a proxy that shows no body, holds no upstream credential and opens no WebSocket cannot let on, as comments.
pub(super) fn unread(services: &[Service]) -> Vec<String> {
    let line = |service: &Service, route: &Route| {
        let Rule::Needs(demand) = route.rule() else { return None };
        let why = [
            (route.reading().reads_body(), "reads the body"),
            (demand.connection.is_some(), "goes on with an upstream credential"),
            (demand.upgrade.is_some(), "opens a WebSocket"),
        ];
        let why: Vec<_> = why.into_iter().filter_map(|(is_so, why)| is_so.then_some(why)).collect();
        (!why.is_empty()).then(|| format!("#   {} of `{}` {}", route.pattern(), label(&service.name), why.join(", ")))
    };
    let found: Vec<_> = services
        .iter()
        .flat_map(|service| service.routes.iter().filter_map(move |route| line(service, route)))
        .collect();
    if found.is_empty() {
        vec!["#   (none today)".to_owned()]
    } else {
        found
    }
}

/// The largest body that any route reads, as far as the door takes it.
pub(super) fn largest_body(services: &[Service]) -> usize {
    let largest = services.iter().flat_map(reading).map(|(_, demand)| demand.body_max.unwrap_or(LARGEST_BODY)).max();
    largest.unwrap_or(LARGEST_BODY).min(LARGEST_BODY)
}

/// Hosts as items of a list in YAML.
fn domains(hosts: &[HostPattern]) -> String {
    joined(hosts, ", ", |host| format!("\"{host}\""))
}

/// Every host of all of them, as items of a list in YAML.
pub(super) fn all_domains(services: &[Service]) -> String {
    services.iter().map(|service| domains(&service.hosts)).collect::<Vec<_>>().join(", ")
}

fn joined(hosts: &[HostPattern], between: &str, each: impl Fn(&HostPattern) -> String) -> String {
    hosts.iter().map(each).collect::<Vec<_>>().join(between)
}
