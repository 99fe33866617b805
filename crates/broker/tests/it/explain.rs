//! `POST /v1/explain`: to whom, about whom, and what it tells.

use broker::Role;
use serde_json::{Value, json};

use crate::api::{operator, own_token};
use crate::authzen::plan;
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, Reply};

/// Two tickets and a scope, for alice.
fn question() -> Value {
    json!({
        "subject": { "type": "user", "id": "alice", "attributes": { "groups": ["support"] } },
        "audience": "https://tickets.internal",
        "authorization_details": [
            { "type": "ticket", "actions": ["read"], "identifier": "1" },
            { "type": "ticket", "actions": ["read"], "identifier": "13" },
        ],
        "scope": "profile",
    })
}

fn of_edge() -> Value {
    let mut question = question();
    question["client"] = json!("edge");
    question
}

async fn ask(narrows: &Installation, token: &str, body: &Value) -> Reply {
    narrows.ask("POST", "/v1/explain", token, Some(body)).await
}

fn said(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.text("reason"))
}

on_both_engines!(an_auditor_sees_the_rules_and_a_client_what_it_may_do_itself);

async fn an_auditor_sees_the_rules_and_a_client_what_it_may_do_itself(engine: Engine) {
    let narrows = Installation::of(Plan { engine, ..plan() }).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let others = operator(&narrows, "bob", &[Role::Admin, Role::Approver, Role::Responder]).await;
    let edge = own_token(&narrows, "edge", "profile").await;

    let told = ask(&narrows, &auditor, &of_edge()).await;
    assert_eq!(
        (said(&told), &told.body["allowed"]),
        ((200, "policy_denied"), &json!(false)),
        "{:?}",
        told.body
    );
    let questions = told.body["questions"].as_array().unwrap();
    let allowed: Vec<_> = questions.iter().map(|question| question["allowed"].as_bool().unwrap()).collect();
    assert_eq!(allowed, [true, false, true], "each for itself");
    assert_eq!(questions[1]["decided_by"][0]["id"], "no-ticket-13");

    let own = ask(&narrows, &edge, &question()).await;
    assert_eq!(said(&own), (200, "policy_denied"));
    let seen: Vec<_> = own.body["questions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|question| question["allowed"].as_bool().unwrap())
        .collect();
    assert_eq!(seen, [true, false, true]);
    let text = own.body.to_string();
    for hidden in ["no-ticket-13", "tickets-are-read", "decided_by", "near_misses", "rules.cedar"] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert_eq!(ask(&narrows, &edge, &of_edge()).await.status, 200, "its own name");

    let mut of_orders = question();
    of_orders["client"] = json!("orders");
    assert_eq!(said(&ask(&narrows, &edge, &of_orders).await), (403, "not_permitted"));
    assert_eq!(said(&ask(&narrows, &others, &of_edge()).await), (403, "not_permitted"));
    assert_eq!(
        said(&ask(&narrows, &auditor, &question()).await),
        (400, "malformed_request"),
        "whose?"
    );
    assert_eq!(ask(&narrows, "x", &question()).await.status, 401);

    // What is answered is on record, and is no request of the client's where an operator asked.
    let records = narrows.records().await;
    let find = |id: &str| records.iter().find(|record| record["id"] == id).unwrap();
    let (by_ann, by_edge) = (find(told.text("decision_id")), find(own.text("decision_id")));
    assert_eq!((by_ann.get("client"), by_ann["inputs"]["operator"].as_str()), (None, Some("ann")));
    assert_eq!(
        (by_edge["client"].as_str(), by_edge["decision"].as_str()),
        (Some("edge"), Some("deny"))
    );
    assert_eq!(by_edge["inputs"]["asked"], "POST /v1/explain");
    assert!(by_edge.get("jti").is_none());
    narrows.stop().await;
}

#[tokio::test]
async fn a_request_that_would_be_refused_is_told_with_its_reason() {
    let narrows = Installation::of(plan()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    for (name, value, reason) in [
        ("audience", json!("https://nowhere.internal"), "unknown_audience"),
        (
            "authorization_details",
            json!([{ "type": "ticket", "actions": ["burn"] }]),
            "unknown_action",
        ),
        ("scope", json!("admin"), "wider_than_subject"),
        ("client", json!("gone"), "client_authentication_failed"),
        ("subject", json!({ "type": "workload", "id": "alice" }), "subject_token_invalid"),
    ] {
        let mut question = of_edge();
        question[name] = value;
        let told = ask(&narrows, &auditor, &question).await;
        assert_eq!(said(&told), (200, reason), "{question}");
        assert_eq!((&told.body["allowed"], &told.body["questions"]), (&json!(false), &json!([])));
    }
    let mut allowed = of_edge();
    allowed["authorization_details"] = json!([{ "type": "ticket", "actions": ["read"], "identifier": "1" }]);
    let told = ask(&narrows, &auditor, &allowed).await;
    assert_eq!(
        (told.status, &told.body["allowed"], told.body.get("reason")),
        (200, &json!(true), None)
    );

    for (name, wrong) in [
        ("subject", json!(null)),
        ("subject", json!({ "type": "user", "id": "alice", "groups": ["support"] })),
        ("subject", json!({ "type": "user", "id": "alice", "attributes": [] })),
        ("audience", json!(["https://tickets.internal"])),
        ("authorization_details", json!("[]")),
        ("onward", json!({})),
        ("scope", json!("a  b")),
        ("detail", json!("ticket:read/1")),
    ] {
        let mut question = of_edge();
        question[name] = wrong;
        assert_eq!(
            said(&ask(&narrows, &auditor, &question).await),
            (400, "malformed_request"),
            "{question}"
        );
    }
    narrows.stop().await;
}

#[tokio::test]
async fn with_a_stale_view_nothing_is_explained() {
    let narrows = Installation::of(Plan {
        max_view_age: std::time::Duration::ZERO,
        ..plan()
    })
    .await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    assert_eq!(said(&ask(&narrows, &auditor, &of_edge()).await), (503, "revocation_view_stale"));
    narrows.stop().await;
}
