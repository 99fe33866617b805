//! Upstream credentials by way of a broker in another process: which of them go on, and who is told of an echo.

use std::time::Duration;

use boundary::{Exchanger as _, Granted, Refused, Seen};
use delegation::oauth::Reason;
use narrows_guard::Needs;
use serde_json::{Value, json};

use crate::fake_broker::{FakeBroker, Says, front, needs, seen};

const KEY: &str = "sk-0123456789";

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.unwrap()
}

fn with_key() -> Needs {
    Needs {
        connection: Some("tickets-key".to_owned()),
        ..needs()
    }
}

fn credential(changes: &Value) -> Value {
    let mut whole = json!({
        "connection": "tickets-key", "origin": "https://api.example", "header": "x-api-key",
        "value": format!("Token {KEY}"), "secret": KEY,
    });
    whole.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    whole
}

/// A right token, with this beside it.
fn beside(broker: &FakeBroker, credential: Option<Value>) -> Says {
    let mut granted = json!({ "access_token": broker.token(), "expires_in": 60 });
    if let Some(credential) = credential {
        granted["credential"] = credential;
    }
    Says::Reply(200, json!({ "granted": granted }))
}

async fn ask(broker: &FakeBroker, needs: &Needs) -> Result<Granted, Refused> {
    within(front(&[broker.address]).exchange(&seen(), "the.callers.token".into(), needs)).await
}

#[tokio::test]
async fn a_credential_that_was_asked_for_goes_on_and_is_shown_to_nobody() {
    let broker = FakeBroker::start().await;
    broker.says(beside(&broker, Some(credential(&json!({})))));
    let granted = ask(&broker, &with_key()).await.unwrap();
    let shown = granted.credential.as_ref().unwrap();
    assert_eq!(shown.connection(), "tickets-key");
    assert!(!format!("{granted:?} {shown:?}").contains("0123"));
    assert_eq!(broker.asked().pop().unwrap().1["connection"], "tickets-key");
    // Whoever asks for none says nothing of any, and gets none.
    broker.says(beside(&broker, None));
    assert!(ask(&broker, &needs()).await.unwrap().credential.is_none());
    assert_eq!(broker.asked().pop().unwrap().1.get("connection"), None);
    // What is observed is asked about with it.
    broker.says(Says::Reply(200, json!({ "observed": true })));
    let observed = Seen { observed: true, ..seen() };
    assert_eq!(
        within(front(&[broker.address]).observe(&observed, "t".into(), &with_key())).await,
        Ok(())
    );
    assert_eq!(broker.asked().pop().unwrap().1["connection"], "tickets-key");
}

#[tokio::test]
async fn a_credential_that_is_not_the_one_that_was_asked_for_goes_nowhere() {
    let broker = FakeBroker::start().await;
    let mut rows = vec![None, Some(Value::Null), Some(json!(KEY)), Some(json!({}))];
    rows.extend(
        [
            json!({ "connection": "other-key" }),
            json!({ "connection": null }),
            json!({ "origin": "https://api.example/path" }),
            json!({ "origin": 1 }),
            json!({ "header": "x api key" }),
            json!({ "header": null }),
            json!({ "value": format!("{KEY}\r\nx-evil: 1") }),
            json!({ "value": "sk-9876543210" }),
            json!({ "value": null }),
            json!({ "secret": "sk" }),
            json!({ "secret": "" }),
            json!({ "secret": null }),
        ]
        .iter()
        .map(|changes| Some(credential(changes))),
    );
    for said in rows {
        broker.says(beside(&broker, said.clone()));
        let refused = ask(&broker, &with_key()).await.unwrap_err();
        assert_eq!(refused.reason, Reason::StoreUnavailable, "{said:?}");
    }
    for said in [credential(&json!({})), Value::Null] {
        broker.says(beside(&broker, Some(said)));
        let refused = ask(&broker, &needs()).await.unwrap_err();
        assert_eq!(refused.reason, Reason::StoreUnavailable, "nobody asked for it");
    }
}

#[tokio::test]
async fn an_echo_is_on_record_when_the_broker_says_so_and_only_then() {
    let broker = FakeBroker::start().await;
    let echoed = async || within(front(&[broker.address]).echoed(&seen(), "tickets-key")).await;
    broker.says(Says::Reply(200, json!({ "recorded": true })));
    assert!(echoed().await);
    let expected = json!({
        "connection": "tickets-key",
        "request": { "method": "GET", "host": "tickets.internal", "path": "/tickets/42" },
        "client_ip": "192.0.2.7", "is_callers_own": true,
    });
    assert_eq!(broker.asked().pop().unwrap(), ("front/echoes".to_owned(), expected));
    for says in [
        Says::Reply(200, json!({ "recorded": false })),
        Says::Reply(200, json!({ "recorded": "true" })),
        Says::Reply(200, json!({})),
        Says::Reply(503, json!({ "recorded": true })),
    ] {
        broker.says(says.clone());
        assert!(!echoed().await, "{says:?}");
    }
}
