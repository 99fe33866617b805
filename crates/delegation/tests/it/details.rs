//! Parsing of details: whatever is not declared or not well formed has a name.

use delegation::details::{Detail, DetailsError};
use serde_json::{Value, json};
use testkit::snapshot;

fn parse(value: &Value) -> Result<Vec<Detail>, DetailsError> {
    Detail::parse_array(&value.to_string(), &snapshot().types)
}

#[test]
fn what_is_wrong_has_its_own_name() {
    let update = |name: &str, value: Value| {
        let mut detail = json!({ "type": "ticket", "actions": ["update"], "identifier": "1" });
        detail[name] = value;
        json!([detail])
    };
    let malformed = [
        json!({}),
        json!("x"),
        json!([1]),
        json!([{}]),
        json!([{ "type": "", "actions": ["read"] }]),
        json!([{ "type": 7, "actions": ["read"] }]),
        json!([{ "type": "ticket" }]),
        json!([{ "type": "ticket", "actions": [] }]),
        json!([{ "type": "ticket", "actions": "read", "identifier": "1" }]),
        json!([{ "type": "ticket", "actions": ["read", "read"], "identifier": "1" }]),
        json!([{ "type": "ticket", "actions": ["read"], "identifier": "" }]),
        json!([{ "type": "ticket", "actions": ["read"], "identifier": 7 }]),
        json!([{ "type": "ticket", "actions": ["read"], "identifier": null }]),
        json!([{ "type": "ticket", "actions": ["read"] }]),
        json!([{ "type": "ticket", "actions": ["list"], "identifier": "1" }]),
        json!([{ "type": "ticket", "actions": ["list", "read"], "identifier": "1" }]),
        update("locations", json!([])),
        update("locations", json!("x")),
        update("tenant", json!("")),
        update("tenant", json!(1.0)),
        update("tenant", json!(1_i64 << 53)),
        update("tenant", json!([])),
        update("tenant", Value::Null),
        update("fields", json!([])),
        update("fields", json!(["a", "a"])),
        update("fields", json!("a")),
        update("limit", json!(-1)),
        update("limit", json!(1.5)),
        update("limit", json!("5")),
        update("path", json!("/a/")),
        update("path", json!("//a")),
        update("path", json!("/")),
        update("path", json!("/a/../b")),
        update("path", json!("/a%2Fb")),
        update("path", json!("a\\b")),
        update("region", json!([])),
        Value::from(vec![json!({ "type": "ticket", "actions": ["list"] }); 33]),
    ];
    for value in malformed {
        assert_eq!(parse(&value), Err(DetailsError::Malformed), "{value}");
    }
    assert_eq!(
        parse(&json!([{ "type": "gone", "actions": ["x"] }])),
        Err(DetailsError::UnknownType)
    );
    assert_eq!(
        parse(&json!([{ "type": "ticket", "actions": ["delete"], "identifier": "1" }])),
        Err(DetailsError::UnknownAction)
    );
    assert_eq!(parse(&update("privileges", json!(["x"]))), Err(DetailsError::UnknownMember));
    // Declared by the type, and by none of the detail's actions.
    let read = json!([{ "type": "ticket", "actions": ["read"], "identifier": "1", "limit": 5 }]);
    assert_eq!(parse(&read), Err(DetailsError::UnknownMember));
}

#[test]
fn json_is_read_strictly() {
    let types = snapshot().types;
    for text in [
        r#"[{"type":"ticket","actions":["list"],"actions":["list"]}]"#,
        "[",
        "",
        "[] x",
        "[[[[[[[[[]]]]]]]]]",
    ] {
        assert_eq!(Detail::parse_array(text, &types), Err(DetailsError::Malformed), "{text}");
    }
    assert_eq!(Detail::parse_array("[]", &types), Ok(Vec::new()));
}
