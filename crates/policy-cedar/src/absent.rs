//! Absent means all: what a detail does not bound, a forbid must still meet.

use std::collections::BTreeSet;

use cedar_policy::{Effect, Policy, PolicyId};
use serde_json::{Value, json};

use crate::load::{Loaded, TWIN};
use crate::members::UNBOUNDED;

/// The twin of a forbid that names one resource: it meets a detail without identifier, which means all of them.
pub(crate) fn twin(named: &Loaded) -> Option<Loaded> {
    if named.effect != Effect::Forbid {
        return None;
    }
    let mut json = named.json.clone();
    let resource = json.get_mut("resource")?;
    // `== E`, `in E` and `is T in E` name one resource alike, since `in` is reflexive.
    let entity = match resource.get("in") {
        Some(_) => resource.get_mut("in")?.get_mut("entity")?,
        None => resource.get_mut("entity")?,
    };
    if !is_detail(entity) {
        return None;
    }
    *entity.get_mut("id")? = json!("");
    let id = PolicyId::new(format!("{}{TWIN}", named.id));
    let policy = Policy::from_json(Some(id), json.clone()).ok()?;
    Some(Loaded {
        policy,
        json,
        twin: true,
        ..named.clone()
    })
}

/// What is wrong with a forbid that a detail could pass by leaving something out, each with its mend.
pub(crate) fn passed_by(each: &Loaded) -> Vec<String> {
    if each.effect != Effect::Forbid {
        return Vec::new();
    }
    let mut found = Found::default();
    if let Some(conditions) = each.json.get("conditions") {
        found.walk(conditions);
    }
    let (id, place) = (&each.id, each.place());
    let missing = |name: &str| !found.tested.contains(name);
    let unguarded = found.reads.iter().filter(|name| missing(name)).map(|name| {
        format!(
            "{place}: forbid `{id}` reads `resource.{name}`, which may be absent and then means all; \
             add `resource.unbounded.contains(\"{name}\") || …`"
        )
    });
    let named = found.names.iter().filter(|_| missing("identifier")).map(|name| {
        format!(
            "{place}: forbid `{id}` names `{name}` in a condition, which a detail without identifier passes by; name it in \
             the scope, or add `resource.unbounded.contains(\"identifier\") || …`"
        )
    });
    unguarded.chain(named).collect()
}

/// What the conditions of one policy touch.
#[derive(Default)]
struct Found {
    /// Members that are read of the resource.
    reads: BTreeSet<String>,
    /// Names whose absence is asked for.
    tested: BTreeSet<String>,
    /// Details that are named.
    names: BTreeSet<String>,
}

impl Found {
    fn walk(&mut self, expression: &Value) {
        match expression {
            Value::Object(members) => {
                if let Some(entity) = members.get("__entity").filter(|entity| is_detail(entity)) {
                    let part = |name: &str| entity.get(name).and_then(Value::as_str).unwrap_or_default();
                    self.names.insert(format!("{}::\"{}\"", part("type"), part("id")));
                }
                for (name, inner) in members {
                    self.operation(name, inner);
                    self.walk(inner);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            _ => {}
        }
    }

    fn operation(&mut self, name: &str, inner: &Value) {
        let left = inner.get("left");
        match (name, inner.get("attr").and_then(Value::as_str)) {
            // Whatever leads to the resource: `(if … then resource else resource).amount` reads it too.
            (".", Some(attr)) if attr != UNBOUNDED && left.is_some_and(mentions_resource) => {
                self.reads.insert(attr.to_owned());
            }
            // `containsAll` of several asks whether all are absent, which is not the same.
            ("contains" | "containsAny", _) if left.is_some_and(is_unbounded) => {
                strings(inner.get("right").unwrap_or(&Value::Null), &mut self.tested);
            }
            _ => {}
        }
    }
}

fn is_detail(entity: &Value) -> bool {
    entity.get("type").and_then(Value::as_str).is_some_and(|kind| kind.starts_with("Detail::"))
}

fn mentions_resource(expression: &Value) -> bool {
    match expression {
        Value::Object(members) => is_resource(expression) || members.values().any(mentions_resource),
        Value::Array(items) => items.iter().any(mentions_resource),
        _ => false,
    }
}

fn is_resource(expression: &Value) -> bool {
    expression.get("Var").and_then(Value::as_str) == Some("resource")
}

/// Whether the expression is `resource.unbounded`.
fn is_unbounded(expression: &Value) -> bool {
    let access = expression.get(".");
    let attr = access.and_then(|access| access.get("attr")).and_then(Value::as_str);
    attr == Some(UNBOUNDED) && access.and_then(|access| access.get("left")).is_some_and(is_resource)
}

fn strings(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            into.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(members) => members.values().for_each(|member| strings(member, into)),
        _ => {}
    }
}
