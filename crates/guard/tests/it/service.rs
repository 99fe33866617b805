//! The service that the other claims are about.

use delegation::oauth::{AudienceId, Scope};
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Route, Rule, Service, Table};
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
