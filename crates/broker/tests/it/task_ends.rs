//! What the end of a task ends, and what is said where it cannot be kept.

use std::time::Duration;

use delegation::revocation::{Key, MarkKind, Revocation};
use issuance::audit::{Decision, Kind, Record};
use issuance::task::Status;
use serde_json::json;

use crate::engine::{Engine, on_both_engines};
use crate::installation::{ASSERTION_TYPE, Installation, Reply, encode};
use crate::tasks;

on_both_engines!(
    what_an_operator_ends_at_the_store_ends_its_tokens,
    an_end_that_cannot_be_put_on_record_is_not_said,
);

async fn complete(narrows: &Installation, id: &str, token: &str) -> Reply {
    narrows.ask("POST", &format!("/v1/tasks/{id}/complete"), token, None).await
}

async fn is_active(narrows: &Installation, token: &str) -> bool {
    narrows.about("/oauth2/introspect", "edge", token).await.body["active"] == json!(true)
}

async fn what_an_operator_ends_at_the_store_ends_its_tokens(engine: Engine) {
    let narrows = tasks::installation(engine).await;
    let (token, id) = tasks::opened(&narrows, &[]).await;
    let redeemed = tasks::redeem(&narrows, &token, &[]).await.text("access_token").to_owned();
    assert!(is_active(&narrows, &redeemed).await);
    let mut record = Record::new("d-operator".to_owned(), narrows.clock.now(), Kind::Task);
    record.decision = Decision::Done;
    let revocation = Revocation::new(MarkKind::Task, Key::of(&id), narrows.clock.now(), Duration::from_secs(600));
    let store = narrows.engine.open().await;
    store.end_task(&id, Status::Cancelled, &revocation, &record).await.unwrap();
    narrows.broker.follow().await;
    assert!(!is_active(&narrows, &redeemed).await);
    narrows.stop().await;
}

async fn an_end_that_cannot_be_put_on_record_is_not_said(engine: Engine) {
    let narrows = tasks::installation(engine).await;
    let (token, id) = tasks::opened(&narrows, &[]).await;
    narrows.engine.run("ALTER TABLE records RENAME TO away").await;
    let refused = complete(&narrows, &id, &token).await;
    assert_eq!((refused.status, refused.text("reason")), (503, "store_unavailable"));
    narrows.engine.run("ALTER TABLE away RENAME TO records").await;
    assert_eq!(tasks::redeem(&narrows, &token, &[]).await.status, 200, "nothing of it happened");
    assert_eq!(complete(&narrows, &id, &token).await.status, 200);
    narrows.stop().await;
}

#[tokio::test]
async fn an_assertion_is_used_up_by_what_had_ended_before() {
    let narrows = tasks::installation(Engine::sqlite()).await;
    let (token, id) = tasks::opened(&narrows, &[]).await;
    assert_eq!(complete(&narrows, &id, &token).await.status, 200);
    let form = encode(&[
        ("client_assertion_type".to_owned(), ASSERTION_TYPE.to_owned()),
        ("client_assertion".to_owned(), narrows.assertion(&[])),
        ("token".to_owned(), token),
    ]);
    for status in [200, 401] {
        assert_eq!(narrows.post_to("/oauth2/revoke", &form, &[]).await.status, status);
    }
    narrows.stop().await;
}
