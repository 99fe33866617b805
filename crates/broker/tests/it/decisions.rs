//! `/v1/decisions/{id}`: whose decision it was, and nobody else's.

use broker::Role;
use serde_json::json;

use crate::api::{operator, own_token, plan};
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan};

on_both_engines!(a_decision_is_told_to_auditors_and_to_the_client_whose_it_was);

async fn a_decision_is_told_to_auditors_and_to_the_client_whose_it_was(engine: Engine) {
    let narrows = Installation::of(Plan { engine, ..plan() }).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let admin = operator(&narrows, "bob", &[Role::Admin, Role::Approver, Role::Responder]).await;
    let (edge, orders) = (
        own_token(&narrows, "edge", "profile").await,
        own_token(&narrows, "orders", "profile").await,
    );
    let refused = narrows
        .exchange(&[(
            "authorization_details",
            r#"[{"type":"ticket","actions":["read"],"identifier":"13"}]"#,
        )])
        .await;
    assert_eq!(refused.text("reason"), "policy_denied");
    let id = refused.text("decision_id").to_owned();
    let ask = async |token: &str, id: &str| narrows.ask("GET", &format!("/v1/decisions/{id}"), token, None).await;

    let whole = ask(&auditor, &id).await;
    assert_eq!(whole.status, 200);
    let records = narrows.records().await;
    assert_eq!(
        Some(&whole.body),
        records.iter().find(|record| record["id"] == id.as_str()),
        "the record itself"
    );
    assert_eq!(whole.body["rules"], json!(["no-ticket-13"]));
    assert!(whole.body["inputs"].is_object());

    let own = ask(&edge, &id).await;
    assert_eq!((own.status, own.text("reason"), own.text("client")), (200, "policy_denied", "edge"));
    assert!(
        own.body.get("inputs").is_none() && own.body.get("rules").is_none(),
        "{:?}",
        own.body
    );

    // Another client's, one that never was, and what is no id are alike.
    let never = uuid::Uuid::now_v7().to_string();
    let mut answers = Vec::new();
    for (token, id) in [
        (&orders, id.as_str()),
        (&orders, &never),
        (&auditor, &never),
        (&edge, "x"),
        (&edge, id.get(..35).unwrap()),
        (&edge, "%ff"),
    ] {
        let reply = ask(token, id).await;
        assert_eq!((reply.status, reply.text("reason")), (404, "not_found"), "{id}");
        let mut body = reply.body.clone();
        body["decision_id"] = json!(null);
        answers.push(body);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    assert_eq!(ask(&admin, &id).await.status, 403, "a role that changes does not read");
    assert_eq!(ask("x", &id).await.status, 401);
    narrows.stop().await;
}
