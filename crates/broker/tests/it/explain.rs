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

/// Without what differs from one answer to the next.
fn without_id(mut told: Value) -> String {
    for members in ["", "/context"] {
        if let Some(id) = told.pointer_mut(&format!("{members}/decision_id")) {
            *id = Value::Null;
        }
    }
    told.to_string()
}

#[tokio::test]
async fn a_client_learns_of_nobody_but_itself_whether_they_exist_or_are_disabled() {
    let narrows = Installation::of(plan()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let admin = operator(&narrows, "bob", &[Role::Admin]).await;
    let edge = own_token(&narrows, "edge", "profile").await;
    let basic = crate::authzen::basic("edge", "edge-secret");
    let explained = |kind: &str, who: &str, audience: &str| {
        json!({
            "subject": { "type": kind, "id": who }, "audience": audience,
            "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "13" }],
        })
    };
    let evaluated = |kind: &str, who: &str, audience: &str| {
        json!({
            "subject": { "type": kind, "id": who }, "action": { "name": "read" },
            "resource": { "type": "ticket", "id": "13", "properties": { "audience": audience } },
        })
    };
    let disable = async |issuer: &str, who: &str, what: &str| {
        let path = format!("/v1/subjects/{issuer}/{who}/{what}");
        assert_eq!(narrows.ask("POST", &path, &admin, Some(&json!({}))).await.status, 200);
    };
    let here = "https://tickets.internal";
    // Each with what an auditor is told of it, and what a client is.
    for (kind, who, disabled, audience, reason, told) in [
        ("workload", "orders", false, here, "policy_denied", "policy_denied"),
        ("workload", "orders", true, here, "subject_disabled", "policy_denied"),
        ("workload", "nobody", false, here, "subject_token_invalid", "policy_denied"),
        ("workload", "orders", false, "https://x", "unknown_audience", "unknown_audience"),
        ("workload", "orders", true, "https://x", "subject_disabled", "unknown_audience"),
        (
            "workload",
            "nobody",
            false,
            "https://x",
            "subject_token_invalid",
            "unknown_audience",
        ),
        ("user", "alice", false, here, "policy_denied", "policy_denied"),
        ("user", "alice", true, here, "subject_disabled", "policy_denied"),
        ("user", "orders", false, here, "subject_token_invalid", "policy_denied"),
    ] {
        let issuer = if kind == "user" { "corp" } else { "narrows" };
        if disabled {
            disable(issuer, who, "disable").await;
        }
        let because = format!("{kind} {who} {disabled} {audience}");
        let by_client = ask(&narrows, &edge, &explained(kind, who, audience)).await;
        let shown = if told == "policy_denied" {
            json!([{ "asked": "ticket:read/13", "allowed": false }])
        } else {
            json!([])
        };
        let expected = json!({ "allowed": false, "decision_id": null, "questions": shown, "reason": told });
        assert_eq!(without_id(by_client.body.clone()), expected.to_string(), "{because}");
        let by_secret = crate::authzen::ask(&narrows, crate::authzen::ONE, &basic, &evaluated(kind, who, audience)).await;
        let expected = json!({ "decision": false, "context": { "decision_id": null, "reason": told } });
        assert_eq!(without_id(by_secret.body.clone()), expected.to_string(), "{because}");

        // The record knows better, and auditors read it; the client reads in it what it was told.
        for id in [
            by_client.text("decision_id"),
            by_secret.body["context"]["decision_id"].as_str().unwrap(),
        ] {
            let path = format!("/v1/decisions/{id}");
            let whole = narrows.ask("GET", &path, &auditor, None).await.body;
            assert_eq!(whole["reason"], reason, "{because}");
            let own = narrows.ask("GET", &path, &edge, None).await;
            assert_eq!((own.status, own.text("reason")), (200, told), "{because}");
            for hidden in ["subject", "expires_in", "inputs", "rules"] {
                assert!(own.body.get(hidden).is_none(), "{because}: {:?}", own.body);
            }
        }
        let mut of_edge = explained(kind, who, audience);
        of_edge["client"] = json!("edge");
        assert_eq!(said(&ask(&narrows, &auditor, &of_edge).await), (200, reason), "{because}");
        if disabled {
            disable(issuer, who, "enable").await;
        }
    }
    disable("narrows", "edge", "disable").await;
    let itself = crate::authzen::ask(&narrows, crate::authzen::ONE, &basic, &evaluated("workload", "edge", here)).await;
    assert_eq!(
        (itself.status, &itself.body["context"]["reason"]),
        (200, &json!("subject_disabled")),
        "what stands against it itself it is told"
    );
    narrows.stop().await;
}
