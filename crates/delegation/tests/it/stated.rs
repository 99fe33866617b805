//! Subjects that are stated: whom a name denotes, and what may be said of them.

use delegation::identity::{AttributeKind, AttributeRule, AttributeValue, SubjectKind};
use delegation::registry::{Snapshot, TrustedIssuer};
use delegation::token::StatedSubject;
use serde_json::{Map, Value, json};
use testkit::{BROKER, CORP, snapshot};

/// Corp without a prefix, a partner with one, and a cluster whose subjects are workloads.
fn parties() -> Snapshot {
    let mut snapshot = snapshot();
    let corp = snapshot.issuers[CORP].clone();
    for (name, prefix, subject) in [("partner", "p:", SubjectKind::User), ("cluster", "k:", SubjectKind::Workload)] {
        let issuer = format!("https://{name}.example");
        let entry = TrustedIssuer {
            name: name.to_owned(),
            issuer: issuer.clone(),
            sub_prefix: prefix.to_owned(),
            subject,
            ..corp.clone()
        };
        snapshot.issuers.insert(issuer, entry);
    }
    snapshot
}

fn read(kind: SubjectKind, id: &str, issuer: Option<&str>, properties: Value) -> Option<StatedSubject> {
    let Value::Object(properties) = properties else { return None };
    StatedSubject::read(&parties(), kind, id, issuer, &properties).ok()
}

fn named(kind: SubjectKind, id: &str, issuer: Option<&str>) -> Option<String> {
    read(kind, id, issuer, json!({})).map(|stated| stated.subject.to_string())
}

#[test]
fn a_name_is_the_sub_of_our_tokens_and_denotes_one_subject_or_none() {
    use SubjectKind::{User, Workload};
    for (kind, id, expected) in [
        (User, "alice", Some("corp|alice")),
        (User, "p:alice", Some("partner|alice")),
        (Workload, "k:job", Some("cluster|job")),
        (Workload, "edge", Some("narrows|edge")),
        // What policy calls alice is no `sub` of hers: it is somebody else's at corp.
        (User, "corp|alice", Some("corp|corp|alice")),
        (User, "k:job", None),
        (Workload, "alice", None),
        (Workload, "p:alice", None),
        (User, "edge", None),
        (User, "p:", None),
        (User, "a\u{7f}", None),
    ] {
        assert_eq!(named(kind, id, None).as_deref(), expected, "{id}");
    }
    assert_eq!(named(User, &"a".repeat(256), None), None);
}

#[test]
fn an_issuer_that_is_named_says_whose_sub_it_is() {
    use SubjectKind::{User, Workload};
    for (kind, id, issuer, expected) in [
        (User, "alice", "corp", Some("corp|alice")),
        (User, "alice", CORP, Some("corp|alice")),
        (User, "alice", "partner", Some("partner|alice")),
        (User, "alice", "https://partner.example", Some("partner|alice")),
        (Workload, "edge", "narrows", Some("narrows|edge")),
        (Workload, "edge", BROKER, Some("narrows|edge")),
        (Workload, "edge", "cluster", Some("cluster|edge")),
        (Workload, "nobody", "narrows", None),
        (User, "alice", "other", None),
        (User, "alice", "", None),
        // Such a token would be refused: its `sub` is another's.
        (User, "p:alice", "corp", None),
        (User, "edge", "corp", None),
    ] {
        assert_eq!(named(kind, id, Some(issuer)).as_deref(), expected, "{id} at {issuer}");
    }
    let mut twins = parties();
    twins.issuers.get_mut("https://partner.example").unwrap().sub_prefix.clear();
    assert!(StatedSubject::read(&twins, User, "alice", None, &Map::new()).is_err(), "one of two");
}

#[test]
fn what_is_said_of_a_subject_is_read_like_the_claims_of_its_issuer() {
    let mut snapshot = snapshot();
    let rule = |kind, optional| AttributeRule { kind, optional };
    snapshot.issuers.get_mut(CORP).unwrap().attributes = [
        ("groups", rule(AttributeKind::Set, true)),
        ("department", rule(AttributeKind::Text, false)),
        ("level", rule(AttributeKind::Integer, true)),
    ]
    .map(|(name, rule)| (name.to_owned(), rule))
    .into();
    let read = |properties: Value| {
        let properties = properties.as_object().unwrap().clone();
        StatedSubject::read(&snapshot, SubjectKind::User, "alice", None, &properties)
    };
    let attributes = read(json!({ "groups": ["support"], "department": "sales", "owner": { "x": 1 } }))
        .unwrap()
        .attributes;
    assert_eq!(attributes.groups, ["support".to_owned()].into());
    assert_eq!(
        attributes.values,
        [("department".to_owned(), AttributeValue::Text("sales".to_owned()))].into(),
        "and nothing that no token of corp's could say"
    );
    for wrong in [
        json!({}),
        json!({ "department": null }),
        json!({ "department": 1 }),
        json!({ "department": "sales", "groups": "support" }),
        json!({ "department": "sales", "groups": [1] }),
        json!({ "department": "sales", "level": "3" }),
        json!({ "department": "sales", "level": 1.5 }),
        json!({ "department": "sales", "hasgroups": true }),
    ] {
        assert!(read(wrong.clone()).is_err(), "{wrong}");
    }
    let ours = json!({ "department": "sales" }).as_object().unwrap().clone();
    let ours = StatedSubject::read(&snapshot, SubjectKind::Workload, "edge", None, &ours).unwrap();
    assert_eq!(ours.attributes, Default::default());
}
