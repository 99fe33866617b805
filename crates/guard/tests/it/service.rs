//! The service that the other claims are about.

use bytes::Bytes;
use delegation::identity::Attributes;
use delegation::oauth::{AudienceId, Scope};
use http::{HeaderMap, HeaderValue, header};
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Route, Rule, Service, Table};
use narrows_guard::{Body, Call, Intent, Refused};
use testkit::snapshot;

/// A demand for a detail in short form.
pub(crate) fn demand(key: &str, detail: &str) -> Demand {
    let pattern = Pattern::parse(key).unwrap();
    let template = Template::parse(detail, &snapshot().types, &Reads::Request(pattern.variables())).unwrap();
    Demand {
        detail: Some(template),
        ..Demand::default()
    }
}

/// A route whose rule is written as in the configuration: `public`, a detail, or `scope NAME`.
pub(crate) fn route(key: &str, rule: &str) -> Route {
    let rule = match rule.strip_prefix("scope ") {
        Some(scope) => Rule::Needs(Box::new(Demand {
            scope: Some(Scope::parse(scope).unwrap()),
            ..Demand::default()
        })),
        None if rule == "public" => Rule::Public,
        None => Rule::Needs(Box::new(demand(key, rule))),
    };
    Route::new(key.to_owned(), Pattern::parse(key).unwrap(), rule)
}

/// A service `name` for `hosts`.
pub(crate) fn service(name: &str, hosts: &[&str], routes: Vec<Route>) -> Service {
    Service {
        name: name.to_owned(),
        hosts: hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect(),
        audience: Some(AudienceId::parse("https://tickets.internal").unwrap()),
        routes,
    }
}

/// One service, `tickets` at `tickets.internal`.
pub(crate) fn table(routes: &[(&str, &str)]) -> Table {
    let routes = routes.iter().map(|(key, rule)| route(key, rule)).collect();
    Table::build(vec![service("tickets", &["tickets.internal"], routes)], snapshot().types).unwrap()
}

/// A request to `tickets.internal` without a body.
pub(crate) fn asked(method: &str, target: &str) -> Call {
    Call::parse(method, b"tickets.internal", target.as_bytes(), &HeaderMap::new(), Body::Absent).unwrap()
}

/// A request to `tickets.internal` with a JSON body.
pub(crate) fn sent(method: &str, target: &str, body: &str) -> Call {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let body = Body::Whole(Bytes::copy_from_slice(body.as_bytes()));
    Call::parse(method, b"tickets.internal", target.as_bytes(), &headers, body).unwrap()
}

/// The detail that `call` needs, in short form, or the reason of the refusal.
pub(crate) fn needed(table: &Table, call: &Call) -> Result<String, &'static str> {
    needed_by(table, call, &Attributes::default())
}

/// The same for a subject with `attributes`.
pub(crate) fn needed_by(table: &Table, call: &Call, attributes: &Attributes) -> Result<String, &'static str> {
    let found = table.find(call).ok_or(Refused::NoRoute).and_then(|matched| matched.intent(call, attributes));
    match found.map_err(|refused| refused.reason())? {
        Intent::Public => Ok("public".to_owned()),
        Intent::Needs(needs) => Ok(needs.details.iter().map(ToString::to_string).collect()),
    }
}
