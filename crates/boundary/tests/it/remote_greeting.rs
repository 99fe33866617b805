//! Whose token it is, by way of a broker in another process: what is asked, and what of the reply is believed.

use std::time::Duration;

use boundary::{Exchanger as _, Refused, Seen};
use delegation::oauth::Reason;
use narrows_guard::live::Guest;
use serde_json::{Value, json};

use crate::fake_broker::{FakeBroker, Says, front, granted, seen};

async fn ask(broker: &FakeBroker, seen: &Seen) -> Result<Guest, Refused> {
    let front = front(&[broker.address]);
    let asked = front.greet(seen, "the.callers.token");
    let greeted = tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap();
    greeted.map(|greeted| greeted.guest)
}

fn said(holder: &Value) -> Says {
    Says::Reply(200, json!({ "holder": holder }))
}

#[tokio::test]
async fn the_broker_is_asked_whose_body_is_waited_for() {
    let broker = FakeBroker::start().await;
    broker.says(said(&json!({ "iss": "https://corp.example", "sub": "alice" })));
    assert_eq!(ask(&broker, &seen()).await, Ok(Guest::holder("https://corp.example", "alice")));
    let (what, asked) = broker.asked().pop().unwrap();
    let expected = json!({
        "subject_token": "the.callers.token",
        "request": { "method": "GET", "host": "tickets.internal", "path": "/tickets/42" },
        "client_ip": "192.0.2.7", "is_callers_own": true,
    });
    assert_eq!((what.as_str(), asked), ("front/greet", expected));
    let _ = ask(&broker, &Seen { observed: true, ..seen() }).await;
    assert_eq!(broker.asked().pop().unwrap().1["observed"], true);
    // Of an opaque token it says nothing yet.
    broker.says(said(&Value::Null));
    assert_eq!(ask(&broker, &seen()).await, Ok(Guest::Anybody));
}

#[tokio::test]
async fn a_reply_that_does_not_say_whose_token_it_is_lets_nobody_in() {
    let broker = FakeBroker::start().await;
    for says in [
        Says::Reply(200, json!({})),
        granted(&broker.token()),
        said(&json!("alice")),
        said(&json!({})),
        said(&json!({ "iss": "https://corp.example" })),
        said(&json!({ "iss": "https://corp.example", "sub": "" })),
        said(&json!({ "iss": 1, "sub": "alice" })),
        Says::Reply(403, json!({ "holder": null })),
        Says::Reply(404, json!({ "holder": null })),
    ] {
        broker.says(says.clone());
        let refused = ask(&broker, &seen()).await.unwrap_err();
        assert_eq!(refused.reason, Reason::StoreUnavailable, "{says:?}");
    }
    let refused = json!({ "reason": "subject_token_expired", "decision_id": "d-1" });
    broker.says(Says::Reply(200, json!({ "refused": refused, "holder": null })));
    let expected = Refused {
        reason: Reason::SubjectTokenExpired,
        decision_id: "d-1".to_owned(),
    };
    assert_eq!(ask(&broker, &seen()).await, Err(expected));
}
