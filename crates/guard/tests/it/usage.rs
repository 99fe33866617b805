//! What a guard adds up, and what is not in it.

use delegation::time::Timestamp;
use narrows_guard::Guard;
use narrows_guard::check::Verdict;
use narrows_guard::surplus::Excess;
use narrows_guard::usage::{MOST_ROWS, MOST_SUMS, Usage};
use serde_json::{Value, json};
use testkit::now;

use crate::guarded::{at, bearer, build, call, claims, reader, settings, token, with, word};
use crate::service::demand;

/// Shows `guard` a token of `claims`, and adds up what comes of it.
fn used(usage: &mut Usage, guard: &Guard, claims: &Value) {
    let moment = at();
    match guard.check(&call(), &bearer(&token(claims)), &moment) {
        Verdict::Allowed(allowed) => usage.allowed(&allowed, moment.now),
        Verdict::Refused(refusal) => usage.refused(&refusal, "GET /r/{id}", moment.now),
        other => panic!("{}", word(&other)),
    }
}

fn sums(taken: Option<Value>) -> Vec<Value> {
    taken.unwrap()["sums"].as_array().unwrap().clone()
}

#[test]
fn what_was_granted_is_told_beside_what_was_used() {
    let (mut usage, guard) = (Usage::default(), reader());
    let wide = json!([{ "type": "ticket", "actions": ["read", "update"], "identifier": "7" }]);
    used(&mut usage, &guard, &claims());
    used(&mut usage, &guard, &claims());
    used(&mut usage, &guard, &with(json!({ "jti": "t-3", "authorization_details": wide })));
    let [sum] = sums(usage.take()).try_into().unwrap();
    assert_eq!(
        sum,
        json!({
            "client": "edge", "audience": "https://tickets.internal", "route": "GET /r/{id}", "requests": 3, "tokens": 2,
            "actions": [
                { "name": "ticket:read", "granted": 3, "used": 3 },
                { "name": "ticket:update", "granted": 1, "used": 0 },
            ],
            "life": 70, "age": 10, "ages": [{ "most": 15, "count": 3 }],
        })
    );
    // What was given out is not given out again, and what was shown before is not new.
    assert!(usage.take().is_none());
    used(&mut usage, &guard, &claims());
    let [sum] = sums(usage.take()).try_into().unwrap();
    assert_eq!((&sum["requests"], sum.get("tokens")), (&json!(1), None));
}

#[test]
fn what_is_wider_is_named_without_its_value() {
    let mut usage = Usage::default();
    let guard = build(settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::Any, &json!({})));
    let two = json!([
        { "type": "ticket", "actions": ["read"], "identifier": "7" },
        { "type": "ticket", "actions": ["read"], "identifier": "secret-13" },
    ]);
    used(
        &mut usage,
        &guard,
        &with(json!({ "authorization_details": two, "scope": "tickets.read" })),
    );
    let told = usage.take().unwrap().to_string();
    assert!(
        !told.contains("secret-13") && !told.contains("t-2") && !told.contains("alice"),
        "{told}"
    );
    let told: Value = serde_json::from_str(&told).unwrap();
    let sum = &told["sums"][0];
    assert_eq!(sum["wider"], json!([{ "name": "ticket identifier", "count": 1 }]));
    assert_eq!(sum["scopes"], json!([{ "name": "tickets.read", "granted": 1, "used": 0 }]));
}

#[test]
fn what_is_refused_for_surplus_is_used_all_the_same_and_other_refusals_say_nothing() {
    let (mut usage, guard) = (Usage::default(), reader());
    let two = json!([
        { "type": "ticket", "actions": ["read"], "identifier": "7" },
        { "type": "ticket", "actions": ["read", "update"], "identifier": "8" },
    ]);
    used(
        &mut usage,
        &guard,
        &with(json!({ "authorization_details": two, "scope": "tickets.read" })),
    );
    // It does not cover the request, and would not whatever else it held.
    let elsewhere = json!([{ "type": "ticket", "actions": ["read"], "identifier": "8" }]);
    used(&mut usage, &guard, &with(json!({ "authorization_details": elsewhere })));
    used(&mut usage, &guard, &with(json!({ "exp": now().seconds() - 90 })));
    let [sum] = sums(usage.take()).try_into().unwrap();
    assert_eq!(
        (&sum["requests"], &sum["refused"], &sum["tokens"]),
        (&json!(1), &json!(1), &json!(1)),
        "they have one name, and the last of them had ended"
    );
    assert_eq!(
        sum["surplus"],
        json!([{ "name": "identifier", "count": 1 }, { "name": "scope", "count": 1 }])
    );
    assert_eq!(
        (&sum["life"], &sum["age"], &sum["ages"]),
        (&json!(70), &json!(10), &json!([{ "most": 15, "count": 1 }]))
    );
    assert_eq!(
        sum["actions"],
        json!([{ "name": "ticket:read", "granted": 1, "used": 1 }, { "name": "ticket:update", "granted": 1, "used": 0 }])
    );
}

#[test]
fn a_token_that_is_refused_was_shown_all_the_same_and_once() {
    let (mut usage, guard) = (Usage::default(), reader());
    let narrow = |jti: &str, exp: i64| {
        let elsewhere = json!([{ "type": "ticket", "actions": ["read"], "identifier": "8" }]);
        with(json!({ "jti": jti, "authorization_details": elsewhere, "exp": now().seconds() + exp }))
    };
    for (jti, exp) in [("t-3", 60), ("t-3", 60), ("t-4", 60), ("t-5", -1), ("t-5", -1)] {
        used(&mut usage, &guard, &narrow(jti, exp));
    }
    let [sum] = sums(usage.take()).try_into().unwrap();
    let expected = json!({ "client": "edge", "audience": "https://tickets.internal", "route": "GET /r/{id}", "tokens": 2 });
    assert_eq!(sum, expected, "no request is counted, and no token that had ended");
    used(&mut usage, &guard, &narrow("t-3", 60));
    assert!(usage.take().is_none(), "what was shown before is not new");
}

#[test]
fn what_finds_no_room_is_counted_and_much_is_given_out_in_parts() {
    let (mut usage, guard) = (Usage::default(), reader());
    for client in 0..MOST_SUMS + 3 {
        used(
            &mut usage,
            &guard,
            &with(json!({ "client_id": format!("client-{client}"), "jti": format!("t-{client}") })),
        );
    }
    let (mut told, mut others) = (0, 0);
    while let Some(part) = usage.take() {
        assert!(part.to_string().len() < 300 * 1024);
        told += part["sums"].as_array().unwrap().len();
        others += part["others"].as_u64().unwrap_or_default();
    }
    assert_eq!((told, others), (MOST_SUMS, 3));

    let scopes: Vec<_> = (0..MOST_ROWS + 2).map(|scope| format!("s{scope}")).collect();
    let guard = build(settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::Any, &json!({})));
    used(&mut usage, &guard, &with(json!({ "scope": scopes.join(" ") })));
    let [sum] = sums(usage.take()).try_into().unwrap();
    assert_eq!((sum["scopes"].as_array().unwrap().len(), &sum["others"]), (MOST_ROWS, &json!(2)));
}

#[test]
fn an_age_before_its_time_is_none() {
    let (mut usage, guard, moment) = (Usage::default(), reader(), at());
    let Verdict::Allowed(allowed) = guard.check(&call(), &bearer(&token(&claims())), &moment) else {
        panic!("it is right");
    };
    usage.allowed(&allowed, Timestamp::from_seconds(0));
    let [sum] = sums(usage.take()).try_into().unwrap();
    assert_eq!((sum.get("age"), &sum["ages"]), (None, &json!([{ "most": 1, "count": 1 }])));
}
