//! `/v1/revocations`: each form, what it ends, and what is told of it.

use broker::Role;
use serde_json::{Value, json};

use crate::api::{operator, plan};
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, seconds};

const PATH: &str = "/v1/revocations";

on_both_engines!(every_form_ends_what_it_names_and_nothing_else);

async fn is_active(narrows: &Installation, token: &str) -> bool {
    narrows.about("/oauth2/introspect", "edge", token).await.body["active"] == json!(true)
}

/// A token of ours for alice or somebody else, with the outside token that it came from.
async fn issued(narrows: &Installation, sub: &str) -> (String, Value, Value) {
    let mut outside = narrows.user_claims();
    outside["sub"] = json!(sub);
    outside["iat"] = json!(seconds());
    let reply = narrows.exchange(&[("subject_token", &narrows.issuer.sign("at+jwt", &outside))]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    (reply.text("access_token").to_owned(), reply.claims(), outside)
}

async fn every_form_ends_what_it_names_and_nothing_else(engine: Engine) {
    let narrows = Installation::of(Plan { engine, ..plan() }).await;
    let admin = operator(&narrows, "ann", &[Role::Admin, Role::Auditor]).await;
    let forms: [(&str, fn(&Value, &Value) -> Value); 6] = [
        ("jti", |ours, _| ours["jti"].clone()),
        ("txn", |ours, _| ours["txn"].clone()),
        ("outside", |_, outside| json!({ "iss": outside["iss"], "jti": outside["jti"] })),
        ("subject", |_, outside| json!({ "iss": outside["iss"], "sub": outside["sub"] })),
        ("client", |ours, _| ours["client_id"].clone()),
        ("issuer", |_, outside| outside["iss"].clone()),
    ];
    let mut seqs = Vec::new();
    for (kind, value) in forms {
        // An epoch ends what was issued up to its second, so each round begins in a new one.
        let begun = seconds();
        while seconds() == begun {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let ((token, ours, outside), (other, ..)) = (issued(&narrows, "alice").await, issued(&narrows, "bob").await);
        let reply = narrows
            .ask(
                "POST",
                PATH,
                &admin,
                Some(&json!({ kind: value(&ours, &outside), "reason": "a drill" })),
            )
            .await;
        assert_eq!(reply.status, 201, "{kind}: {:?}", reply.body);
        seqs.push(reply.body["seq"].as_i64().unwrap());
        assert!(!is_active(&narrows, &token).await, "{kind}");
        assert_eq!(
            is_active(&narrows, &other).await,
            !["client", "issuer"].contains(&kind),
            "{kind}: another person's"
        );
    }
    for kind in ["task", "exception", "approval"] {
        let reply = narrows.ask("POST", PATH, &admin, Some(&json!({ kind: "x" }))).await;
        assert_eq!(reply.status, 201, "{kind}");
        seqs.push(reply.body["seq"].as_i64().unwrap());
    }
    // The list has them in order, and so has the log, with who and why.
    let first = narrows.ask("GET", &format!("{PATH}?limit=5"), &admin, None).await.body;
    let items = first["items"].as_array().unwrap();
    assert_eq!((items.len(), &first["next"]), (5, &items[4]["seq"]));
    let rest = narrows.ask("GET", &format!("{PATH}?limit=5&after={}", first["next"]), &admin, None).await.body;
    assert_eq!(rest["next"], Value::Null);
    let listed: Vec<_> = items.iter().chain(rest["items"].as_array().unwrap()).collect();
    assert_eq!(listed.iter().map(|item| item["seq"].as_i64().unwrap()).collect::<Vec<_>>(), seqs);
    assert!(listed.iter().all(|item| item["key"].as_str().unwrap().len() == 64 && item.get("reason").is_none()));
    let records = narrows.records().await;
    let record = &records[usize::try_from(seqs[0]).unwrap()];
    assert_eq!(
        (&record["kind"], &record["decision"], &record["reason"]),
        (&json!("revocation"), &json!("done"), &json!("revoked"))
    );
    assert_eq!(
        (&record["inputs"]["operator"], &record["inputs"]["why"]),
        (&json!("ann"), &json!("a drill"))
    );
    narrows.stop().await;
}

#[tokio::test]
async fn exactly_one_thing_is_named_by_a_name_that_can_have_an_effect() {
    let narrows = Installation::of(plan()).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let (corp, later) = (testkit::CORP, seconds() + 3600);
    for wrong in [
        json!({}),
        json!({ "reason": "nothing named" }),
        json!({ "jti": "a", "txn": "b" }),
        json!({ "jti": "a", "more": 1 }),
        json!({ "restore": "a" }),
        json!({ "jti": "" }),
        json!({ "jti": "x".repeat(1025) }),
        json!({ "jti": 1 }),
        json!({ "jti": { "iss": corp, "jti": "a" } }),
        json!({ "jti": "a", "at": 1 }),
        json!({ "jti": "a", "reason": 1 }),
        json!({ "jti": "a", "reason": "x".repeat(201) }),
        json!({ "outside": "a" }),
        json!({ "outside": { "iss": corp } }),
        json!({ "outside": { "iss": corp, "jti": "a", "sub": "b" } }),
        json!({ "subject": { "iss": corp, "sub": "" } }),
        json!({ "client": "a b\n" }),
        json!({ "client": "edge", "at": later }),
        json!({ "client": "edge", "at": -1 }),
        json!({ "client": "edge", "at": 1.5 }),
        json!({ "client": "edge", "at": "2026-01-01" }),
    ] {
        let reply = narrows.ask("POST", PATH, &admin, Some(&wrong)).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{wrong}");
    }
    for unknown in [
        json!({ "issuer": "https://other.example" }),
        json!({ "issuer": "corp" }),
        json!({ "subject": { "iss": "corp", "sub": "alice" } }),
        json!({ "outside": { "iss": "https://other.example", "jti": "a" } }),
    ] {
        let reply = narrows.ask("POST", PATH, &admin, Some(&unknown)).await;
        assert_eq!((reply.status, reply.text("reason")), (404, "unknown_party"), "{unknown}");
    }
    assert!(
        narrows
            .records()
            .await
            .iter()
            .all(|record| record["decision"] != "done" || record["kind"] != "revocation")
    );
    // A client that is gone from the files may have left tokens behind.
    let gone = narrows.ask("POST", PATH, &admin, Some(&json!({ "client": "gone", "at": seconds() - 60 }))).await;
    assert_eq!(gone.status, 201);
    // JSON Schema calls this an integer too.
    let whole = json!({ "client": "gone", "at": 1.0 });
    assert_eq!(narrows.ask("POST", PATH, &admin, Some(&whole)).await.status, 201);
    narrows.stop().await;
}

#[tokio::test]
async fn a_list_takes_numbers_and_nothing_else() {
    let narrows = Installation::of(plan()).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    for wrong in [
        "after=",
        "after=-1",
        "after=+1",
        "after=x",
        "after=99999999999999999999",
        "limit=0",
        "limit=1001",
        "limit=1&limit=2",
        "offset=1",
    ] {
        let reply = narrows.ask("GET", &format!("{PATH}?{wrong}"), &auditor, None).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{wrong}");
    }
    let empty = narrows.ask("GET", &format!("{PATH}?after=7&limit=1000"), &auditor, None).await;
    assert_eq!((empty.status, empty.body), (200, json!({ "items": [], "next": null })));
    narrows.stop().await;
}
