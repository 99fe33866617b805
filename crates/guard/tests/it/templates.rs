//! A value is a value, whatever is in it.

use std::collections::{BTreeMap, BTreeSet};

use delegation::details::{ConstraintOrder, ConstraintValue, Detail, Standing};
use delegation::identity::{AttributeValue, Attributes};
use narrows_guard::route::template::Template;
use narrows_guard::route::values::{Reads, Values};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use testkit::snapshot;

use crate::service::{asked, needed, needed_by, sent, table};

fn filled(template: &str, arguments: &Value) -> Result<Detail, String> {
    let types = snapshot().types;
    let template = Template::parse(template, &types, &Reads::Arguments).map_err(|error| error.to_string())?;
    let attributes = Attributes::default();
    let empty = Map::new();
    let values = Values::of_arguments(arguments.as_object().unwrap_or(&empty), &attributes);
    template.fill(&values, &types).map_err(|error| error.to_string())
}

#[test]
fn a_value_of_the_request_becomes_a_value_of_the_detail() {
    let table = table(&[
        ("GET /t/{id}", "ticket:read/{id}?tenant={query.t}"),
        ("GET /f/{path:rest}", "ticket:update/any?path=%2Ff%2F{path}&region=eu,{query.r}"),
        ("GET /c/{a}/{b}", "ticket:read/{a}%2F{b}"),
    ]);
    assert_eq!(
        needed(&table, &asked("GET", "/t/7?t=a%26limit%3D9%2Cb")).as_deref(),
        Ok("ticket:read/7?tenant=a%26limit%3D9%2Cb")
    );
    assert_eq!(
        needed(&table, &asked("GET", "/t/%25?t=:5")).as_deref(),
        Ok("ticket:read/%25?tenant=%3A5"),
        "a string, no integer"
    );
    assert_eq!(
        needed(&table, &asked("GET", "/f/x/y?r=us")).as_deref(),
        Ok("ticket:update/any?path=%2Ff%2Fx%2Fy&region=eu,us")
    );
    assert_eq!(needed(&table, &asked("GET", "/c/x/y")).as_deref(), Ok("ticket:read/x%2Fy"));
}

#[test]
fn a_value_alone_takes_the_json_of_a_member_as_it_is() {
    let table = table(&[(
        "PUT /t",
        "ticket:update/a?tenant={body.t}&fields={body.f}&limit={body.l}&path={body.p}&region={body.r}",
    )]);
    let put = |body: Value| needed(&table, &sent("PUT", "/t", &body.to_string()));
    let good = json!({"t": 5, "f": ["a", "b"], "l": 3, "p": "x/y", "r": "eu"});
    assert_eq!(
        put(good.clone()).as_deref(),
        Ok("ticket:update/a?fields=a,b&limit=3&path=x%2Fy&region=eu&tenant=:5")
    );
    for (member, value) in [
        ("t", json!(null)),
        ("t", json!("")),
        ("t", json!(1.5)),
        ("t", json!(["a"])),
        ("f", json!("a")),
        ("f", json!([])),
        ("f", json!(["a", "a"])),
        ("f", json!([1])),
        ("f", json!({"a": 1})),
        ("l", json!("3")),
        ("l", json!(3.0)),
        ("l", json!(-1)),
        ("l", json!(9_007_199_254_740_992_u64)),
        ("p", json!("../y")),
        ("p", json!("x//y")),
        ("r", json!(null)),
    ] {
        let mut bad = good.clone();
        bad[member] = value.clone();
        assert_eq!(put(bad), Err("malformed_details"), "{member}: {value}");
    }
    for member in ["t", "f", "l", "p", "r"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(member);
        assert_eq!(put(bad), Err("malformed_details"), "{member} is missing");
    }
}

#[test]
fn a_member_in_an_identifier_is_a_string_that_is_not_empty() {
    for value in [
        json!(7),
        json!(""),
        json!(null),
        json!(["7"]),
        json!({"a": 1}),
        json!(true),
        json!("a\nb"),
    ] {
        assert!(filled("ticket:read/{arguments.id}", &json!({"id": value})).is_err(), "{value}");
    }
    assert!(filled("ticket:read/{arguments.id}", &json!({"id": "a".repeat(1025)})).is_err());
    assert!(filled("ticket:read/x-{arguments.id}", &json!({"id": ""})).is_err());
    assert_eq!(
        filled("ticket:read/{arguments.id}", &json!({"id": "7"})).unwrap().identifier(),
        Some("7")
    );
    assert!(filled("ticket:read/{arguments.a.b}", &json!({"a": "7"})).is_err());
}

#[test]
fn attributes_are_the_subjects_and_one_that_is_absent_is_more_than_the_subject_may() {
    let table = table(&[
        ("GET /a", "ticket:read/x?tenant={subject.site}"),
        ("GET /g", "ticket:update/x?region={subject.groups}"),
    ]);
    let attributes = Attributes {
        values: BTreeMap::from([("site".to_owned(), AttributeValue::Text("north".to_owned()))]),
        groups: BTreeSet::from(["eu".to_owned(), "us".to_owned()]),
    };
    assert!(table.find(&asked("GET", "/a")).unwrap().route().reading().reads_attributes());
    assert_eq!(
        needed_by(&table, &asked("GET", "/a?site=south"), &attributes).as_deref(),
        Ok("ticket:read/x?tenant=north")
    );
    assert_eq!(
        needed_by(&table, &asked("GET", "/g"), &attributes).as_deref(),
        Ok("ticket:update/x?region=eu,us")
    );
    assert_eq!(needed(&table, &asked("GET", "/a")), Err("wider_than_subject"));
    assert_eq!(needed(&table, &asked("GET", "/g")), Err("wider_than_subject"));
}

#[test]
fn an_attribute_that_does_not_fit_is_none() {
    let table = table(&[
        ("GET /id", "ticket:read/{subject.a}"),
        ("GET /two", "ticket:read/{subject.a}%3A{subject.b}"),
        ("GET /equal", "ticket:read/x?tenant={subject.a}"),
        ("GET /limit", "ticket:update/x?limit={subject.a}"),
        ("GET /list", "ticket:update/x?region={subject.a}"),
    ]);
    let with = |value: AttributeValue| Attributes {
        values: BTreeMap::from([("a".to_owned(), value), ("b".to_owned(), AttributeValue::Text("b".to_owned()))]),
        ..Attributes::default()
    };
    let text = |text: &str| AttributeValue::Text(text.to_owned());
    let set = |items: &[&str]| AttributeValue::Set(items.iter().map(|item| (*item).to_owned()).collect());
    let none = Err("wider_than_subject");
    for (path, value, expected) in [
        ("/id", text("x"), Ok("ticket:read/x")),
        ("/id", text(""), none),
        ("/id", set(&["x"]), none),
        ("/id", AttributeValue::Integer(1), none),
        ("/id", AttributeValue::Boolean(true), none),
        ("/two", text("x"), Ok("ticket:read/x%3Ab")),
        ("/two", text("x:y"), none),
        ("/equal", text("x"), Ok("ticket:read/x?tenant=x")),
        ("/equal", AttributeValue::Integer(1), Ok("ticket:read/x?tenant=:1")),
        ("/equal", text(""), none),
        ("/equal", set(&["x"]), none),
        ("/limit", AttributeValue::Integer(1), Ok("ticket:update/x?limit=1")),
        ("/limit", text("x"), none),
        ("/limit", set(&["1"]), none),
        ("/list", set(&["eu", "us"]), Ok("ticket:update/x?region=eu,us")),
        ("/list", set(&[]), none),
        ("/list", AttributeValue::Integer(1), none),
    ] {
        let needed = needed_by(&table, &asked("GET", path), &with(value.clone()));
        assert_eq!(needed.as_deref().map_err(|reason| *reason), expected, "{path} {value:?}");
    }
}

#[test]
fn two_requests_that_differ_are_never_one_resource() {
    let read = |a: &str, b: &str| filled("ticket:read/{arguments.a}%3A{arguments.b}", &json!({"a": a, "b": b}));
    assert_eq!(read("acme", "1:2").unwrap().identifier(), Some("acme:1:2"));
    assert!(read("acme:1", "2").is_err());
    let read = |a: &str, b: &str| filled("ticket:read/{arguments.a}--{arguments.b}", &json!({"a": a, "b": b}));
    assert!(read("a-", "b").is_err(), "`a---b` could be split in two ways");
    assert_eq!(read("a", "-b").unwrap().identifier(), Some("a---b"));
}

#[test]
fn what_makes_no_detail_is_told_when_the_template_is_read() {
    let types = snapshot().types;
    let request = Reads::Request(BTreeSet::from(["id".to_owned()]));
    for (text, why) in [
        ("ticket:read/{id", "a `{` without its `}`"),
        ("ticket:read/{other}", "`{other}` is no value of this request"),
        ("ticket:read/{query}", "`{query}` is no value"),
        ("ticket:read/{query.a.b}", "`{query.a.b}` is no value"),
        ("ticket:read/{host.2}", "`{host.2}` is no value"),
        ("ticket:read/{body}", "`{body}` is no value"),
        ("ticket:read/{body.a..b}", "`{body.a..b}` is no value"),
        ("ticket:read/{arguments.a}", "`{arguments.a}` is no value"),
        ("ticket:read/{subject.a:keys}", "`{subject.a:keys}` is no value"),
        ("ticket:read/{body:keys}", "is a list of names"),
        ("ticket:read/{id}{query.a}", "nothing stands between"),
        ("ticket:read/{id}?tenant={body:keys}", "is a list of names"),
        ("ticket:update/{id}?limit={body:keys}", "makes no limit"),
        ("ticket:update/{id}?limit=1{id}", "makes no limit"),
        ("ticket:update/{id}?tenant=:1{id}", "makes no integer"),
        ("ticket:update/{id}?fields=a{body:keys}", "is a list of names"),
        ("ticket:update/{id}?locations={id}", "`locations` takes no value"),
        ("ticket:list/{id}", "it takes no identifier, as `ticket:list`"),
        ("tickets:read/{id}", "`tickets`: declare it in [[detail_types]]"),
        ("{id}:read/{id}", "unknown type"),
        ("ticket:{id}/{id}", "unknown action"),
        ("ticket:update/{id}?{id}=a", "unknown member"),
        ("ticket:read", "it needs an identifier, as `ticket:read/{id}`"),
        ("ticket:read/{id}?tenant=", "expected TYPE:ACTION"),
    ] {
        let error = Template::parse(text, &types, &request).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}`: ")) && error.contains(why), "{error}");
    }
}

#[test]
fn a_value_never_stands_in_the_type_the_actions_or_the_name_of_a_constraint() {
    let mut types: Vec<_> = snapshot().types.iter().cloned().collect();
    for declared in &mut types {
        let mut rule = declared.actions.values().next().unwrap().clone();
        rule.constraints.insert("1".to_owned());
        declared.constraints.insert("1".to_owned(), ConstraintOrder::Equal);
        declared.actions.insert("1".to_owned(), rule);
    }
    let mut one = types[0].clone();
    "1".clone_into(&mut one.name);
    types.push(one);
    let types = types.into_iter().collect();
    // Even where the digit that stands for a value is declared.
    for text in ["ticket:{arguments.a}", "{arguments.a}:1/x", "ticket:1?{arguments.a}=x"] {
        let error = Template::parse(text, &types, &Reads::Arguments).unwrap_err().to_string();
        assert!(error.contains("a value stands in the identifier or behind"), "{error}");
    }
}

#[test]
fn an_integer_of_the_path_is_written_as_everybody_writes_it() {
    let table = table(&[("GET /t/{n}", "ticket:read/x?tenant=:{n}")]);
    assert_eq!(needed(&table, &asked("GET", "/t/-5")).as_deref(), Ok("ticket:read/x?tenant=:-5"));
    for n in ["05", "+5", "5x", "5%205", "true", "9007199254740992"] {
        assert_eq!(needed(&table, &asked("GET", &format!("/t/{n}"))), Err("malformed_details"), "{n}");
    }
    assert!(
        filled("ticket:read/x?tenant=:{arguments.n}", &json!({"n": "5"})).is_err(),
        "a string in JSON is no integer"
    );
    assert!(filled("ticket:read/x?tenant=:{arguments.n}", &json!({"n": 5})).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// No value changes the type, the actions or another member.
    #[test]
    fn a_value_stays_where_it_was_put(id in hostile(), tenant in hostile(), field in hostile(), keys in proptest::collection::btree_set(hostile(), 1..4)) {
        let object: Map<String, Value> = keys.iter().map(|key| (key.clone(), Value::Null)).collect();
        let arguments = json!({"id": id, "tenant": tenant, "field": field, "change": object});
        let template = "ticket:update,read/x-{arguments.id}?tenant={arguments.tenant}&fields=a,{arguments.field}&region={arguments.change:keys}&limit=5";
        let Ok(detail) = filled(template, &arguments) else { return Ok(()) };
        prop_assert_eq!(detail.kind(), "ticket");
        prop_assert_eq!(detail.actions(), ["update", "read"]);
        let expected = format!("x-{id}");
        prop_assert_eq!(detail.identifier(), Some(expected.as_str()));
        prop_assert_eq!(detail.locations(), None);
        let region: Vec<_> = keys.into_iter().collect();
        let mut fields = vec!["a".to_owned()];
        fields.extend((field != "a").then_some(field));
        let region = match region.as_slice() { [one] => ConstraintValue::Text(one.clone()), several => ConstraintValue::Texts(several.to_vec()) };
        prop_assert_eq!(detail.constraints(), &BTreeMap::from([
            ("tenant".to_owned(), ConstraintValue::Text(tenant)),
            ("fields".to_owned(), ConstraintValue::Texts(fields)),
            ("region".to_owned(), region),
            ("limit".to_owned(), ConstraintValue::Limit(5)),
        ]));
        prop_assert_eq!(Detail::parse_short(&detail.to_string(), &snapshot().types, Standing::Asked).unwrap(), detail);
    }
}

/// Values made of what the short form and JSON are made of.
fn hostile() -> impl Strategy<Value = String> {
    "[a/?&=,:{}%\"\\\\. é*\u{1}2f]{0,6}"
}
