//! The service that all are asked about. `tests/backends/narrows.toml` says the same in its own words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use delegation::details::{ActionRule, Detail, DetailType, DetailTypes, IdentifierRule, Standing};
use delegation::oauth::{AudienceId, Scope};
use delegation::token::KeySet;
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Rest, Route, Rule, Service};
use narrows_guard::surplus::Excess;
use narrows_guard::{Guard, Sender, Settings};
use serde_json::{Value, json};
use testkit::snapshot;

/// Whom its tokens are for.
pub(crate) const AUDIENCE: &str = "https://tickets.internal";

/// What `GET /r/7` needs.
pub(crate) const NEEDED: &str =
    "ticket:update/7?locations=https%3A%2F%2Ftickets.internal&fields=a,b&limit=5&path=%2Fa%2Fb&region=eu&tenant=acme";

/// How a guard judges.
pub(crate) struct Mode {
    pub(crate) name: &'static str,
    excess: Excess,
    /// The tenant, where it is fixed.
    tenant: Option<&'static str>,
}

pub(crate) const MODES: [Mode; 4] = [
    Mode {
        name: "none",
        excess: Excess::None,
        tenant: None,
    },
    Mode {
        name: "same_resource",
        excess: Excess::SameResource,
        tenant: None,
    },
    Mode {
        name: "any",
        excess: Excess::Any,
        tenant: None,
    },
    Mode {
        name: "fixed",
        excess: Excess::SameResource,
        tenant: Some("acme"),
    },
];

impl Mode {
    pub(crate) fn guard(&self, issuer: &str, keys: &Arc<KeySet>) -> Guard {
        let settings = Settings {
            service: service(),
            types: types(),
            issuer: issuer.to_owned(),
            audience: AudienceId::parse(AUDIENCE).unwrap(),
            max_lifetime: Duration::from_secs(600),
            max_chain: 8,
            max_age: Duration::from_secs(5),
            sender: Sender::None,
            single_use: false,
            excess: self.excess,
            fixed: self
                .tenant
                .map(|tenant| ("tenant".to_owned(), json!(tenant)))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        Guard::build(settings, Arc::clone(keys)).unwrap()
    }
}

/// The types of the tests, and one whose action has the name of another's.
fn types() -> DetailTypes {
    let read = ActionRule {
        identifier: IdentifierRule::Required,
        constraints: BTreeSet::new(),
    };
    let note = DetailType {
        name: "note".to_owned(),
        entity: "Note".to_owned(),
        actions: BTreeMap::from([("read".to_owned(), read)]),
        constraints: BTreeMap::new(),
    };
    snapshot().types.iter().cloned().chain([note]).collect()
}

/// Details in the short form, as a claim.
pub(crate) fn details(texts: &[&str]) -> Value {
    let types = types();
    let detail = |text: &&str| Detail::parse_short(text, &types, Standing::Ceiling).unwrap().to_json();
    texts.iter().map(detail).collect()
}

/// The same with the tenant, where one can be named: good where it is fixed, and a detail of its own where it is not.
pub(crate) fn acme(texts: &[&str]) -> Value {
    let named: Vec<_> = texts.iter().map(|text| format!("{text}?tenant=acme")).collect();
    texts
        .iter()
        .copied()
        .chain(named.iter().map(String::as_str))
        .map(|text| details(&[text])[0].clone())
        .collect()
}

fn service() -> Service {
    let needed = NEEDED.replacen("/7", "/{id}", 1);
    let all = ["fields", "limit", "locations", "path", "region"];
    let wider = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let plain = Demand::default;
    let routes = [
        ("GET /tickets", "ticket:list", plain()),
        ("GET /tickets/{id}", "ticket:read/{id}", plain()),
        (
            "GET /tickets/new",
            "",
            Demand {
                scope: Scope::parse("profile").ok(),
                ..plain()
            },
        ),
        (
            "GET /both/{id}",
            "ticket:read/{id}",
            Demand {
                scope: Scope::parse("profile").ok(),
                ..plain()
            },
        ),
        ("GET /r/{id}", needed.as_str(), plain()),
        (
            "GET /w/{id}",
            needed.as_str(),
            Demand {
                wider: wider(&all),
                ..plain()
            },
        ),
        ("GET /of/{tenant}/{id}", "ticket:read/{id}?tenant={tenant}", plain()),
        ("GET /pair/{a}/{b}", "ticket:read/{a}-{b}", plain()),
        ("GET /host", "ticket:read/{host.1}", plain()),
        ("GET /files/{name:rest}", "ticket:update/all?path={name}", plain()),
        ("GET /search", "ticket:search?limit={query.max}", plain()),
        (
            "GET /find",
            "ticket:search?limit={query.max}",
            Demand {
                query_rest: Rest::Pass,
                ..plain()
            },
        ),
        (
            "GET /some",
            "ticket:update/7?fields={query.f},b",
            Demand {
                only: vec!["page".to_owned()],
                ..plain()
            },
        ),
        ("GET /method", "ticket:search?limit={query._method}", plain()),
        ("GET /open/list", "ticket:list", plain()),
        ("GET /open/admin/{id}", "ticket:read/{id}", plain()),
        ("HEAD /open/seen/{id}", "ticket:read/{id}", plain()),
        ("PATCH /tickets/{id}", "ticket:update/{id}?fields={body:keys}", plain()),
        (
            "PUT /tickets/{id}",
            "ticket:update/{id}?limit={body.limit}&region={body.at.region}&path={body.path}",
            Demand {
                only: vec!["note".to_owned()],
                wider: wider(&["limit"]),
                ..plain()
            },
        ),
        (
            "POST /tickets/{id}",
            "ticket:update/{id}?fields={body.at:keys}",
            Demand {
                body_rest: Rest::Pass,
                body_max: Some(1024),
                ..plain()
            },
        ),
        ("POST /refunds/{id}", "refund:create/{id}?amount={body.amount}", plain()),
        (
            "DELETE /tickets/{id}",
            "ticket:update/{id}",
            Demand {
                max_auth_age: Some(Duration::from_secs(300)),
                acr: Some("strong".to_owned()),
                ..plain()
            },
        ),
    ];
    let public = ["GET /healthz", "GET /open/{path:rest}", "HEAD /open/{path:rest}"];
    let public = public.map(|key| Route::new(key.to_owned(), Pattern::parse(key).unwrap(), Rule::Public));
    let routes = routes.into_iter().map(|(key, detail, demand)| route(key, detail, demand)).chain(public);
    Service {
        name: "tickets".to_owned(),
        hosts: ["tickets.internal", "*.tickets.example"].map(|host| HostPattern::parse(host).unwrap()).to_vec(),
        audience: AudienceId::parse(AUDIENCE).ok(),
        routes: routes.collect(),
    }
}

fn route(key: &str, detail: &str, mut demand: Demand) -> Route {
    let pattern = Pattern::parse(key).unwrap();
    let reads = Reads::Request(pattern.variables());
    let template = |text: &str| Template::parse(text, &types(), &reads).unwrap();
    if !detail.is_empty() {
        demand.detail = Some(template(detail));
    }
    if key == "POST /refunds/{id}" {
        demand.onward = vec![template("ticket:read/{body.ticket}")];
    }
    Route::new(key.to_owned(), pattern, Rule::Needs(Box::new(demand)))
}
