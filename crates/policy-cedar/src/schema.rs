//! The Cedar schema, generated from the configuration: what policies may speak of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cedar_policy::Schema;
use delegation::details::DetailType;
use delegation::identity::{AttributeKind, AttributeRule};
use delegation::registry::{LabelValue, Snapshot};

use crate::members::{self, UNBOUNDED};

/// A configuration from which no schema can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(pub String);

/// Names that a Detail entity may not have: they are taken, or would stand for another type inside the schema.
const TAKEN: [&str; 16] = [
    "Workload",
    "Subject",
    "Group",
    "Audience",
    "Scope",
    "Action",
    "Context",
    "Task",
    "String",
    "Long",
    "Bool",
    "Boolean",
    "Set",
    "Record",
    "Entity",
    "Extension",
];
/// Cedar's own words.
const WORDS: [&str; 11] = [
    "true",
    "false",
    "if",
    "then",
    "else",
    "in",
    "is",
    "like",
    "has",
    "namespace",
    "__cedar",
];

/// The schema in Cedar's own notation.
///
/// Every name that two things would share is refused with the line of the configuration that mends it: Cedar takes
/// the last of two members with one name, silently.
pub fn cedar_schema(snapshot: &Snapshot) -> Result<String, SchemaError> {
    let mut out = String::new();
    parties(&mut out, snapshot)?;
    details(&mut out, snapshot)?;
    actions(&mut out, snapshot)?;
    Ok(out)
}

/// The schema as the validator takes it.
pub(crate) fn parsed(snapshot: &Snapshot) -> Result<Schema, SchemaError> {
    let text = cedar_schema(snapshot)?;
    let refused = |error| SchemaError(format!("the schema that the configuration makes is refused: {error}"));
    Schema::from_cedarschema_str(&text).map(|(schema, _)| schema).map_err(refused)
}

fn parties(out: &mut String, snapshot: &Snapshot) -> Result<(), SchemaError> {
    let mut labels: BTreeMap<&str, &str> = BTreeMap::from([("owner", "String")]);
    for client in snapshot.clients.values() {
        for (name, value) in &client.labels {
            let kind = match value {
                LabelValue::Boolean(_) => "Bool",
                LabelValue::Integer(_) => "Long",
                LabelValue::Text(_) => "String",
            };
            let problem = match labels.insert(name, kind) {
                _ if name == "owner" => "is the client's `owner` in policy; give the label another name",
                Some(before) if before != kind => "has different types at different clients; use one",
                _ => continue,
            };
            return Err(SchemaError(format!("clients.{}.labels.{name}: {problem}", client.id)));
        }
    }
    let mut attributes: BTreeMap<&str, AttributeRule> = BTreeMap::new();
    for issuer in snapshot.issuers.values() {
        // Groups are parents, not an attribute.
        for (name, rule) in issuer.attributes.iter().filter(|(name, _)| *name != "groups") {
            let before = attributes.insert(name, *rule);
            let problem = if matches!(name.as_str(), "kind" | "issuer" | "id") {
                "is what every subject has in policy; give the attribute another name"
            } else if before.is_some_and(|before| before.kind != rule.kind) {
                "has another type at another issuer; use one"
            } else {
                continue;
            };
            return Err(SchemaError(format!("trusted_issuers.{}.attributes.{name}: {problem}", issuer.name)));
        }
    }
    let labels = labels.iter().map(|(name, kind)| format!("{}?: {kind}", quoted(name)));
    let own = ["kind: String", "issuer: String", "id: String"].map(str::to_owned);
    let mapped = attributes.iter().map(|(name, rule)| {
        let kind = match rule.kind {
            AttributeKind::Boolean => "Bool",
            AttributeKind::Integer => "Long",
            AttributeKind::Text => "String",
            AttributeKind::Set => "Set<String>",
        };
        // Optional whatever the issuers require: a client that acts for itself has none of them.
        format!("{}?: {kind}", quoted(name))
    });
    let _ = writeln!(
        out,
        "entity Group;\nentity Subject in [Group] = {{ {} }};",
        list(own.into_iter().chain(mapped))
    );
    let _ = writeln!(
        out,
        "entity Workload = {{ {} }};\nentity Audience;\nentity Scope in [Audience];",
        list(labels)
    );
    let _ = writeln!(
        out,
        "type Task = {{ id: String, purpose?: String, age_seconds: Long, tokens: Long, deferred: Bool, actor: Workload }};\n\
         type Context = {{ subject: Subject, subject_age_seconds: Long, risk: String, requested_by?: String, chain: Set<Workload>, \
         audience: Audience, boundary?: String, task?: Task, onward: Bool, expires_in: Long, now: datetime, hour: Long, weekday: Long, \
         client_ip?: ipaddr, sender_constrained: Bool, auth_age_seconds?: Long, acr?: String, exception?: String, approved: Bool }};"
    );
    Ok(())
}

fn details(out: &mut String, snapshot: &Snapshot) -> Result<(), SchemaError> {
    let mut entities = BTreeMap::new();
    out.push_str("namespace Detail {\n");
    for declared in snapshot.types.iter() {
        let (name, entity) = (&declared.name, &declared.entity);
        if !is_detail_entity(entity) {
            return Err(SchemaError(format!(
                "detail type `{name}`: `Detail::{entity}` is taken or no name in policy; give it another `entity`"
            )));
        }
        if let Some(other) = entities.insert(entity, name) {
            return Err(SchemaError(format!(
                "detail types `{other}` and `{name}` both are `Detail::{entity}` in policy; give one an `entity`"
            )));
        }
        let fields = fields(declared)?;
        let _ = writeln!(
            out,
            "  entity {entity} in [Audience] = {{ {UNBOUNDED}: Set<String>, {} }};",
            list(fields)
        );
    }
    out.push_str("}\n");
    Ok(())
}

/// The optional members of one Detail entity.
fn fields(declared: &DetailType) -> Result<impl Iterator<Item = String>, SchemaError> {
    let mut fields = BTreeMap::new();
    for (name, kind) in members::optional(declared) {
        if name == UNBOUNDED || fields.insert(name.clone(), kind).is_some() {
            return Err(SchemaError(format!(
                "detail type `{}`: two members would be `{name}` in policy; give the constraint another name",
                declared.name
            )));
        }
    }
    Ok(fields.into_iter().map(|(name, kind)| format!("{}?: {kind}", quoted(&name))))
}

fn actions(out: &mut String, snapshot: &Snapshot) -> Result<(), SchemaError> {
    let mut of = BTreeMap::new();
    let mut claim = |action: String, owner: String| match of.insert(action.clone(), owner.clone()) {
        Some(other) => Err(SchemaError(format!(
            "{other} and {owner} both are `Action::\"{action}\"` in policy; rename one"
        ))),
        None => Ok(quoted(&action)),
    };
    let applies = |resource: &str| format!("appliesTo {{ principal: [Workload], resource: [{resource}], context: Context }}");
    for declared in snapshot.types.iter() {
        let name = &declared.name;
        let any = claim(format!("{name}:any"), format!("every action of detail type `{name}`"))?;
        let _ = writeln!(out, "action {any};");
        for action in declared.actions.keys() {
            let named = claim(format!("{name}:{action}"), format!("action `{action}` of detail type `{name}`"))?;
            let _ = writeln!(
                out,
                "action {named} in [{any}] {};",
                applies(&format!("Detail::{}", declared.entity))
            );
        }
    }
    let understood = snapshot.audiences.values().flat_map(|audience| &audience.scopes);
    let scopes: std::collections::BTreeSet<_> = understood.chain(snapshot.scopes.keys()).collect();
    for scope in scopes {
        let named = claim(format!("scope:{scope}"), format!("scope `{scope}`"))?;
        let _ = writeln!(out, "action {named} {};", applies("Scope"));
    }
    let _ = writeln!(out, "action \"task\", \"defer\" {};", applies("Audience"));
    Ok(())
}

/// Whether `entity` can be the name of a Detail entity.
pub fn is_detail_entity(entity: &str) -> bool {
    let first = entity.starts_with(|first: char| first.is_ascii_alphabetic());
    let rest = entity.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first && rest && !TAKEN.contains(&entity) && !WORDS.contains(&entity)
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// A name as a Cedar string literal.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
