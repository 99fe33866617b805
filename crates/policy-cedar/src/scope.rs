//! What a policy's scope and first condition say about the requests that it can apply to.

use serde_json::Value;

/// Where in a request a key is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Position {
    Principal,
    PrincipalType,
    Resource,
    ResourceType,
    Subject,
    Action,
}

/// The bucket that a policy lies in: one position and one name there, or none.
pub(crate) type Key = Option<(Position, String)>;

/// The key of a policy, from its JSON form: the first that applies of principal ==, resource ==, subject (the first
/// conjunct of the first `when`), principal in or is, resource in or is, action ==, action in one group.
///
/// Only the first conjunct: a policy whose later conjunct names a subject must still be evaluated for other subjects,
/// or an error in its first one would be lost.
pub(crate) fn key(policy: &Value) -> Key {
    let op = |part: &str| {
        policy
            .get(part)
            .and_then(|scope| scope.get("op"))
            .and_then(Value::as_str)
            .unwrap_or("All")
            .to_owned()
    };
    let entity = |part: &str| policy.get(part).and_then(|scope| scope.get("entity")).and_then(uid);
    let exact = |part: &str| if op(part) == "==" { entity(part) } else { None };
    let group = |part: &str| match op(part).as_str() {
        "in" => entity(part),
        "is" => policy
            .get(part)
            .and_then(|scope| scope.get("in"))
            .and_then(|inner| inner.get("entity"))
            .and_then(uid),
        _ => None,
    };
    let kind = |part: &str| {
        policy
            .get(part)
            .and_then(|scope| scope.get("entity_type"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let at = |position: Position| move |name: String| (position, name);
    exact("principal")
        .map(at(Position::Principal))
        .or_else(|| exact("resource").map(at(Position::Resource)))
        .or_else(|| first_conjunct(policy).and_then(subject).map(at(Position::Subject)))
        .or_else(|| group("principal").map(at(Position::Principal)))
        .or_else(|| kind("principal").map(at(Position::PrincipalType)))
        .or_else(|| group("resource").map(at(Position::Resource)))
        .or_else(|| kind("resource").map(at(Position::ResourceType)))
        .or_else(|| exact("action").map(at(Position::Action)))
        .or_else(|| group("action").map(at(Position::Action)))
}

/// The first conjunct of the first `when`.
pub(crate) fn first_conjunct(policy: &Value) -> Option<&Value> {
    let first = policy.get("conditions")?.as_array()?.first()?;
    if first.get("kind").and_then(Value::as_str) != Some("when") {
        return None;
    }
    let mut body = first.get("body")?;
    while let Some(and) = body.get("&&") {
        body = and.get("left")?;
    }
    Some(body)
}

/// The entity in `context.subject == E` or `context.subject in E`.
pub(crate) fn subject(conjunct: &Value) -> Option<String> {
    let comparison = conjunct.get("==").or_else(|| conjunct.get("in"))?;
    let access = comparison.get("left")?.get(".")?;
    let is_subject = access.get("left")?.get("Var")?.as_str() == Some("context") && access.get("attr")?.as_str() == Some("subject");
    if is_subject {
        comparison.get("right")?.get("Value")?.get("__entity").and_then(uid)
    } else {
        None
    }
}

/// An entity's name as the index compares it.
fn uid(entity: &Value) -> Option<String> {
    let entity = entity.get("__entity").unwrap_or(entity);
    Some(name(entity.get("type")?.as_str()?, entity.get("id")?.as_str()?))
}

/// The name of the entity `id` of type `kind`. A line feed parts the two, which no type's name has.
pub(crate) fn name(kind: &str, id: &str) -> String {
    format!("{kind}\n{id}")
}
