//! Every kind of surplus in every mode and in every sort of token, as a table that people read.
//!
//! The table lies in `matrix.txt` beside this file. When a verdict is meant to change, what the failing claim prints is the new one.

use delegation::details::{Detail, Standing};
use narrows_guard::Live;
use narrows_guard::live::{Modes, Recheck};
use narrows_guard::route::Demand;
use narrows_guard::surplus::Excess;
use serde_json::{Value, json};
use testkit::{now, snapshot};

use crate::guarded::{settings, token, with};
use crate::service::demand;
use crate::told::{Beside, active, broker, live, opaque, shown};

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
        ("one use, right", json!([NEEDED]), json!({ "single_use": true })),
        of("not enough", changed("limit=5", "limit=4")),
    ]
}

/// The sorts of tokens: signed, opaque, of a task, with an exception for all that it holds, and with one for something else.
const SORTS: [&str; 5] = ["token", "opaque", "task-bound", "exception for it", "exception for another"];

/// What is said by a token of each sort that holds this.
fn sorts(held: &Value, more: &Value) -> [Value; 5] {
    let of = |changes: Value| {
        let mut claims = with(more.clone());
        claims["authorization_details"] = details(held);
        claims.as_object_mut().unwrap().remove("task");
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    let it = json!({ "id": "e-1", "authorization_details": details(held), "max_lifetime": 600 });
    let another = json!({ "id": "e-2", "authorization_details": details(&json!(["refund:create/99"])), "max_lifetime": 121 });
    [
        of(json!({})),
        of(json!({})),
        of(json!({ "task": "k-9" })),
        of(json!({ "exception": it })),
        of(json!({ "exception": another })),
    ]
}

/// What a guard says to a token of each sort.
async fn verdicts(live: &Live<Beside>, broker: &Beside, held: &Value, more: &Value, number: &mut u32) -> Vec<&'static str> {
    let mut verdicts = Vec::new();
    for (sort, claims) in SORTS.iter().zip(sorts(held, more)) {
        let text = if *sort == "opaque" {
            *number += 1;
            *broker.0.said.lock().unwrap() = active(&claims);
            opaque(*number)
        } else {
            token(&claims)
        };
        verdicts.push(shown(live, &text).await);
    }
    verdicts
}

#[tokio::test]
async fn every_kind_of_surplus_has_its_verdict() {
    let fixed = json!({ "tenant": "acme" });
    let needed = NEEDED.replace("&tenant=acme", "").replacen("/7", "/{id}", 1);
    let broker = broker();
    let guards = |wider: &[&str]| {
        Excess::ALL.map(|(name, excess)| {
            let demand = Demand {
                wider: wider.iter().map(|name| (*name).to_owned()).collect(),
                ..demand("GET /r/{id}", &needed)
            };
            let settings = settings(demand, excess, &fixed);
            (name, live(settings, Recheck::Never, Modes::default(), &broker))
        })
    };
    let line = |first: &str, mode: &str, cells: &[&str]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:<23}")).collect();
        format!("{first:<24}{mode:<15}{cells}").trim_end().to_owned() + "\n"
    };
    let all = ["fields", "limit", "path", "region", "locations"];
    let mut number = 0;
    let mut table = String::new();
    for (listed, guards) in [("nothing", guards(&[])), ("every constraint", guards(&all))] {
        if !table.is_empty() {
            table.push('\n');
        }
        table.push_str(&format!("the route lists {listed} as wider\n"));
        table.push_str(&line("the token holds", "excess", &SORTS));
        for (name, held, more) in tokens() {
            for (mode, live) in &guards {
                let verdicts = verdicts(live, &broker, &held, &more, &mut number).await;
                table.push_str(&line(name, mode, &verdicts));
            }
        }
    }
    let reviewed = include_str!("matrix.txt");
    assert!(table == reviewed, "matrix.txt differs from what follows:\n{table}");
}
