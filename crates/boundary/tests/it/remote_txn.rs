//! Transaction tokens by way of a broker in another process: checked like any, and never taken for an access token, or one for them.

use std::sync::Arc;
use std::time::Duration;

use boundary::remote::Remote;
use boundary::{Exchanger as _, Granted, Refused};
use delegation::oauth::{AudienceId, Reason, TokenType};
use delegation::registry::TokenForm;
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer};

use crate::fake_broker::{FakeBroker, Signs, TICKETS, claims, detail, granted, needs, now, replies, seen};

const BOUND: Duration = Duration::from_secs(60);

/// A boundary by whose configuration tokens for tickets have this form.
fn front(broker: &FakeBroker, form: TokenForm) -> Remote<Signs> {
    let mut snapshot = testkit::snapshot();
    snapshot.audiences.get_mut(&AudienceId::parse(TICKETS).unwrap()).unwrap().form = form;
    let replies = replies(&[broker.address], BOUND, BOUND);
    replies.swap(Arc::new(snapshot));
    Remote::new(replies, "front".to_owned())
}

async fn ask(remote: &Remote<Signs>) -> Result<Granted, Refused> {
    tokio::time::timeout(BOUND, remote.exchange(&seen(), "the.callers.token".into(), &needs()))
        .await
        .unwrap()
}

/// What a transaction token says that is right for [`needs`]; its authority stands in its context.
fn said(changes: &Value) -> Value {
    let mut claims = claims();
    let claims = claims.as_object_mut().unwrap();
    let details = claims.remove("authorization_details").unwrap();
    claims.extend(
        json!({ "scope": "ticket:read/42", "req_wl": "edge", "tctx": { "authorization_details": details } })
            .as_object()
            .unwrap()
            .clone(),
    );
    claims.extend(changes.as_object().unwrap().clone());
    claims.retain(|_, value| !value.is_null());
    Value::Object(claims.clone())
}

fn context(texts: &[&str]) -> Value {
    let details: Value = texts.iter().map(|text| detail(text).to_json()).collect();
    json!({ "tctx": { "authorization_details": details } })
}

#[tokio::test]
async fn a_transaction_token_that_is_what_was_asked_for_goes_on_as_one() {
    let broker = FakeBroker::start().await;
    let remote = front(&broker, TokenForm::Txn);
    let token = broker.keys.sign("txntoken+jwt", &said(&json!({})));
    broker.says(granted(&token));
    // Twice: the second time it is remembered.
    for _ in 0..2 {
        let granted = ask(&remote).await.unwrap();
        assert_eq!((granted.token.as_str(), granted.kind), (token.as_str(), TokenType::TxnToken));
        assert!(granted.expires_in > Duration::ZERO && granted.expires_in <= Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_transaction_token_that_is_not_for_exactly_this_request_goes_nowhere() {
    let broker = FakeBroker::start().await;
    let remote = front(&broker, TokenForm::Txn);
    let signed = |changes: Value| broker.keys.sign("txntoken+jwt", &said(&changes));
    let rows = [
        ("another key", FakeIssuer::es256(BROKER).sign("txntoken+jwt", &said(&json!({})))),
        ("another issuer", signed(json!({ "iss": CORP }))),
        ("an access token", broker.token()),
        ("its claims as an access token's", broker.keys.sign("at+jwt", &said(&json!({})))),
        ("another kind", broker.keys.sign("JWT", &said(&json!({})))),
        ("another audience", signed(json!({ "aud": "https://orders.internal" }))),
        ("another client's", signed(json!({ "client_id": "orders" }))),
        ("another workload's", signed(json!({ "req_wl": "orders" }))),
        ("no workload's", signed(json!({ "req_wl": null }))),
        ("no text for a workload", signed(json!({ "req_wl": ["edge"] }))),
        ("expired", signed(json!({ "iat": now() - 60, "exp": now() - 1 }))),
        ("for a day", signed(json!({ "exp": now() + 86_400 }))),
        ("no context", signed(json!({ "tctx": null }))),
        (
            "authority beside its context",
            signed(json!({ "tctx": {}, "authorization_details": context(&["ticket:read/42"])["tctx"]["authorization_details"] })),
        ),
        ("another ticket", signed(context(&["ticket:read/43"]))),
        ("one ticket more", signed(context(&["ticket:read/42", "ticket:read/43"]))),
        ("a scope in its context", {
            let mut wider = context(&["ticket:read/42"]);
            wider["tctx"]["scope"] = json!("profile");
            signed(wider)
        }),
        (
            "something onward",
            signed(json!({ "onward": [detail("ticket:read/42").to_json()] })),
        ),
        ("opaque", format!("nrwa_{}", "x".repeat(43))),
    ];
    for (what, token) in rows {
        broker.says(granted(&token));
        assert_eq!(ask(&remote).await.unwrap_err().reason, Reason::StoreUnavailable, "{what}");
    }
    broker.says(granted(&signed(json!({}))));
    assert!(ask(&remote).await.is_ok(), "and the right one goes on");
}

/// Which kind it is, is the configuration's word, and not the reply's.
#[tokio::test]
async fn a_token_of_the_kind_of_another_audience_goes_nowhere() {
    let broker = FakeBroker::start().await;
    let transaction = broker.keys.sign("txntoken+jwt", &said(&json!({})));
    for (form, good) in [
        (TokenForm::Jwt, Some(broker.token())),
        (TokenForm::Txn, Some(transaction.clone())),
        (TokenForm::Opaque, None),
    ] {
        for token in [broker.token(), transaction.clone()] {
            broker.says(granted(&token));
            let is_of_kind = good.is_some() && (token == transaction) == (form == TokenForm::Txn);
            let asked = ask(&front(&broker, form)).await;
            assert_eq!(asked.is_ok(), is_of_kind, "{form:?} {token}");
        }
    }
}
