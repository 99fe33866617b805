//! `/v1/subjects`: who is refused, who is risky, and who may say so.

use broker::Role;
use serde_json::{Value, json};

use crate::api::{operator, own_token, plan};
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, RULES, Reply};

on_both_engines!(
    a_subject_is_refused_from_the_answer_on_until_enabled,
    what_is_said_of_a_subjects_risk_counts_in_place_of_its_token_until_it_is_cleared,
    everybody_of_unusual_standing_is_listed_once_page_by_page,
);

/// Refuses whom policy sees at high risk; corp's tokens may say so too.
async fn installation(engine: Engine) -> Installation {
    let plan = plan();
    let change = plan.change;
    Installation::of(Plan {
        engine,
        rules: format!("{RULES}\n@id(\"no-risk\") forbid (principal, action, resource) when {{ context.risk == \"high\" }};"),
        change: Box::new(|snapshot| {
            change(snapshot);
            let rule = delegation::identity::AttributeRule::parse("string?").unwrap();
            snapshot.issuers.get_mut(testkit::CORP).unwrap().attributes.insert("risk".to_owned(), rule);
        }),
        ..plan
    })
    .await
}

fn said(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.text("reason"))
}

/// TEX-025: standing counts, whatever a token that was issued before says.
async fn a_subject_is_refused_from_the_answer_on_until_enabled(engine: Engine) {
    let narrows = installation(engine).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let issued = narrows.exchange(&[]).await.text("access_token").to_owned();
    let active = async || narrows.about("/oauth2/introspect", "edge", &issued).await.body["active"].clone();
    let post = async |path: &str, body: Option<Value>| narrows.ask("POST", path, &admin, body.as_ref()).await;

    let disabled = post("/v1/subjects/corp/alice/disable", Some(json!({ "reason": "left" }))).await;
    assert_eq!(disabled.status, 200, "{:?}", disabled.body);
    let since = disabled.body["disabled_at"].clone();
    assert!(since.is_i64());
    let expected = json!({ "issuer": "corp", "sub": "alice", "standing": "disabled", "disabled_at": since, "risk": null });
    assert_eq!(disabled.body, expected);
    assert_eq!(said(&narrows.exchange(&[]).await), (400, "subject_disabled"));
    assert_eq!(active().await, json!(false));
    assert_eq!(post("/v1/subjects/corp/alice/disable", None).await.status, 200, "twice is once");

    let enabled = post("/v1/subjects/corp/alice/enable", None).await;
    assert_eq!((enabled.status, &enabled.body["standing"]), (200, &json!("enabled")));
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    assert_eq!(active().await, json!(true));
    let records = narrows.records().await;
    let changes: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "operator" && record["decision"] == "done")
        .collect();
    let disabled = changes.iter().find(|record| record["reason"] == "disabled").unwrap();
    assert_eq!(
        disabled["inputs"],
        json!({ "operator": "ann", "party": "corp|alice", "why": "left" })
    );
    assert_eq!(disabled["subject"], json!({ "iss": testkit::CORP, "sub": "alice" }));
    narrows.stop().await;
}

async fn what_is_said_of_a_subjects_risk_counts_in_place_of_its_token_until_it_is_cleared(engine: Engine) {
    let narrows = installation(engine).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let exchange = async |risk: Option<&str>| {
        let mut claims = narrows.user_claims();
        if let Some(risk) = risk {
            claims["risk"] = json!(risk);
        }
        narrows.exchange(&[("subject_token", &narrows.issuer.sign("at+jwt", &claims))]).await
    };
    let say = async |risk: Value| {
        let reply = narrows.ask("POST", "/v1/subjects/corp/alice/risk", &admin, Some(&json!({ "risk": risk }))).await;
        assert_eq!((reply.status, &reply.body["risk"]), (200, &risk), "{:?}", reply.body);
    };
    assert_eq!(exchange(Some("high")).await.text("reason"), "policy_denied", "as its token says");
    let first = exchange(None).await;
    assert_eq!(first.status, 200);
    for (risk, token_says, status) in [
        ("high", "low", 400),
        ("low", "high", 200),
        ("unknown", "high", 200),
        ("medium", "high", 200),
    ] {
        say(json!(risk)).await;
        assert_eq!(exchange(Some(token_says)).await.status, status, "{risk}");
    }
    say(json!("high")).await;
    // What policy saw is on record.
    let refused = exchange(None).await;
    assert_eq!(refused.text("reason"), "policy_denied");
    let records = narrows.records().await;
    let record = records.iter().find(|record| record["id"] == refused.body["decision_id"]).unwrap();
    assert_eq!(record["inputs"]["risk"], "high");
    // It is alice who is risky, and nobody else.
    let mut bob = narrows.user_claims();
    bob["sub"] = json!("bob");
    assert_eq!(
        narrows.exchange(&[("subject_token", &narrows.issuer.sign("at+jwt", &bob))]).await.status,
        200
    );
    say(Value::Null).await;
    assert_eq!(exchange(None).await.status, 200);
    assert_eq!(
        exchange(Some("high")).await.text("reason"),
        "policy_denied",
        "as its token says again"
    );
    narrows.stop().await;
}

async fn everybody_of_unusual_standing_is_listed_once_page_by_page(engine: Engine) {
    let narrows = installation(engine).await;
    let both = operator(&narrows, "ann", &[Role::Admin, Role::Auditor]).await;
    let ask = async |method: &str, path: &str, body: Option<Value>| {
        let reply = narrows.ask(method, path, &both, body.as_ref()).await;
        assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
        reply.body
    };
    // Names that sort differently here and there, and some that have to be escaped.
    let names = ["Zoe", "alice", "Älice", "bob/x", "b|c d", "%41", "b?", "b\u{85}"];
    for name in names {
        let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        ask("POST", &format!("/v1/subjects/corp/{escaped}/disable"), None).await;
    }
    ask("POST", "/v1/subjects/corp/alice/risk", Some(json!({ "risk": "high" }))).await;
    ask("POST", "/v1/subjects/narrows/orders/risk", Some(json!({ "risk": "low" }))).await;
    ask("POST", "/v1/subjects/corp/Zoe/enable", None).await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = ask("GET", &format!("/v1/subjects?limit=2{after}"), None).await;
        found.extend(page["items"].as_array().unwrap().clone());
        assert!(found.len() <= names.len(), "{found:?}");
        let Some(next) = page["next"].as_str() else { break };
        let next: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
        after = format!("&after={next}");
    }
    let of = |sub: &str| found.iter().filter(|item| item["sub"] == sub).collect::<Vec<_>>();
    assert_eq!(found.len(), names.len());
    assert!(of("Zoe").is_empty());
    for name in &names[1..] {
        let [item] = of(name)[..] else { panic!("{name}: {found:?}") };
        assert_eq!((&item["standing"], &item["issuer"]), (&json!("disabled"), &json!("corp")));
        assert_eq!(item["risk"], if *name == "alice" { json!("high") } else { Value::Null });
    }
    assert_eq!(
        (&of("orders")[0]["standing"], &of("orders")[0]["risk"]),
        (&json!("enabled"), &json!("low"))
    );
    narrows.stop().await;
}

#[tokio::test]
async fn nobody_else_changes_standing_and_nobody_is_meant_by_a_name_that_nothing_has() {
    let narrows = installation(Engine::sqlite()).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let others = operator(&narrows, "bob", &[Role::Auditor, Role::Approver, Role::Responder]).await;
    let client = own_token(&narrows, "orders", "profile").await;
    for what in ["disable", "enable", "risk"] {
        let path = format!("/v1/subjects/corp/alice/{what}");
        for token in [&others, &client] {
            assert_eq!(
                said(&narrows.ask("POST", &path, token, Some(&json!({ "risk": "high" }))).await),
                (403, "not_permitted")
            );
        }
        assert_eq!(narrows.ask("POST", &path, "x", None).await.status, 401);
        let unknown = narrows.ask("POST", &format!("/v1/subjects/other/alice/{what}"), &admin, None).await;
        assert_eq!(said(&unknown), (404, "unknown_party"));
        for sub in ["%00", "%ff", "a%0Ab", &"x".repeat(256)] {
            let reply = narrows.ask("POST", &format!("/v1/subjects/corp/{sub}/{what}"), &admin, None).await;
            assert_eq!(said(&reply), (400, "malformed_request"), "{sub}");
        }
    }
    assert_eq!(narrows.ask("GET", "/v1/subjects", &admin, None).await.status, 403);
    for after in ["x", "a%00|b", "a|b%00"] {
        let listed = narrows.ask("GET", &format!("/v1/subjects?after={after}"), &others, None).await;
        assert_eq!(said(&listed), (400, "malformed_request"), "{after}");
    }
    for wrong in [
        json!({}),
        json!({ "risk": "HIGH" }),
        json!({ "risk": 3 }),
        json!({ "risk": "high", "more": 1 }),
    ] {
        let reply = narrows.ask("POST", "/v1/subjects/corp/alice/risk", &admin, Some(&wrong)).await;
        assert_eq!(said(&reply), (400, "malformed_request"), "{wrong}");
    }
    let reply = narrows
        .ask("POST", "/v1/subjects/corp/alice/disable", &admin, Some(&json!({ "risk": "low" })))
        .await;
    assert_eq!(said(&reply), (400, "malformed_request"));
    assert_eq!(narrows.exchange(&[]).await.status, 200, "nothing of it happened");
    narrows.stop().await;
}
