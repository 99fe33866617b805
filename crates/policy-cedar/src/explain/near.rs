//! Near misses: a permit whose scope fits, its first condition that is false, and what that condition read.

use cedar_policy::{Authorizer, Decision, Expression, Policy, PolicySet, eval_expression};
use serde_json::{Value, json};

use super::{NearMiss, reference};
use crate::load::Loaded;
use crate::terms::Asked;

/// Why the permit `each` does not allow what is asked; `None` if its scope does not fit, or if it does allow it.
pub(super) fn miss(each: &Loaded, asked: &Asked) -> Option<NearMiss> {
    if !holds(&with_conditions(each, json!([]))?, asked) {
        return None;
    }
    for condition in each.json.get("conditions")?.as_array()? {
        let kind = condition.get("kind")?.as_str()?;
        for conjunct in conjuncts(condition.get("body")?, kind) {
            let policy = with_conditions(each, json!([{ "kind": kind, "body": conjunct }]))?;
            if !holds(&policy, asked) {
                let mut paths = Vec::new();
                reads(conjunct, &mut paths);
                let values = paths.into_iter().map(|path| (path.clone(), value(&path, asked))).collect();
                return Some(NearMiss {
                    rule: reference(each),
                    condition: source(each, conjunct, kind),
                    values,
                });
            }
        }
    }
    None
}

/// The policy with other conditions and nothing beside scope and conditions.
fn with_conditions(each: &Loaded, conditions: Value) -> Option<Policy> {
    let mut json = each.json.clone();
    *json.get_mut("conditions")? = conditions;
    json.as_object_mut()?.remove("annotations");
    Policy::from_json(None, json).ok()
}

/// Whether a permit alone allows what is asked; an error is none.
fn holds(policy: &Policy, asked: &Asked) -> bool {
    let Ok(set) = PolicySet::from_policies([policy.clone()]) else {
        return false;
    };
    Authorizer::new().is_authorized(&asked.request, &set, &asked.entities).decision() == Decision::Allow
}

/// The parts of a `when` that must all hold; an `unless` is taken whole.
fn conjuncts<'a>(body: &'a Value, kind: &str) -> Vec<&'a Value> {
    match body.get("&&") {
        Some(and) if kind == "when" => {
            let side = |name: &str| and.get(name).map(|side| conjuncts(side, kind)).unwrap_or_default();
            [side("left"), side("right")].concat()
        }
        _ => vec![body],
    }
}

/// The condition as it would be written.
fn source(each: &Loaded, conjunct: &Value, kind: &str) -> String {
    // As a `when` in either case: Cedar writes an `unless` as the negation of one.
    let written = with_conditions(each, json!([{ "kind": "when", "body": conjunct }])).and_then(|policy| policy.to_cedar());
    let text = written.unwrap_or_default();
    let body = text.split_once("when {").map_or("", |(_, rest)| rest).trim();
    let body = body.strip_suffix(';').unwrap_or(body).trim_end();
    let body = body.strip_suffix('}').unwrap_or(body).trim();
    if kind == "when" {
        body.to_owned()
    } else {
        format!("unless {body}")
    }
}

/// Whatever an expression reads of principal, action, resource and context, as expressions.
fn reads(expression: &Value, paths: &mut Vec<String>) {
    if let Some(path) = path(expression) {
        if !paths.contains(&path) {
            paths.push(path);
        }
        return;
    }
    match expression {
        Value::Object(members) => members.values().for_each(|member| reads(member, paths)),
        Value::Array(items) => items.iter().for_each(|item| reads(item, paths)),
        _ => {}
    }
}

/// A variable, or a member of one; asking for a member with `has` reads it too.
fn path(expression: &Value) -> Option<String> {
    if let Some(variable) = expression.get("Var") {
        return variable.as_str().map(str::to_owned);
    }
    let access = expression.get(".").or_else(|| expression.get("has"))?;
    let (left, attr) = (path(access.get("left")?)?, access.get("attr")?.as_str()?);
    let plain =
        attr.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !attr.starts_with(|first: char| first.is_ascii_digit());
    Some(if plain {
        format!("{left}.{attr}")
    } else {
        format!("{left}[\"{}\"]", attr.escape_debug())
    })
}

/// What the engine itself reads there.
fn value(path: &str, asked: &Asked) -> String {
    let read = path
        .parse::<Expression>()
        .ok()
        .and_then(|expression| eval_expression(&asked.request, &asked.entities, &expression).ok());
    let Some(read) = read else {
        return "absent".to_owned();
    };
    let cedar_policy::EvalResult::EntityUid(uid) = &read else {
        return read.to_string();
    };
    let mut groups: Vec<_> = asked.entities.ancestors(uid).into_iter().flatten().map(ToString::to_string).collect();
    groups.sort();
    if groups.is_empty() {
        read.to_string()
    } else {
        format!("{read} in {}", groups.join(", "))
    }
}
