//! What is on record: every decision, and never a token.

use serde_json::Value;

use crate::engine::{Engine, on_both_engines};
use crate::installation::Installation;

on_both_engines!(
    every_decision_is_on_record_before_it_is_answered,
    no_token_and_no_secret_is_ever_on_record,
    strangers_are_counted_together_and_the_sums_are_right,
);

async fn every_decision_is_on_record_before_it_is_answered(engine: Engine) {
    let narrows = Installation::on(engine).await;
    let allowed = narrows.exchange(&[]).await;
    let denied = narrows.exchange(&[("audience", "gone")]).await;
    let stranger = narrows.exchange(&[("client_secret", "wrong")]).await;
    let records = narrows.records().await;
    let by_id = |reply: &crate::installation::Reply| {
        records.iter().find(|record| record["id"] == reply.body["decision_id"]).cloned().unwrap_or_default()
    };
    assert_eq!(by_id(&denied)["reason"], "unknown_audience");
    assert_eq!(by_id(&stranger)["kind"], "client_auth");
    let issued = records.iter().find(|record| record["decision"] == "allow").unwrap();
    assert_eq!(issued["jti"], allowed.claims()["jti"]);
    assert_eq!(issued["rules"], serde_json::json!(["tickets-are-read"]));
    for (at, record) in records.iter().enumerate() {
        assert_eq!(record["index"], serde_json::json!(at), "no gap");
    }
    narrows.stop().await;
}

async fn no_token_and_no_secret_is_ever_on_record(engine: Engine) {
    let narrows = Installation::on(engine).await;
    let token = narrows.user_token();
    let assertion = narrows.assertion(&[]);
    let issued = narrows.exchange(&[("subject_token", &token)]).await;
    narrows
        .exchange(&[
            ("client_id", ""),
            ("client_secret", ""),
            ("client_assertion", &assertion),
            ("client_assertion_type", crate::installation::ASSERTION_TYPE),
        ])
        .await;
    narrows.exchange(&[("subject_token", &format!("{token}x"))]).await;
    let text = narrows.records().await.iter().map(Value::to_string).collect::<String>();
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for secret in [
        signature(&token),
        signature(issued.text("access_token")),
        signature(&assertion),
        "edge-secret".to_owned(),
    ] {
        assert!(!text.contains(&secret));
    }
    narrows.stop().await;
}

async fn strangers_are_counted_together_and_the_sums_are_right(engine: Engine) {
    let narrows = Installation::on(engine).await;
    for _ in 0..40 {
        assert_eq!(narrows.exchange(&[("client_secret", "wrong")]).await.status, 401);
    }
    narrows.broker.tend().await;
    let records = narrows.records().await;
    let strangers: Vec<_> = records.iter().filter(|record| record["kind"] == "client_auth").collect();
    let sum: u64 = strangers.iter().map(|record| record.get("count").and_then(Value::as_u64).unwrap_or(1)).sum();
    assert_eq!(sum, 40);
    narrows.stop().await;
}
