//! Every kind of surplus, and of what is missing.

use serde_json::{Value, json};

use crate::service::{NEEDED, details};
use crate::{Broker, Row};

pub(crate) fn rows(broker: &Broker) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, held) in held() {
        let held: Vec<_> = held.iter().map(String::as_str).collect();
        for (target, listed) in [("/r/7", "nothing"), ("/w/7", "every constraint")] {
            let token = broker.token(&json!({ "authorization_details": details(&held) }));
            rows.push(Row::new(&format!("{name}, {listed} listed"), "GET", target).bearer(&token));
        }
    }
    for (name, changes) in changed() {
        rows.push(Row::new(name, "GET", "/tickets/7").bearer(&broker.token(&changes)));
    }
    for (name, held) in [
        ("exactly", vec!["ticket:read/7"]),
        ("two pieces of it", vec!["ticket:read/7", "ticket:read/7"]),
        ("the tenant too", vec!["ticket:read/7?tenant=acme"]),
        ("another tenant", vec!["ticket:read/7?tenant=other"]),
        ("a tenant that is a number", vec!["ticket:read/7?tenant=:1"]),
        ("both tenants", vec!["ticket:read/7?tenant=acme", "ticket:read/7?tenant=other"]),
        ("the tenant and every tenant", vec!["ticket:read/7?tenant=acme", "ticket:read/7"]),
        ("an action beside, with the tenant", vec!["ticket:read,update/7?tenant=acme"]),
        ("an action beside", vec!["ticket:read,update/7"]),
        ("the same of another type", vec!["note:read/7"]),
        ("the same of another type beside", vec!["ticket:read/7", "note:read/7"]),
        ("a search beside", vec!["ticket:read/7", "ticket:search/7?limit=3"]),
    ] {
        let token = broker.token(&json!({ "authorization_details": details(&held) }));
        rows.push(Row::new(&format!("read 7: {name}"), "GET", "/tickets/7").bearer(&token));
        rows.push(Row::new(&format!("read 7 of acme: {name}"), "GET", "/of/acme/7").bearer(&token));
        rows.push(Row::new(&format!("read 7 of other: {name}"), "GET", "/of/other/7").bearer(&token));
    }
    rows
}

/// What is needed, with one part of it in another form.
fn but(part: &str, other: &str) -> Vec<String> {
    assert!(NEEDED.contains(part), "{part}");
    vec![NEEDED.replacen(part, other, 1)]
}

/// What is needed, and something beside it.
fn and(other: &str) -> Vec<String> {
    vec![NEEDED.to_owned(), other.to_owned()]
}

fn held() -> Vec<(&'static str, Vec<String>)> {
    let locations = "locations=https%3A%2F%2Ftickets.internal";
    vec![
        ("exactly what is needed", vec![NEEDED.to_owned()]),
        ("sets in another order", but("fields=a,b", "fields=b,a")),
        (
            "another action",
            and("ticket:read/7?tenant=acme&locations=https%3A%2F%2Ftickets.internal"),
        ),
        ("another action everywhere", and("ticket:read/7?tenant=acme")),
        ("a narrower limit beside", and(&NEEDED.replacen("limit=5", "limit=4", 1))),
        ("a narrower set beside", and(&NEEDED.replacen("fields=a,b", "fields=a", 1))),
        (
            "a narrower path beside",
            and(&NEEDED.replacen("path=%2Fa%2Fb", "path=%2Fa%2Fb%2Fc", 1)),
        ),
        ("another type", and("refund:create/7?amount=1")),
        ("another identifier", and("ticket:read/8?tenant=acme")),
        ("no identifier", and("ticket:search")),
        ("a list", and("ticket:list")),
        ("another value of equal", and("ticket:read/7?tenant=other")),
        ("no value of equal", but("&tenant=acme", "")),
        ("wider subset", but("fields=a,b", "fields=a,b,c")),
        ("no subset", but("&fields=a,b", "")),
        ("wider at_most", but("limit=5", "limit=6")),
        ("no at_most", but("&limit=5", "")),
        ("wider prefix", but("path=%2Fa%2Fb", "path=%2Fa")),
        ("a prefix that is none", but("path=%2Fa%2Fb", "path=%2Fa%2Fbc")),
        ("a prefix without its slash", but("path=%2Fa%2Fb", "path=a")),
        ("no prefix", but("&path=%2Fa%2Fb", "")),
        ("wider one_of", but("region=eu", "region=eu,us")),
        ("another one_of", but("region=eu", "region=us")),
        ("no one_of", but("&region=eu", "")),
        ("more locations", but(locations, &format!("{locations},x"))),
        ("other locations", but(locations, "locations=x")),
        ("no locations", but(&format!("{locations}&"), "")),
        ("everything wider", vec!["ticket:update/7?tenant=acme".to_owned()]),
        ("not enough", but("limit=5", "limit=4")),
        ("a subset that is too small", but("fields=a,b", "fields=a")),
        ("two that are enough together", {
            let parts = [but("fields=a,b", "fields=a"), but("fields=a,b", "fields=b")];
            parts.concat()
        }),
        ("the resource in another case", but("update/7", "update/7%20")),
        ("only another action", vec!["ticket:read/7?tenant=acme".to_owned()]),
    ]
}

/// Other claims of a token that is right for `GET /tickets/7`.
fn changed() -> Vec<(&'static str, Value)> {
    vec![
        ("a scope that the route does not name", json!({ "scope": "profile" })),
        ("two such scopes", json!({ "scope": "profile openid" })),
        ("something onward", json!({ "onward": details(&["refund:create/9"]) })),
        ("something unheard of onward", json!({ "onward": [{ "type": "unheard_of" }] })),
        (
            "a scope in place of details",
            json!({ "scope": "ticket:read/7", "authorization_details": null }),
        ),
        ("nothing at all", json!({ "authorization_details": null })),
        ("no details", json!({ "authorization_details": [] })),
        ("one use", json!({ "single_use": true })),
        ("not one use", json!({ "single_use": false })),
        ("one use, and too broad", json!({ "single_use": true, "scope": "profile" })),
        ("no task", json!({ "task": null })),
        ("no actor", json!({ "act": null })),
    ]
}
