//! Every kind of surplus in every mode, with and without an exception, as a table that people read.
//!
//! The table lies in `matrix.txt` beside this file. When a verdict is meant to change, what the failing claim prints is the new one.

use delegation::details::{Detail, Standing};
use narrows_guard::route::Demand;
use narrows_guard::surplus::Excess;
use serde_json::{Value, json};
use testkit::{now, snapshot};

use crate::guarded::{build, decided, settings, with};
use crate::service::demand;

const NEEDED: &str = "ticket:update/7?locations=https%3A%2F%2Ftickets.internal&fields=a,b&limit=5&path=%2Fa%2Fb&region=eu&tenant=acme";

/// What is needed, with one part of it in another form.
fn changed(part: &str, other: &str) -> Value {
    assert!(NEEDED.contains(part), "{part}");
    json!([NEEDED.replacen(part, other, 1)])
}

/// What is needed, and something beside it.
fn beside(other: &str) -> Value {
    json!([NEEDED, other])
}

/// Details in the short form, as a claim.
fn details(texts: &Value) -> Value {
    let types = snapshot().types;
    let detail = |text: &Value| Detail::parse_short(text.as_str().unwrap(), &types, Standing::Ceiling).unwrap().to_json();
    texts.as_array().unwrap().iter().map(detail).collect()
}

/// What a token holds, and other claims of it.
fn tokens() -> Vec<(&'static str, Value, Value)> {
    let none = || json!({});
    let of = |name, held| (name, held, none());
    let long = json!({ "iat": now().seconds() - 10, "exp": now().seconds() + 590 });
    vec![
        of("exactly what is needed", json!([NEEDED])),
        of(
            "another action",
            beside(&NEEDED.replacen("update", "read", 1).replace("&fields=a,b&limit=5&path=%2Fa%2Fb&region=eu", "")),
        ),
        of("a narrower piece", beside(&NEEDED.replacen("limit=5", "limit=4", 1))),
        of("another type", beside("refund:create/7")),
        of("another identifier", beside("ticket:read/8?tenant=acme")),
        of("no identifier", beside("ticket:search")),
        of("another value of equal", beside("ticket:read/7?tenant=other")),
        of("no value of equal", changed("&tenant=acme", "")),
        of("wider subset", changed("fields=a,b", "fields=a,b,c")),
        of("no subset", changed("&fields=a,b", "")),
        of("wider at_most", changed("limit=5", "limit=6")),
        of("no at_most", changed("&limit=5", "")),
        of("wider prefix", changed("path=%2Fa%2Fb", "path=%2Fa")),
        of("no prefix", changed("&path=%2Fa%2Fb", "")),
        of("wider one_of", changed("region=eu", "region=eu,us")),
        of("no one_of", changed("&region=eu", "")),
        of(
            "more locations",
            changed(
                "locations=https%3A%2F%2Ftickets.internal",
                "locations=https%3A%2F%2Ftickets.internal,x",
            ),
        ),
        of("no locations", changed("locations=https%3A%2F%2Ftickets.internal&", "")),
        ("another scope", json!([NEEDED]), json!({ "scope": "profile" })),
        (
            "something onward",
            json!([NEEDED]),
            json!({ "onward": details(&json!(["refund:create/9"])) }),
        ),
        ("a longer life", json!([NEEDED]), long),
        ("a task, right", json!([NEEDED]), json!({ "task": "k-9" })),
        ("one use, right", json!([NEEDED]), json!({ "single_use": true })),
        of("not enough", changed("limit=5", "limit=4")),
    ]
}

/// The exception of a token: none, one for all that it holds, one for something else.
fn exceptions(held: &Value) -> [Option<Value>; 3] {
    let named = json!({ "id": "e-1", "authorization_details": details(held), "max_lifetime": 600 });
    let other = json!({ "id": "e-2", "authorization_details": details(&json!(["refund:create/99"])), "max_lifetime": 121 });
    [None, Some(named), Some(other)]
}

#[test]
fn every_kind_of_surplus_has_its_verdict() {
    let fixed = json!({ "tenant": "acme" });
    let needed = NEEDED.replace("&tenant=acme", "").replacen("/7", "/{id}", 1);
    let guards = |wider: &[&str]| {
        Excess::ALL.map(|(_, excess)| {
            let demand = Demand {
                wider: wider.iter().map(|name| (*name).to_owned()).collect(),
                ..demand("GET /r/{id}", &needed)
            };
            build(settings(demand, excess, &fixed))
        })
    };
    let all = ["fields", "limit", "path", "region", "locations"];
    let mut table = String::new();
    for (listed, guards) in [("nothing", guards(&[])), ("every constraint", guards(&all))] {
        if !table.is_empty() {
            table.push('\n');
        }
        table.push_str(&format!("the route lists {listed} as wider\n"));
        table.push_str(&format!(
            "{:<24}{:<22}{:<23}{:<23}{}\n",
            "the token holds", "by an exception", "none", "same_resource", "any"
        ));
        for (name, held, claims) in tokens() {
            let words = ["", "for what it holds", "for something else"];
            for (word, exception) in words.iter().zip(exceptions(&held)) {
                let mut claims = claims.clone();
                claims["authorization_details"] = details(&held);
                if let Some(exception) = exception {
                    claims["exception"] = exception;
                }
                let [none, same, any] = guards.each_ref().map(|guard| decided(guard, &with(claims.clone())));
                table.push_str(&format!("{name:<24}{word:<22}{none:<23}{same:<23}{any}\n"));
            }
        }
    }
    let reviewed = include_str!("matrix.txt");
    assert!(table == reviewed, "matrix.txt differs from what follows:\n{table}");
}
