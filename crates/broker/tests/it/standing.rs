//! A client that is disabled ends what it was given, at every door of the broker; enabled, the same tokens are good again.

use std::time::Duration;

use broker::front_door::{self, Watched};
use broker::store::{Party, Standing};
use delegation::oauth::{ClientId, Reason};
use delegation::time::Timestamp;
use issuance::audit::{Kind, Record};
use serde_json::json;

use crate::installation::{Installation, Reply, seconds};
use crate::tasks::TASK;

const INTROSPECT: &str = "/oauth2/introspect";
const ORDERS: &str = "https://orders.internal";

pub(crate) async fn set(narrows: &Installation, client: &str, standing: Standing) {
    let party = Party::Client(ClientId::parse(client).unwrap());
    let note = Record::new(uuid::Uuid::now_v7().to_string(), Timestamp::from_seconds(seconds()), Kind::Operator);
    narrows.engine.open().await.set_standing(&party, standing, note).await.unwrap();
    narrows.broker.tend().await;
}

/// Exchanges `token` as orders, which receives it.
async fn passed_on(narrows: &Installation, token: &str, changes: &[(&str, &str)]) -> Reply {
    let orders = [
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", token),
    ];
    narrows.exchange(&[&orders[..], changes].concat()).await
}

fn outcome(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.text("reason"))
}

#[tokio::test]
async fn what_a_client_was_given_is_good_for_nothing_at_the_broker_until_it_is_enabled() {
    let narrows = Installation::start().await;
    let token = narrows.exchange(&[("audience", ORDERS)]).await.text("access_token").to_owned();
    let derived = passed_on(&narrows, &token, &[("audience", ORDERS)]).await.text("access_token").to_owned();
    let active = async |token: &str| narrows.about(INTROSPECT, "orders", token).await.body["active"].clone();
    for token in [&token, &derived] {
        assert_eq!(active(token).await, json!(true));
    }

    set(&narrows, "edge", Standing::Disabled).await;
    // The first is the edge's own, and in the second it acted.
    for token in [&token, &derived] {
        let refused = (400, "subject_token_revoked");
        assert_eq!(outcome(&passed_on(&narrows, token, &[]).await), refused);
        assert_eq!(
            outcome(&passed_on(&narrows, token, &[("requested_token_type", TASK)]).await),
            refused
        );
        assert_eq!(active(token).await, json!(false));
    }
    // Of orders itself nobody said anything.
    let itself = [
        ("grant_type", "client_credentials"),
        ("subject_token", ""),
        ("subject_token_type", ""),
    ];
    let itself = [&[("client_id", "orders"), ("client_secret", "orders-secret")], &itself[..]].concat();
    assert_eq!(narrows.exchange(&itself).await.status, 200);

    set(&narrows, "edge", Standing::Enabled).await;
    for token in [&token, &derived] {
        assert_eq!(passed_on(&narrows, token, &[]).await.status, 200);
        assert_eq!(active(token).await, json!(true));
    }
    narrows.stop().await;
}

/// What is open ends as the token's fault, unless it is the holder who is disabled: that one asks for nothing at all.
#[tokio::test]
async fn what_is_open_ends_when_whoever_acted_before_is_disabled() {
    let narrows = Installation::start().await;
    let token = narrows.exchange(&[("audience", ORDERS)]).await.text("access_token").to_owned();
    let derived = passed_on(&narrows, &token, &[]).await.text("access_token").to_owned();
    let watched = Watched::of(&narrows.broker, &derived).await.unwrap();
    assert!(watched.holds(&narrows.broker));
    for (client, reason) in [
        ("edge", Reason::SubjectTokenRevoked),
        ("orders", Reason::ClientAuthenticationFailed),
    ] {
        set(&narrows, client, Standing::Disabled).await;
        assert!(!watched.holds(&narrows.broker), "{client}");
        let ended = front_door::ended(&narrows.broker, &derived);
        let why = tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
        assert_eq!(why, reason, "{client}");
        set(&narrows, client, Standing::Enabled).await;
        assert!(watched.holds(&narrows.broker), "{client}");
    }
    narrows.stop().await;
}
