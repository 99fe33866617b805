//! Attacks on rich authorization requests (RFC 9396), each by its name.

use delegation::authority::Authority;
use delegation::details::{Detail, DetailsError};
use serde_json::{Value, json};
use testkit::snapshot;

fn parse(text: &str) -> Result<Vec<Detail>, DetailsError> {
    Detail::parse_array(text, &snapshot().types)
}

fn refused(id: &str, text: &str, expected: DetailsError) {
    assert_eq!(parse(text), Err(expected), "{id}: {text}");
}

fn ticket(name: &str, value: Value) -> String {
    let mut detail = json!({ "type": "ticket", "actions": ["update"], "identifier": "1" });
    detail[name] = value;
    json!([detail]).to_string()
}

#[test]
fn what_is_not_declared_is_refused_and_not_ignored() {
    refused("RAR-001", r#"[{"type":"x"}]"#, DetailsError::UnknownType);
    refused(
        "RAR-002",
        r#"[{"type":"refund","actions":["create"],"identifier":"1","amount":1,"admin":true}]"#,
        DetailsError::UnknownMember,
    );
    for action in ["*", "READ", "r\u{435}ad", "re\u{301}ad", "read ", "read\u{200b}"] {
        refused("RAR-007 RAR-010", &ticket("actions", json!([action])), DetailsError::UnknownAction);
    }
    for kind in ["Ticket", "TICKET", "ticket ", "tick\u{435}t", "*"] {
        refused("RAR-010", &ticket("type", json!(kind)), DetailsError::UnknownType);
    }
}

#[test]
fn details_are_a_bounded_array_of_objects() {
    for text in ["{}", "\"[]\"", "[[{}]]", "null", "[null]", "7"] {
        refused("RAR-004", text, DetailsError::Malformed);
    }
    let list = json!({ "type": "ticket", "actions": ["list"] });
    assert!(parse(&Value::from(vec![list.clone(); 32]).to_string()).is_ok());
    refused("RAR-004", &Value::from(vec![list; 100_000]).to_string(), DetailsError::Malformed);
    refused("RAR-004", &"[".repeat(100_000), DetailsError::Malformed);
}

#[test]
fn each_part_of_a_detail_has_its_bound() {
    for (longest, name) in [(1024, "identifier"), (1024, "locations")] {
        let text = |length: usize| match name {
            "identifier" => json!("x".repeat(length)),
            _ => json!(["x".repeat(length)]),
        };
        assert!(parse(&ticket(name, text(longest))).is_ok());
        refused("RAR-004", &ticket(name, text(longest + 1)), DetailsError::Malformed);
    }
    for identifier in [json!(1), json!(["1"]), json!(null), json!("a\u{7}b"), json!("")] {
        refused("RAR-004", &ticket("identifier", identifier), DetailsError::Malformed);
    }
    for identifier in [json!(1), json!(["1"]), json!(null)] {
        let search = json!([{ "type": "ticket", "actions": ["search"], "identifier": identifier }]).to_string();
        refused("RAR-004: optional, and still a string", &search, DetailsError::Malformed);
    }
    // The array and the detail are two levels; whatever a member's own rule would say, deeper than eight is not read.
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    refused("RAR-004", &ticket("surprise", deep(6)), DetailsError::UnknownMember);
    refused("RAR-004", &ticket("surprise", deep(7)), DetailsError::Malformed);
    let mut types = snapshot().types.get("ticket").unwrap().clone();
    let rule = types.actions["read"].clone();
    types.actions = (0..40).map(|at| (format!("a{at}"), rule.clone())).collect();
    let types = std::iter::once(types).collect();
    let many = |count: usize| {
        let actions: Vec<_> = (0..count).map(|at| format!("a{at}")).collect();
        Detail::parse_array(
            &json!([{ "type": "ticket", "actions": actions, "identifier": "1" }]).to_string(),
            &types,
        )
    };
    assert!(many(32).is_ok());
    assert_eq!(many(33), Err(DetailsError::Malformed));
}

/// Whether what `asked` says is within what `ceiling` says.
fn within(asked: &str, ceiling: &str) -> bool {
    let authority = |text: &str| Authority {
        details: parse(text).unwrap(),
        scopes: Default::default(),
    };
    authority(asked).is_within(&authority(ceiling), &snapshot().types).is_ok()
}

#[test]
fn an_identifier_is_a_text_and_never_a_pattern() {
    let (star, one) = (ticket("identifier", json!("*")), ticket("identifier", json!("1")));
    assert!(within(&one, &one));
    assert!(!within(&one, &star), "RAR-007: `*` is a ticket's name like another");
    let located = |location: &str| ticket("locations", json!([location]));
    assert!(
        !within(&located("https://tickets.internal"), &located("*")),
        "RAR-007: nor is it every location"
    );
}

#[test]
fn more_than_the_parent_has_is_wider() {
    let refund = |amount: i64| json!([{ "type": "refund", "actions": ["create"], "identifier": "1", "amount": amount }]).to_string();
    assert!(within(&refund(100), &refund(100)));
    assert!(!within(&refund(101), &refund(100)), "RAR-005");
    let actions = |actions: Value| json!([{ "type": "ticket", "actions": actions, "identifier": "1" }]).to_string();
    assert!(within(&actions(json!(["read"])), &actions(json!(["read", "update"]))));
    assert!(!within(&actions(json!(["read", "update"])), &actions(json!(["read"]))), "RAR-005");
}

#[test]
fn a_path_has_one_spelling() {
    for path in [
        "/files/../../admin",
        "/files/%2e%2e%2fadmin",
        "/files\\..\\admin",
        "/files/./a",
        "/files//a",
        "/a/\u{0}b",
    ] {
        refused("RAR-008", &ticket("path", json!(path)), DetailsError::Malformed);
    }
}

#[test]
fn a_member_named_twice_is_refused() {
    let twice = r#"[{"type":"refund","actions":["create"],"identifier":"1","amount":1,"amount":1000}]"#;
    refused("RAR-011", twice, DetailsError::Malformed);
}
