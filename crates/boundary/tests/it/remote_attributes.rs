//! Attributes by way of a broker in another process: what is asked, and what of the reply is believed.

use std::collections::BTreeSet;
use std::time::Duration;

use boundary::{Exchanger as _, Refused, Seen};
use delegation::identity::{AttributeValue, Attributes};
use delegation::oauth::Reason;
use serde_json::{Value, json};

use crate::fake_broker::{FakeBroker, Says, front, granted, seen};

async fn ask(broker: &FakeBroker, seen: &Seen) -> Result<Attributes, Refused> {
    let front = front(&[broker.address]);
    let asked = front.attributes(seen, "the.callers.token".into());
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap()
}

#[tokio::test]
async fn attributes_come_as_they_were_verified_and_the_question_says_whose() {
    let broker = FakeBroker::start().await;
    let values = json!({ "site": "north", "grade": 7, "staff": true, "teams": ["a", "b"] });
    broker.says(Says::Reply(
        200,
        json!({ "attributes": { "values": values, "groups": ["support"] } }),
    ));
    let known = ask(&broker, &seen()).await.unwrap();
    assert_eq!(known.groups, BTreeSet::from(["support".to_owned()]));
    let teams = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(
        known.values.into_iter().collect::<Vec<_>>(),
        [
            ("grade".to_owned(), AttributeValue::Integer(7)),
            ("site".to_owned(), AttributeValue::Text("north".to_owned())),
            ("staff".to_owned(), AttributeValue::Boolean(true)),
            ("teams".to_owned(), AttributeValue::Set(teams)),
        ]
    );
    let (what, asked) = broker.asked().pop().unwrap();
    let expected = json!({
        "subject_token": "the.callers.token",
        "request": { "method": "GET", "host": "tickets.internal", "path": "/tickets/42" },
        "client_ip": "192.0.2.7", "is_callers_own": true,
    });
    assert_eq!((what.as_str(), asked), ("front/attributes", expected));
    let _ = ask(&broker, &Seen { observed: true, ..seen() }).await;
    assert_eq!(broker.asked().pop().unwrap().1["observed"], true);
}

#[tokio::test]
async fn attributes_that_are_not_whole_are_nobodys() {
    let broker = FakeBroker::start().await;
    let said = |attributes: Value| Says::Reply(200, json!({ "attributes": attributes }));
    for says in [
        Says::Reply(200, json!({})),
        granted(&broker.token()),
        said(json!(null)),
        said(json!({})),
        said(json!({ "values": { "site": "north" } })),
        said(json!({ "values": { "site": "north" }, "group": [] })),
        said(json!({ "values": { "site": "north" }, "groups": [], "more": 1 })),
        said(json!({ "values": { "site": 1.5 }, "groups": [] })),
        said(json!({ "values": { "site": null }, "groups": [] })),
        said(json!({ "values": { "site": { "a": 1 } }, "groups": [] })),
        said(json!({ "values": {}, "groups": "support" })),
        Says::Reply(403, json!({ "attributes": { "values": {}, "groups": [] } })),
    ] {
        broker.says(says.clone());
        assert_eq!(
            ask(&broker, &seen()).await.unwrap_err().reason,
            Reason::StoreUnavailable,
            "{says:?}"
        );
    }
    // A refusal is one, whatever stands beside it.
    let refused = json!({ "reason": "subject_token_expired", "decision_id": "d-1" });
    broker.says(Says::Reply(
        200,
        json!({ "refused": refused, "attributes": { "values": {}, "groups": [] } }),
    ));
    let expected = Refused {
        reason: Reason::SubjectTokenExpired,
        decision_id: "d-1".to_owned(),
    };
    assert_eq!(ask(&broker, &seen()).await.unwrap_err(), expected);
}
