//! Routes of boundaries that ask for what nobody uses, and the line that asks for less.

use std::collections::BTreeMap;

use delegation::details::{DetailTypes, ShortForm};
use narrows_guard::route::{Demand, Rest, Route, Rule};
use serde_json::Value;

use super::super::short;
use crate::asking::Asking;
use crate::routed::Routed;

/// Boundaries, who acts at each, and what their routes ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boundaries<'b> {
    pub(super) asking: &'b BTreeMap<String, Asking>,
    pub(super) routes: &'b Routed,
}

/// What is asked for: actions of a type, by one client, for one audience.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) client: &'a str,
    pub(super) audience: &'a str,
    pub(super) kind: &'a str,
    /// The one that nobody uses.
    pub(super) action: &'a str,
}

impl Boundaries<'_> {
    /// Routes by service and name that ask for it beside what `is_used`, each with the line that asks for no more than that. There is no line
    /// where one would not say all that the route says.
    pub(super) fn too_wide(
        &self,
        asked: Asked<'_>,
        types: &DetailTypes,
        is_used: impl Fn(&str) -> bool,
    ) -> BTreeMap<(String, String), Option<String>> {
        let acts = self.asking.iter().filter(|(_, asking)| asking.client.as_str() == asked.client);
        let tables = acts.filter_map(|(name, _)| self.routes.boundaries.get(name));
        let services = tables.flat_map(|table| table.services());
        let is_for = |audience: &str| audience == asked.audience;
        let services = services.filter(|service| service.audience.as_ref().is_some_and(|audience| is_for(audience.as_str())));
        let mut found = BTreeMap::new();
        for (service, route) in services.flat_map(|service| service.routes.iter().map(move |route| (service, route))) {
            let Rule::Needs(demand) = route.rule() else { continue };
            let Some(template) = demand.detail.as_ref().filter(|detail| detail.kind() == asked.kind) else {
                continue;
            };
            let template = template.to_json();
            let actions: Vec<_> = template
                .pointer("/fixed/actions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let kept: Vec<_> = actions.iter().copied().filter(|action| is_used(action)).collect();
            if actions.contains(&asked.action) && !kept.is_empty() {
                let line = line(route, demand, &template, &kept, types);
                found.insert((service.name.clone(), route.name().to_owned()), line);
            }
        }
        found
    }
}

/// `"METHOD /path" = "type:action/{id}"`, with the actions that are `kept` alone.
fn line(route: &Route, demand: &Demand, template: &Value, kept: &[&str], types: &DetailTypes) -> Option<String> {
    let fixed = template.get("fixed")?.as_object()?;
    let is_plain = fixed.keys().all(|name| matches!(name.as_str(), "type" | "actions" | "identifier"))
        && template.get("members")?.as_object()?.is_empty()
        && says_no_more(demand);
    if !is_plain {
        return None;
    }
    let mut needs = short(fixed.get("type")?.as_str()?, kept);
    if let Some(text) = template.get("identifier").and_then(Value::as_array) {
        let piece = |piece: &Value| match piece {
            Value::String(literal) => Some(ShortForm::encode(literal)),
            value => Some(format!("{{{}}}", value.get("path")?.as_str()?)),
        };
        needs = format!("{needs}/{}", text.iter().map(piece).collect::<Option<String>>()?);
    } else if let Some(literal) = fixed.get("identifier").and_then(Value::as_str) {
        needs = format!("{needs}/{}", ShortForm::encode(literal));
    }
    // What is to be pasted is read first as it will be.
    let written = Route::written(route.name(), &needs, types).ok()?;
    (written.pattern() == route.pattern()).then(|| format!("{} = {}", Value::from(route.name()), Value::from(needs)))
}

/// Whether the route says nothing beside its detail.
fn says_no_more(demand: &Demand) -> bool {
    let is_usual = [&demand.body_rest, &demand.query_rest].into_iter().all(|rest| *rest == Rest::default());
    let is_served_so = demand.connection.is_some() || demand.stream || demand.upgrade.is_some() || demand.body_max.is_some();
    let asks_more = demand.scope.is_some() || !demand.onward.is_empty() || demand.max_auth_age.is_some() || demand.acr.is_some();
    is_usual && !is_served_so && !asks_more && demand.mode.is_none() && demand.only.is_empty() && demand.wider.is_empty()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use delegation::oauth::{AudienceId, ClientId};
    use narrows_guard::route::hosts::HostPattern;
    use narrows_guard::route::{Route, Service, Table};
    use testkit::snapshot;

    use super::{Asked, Boundaries};
    use crate::asking::Asking;
    use crate::routed::Routed;

    #[test]
    fn the_line_of_a_route_that_asks_for_too_much_is_told_without_that() {
        let types = snapshot().types;
        let routes = [
            ("GET /tickets/{id}", "ticket:read,update/{id}"),
            ("GET /tickets/{id}/last", "ticket:read/{id}"),
            ("PUT /tickets/{id}", "ticket:update/{id}"),
            ("GET /regions/{id}", "ticket:read,update/{id}?tenant=a"),
        ];
        let service = Service {
            name: "tickets".to_owned(),
            hosts: vec![HostPattern::parse("tickets.internal").unwrap()],
            audience: Some(AudienceId::parse("https://tickets.internal").unwrap()),
            routes: routes.iter().map(|(key, needs)| Route::written(key, needs, &types).unwrap()).collect(),
        };
        let table = Arc::new(Table::build(vec![service], types.clone()).unwrap());
        let routed = Routed {
            boundaries: BTreeMap::from([("front".to_owned(), table)]),
            ..Routed::default()
        };
        let asking = Asking {
            client: ClientId::parse("edge").unwrap(),
            connections: BTreeSet::new(),
        };
        let asking = BTreeMap::from([("front".to_owned(), asking)]);
        let boundaries = Boundaries {
            asking: &asking,
            routes: &routed,
        };
        let asked = Asked {
            client: "edge",
            audience: "https://tickets.internal",
            kind: "ticket",
            action: "update",
        };
        let found = boundaries.too_wide(asked, &types, |action| action == "read");
        let of = |route: &str| found.get(&("tickets".to_owned(), route.to_owned())).cloned();
        assert_eq!(
            of("GET /tickets/{id}"),
            Some(Some(r#""GET /tickets/{id}" = "ticket:read/{id}""#.to_owned()))
        );
        assert_eq!(
            of("GET /regions/{id}"),
            Some(None),
            "a line that leaves the tenant out would ask for more"
        );
        assert_eq!(found.len(), 2, "{found:?}");
        for other in [
            Asked { client: "orders", ..asked },
            Asked {
                audience: "https://orders.internal",
                ..asked
            },
        ] {
            assert!(boundaries.too_wide(other, &types, |action| action == "read").is_empty());
        }
    }
}
