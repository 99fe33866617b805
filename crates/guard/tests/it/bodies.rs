//! A body that is read is read whole.

use bytes::Bytes;
use delegation::identity::Attributes;
use http::{HeaderMap, HeaderValue, header};
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Demand, Rest, Route, Rule, Table};
use narrows_guard::{Body, Call};
use testkit::snapshot;

use crate::service::{demand, needed, sent, service, table};

const KEY: &str = "PATCH /tickets/{id}";

fn with(detail: &str, change: impl FnOnce(&mut Demand)) -> Table {
    let mut demand = demand(KEY, detail);
    change(&mut demand);
    let route = Route::new(KEY.to_owned(), Pattern::parse(KEY).unwrap(), Rule::Needs(Box::new(demand)));
    Table::build(vec![service("tickets", &["tickets.internal"], vec![route])], snapshot().types).unwrap()
}

fn answer(table: &Table, body: &str) -> Result<String, &'static str> {
    needed(table, &sent("PATCH", "/tickets/7", body))
}

#[test]
fn the_names_of_members_are_what_is_changed() {
    let table = table(&[(KEY, "ticket:update/{id}?fields={body:keys}")]);
    assert_eq!(
        answer(&table, r#"{"title":"x","due":{"day":1}}"#).as_deref(),
        Ok("ticket:update/7?fields=due,title")
    );
    assert_eq!(
        answer(&table, r#"{"a,b&limit=9":1}"#).as_deref(),
        Ok("ticket:update/7?fields=a%2Cb%26limit%3D9")
    );
    assert_eq!(answer(&table, "{}"), Err("malformed_details"));
    assert_eq!(answer(&table, r#"{"":1}"#), Err("malformed_details"));
    let besides = self::table(&[(KEY, "ticket:update/{id}?fields=seen,{body:keys}")]);
    assert_eq!(
        answer(&besides, r#"{"title":1,"seen":2}"#).as_deref(),
        Ok("ticket:update/7?fields=seen,title")
    );
    assert_eq!(answer(&besides, "{}"), Err("malformed_details"));
}

#[test]
fn a_member_that_the_route_does_not_name_is_unread_at_every_level_above_what_it_names() {
    let table = table(&[(KEY, "ticket:update/{id}?limit={body.order.amount}&fields={body.order.lines:keys}")]);
    assert!(answer(&table, r#"{"order":{"amount":5,"lines":{"a":{"b":1}}}}"#).is_ok());
    for body in [
        r#"{"order":{"amount":5,"lines":{"a":1}},"x":1}"#,
        r#"{"order":{"amount":5,"lines":{"a":1},"x":1}}"#,
        r#"{"order":{"amount":5,"lines":{"a":1},"Amount":9}}"#,
    ] {
        assert_eq!(answer(&table, body), Err("unread_input"), "{body}");
    }
}

#[test]
fn what_is_read_neither_begins_nor_ends_with_what_readers_trim() {
    let table = with(
        "ticket:update/{body.id}?fields={body.changes:keys}&region={body.region}",
        |demand| {
            demand.only = vec!["note".to_owned()];
        },
    );
    let body = |id: &str, region: &str, name: &str| {
        let text = serde_json::json!({ "id": id, "region": [region], "changes": { name: " x " }, "note": " a\n" });
        answer(&table, &text.to_string())
    };
    assert!(body("42", "eu", "title").is_ok(), "what is not decided on goes on as it came");
    for blank in [
        " ", "\t", "\n", "\0", "\u{1f}", "\u{7f}", "\u{85}", "\u{a0}", "\u{2028}", "\u{3000}", "\u{feff}",
    ] {
        let words = ["42", "eu", "title"];
        for [id, region, name] in [
            words.map(|word| format!("{blank}{word}")),
            words.map(|word| format!("{word}{blank}")),
        ] {
            for found in [body(&id, "eu", "title"), body("42", &region, "title"), body("42", "eu", &name)] {
                assert_eq!(found, Err("malformed_request"), "{blank:?}");
            }
        }
    }
    assert!(body("4 2", "e u", "tit le").is_ok());
}

#[test]
fn members_pass_where_the_route_lets_them() {
    let detail = "ticket:update/{id}?limit={body.order.amount}";
    let body = r#"{"order":{"amount":5,"note":"x"},"tags":[1]}"#;
    assert_eq!(answer(&with(detail, |_| {}), body), Err("unread_input"));
    assert!(answer(&with(detail, |demand| demand.body_rest = Rest::Pass), body).is_ok());
    let only = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    assert!(answer(&with(detail, |demand| demand.only = only(&["order.note", "tags"])), body).is_ok());
    assert_eq!(
        answer(&with(detail, |demand| demand.only = only(&["note", "tags"])), body),
        Err("unread_input")
    );
    let within = with(detail, |demand| demand.only = only(&["meta.note"]));
    assert!(answer(&within, r#"{"order":{"amount":5},"meta":{"note":[1]}}"#).is_ok());
    for meta in [r#""x""#, "[1]", "null", r#"{"x":1}"#] {
        assert_eq!(
            answer(&within, &format!(r#"{{"order":{{"amount":5}},"meta":{meta}}}"#)),
            Err("unread_input"),
            "{meta}"
        );
    }
}

#[test]
fn a_member_that_others_take_for_the_one_that_is_read_never_passes() {
    let table = with("ticket:update/{id}?limit={body.limit}", |demand| demand.body_rest = Rest::Pass);
    assert!(answer(&table, r#"{"limit":5,"note":1}"#).is_ok());
    for body in [
        r#"{"limit":5,"LIMIT":9}"#,
        r#"{"Limit":9,"limit":5}"#,
        r#"{"limit":5,"L\u0130MIT":9,"lImIt":1}"#,
    ] {
        assert_eq!(answer(&table, body), Err("unread_input"), "{body}");
    }
    // A reader that folds the long s takes this for `fields`.
    let table = with("ticket:update/{id}?fields={body.fields}", |demand| demand.body_rest = Rest::Pass);
    assert_eq!(answer(&table, "{\"fields\":[\"a\"],\"field\u{17f}\":[\"b\"]}"), Err("unread_input"));
}

#[test]
fn a_body_that_is_read_is_one_json_object_without_a_member_twice() {
    let table = table(&[(KEY, "ticket:update/{id}?fields={body:keys}")]);
    for body in [
        "",
        "null",
        "[]",
        "\"a\"",
        "{",
        r#"{"a":1}{}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"a":{"b":1,"b":2}}"#,
        "\u{feff}{}",
        r#"{"a":[[[[[[[[1]]]]]]]]}"#,
        "a=1",
    ] {
        assert_eq!(answer(&table, body), Err("malformed_request"), "{body}");
    }
    assert!(answer(&table, r#"{"a":[[[[[[[1]]]]]]]}"#).is_ok());
}

/// GWY-046.
#[test]
fn a_body_that_hides_behind_its_type_or_coding_is_refused() {
    let table = table(&[(KEY, "ticket:update/{id}?fields={body:keys}")]);
    let ask = |pairs: &[(header::HeaderName, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let body = Body::Whole(Bytes::from_static(br#"{"a":1}"#));
        needed(
            &table,
            &Call::parse("PATCH", b"tickets.internal", b"/tickets/7", &headers, body).unwrap(),
        )
    };
    let kind = header::CONTENT_TYPE;
    for good in [
        "application/json",
        "Application/JSON; charset=UTF-8",
        "application/json;charset=\"utf-8\"",
        "application/json \t;\tcharset=utf-8 ",
    ] {
        assert!(ask(&[(kind.clone(), good)]).is_ok(), "{good}");
    }
    for bad in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-7",
        "application/json, text/plain",
        "\u{a0}application/json",
        "application/json\u{3000}",
        "application/json;\u{a0}charset=utf-8",
        "",
    ] {
        assert_eq!(ask(&[(kind.clone(), bad)]), Err("malformed_request"), "{bad}");
    }
    assert_eq!(ask(&[]), Err("malformed_request"));
    assert_eq!(
        ask(&[(kind.clone(), "application/json"), (kind.clone(), "text/plain")]),
        Err("malformed_request")
    );
    for coding in ["gzip", "br", "identity", ""] {
        let pairs = [(kind.clone(), "application/json"), (header::CONTENT_ENCODING, coding)];
        assert_eq!(ask(&pairs), Err("malformed_request"), "{coding}");
    }
}

#[test]
fn a_body_that_is_read_and_not_shown_whole_is_refused() {
    let table = table(&[
        (KEY, "ticket:update/{id}?fields={body:keys}"),
        ("PUT /tickets/{id}", "ticket:read/{id}"),
    ]);
    let call = |method, body| Call::parse(method, b"tickets.internal", b"/tickets/7", &HeaderMap::new(), body).unwrap();
    assert_eq!(needed(&table, &call("PATCH", Body::Hidden)), Err("unread_input"));
    assert_eq!(needed(&table, &call("PATCH", Body::Absent)), Err("malformed_details"));
    assert_eq!(needed(&table, &call("PUT", Body::Hidden)).as_deref(), Ok("ticket:read/7"));
}

#[test]
fn a_door_may_show_the_body_when_the_route_is_known() {
    let table = table(&[
        (KEY, "ticket:update/{id}?fields={body:keys}"),
        ("PUT /tickets/{id}", "ticket:read/{id}"),
    ]);
    let call = sent("PATCH", "/tickets/7", "").with_body(Body::Hidden);
    let matched = table.find(&call).unwrap();
    assert!(matched.route().reading().reads_body());
    let call = call.with_body(Body::Whole(Bytes::from_static(br#"{"a":1}"#)));
    assert!(matched.intent(&call, &Attributes::default()).is_ok());
    assert!(!table.find(&sent("PUT", "/tickets/7", "")).unwrap().route().reading().reads_body());
}

#[test]
fn a_call_is_not_judged_by_the_route_of_another() {
    let table = table(&[("GET /public", "public"), ("GET /tickets/{id}", "ticket:read/{id}")]);
    let public = sent("GET", "/public", "");
    let matched = table.find(&public).unwrap();
    let refused = matched.intent(&sent("GET", "/tickets/7", ""), &Attributes::default());
    assert_eq!(refused.unwrap_err().reason(), "no_route");
    assert!(matched.intent(&sent("POST", "/public", ""), &Attributes::default()).is_err());
}
