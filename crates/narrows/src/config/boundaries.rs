//! `[[boundaries]]` with the services behind them, as what serves them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use boundary::{Origin, Peers, Settings, Upstream};
use broker::{Asking, TlsFiles, TlsIdentity};
use delegation::details::DetailTypes;
use delegation::oauth::{AudienceId, ClientId, Scope};
use ipnet::IpNet;
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Rest, Route, Rule, Service, Table, Upgrade};

use super::duration;
use super::either::{OneOrMany, Rule as Written};
use super::file::{Boundary, File, RouteRule};
use super::modes;
use super::problem::{Problem, Problems};
use super::tls;
use super::upstream_tls::ByService;

/// Who may connect to the doors of other proxies, where nothing is said.
const LOOPBACK: [&str; 2] = ["127.0.0.1/32", "::1/128"];

/// A boundary that is right: who it acts as, where it listens, and what it serves.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) client: ClientId,
    pub(crate) proxy: Option<SocketAddr>,
    pub(crate) ext_authz_grpc: Option<SocketAddr>,
    pub(crate) ext_authz_http: Option<SocketAddr>,
    pub(crate) forward_auth: Option<SocketAddr>,
    /// TLS of its doors; plain HTTP without.
    pub(crate) tls: Option<TlsIdentity>,
    pub(super) tls_files: Option<TlsFiles>,
    pub(crate) settings: Settings,
}

impl Front {
    /// What it may ask for if it is served in another process.
    pub(crate) fn asking(&self) -> Asking {
        let connection = |route: &Route| match route.rule() {
            Rule::Needs(demand) => demand.connection.clone(),
            Rule::Public => None,
        };
        let services = self
            .settings
            .table
            .services()
            .iter()
            .filter_map(|service| Some((service.audience.clone()?, service)));
        let shown = services.flat_map(|(audience, service)| {
            let names = service.routes.iter().filter_map(connection);
            names.map(move |name| (audience.clone(), name))
        });
        Asking {
            client: self.client.clone(),
            connections: shown.collect(),
        }
    }

    /// Whether a proxy that may ask is believed about its client's address.
    pub(crate) fn believes_who_asks(&self) -> bool {
        let (Peers(peers), Peers(believed)) = (&self.settings.peers, &self.settings.trusted_proxies);
        let is_believed = |peer: &IpNet| believed.iter().any(|net| net.contains(peer) || peer.contains(net));
        peers.iter().any(is_believed)
    }
}

/// Warns of boundaries to which every client has the address of the proxy that asks. By gRPC Envoy says its client's itself, and leads
/// to `forward_auth` for the metadata alone.
pub(super) fn addresses(file: &File, fronts: &[Front], problems: &Problems) -> Vec<Problem> {
    let mut found = Vec::new();
    for front in fronts.iter().filter(|front| !front.believes_who_asks()) {
        let doors = [
            ("forward_auth", front.forward_auth.filter(|_| front.ext_authz_grpc.is_none())),
            ("ext_authz_http", front.ext_authz_http),
        ];
        let door = doors.into_iter().find(|(_, address)| address.is_some());
        let at = file.boundaries.iter().position(|boundary| boundary.name == front.settings.name);
        if let (Some((door, _)), Some(at)) = (door, at) {
            let told = format!(
                "names no proxy that asks at `{door}`, so `context.client_ip` and records have that proxy's own address, whoever its client \
                 is; name the addresses that it asks from, such as `trusted_proxies = [\"127.0.0.1/32\"]`"
            );
            found.push(problems.at(&format!("boundaries[{at}].trusted_proxies"), told));
        }
    }
    found
}

/// Every boundary that is right. What is wrong with one alone was told before; here it is told what is wrong between services.
pub(super) fn build(file: &File, types: &DetailTypes, tls: &ByService, problems: &mut Problems) -> Vec<Front> {
    let each = |(at, boundary): (usize, &Boundary)| front(file, boundary, (types, tls), &format!("boundaries[{at}]"), problems);
    file.boundaries.iter().enumerate().filter_map(each).collect()
}

fn front(
    file: &File,
    boundary: &Boundary,
    (types, upstream_tls): (&DetailTypes, &ByService),
    path: &str,
    problems: &mut Problems,
) -> Option<Front> {
    let origin = boundary.origin.as_deref().map(Origin::parse)?;
    if origin.is_err() {
        let expected = "expected scheme, host and port such as `https://edge.example`, and nothing behind them".to_owned();
        problems.add(&format!("{path}.origin"), expected);
    }
    let named = boundary.services.as_ref().map_or(&[][..], OneOrMany::as_slice);
    let is_served = |name: &String| named.iter().any(|each| each == "*" || each == name);
    let served: Vec<_> = file.services.iter().filter(|service| is_served(&service.name)).collect();
    let mut upstreams = BTreeMap::new();
    for service in &served {
        match service.upstream.as_deref().map(Upstream::parse) {
            Some(Ok(upstream)) => {
                let upstream = upstream.with_tls(upstream_tls.get(&service.name).cloned());
                upstreams.insert(service.name.clone(), upstream);
            }
            Some(Err(_)) => problems.add(
                &format!("{path}.services"),
                format!(
                    "`upstream` of `{}` must be scheme, host and port, and nothing behind them",
                    service.name
                ),
            ),
            None => {}
        }
    }
    let modes = modes::of_one(boundary.mode.as_ref(), boundary.observe_until.as_ref(), &served);
    let services: Vec<_> = served.iter().map(|each| service(each, types)).collect();
    let audiences: BTreeSet<_> = served.iter().filter_map(|service| service.audience.as_ref()).collect();
    let audiences: Vec<_> = file.audiences.iter().filter(|audience| audiences.contains(&audience.id)).collect();
    let table = Table::build(services, types.clone()).map_err(|error| {
        // What is wrong with a service alone was told at its own key, and what is wrong between two at another boundary of both.
        let at = |name: &str| file.services.iter().position(|each| each.name == name);
        let is_told = served
            .iter()
            .filter_map(|each| at(&each.name))
            .any(|at| problems.within(&format!("services[{at}]")));
        let why = error.to_string();
        if !is_told && !problems.iter().any(|problem| problem.message == why) {
            problems.add(&format!("{path}.services"), why);
        }
    });
    let address = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    let networks = |texts: &[String]| Peers(texts.iter().filter_map(|text| text.parse().ok()).collect());
    let peers = boundary.peers.clone().unwrap_or_else(|| LOOPBACK.map(str::to_owned).to_vec());
    let login = boundary.login.iter().flatten();
    let issuers = login.filter_map(|name| file.trusted_issuers.iter().find(|issuer| issuer.name == *name));
    let tls_files = boundary.tls.as_ref().map(tls::files);
    Some(Front {
        client: ClientId::parse(boundary.client.as_deref()?).ok()?,
        proxy: address(&boundary.proxy),
        ext_authz_grpc: address(&boundary.ext_authz_grpc),
        ext_authz_http: address(&boundary.ext_authz_http),
        forward_auth: address(&boundary.forward_auth),
        tls: tls_files.as_ref().and_then(|files| tls::load(files, &format!("{path}.tls"), problems)),
        tls_files,
        settings: Settings {
            name: boundary.name.clone(),
            origin: origin.ok()?,
            table: Arc::new(table.ok()?),
            upstreams,
            login: issuers.map(|issuer| issuer.issuer.clone()).collect(),
            scopes: distinct(audiences.iter().flat_map(|audience| &audience.scopes)),
            detail_types: distinct(audiences.iter().flat_map(|audience| &audience.details)),
            peers: networks(&peers),
            trusted_proxies: networks(boundary.trusted_proxies.as_deref().unwrap_or_default()),
            rebuilds_forwarded: boundary.forwarded.as_deref() != Some("drop"),
            modes,
        },
    })
}

fn distinct<'t>(texts: impl Iterator<Item = &'t String>) -> Vec<String> {
    texts.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

pub(super) fn service(service: &super::file::Service, types: &DetailTypes) -> Service {
    let hosts = service.hosts.iter().flatten();
    Service {
        name: service.name.clone(),
        hosts: hosts.filter_map(|host| HostPattern::parse(host).ok()).collect(),
        audience: service.audience.as_deref().and_then(|id| AudienceId::parse(id).ok()),
        routes: service.routes.iter().filter_map(|(key, rule)| route(key, rule, types)).collect(),
    }
}

fn route(key: &str, rule: &Written, types: &DetailTypes) -> Option<Route> {
    let pattern = Pattern::parse(key).ok()?;
    let reads = Reads::Request(pattern.variables());
    let (name, rule) = match rule {
        Written::Short(word) if word == "public" => (key, Rule::Public),
        Written::Short(text) => {
            let written = RouteRule {
                detail: Some(text.clone()),
                ..RouteRule::default()
            };
            (key, Rule::Needs(Box::new(demand(&written, types, &reads)?)))
        }
        Written::Long(written) => {
            let name = written.name.as_deref().unwrap_or(key);
            (name, Rule::Needs(Box::new(demand(written, types, &reads)?)))
        }
    };
    Some(Route::new(name.to_owned(), pattern, rule))
}

/// Nothing where any of it is wrong: a route that asks for less than is written would be worse than none.
fn demand(written: &RouteRule, types: &DetailTypes, reads: &Reads) -> Option<Demand> {
    let template = |text: &String| Template::parse(text, types, reads).ok();
    let rest = |word: &Option<String>| {
        if word.as_deref() == Some("pass") {
            Rest::Pass
        } else {
            Rest::Refused
        }
    };
    Some(Demand {
        detail: written.detail.as_ref().map(|text| template(text).ok_or(())).transpose().ok()?,
        scope: written.scope.as_deref().map(Scope::parse).transpose().ok()?,
        onward: written.onward.iter().map(template).collect::<Option<_>>()?,
        max_auth_age: written.max_auth_age.as_deref().map(|age| duration::parse(age).ok_or(())).transpose().ok()?,
        acr: written.acr.clone(),
        connection: written.connection.clone(),
        stream: written.stream,
        upgrade: written.upgrade.as_ref().map(|_| Upgrade::WebSocket),
        body_max: written.body_max.as_deref().map(|size| duration::parse_size(size).ok_or(())).transpose().ok()?,
        mode: modes::word(written.mode.as_deref()),
        body_rest: rest(&written.body_rest),
        query_rest: rest(&written.query_rest),
        only: written.only.clone(),
        wider: written.wider.iter().cloned().collect(),
    })
}
