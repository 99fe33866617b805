//! The generated schema: whatever two things would share a name in policy is refused, with its mend.

use delegation::details::ConstraintOrder;
use delegation::identity::AttributeRule;
use delegation::oauth::Scope;
use delegation::registry::{LabelValue, Snapshot};
use policy_cedar::cedar_schema;
use testkit::snapshot;

use crate::load_with;

/// The snapshot after `change` was made to its type `ticket`.
fn ticket(change: impl Fn(&mut delegation::details::DetailType)) -> Snapshot {
    let mut snapshot = snapshot();
    let changed = snapshot.types.iter().cloned().map(|mut declared| {
        if declared.name == "ticket" {
            change(&mut declared);
        }
        declared
    });
    snapshot.types = changed.collect();
    snapshot
}

fn labelled(labels: &[(&str, &str, LabelValue)]) -> Snapshot {
    let mut snapshot = snapshot();
    for (id, name, value) in labels {
        let client = snapshot.clients.values_mut().find(|client| client.id.as_str() == *id).unwrap();
        client.labels.insert((*name).to_owned(), value.clone());
    }
    snapshot
}

fn attributed(name: &str, kind: &str) -> Snapshot {
    let mut snapshot = snapshot();
    let mut other = snapshot.issuers.values().next().unwrap().clone();
    other.name = "other".to_owned();
    other.attributes.insert(name.to_owned(), AttributeRule::parse(kind).unwrap());
    snapshot.issuers.insert("https://other.example".to_owned(), other);
    let corp = snapshot.issuers.get_mut(testkit::CORP).unwrap();
    corp.attributes.insert("level".to_owned(), AttributeRule::parse("string").unwrap());
    snapshot
}

#[test]
fn a_name_that_two_things_would_share_is_refused_with_its_mend() {
    let entity = |entity: &'static str| ticket(move |declared| entity.clone_into(&mut declared.entity));
    let constraint = |name: &'static str| {
        ticket(move |declared| {
            declared.constraints.insert(name.to_owned(), ConstraintOrder::AtMost);
        })
    };
    let mut scoped = ticket(|declared| "scope".clone_into(&mut declared.name));
    scoped.scopes.insert(Scope::parse("read").unwrap(), Vec::new());
    let text = || LabelValue::Text("x".to_owned());
    let rows = [
        (entity("Refund"), "`entity`"),
        (entity("Group"), "`entity`"),
        (entity("Task"), "`entity`"),
        (entity("String"), "`entity`"),
        (entity("in"), "`entity`"),
        (entity("A; entity B"), "`entity`"),
        (entity(""), "`entity`"),
        (constraint("unbounded"), "another name"),
        (constraint("locations"), "another name"),
        // Cedar itself takes the last of two members with one name, silently.
        (constraint("tenant_integer"), "another name"),
        (
            ticket(|declared| {
                let rule = declared.actions.values().next().unwrap().clone();
                declared.actions.insert("any".to_owned(), rule);
            }),
            "rename one",
        ),
        (scoped, "rename one"),
        (labelled(&[("edge", "owner", text())]), "clients.edge.labels.owner"),
        (
            labelled(&[("edge", "tier", text()), ("orders", "tier", LabelValue::Integer(1))]),
            "use one",
        ),
        (attributed("level", "long"), "use one"),
        (attributed("issuer", "string"), "trusted_issuers.other.attributes.issuer"),
    ];
    for (snapshot, expected) in rows {
        let error = cedar_schema(&snapshot).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn labels_owner_attributes_and_every_order_can_be_read() {
    let mut snapshot = attributed("tags", "set?");
    let edge = snapshot.clients.values_mut().find(|client| client.id.as_str() == "edge").unwrap();
    edge.labels.insert("public facing".to_owned(), LabelValue::Boolean(true));
    let conditions = [
        "principal has owner && principal.owner == \"x\"",
        "principal has \"public facing\" && principal[\"public facing\"]",
        "context.subject has level && context.subject.level == \"x\"",
        "context.subject has tags && context.subject.tags.contains(\"x\")",
        "resource has tenant && resource.tenant == \"x\"",
        "resource has tenant_integer && resource.tenant_integer == 5",
        "resource has tenant_boolean && resource.tenant_boolean",
        "resource has limit && resource.limit <= 5",
        "resource has path && resource.path like \"a/*\"",
        "resource has fields && resource.fields.contains(\"x\")",
        "resource has region && resource.region.contains(\"x\")",
        "resource has locations && resource.locations.contains(\"x\")",
        "context has task && context.task has purpose && context.task.actor == Workload::\"edge\" && context.task.age_seconds < 5",
        "context has boundary || context has exception || context.approved",
    ];
    for condition in conditions {
        let text = format!("@id(\"a\") permit (principal, action == Action::\"ticket:update\", resource) when {{ {condition} }};");
        assert_eq!(load_with(&snapshot, &text).err(), None, "{condition}");
    }
    let actions = "@id(\"a\") permit (principal, action in [Action::\"ticket:any\", Action::\"refund:create\"], resource);\n\
                   @id(\"b\") permit (principal, action in [Action::\"task\", Action::\"defer\"], resource is Audience);\n\
                   @id(\"c\") permit (principal, action == Action::\"scope:profile\", resource in Audience::\"https://tickets.internal\");";
    assert_eq!(load_with(&snapshot, actions).err(), None);
}

#[test]
fn the_context_has_what_the_contract_lists() {
    let schema = cedar_schema(&snapshot()).unwrap();
    let context = schema.lines().find(|line| line.starts_with("type Context")).unwrap();
    let listed = [
        "subject: Subject",
        "subject_age_seconds: Long",
        "risk: String",
        "requested_by?: String",
        "chain: Set<Workload>",
        "audience: Audience",
        "boundary?: String",
        "task?: Task",
        "expires_in: Long",
        "now: datetime",
        "hour: Long",
        "weekday: Long",
        "client_ip?: ipaddr",
        "sender_constrained: Bool",
        "auth_age_seconds?: Long",
        "acr?: String",
        "exception?: String",
        "approved: Bool",
        "onward: Bool",
    ];
    for member in listed {
        assert!(context.contains(&format!(" {member}")), "{member}: {context}");
    }
    assert_eq!(context.matches(": ").count(), listed.len());
}
