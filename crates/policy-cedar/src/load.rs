//! Loading policies: parsed, named, validated strictly, and refused whole if one of them is not right.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use delegation::registry::Snapshot;
use serde_json::{Value, json};

use crate::schema::{self, SchemaError};

/// One policy file.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why policies were not loaded. Texts name file, line and mend.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The schema could not be generated.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// One or more policies are not right; one line each.
    #[error("{}", .0.join("\n"))]
    Policies(Vec<String>),
}

/// A loaded policy and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    pub(crate) json: Value,
    pub(crate) id: String,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) effect: Effect,
    pub(crate) holds: bool,
    /// Whether this is the twin of a forbid on one resource, for details without identifier.
    pub(crate) twin: bool,
}

/// Members of a detail that are always there.
const ALWAYS_THERE: [&str; 1] = ["unbounded"];
/// What the id of a twin ends with; `@id`s cannot, since a line feed is refused in them.
const TWIN: &str = "\ntwin";

/// The name of the policy as people gave it.
pub(crate) fn rule_id(id: &PolicyId) -> String {
    let id: &str = id.as_ref();
    id.trim_end_matches(TWIN).to_owned()
}

/// Parses and validates `files` against the schema of `snapshot`.
pub(crate) fn load(snapshot: &Snapshot, files: &[PolicyFile]) -> Result<Vec<Loaded>, LoadError> {
    let text = schema::cedar_schema(snapshot)?;
    let (schema, _) =
        Schema::from_cedarschema_str(&text).map_err(|error| SchemaError(format!("the generated schema does not parse: {error}")))?;
    let mut wrong = Vec::new();
    let mut loaded = Vec::new();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        let set = match PolicySet::from_str(&file.text) {
            Ok(set) => set,
            Err(error) => {
                wrong.push(format!("{}: {}", file.name, with_causes(&error)));
                continue;
            }
        };
        if set.templates().next().is_some() {
            wrong.push(format!("{}: templates are not taken; write the policy out", file.name));
        }
        for policy in set.policies() {
            match named(policy, file) {
                Ok(named) => {
                    if let Some(other) = ids.insert(named.id.clone(), file.name.clone()) {
                        wrong.push(format!(
                            "{} line {}: `@id(\"{}\")` is used in {other} too; give it a name of its own",
                            file.name, named.line, named.id
                        ));
                    }
                    loaded.extend(twin(&named));
                    loaded.push(named);
                }
                Err(error) => wrong.push(format!("{}: {error}", file.name)),
            }
        }
    }
    let mut set = PolicySet::new();
    for each in loaded.iter().filter(|each| !each.twin) {
        if let Err(error) = set.add(each.policy.clone()) {
            wrong.push(format!("{} line {}: {error}", each.file, each.line));
        }
        wrong.extend(reads_unguarded(each));
    }
    let place = |id: &PolicyId| {
        loaded
            .iter()
            .find(|each| each.policy.id() == id)
            .map(|each| format!("{} line {}", each.file, each.line))
    };
    let validation = Validator::new(schema).validate(&set, ValidationMode::Strict);
    for error in validation.validation_errors() {
        wrong.push(format!("{}: {}", place(error.policy_id()).unwrap_or_default(), with_causes(error)));
    }
    if wrong.is_empty() {
        Ok(loaded)
    } else {
        Err(LoadError::Policies(wrong))
    }
}

fn named(policy: &Policy, file: &PolicyFile) -> Result<Loaded, String> {
    let id = policy.annotation("id").unwrap_or_default().to_owned();
    if id.is_empty() || id.chars().any(char::is_control) {
        let head: String = policy.to_string().split_whitespace().take(6).collect::<Vec<_>>().join(" ");
        return Err(format!(
            "every policy needs a name, as `@id(\"…\")` before it; this one has none: `{head} …`"
        ));
    }
    let marker = format!("\"{id}\"");
    let line = file
        .text
        .lines()
        .position(|line| line.contains("@id") && line.contains(&marker))
        .map_or(1, |line| line + 1);
    let holds = match policy.annotation("requires") {
        None => false,
        Some("approval") if policy.effect() == Effect::Forbid => true,
        Some(_) => return Err(format!("line {line}: `@requires` is `approval`, and only before a forbid")),
    };
    let policy = policy.new_id(PolicyId::new(&id));
    let json = policy.to_json().map_err(|error| format!("line {line}: {error}"))?;
    Ok(Loaded {
        effect: policy.effect(),
        policy,
        json,
        id,
        file: file.name.clone(),
        line,
        holds,
        twin: false,
    })
}

/// The twin of a forbid that names one resource: it also meets a detail without identifier, which means all of them.
fn twin(named: &Loaded) -> Option<Loaded> {
    let resource = named.json.get("resource")?;
    let one_detail = resource.get("op")?.as_str()? == "==" && resource.get("entity")?.get("type")?.as_str()?.starts_with("Detail::");
    if named.effect != Effect::Forbid || !one_detail {
        return None;
    }
    let mut json = named.json.clone();
    *json.get_mut("resource")?.get_mut("entity")?.get_mut("id")? = json!("");
    let id = PolicyId::new(format!("{}{TWIN}", named.id));
    let policy = Policy::from_json(Some(id), json.clone()).ok()?;
    Some(Loaded {
        policy,
        json,
        twin: true,
        ..named.clone()
    })
}

/// A forbid that reads an optional member of the resource must also say what it means when the member is absent.
fn reads_unguarded(each: &Loaded) -> Vec<String> {
    if each.effect != Effect::Forbid {
        return Vec::new();
    }
    let mut reads = std::collections::BTreeSet::new();
    let mut tested = std::collections::BTreeSet::new();
    if let Some(conditions) = each.json.get("conditions") {
        walk(conditions, &mut reads, &mut tested);
    }
    let base = |name: &str| name.trim_end_matches("_integer").trim_end_matches("_boolean").to_owned();
    let unguarded = reads
        .into_iter()
        .filter(|name| !ALWAYS_THERE.contains(&name.as_str()) && !tested.contains(&base(name)));
    unguarded
        .map(|name| {
            format!(
                "{} line {}: forbid `{}` reads `resource.{name}`, which may be absent and then means all; add `resource.unbounded.contains(\"{}\") || …`",
                each.file,
                each.line,
                each.id,
                base(&name)
            )
        })
        .collect()
}

fn walk(expression: &Value, reads: &mut std::collections::BTreeSet<String>, tested: &mut std::collections::BTreeSet<String>) {
    let is_resource = |value: &Value| value.get("Var").and_then(Value::as_str) == Some("resource");
    match expression {
        Value::Object(members) => {
            for (name, inner) in members {
                let attr = inner.get("attr").and_then(Value::as_str);
                if let (".", Some(attr), Some(true)) = (name.as_str(), attr, inner.get("left").map(is_resource)) {
                    reads.insert(attr.to_owned());
                }
                let of_unbounded =
                    inner.get("left").and_then(|left| left.get(".")).and_then(|access| access.get("attr")) == Some(&json!("unbounded"));
                if name.starts_with("contains") && of_unbounded {
                    strings(inner.get("right").unwrap_or(&Value::Null), tested);
                }
                walk(inner, reads, tested);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, reads, tested)),
        _ => {}
    }
}

fn strings(value: &Value, into: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::String(text) => {
            into.insert(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(members) => members.values().for_each(|member| strings(member, into)),
        _ => {}
    }
}

/// An error with its causes: Cedar's own text alone says little.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
