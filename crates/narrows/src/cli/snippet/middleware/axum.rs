//! The layer of narrows-guard, as a Rust program writes it for one service.

use std::time::Duration;

use delegation::details::{ConstraintOrder, DetailType, IdentifierRule};
use narrows_guard::route::{Demand, Rest, Rule};
use narrows_guard::surplus::Excess;
use serde_json::Value;

use super::rules::Rules;
use crate::cli::snippet::template::Values;
use crate::cli::snippet::written::label;
use crate::config::{Backend, Loaded, WrittenRoute};

/// How long one ask of the broker may take, where no `[broker]` says so.
const DEADLINE: Duration = Duration::from_millis(500);

/// What the template is filled with, beside what all of them have.
pub(super) fn values(backend: &Backend, loaded: &Loaded, rules: &Rules<'_>) -> Result<Values, String> {
    let service = &backend.service;
    let client = backend.client.as_deref().ok_or_else(|| {
        format!(
            "service `{}` has no guard: add a table `[[guards]]` that names the client that the backend is",
            service.name
        )
    })?;
    let issuer = &loaded.snapshot.issuer;
    let remote = loaded.remote.as_ref();
    let urls = remote.map_or_else(
        || vec![issuer.clone()],
        |remote| remote.urls.iter().map(ToString::to_string).collect(),
    );
    let mut values = Values::default();
    values.set("client", label(client));
    values.set("issuer", text(issuer));
    values.set("audience_text", text(rules.audience()));
    values.set("client_text", text(client));
    values.set("service_text", text(&service.name));
    values.set("hosts", list(service.hosts.iter().map(|host| text(&host.to_string()))));
    values.set("urls", list(urls.iter().map(|url| text(url))));
    values.set(
        "allow_private",
        list(loaded.fetch.allow_private.iter().map(|network| text(&network.to_string()))),
    );
    values.set("deadline", remote.map_or(DEADLINE, |remote| remote.deadline).as_millis());
    values.set("max_age", loaded.settings.max_view_age.as_millis());
    values.set("max_chain", loaded.snapshot.max_chain);
    values.set("excess_variant", excess(backend.excess));
    values.set("recheck", if backend.rechecks { "Each" } else { "Never" });
    values.set(
        "fixed",
        list(
            backend
                .fixed
                .iter()
                .map(|(name, value)| format!("({}.to_owned(), {}.into())", text(name), fixed(value))),
        ),
    );
    values.set_each("type_line", loaded.snapshot.types.iter().map(detail_type));
    values.set_each("route_line", backend.written.iter().map(|written| route(backend, written)));
    Ok(values)
}

/// A string literal.
fn text(text: &str) -> String {
    format!("{text:?}")
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn fixed(value: &Value) -> String {
    match value {
        Value::String(value) => text(value),
        // `1` is an `i32` otherwise, and may be too large for one.
        Value::Number(number) => format!("{number}_i64"),
        other => other.to_string(),
    }
}

fn excess(excess: Excess) -> &'static str {
    match excess {
        Excess::None => "None",
        Excess::SameResource => "SameResource",
        Excess::Any => "Any",
    }
}

fn detail_type(declared: &DetailType) -> String {
    let identifier = |rule| match rule {
        IdentifierRule::Required => "Required",
        IdentifierRule::Optional => "Optional",
        IdentifierRule::None => "None",
    };
    let order = |order| match order {
        ConstraintOrder::Equal => "Equal",
        ConstraintOrder::Subset => "Subset",
        ConstraintOrder::AtMost => "AtMost",
        ConstraintOrder::Prefix => "Prefix",
        ConstraintOrder::OneOf => "OneOf",
    };
    let actions = declared.actions.iter().map(|(name, rule)| {
        let constraints = list(rule.constraints.iter().map(|name| text(name)));
        format!(
            "({}, IdentifierRule::{}, &[{constraints}])",
            text(name),
            identifier(rule.identifier)
        )
    });
    let constraints = declared
        .constraints
        .iter()
        .map(|(name, each)| format!("({}, ConstraintOrder::{})", text(name), order(*each)));
    format!(
        "detail_type({}, {}, &[{}], &[{}]),",
        text(&declared.name),
        text(&declared.entity),
        list(actions),
        list(constraints)
    )
}

/// One route, with the details as the configuration has them.
fn route(backend: &Backend, written: &WrittenRoute) -> String {
    let found = backend.service.routes.iter().find(|route| route.pattern().to_string() == written.key);
    let key = text(&written.key);
    match found.map(|route| (route, route.rule())) {
        Some((route, Rule::Needs(demand))) => {
            let detail = written
                .detail
                .as_deref()
                .map_or_else(|| "None".to_owned(), |detail| format!("Some({})", text(detail)));
            let onward = list(written.onward.iter().map(|onward| text(onward)));
            format!(
                "route({}, {key}, ({detail}, &[{onward}]), {}, types)?,",
                text(route.name()),
                self::demand(demand)
            )
        }
        _ => format!("Route::new({key}.to_owned(), Pattern::parse({key})?, Rule::Public),"),
    }
}

/// What is not as it is where nothing is said.
fn demand(demand: &Demand) -> String {
    let owned = |names: &mut dyn Iterator<Item = &String>| list(names.map(|name| format!("{}.to_owned()", text(name))));
    let pass = |rest: Rest, name: &str| (rest == Rest::Pass).then(|| format!("{name}: narrows_guard::route::Rest::Pass"));
    let fields = [
        demand.scope.as_ref().map(|scope| {
            format!(
                "scope: Some(narrows_guard::delegation::oauth::Scope::parse({})?)",
                text(scope.as_str())
            )
        }),
        demand.max_auth_age.map(|age| format!("max_auth_age: Some(Duration::from_secs({}))", age.as_secs())),
        demand.acr.as_ref().map(|acr| format!("acr: Some({}.to_owned())", text(acr))),
        demand.stream.then(|| "stream: true".to_owned()),
        demand.body_max.map(|most| format!("body_max: Some({most})")),
        pass(demand.body_rest, "body_rest"),
        pass(demand.query_rest, "query_rest"),
        (!demand.only.is_empty()).then(|| format!("only: vec![{}]", owned(&mut demand.only.iter()))),
        (!demand.wider.is_empty()).then(|| format!("wider: BTreeSet::from([{}])", owned(&mut demand.wider.iter()))),
    ];
    let fields: Vec<_> = fields.into_iter().flatten().collect();
    if fields.is_empty() {
        "Demand::default()".to_owned()
    } else {
        format!("Demand {{ {}, ..Demand::default() }}", fields.join(", "))
    }
}
