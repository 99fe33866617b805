//! Upstream credentials for a boundary in another process: who gets one, for what, and what is on record of an echo.

use broker::{Rates, Role};
use serde_json::{Value, json};

use crate::api::{operator, own_token};
use crate::boundaries::{EXCHANGE, asked, decided, observes, seen, started, with};
use crate::installation::Installation;

const KEY: &str = "sk-0123456789";
const ECHOES: &str = "/v1/boundaries/front/echoes";

async fn keep(narrows: &Installation) {
    let admin = operator(narrows, "ann", &[Role::Admin]).await;
    let kept = json!({ "name": "tickets-key", "secret": KEY });
    assert_eq!(narrows.ask("POST", "/v1/connections", &admin, Some(&kept)).await.status, 201);
}

fn with_key(narrows: &Installation) -> Value {
    with(asked(narrows), &json!({ "connection": "tickets-key" }))
}

#[tokio::test]
async fn a_credential_comes_with_the_token_of_a_request_that_was_allowed() {
    let (narrows, token) = started(Rates::default()).await;
    let ask = async |body: Value| narrows.ask("POST", EXCHANGE, &token, Some(&body)).await;
    let without = ask(with_key(&narrows)).await;
    assert_eq!(decided(&without), "store_unavailable", "none is kept");
    keep(&narrows).await;
    let granted = ask(with_key(&narrows)).await;
    assert_eq!(decided(&granted), "granted");
    assert_eq!(granted.headers["cache-control"], "no-store");
    assert_eq!(
        granted.body["granted"]["credential"],
        json!({
            "connection": "tickets-key", "origin": "https://api.example", "header": "x-api-key",
            "value": format!("Token {KEY}"), "secret": KEY,
        })
    );
    observes(&narrows, "front");
    for changes in [
        json!({ "connection": null }),
        json!({ "observed": true }),
        json!({ "subject_token": "x" }),
        json!({ "authorization_details": [{ "type": "refund", "actions": ["create"] }] }),
    ] {
        let mut body = with(with_key(&narrows), &changes);
        body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let reply = ask(body).await;
        assert_eq!(reply.status, 200, "{changes}");
        assert!(!reply.body.to_string().contains("0123456789"), "{changes}: {:?}", reply.body);
    }
    narrows.broker.close().await;
    let records = narrows.records().await;
    assert!(records.iter().all(|record| !record.to_string().contains("0123456789")));
    assert!(
        records
            .iter()
            .any(|record| record["inputs"]["connection"] == "tickets-key" && record["decision"] == "allow")
    );
    narrows.stop().await;
}

/// A data plane that was taken over has what its own requests need, and nothing that another's do.
#[tokio::test]
async fn no_credential_is_given_out_that_no_route_of_the_boundary_goes_on_with() {
    let (narrows, token) = started(Rates::default()).await;
    keep(&narrows).await;
    let orders = own_token(&narrows, "orders", "narrows.data_plane").await;
    let ask = async |path: &str, token: &str, changes: Value| {
        let reply = narrows.ask("POST", path, token, Some(&with(with_key(&narrows), &changes))).await;
        assert!(!reply.body.to_string().contains("0123456789"), "{path} {changes}");
        (reply.status, reply.text("reason").to_owned())
    };
    let refused = (403, "not_permitted".to_owned());
    for changes in [
        json!({ "connection": "other-key" }),
        json!({ "connection": "" }),
        json!({ "audience": "https://orders.internal" }),
        json!({ "connection": "other-key", "observed": true }),
    ] {
        assert_eq!(ask(EXCHANGE, &token, changes.clone()).await, refused, "{changes}");
    }
    assert_eq!(ask("/v1/boundaries/back/exchange", &orders, json!({})).await, refused);
    assert_eq!(ask(EXCHANGE, &orders, json!({})).await, refused);
    assert_eq!(ask(EXCHANGE, &token, json!({ "connection": 1 })).await.0, 400);
    narrows.stop().await;
}

#[tokio::test]
async fn an_echo_is_on_record_before_it_is_answered() {
    let (narrows, token) = started(Rates::default()).await;
    let orders = own_token(&narrows, "orders", "narrows.data_plane").await;
    let body = with(seen(), &json!({ "connection": "tickets-key" }));
    let ask = async |token: &str, changes: Value| narrows.ask("POST", ECHOES, token, Some(&with(body.clone(), &changes))).await;
    let reply = ask(&token, json!({})).await;
    assert_eq!((reply.status, &reply.body), (200, &json!({ "recorded": true })));
    let told = async || {
        let records = narrows.records().await;
        records.into_iter().filter(|record| record["reason"] == "echo_cut").collect::<Vec<_>>()
    };
    let [record] = &told().await[..] else { panic!("one record") };
    assert_eq!(
        (
            &record["kind"],
            &record["boundary"],
            &record["client"],
            &record["inputs"]["connection"],
            &record["request"]["path"]
        ),
        (
            &json!("connection"),
            &json!("front"),
            &json!("edge"),
            &json!("tickets-key"),
            &json!("/tickets/42")
        )
    );
    for (token, changes, status) in [
        (&orders, json!({}), 403),
        (&token, json!({ "connection": "other-key" }), 403),
        (&token, json!({ "connection": "" }), 400),
        (&token, json!({ "more": 1 }), 400),
    ] {
        assert_eq!(ask(token, changes.clone()).await.status, status, "{changes}");
    }
    assert_eq!(told().await.len(), 1);
    narrows.stop().await;
}

/// What no credential can be kept for is not there; what fits no description is malformed.
#[tokio::test]
async fn whom_no_credential_could_be_kept_for_has_none() {
    let (narrows, _) = started(Rates::default()).await;
    keep(&narrows).await;
    let both = operator(&narrows, "bea", &[Role::Admin, Role::Auditor]).await;
    for (query, status) in [
        ("?client=edge&iss=https://login.corp.example", 404),
        ("?client=edge&sub=alice", 404),
        ("?iss=https://login.corp.example", 404),
        ("?sub=alice", 404),
        ("?iss=&sub=", 404),
        ("?iss=%00&sub=alice", 404),
        ("?client=edge&reason=", 404),
        ("?client=a%20b", 400),
        ("?user=alice", 400),
    ] {
        let reply = narrows.ask("DELETE", &format!("/v1/connections/tickets-key{query}"), &both, None).await;
        assert_eq!(reply.status, status, "{query}: {:?}", reply.body);
    }
    let user = |iss: &str| json!({ "iss": iss, "sub": "alice" });
    for (more, status) in [
        (json!({ "name": "" }), 404),
        (json!({ "name": "other-key" }), 404),
        (json!({ "name": 1 }), 400),
        (json!({ "client": "edge", "user": user("https://login.corp.example") }), 400),
        (json!({ "user": user("https://login.corp.example") }), 400),
        (json!({ "user": user("https://nobody.example") }), 404),
    ] {
        let body = with(json!({ "name": "tickets-key", "secret": KEY }), &more);
        let reply = narrows.ask("POST", "/v1/connections", &both, Some(&body)).await;
        assert_eq!(reply.status, status, "{more}: {:?}", reply.body);
    }
    let kept = narrows.ask("GET", "/v1/connections", &both, None).await;
    assert_eq!(kept.body["items"].as_array().map(Vec::len), Some(1), "{:?}", kept.body);
    let next = "%5B%22tickets-key%22,%22all%22,%22%22,%22%22%5D";
    for (after, status) in [(next, 200), ("", 400), ("tickets-key", 400)] {
        let reply = narrows.ask("GET", &format!("/v1/connections?after={after}"), &both, None).await;
        assert_eq!(reply.status, status, "{after}");
    }
    narrows.stop().await;
}
