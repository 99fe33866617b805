//! The Cedar schema, generated from the configuration: what policies may speak of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use delegation::details::{ConstraintOrder, DetailType};
use delegation::identity::{AttributeKind, AttributeRule};
use delegation::registry::{LabelValue, Snapshot};

/// A configuration from which no schema can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(pub String);

/// Members of a Detail entity that no constraint may be called.
const RESERVED_MEMBERS: [&str; 3] = ["identifier", "unbounded", "locations"];

/// The schema in Cedar's own notation.
///
/// A constraint with the order `equal` may be a string, an integer or a boolean, and Cedar has no unions, so it is
/// up to three members: `name`, `name_integer`, `name_boolean`.
pub fn cedar_schema(snapshot: &Snapshot) -> Result<String, SchemaError> {
    let mut out = String::new();
    entities(&mut out, snapshot)?;
    let mut entity_names = BTreeMap::new();
    out.push_str("namespace Detail {\n");
    for declared in snapshot.types.iter() {
        if let Some(other) = entity_names.insert(declared.entity.as_str(), declared.name.as_str()) {
            let (name, entity) = (&declared.name, &declared.entity);
            return Err(SchemaError(format!(
                "detail types `{other}` and `{name}` both are `Detail::{entity}` in policy; give one an `entity`"
            )));
        }
        detail(&mut out, declared)?;
    }
    out.push_str("}\n");
    let applies = |resource: &str| format!("appliesTo {{ principal: [Workload], resource: [{resource}], context: Context }}");
    for declared in snapshot.types.iter() {
        let _ = writeln!(out, "action {};", quoted(&format!("{}:any", declared.name)));
        for action in declared.actions.keys() {
            let (name, any) = (
                quoted(&format!("{}:{action}", declared.name)),
                quoted(&format!("{}:any", declared.name)),
            );
            let _ = writeln!(
                out,
                "action {name} in [{any}] {};",
                applies(&format!("Detail::{}", declared.entity))
            );
        }
    }
    let scopes: std::collections::BTreeSet<_> = snapshot
        .audiences
        .values()
        .flat_map(|audience| &audience.scopes)
        .chain(snapshot.scopes.keys())
        .collect();
    for scope in scopes {
        let _ = writeln!(out, "action {} {};", quoted(&format!("scope:{scope}")), applies("Scope"));
    }
    let _ = writeln!(out, "action \"task\", \"defer\" {};", applies("Audience"));
    Ok(out)
}

fn entities(out: &mut String, snapshot: &Snapshot) -> Result<(), SchemaError> {
    let mut labels: BTreeMap<&str, &str> = BTreeMap::from([("owner", "String")]);
    for client in snapshot.clients.values() {
        for (name, value) in &client.labels {
            let kind = match value {
                LabelValue::Boolean(_) => "Bool",
                LabelValue::Integer(_) => "Long",
                LabelValue::Text(_) => "String",
            };
            if labels.insert(name, kind).is_some_and(|before| before != kind) {
                return Err(SchemaError(format!(
                    "clients.labels.{name}: has different types at different clients; use one"
                )));
            }
        }
    }
    let mut attributes: BTreeMap<&str, (AttributeRule, usize)> = BTreeMap::new();
    for issuer in snapshot.issuers.values() {
        for (name, rule) in issuer.attributes.iter().filter(|(name, _)| *name != "groups") {
            let (before, count) = attributes.entry(name).or_insert((*rule, 0));
            if before.kind != rule.kind || matches!(name.as_str(), "kind" | "issuer" | "id") {
                return Err(SchemaError(format!(
                    "trusted_issuers.attributes.{name}: has another type elsewhere, or a reserved name"
                )));
            }
            before.optional |= rule.optional;
            *count += 1;
        }
    }
    let record = |fields: Vec<String>| fields.join(", ");
    let labels = labels.iter().map(|(name, kind)| format!("{}?: {kind}", quoted(name))).collect();
    let attributes = attributes.iter().map(|(name, (rule, _))| {
        let kind = match rule.kind {
            AttributeKind::Boolean => "Bool",
            AttributeKind::Integer => "Long",
            AttributeKind::Text => "String",
            AttributeKind::Set => "Set<String>",
        };
        // Optional for all: a client's own token has none of them, whatever the issuers require.
        format!("{}?: {kind}", quoted(name))
    });
    let subject = ["kind: String", "issuer: String", "id: String"]
        .into_iter()
        .map(str::to_owned)
        .chain(attributes)
        .collect();
    let _ = writeln!(out, "entity Group;\nentity Subject in [Group] = {{ {} }};", record(subject));
    let _ = writeln!(
        out,
        "entity Workload = {{ {} }};\nentity Audience;\nentity Scope in [Audience];",
        record(labels)
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

fn detail(out: &mut String, declared: &DetailType) -> Result<(), SchemaError> {
    let mut fields = vec![
        "identifier?: String".to_owned(),
        "unbounded: Set<String>".to_owned(),
        "locations?: Set<String>".to_owned(),
    ];
    for (name, order) in &declared.constraints {
        if RESERVED_MEMBERS.contains(&name.as_str()) {
            return Err(SchemaError(format!(
                "detail type `{}`: a constraint may not be called `{name}`",
                declared.name
            )));
        }
        match order {
            ConstraintOrder::Equal => {
                fields.push(format!("{}?: String", quoted(name)));
                fields.push(format!("{}?: Long", quoted(&format!("{name}_integer"))));
                fields.push(format!("{}?: Bool", quoted(&format!("{name}_boolean"))));
            }
            ConstraintOrder::AtMost => fields.push(format!("{}?: Long", quoted(name))),
            ConstraintOrder::Prefix => fields.push(format!("{}?: String", quoted(name))),
            ConstraintOrder::Subset | ConstraintOrder::OneOf => fields.push(format!("{}?: Set<String>", quoted(name))),
        }
    }
    let _ = writeln!(out, "  entity {} in [Audience] = {{ {} }};", declared.entity, fields.join(", "));
    Ok(())
}

/// A name as a Cedar string literal.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
