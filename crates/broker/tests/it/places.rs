//! `/v1/guards/{service}/places`: one token, shown at two guards from two places.

use delegation::registry::OnDuplicate;
use serde_json::{Value, json};

use crate::boundaries::with;
use crate::engine::{Engine, on_both_engines};
use crate::guards::{of_guards, started};
use crate::installation::Installation;
use crate::uses::{claims_of, for_orders};

on_both_engines!(a_token_that_two_guards_saw_at_two_places_is_on_record_and_revoked);

const ORDERS: &str = "orders";

/// What is said of a token at `from`.
fn place(claims: &Value, from: &str) -> Value {
    json!({ "jti": claims["jti"], "iat": claims["iat"], "exp": claims["exp"], "from": from })
}

/// How many are on record by this.
async fn said(narrows: &Installation, plane: &str, service: &str, places: &[Value]) -> u64 {
    let path = format!("/v1/guards/{service}/places");
    let reply = narrows.ask("POST", &path, plane, Some(&json!({ "places": places }))).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.body["seen_twice"].as_u64().unwrap()
}

async fn a_token_that_two_guards_saw_at_two_places_is_on_record_and_revoked(engine: Engine) {
    let (narrows, plane) = started(engine, OnDuplicate::Revoke).await;
    let alive = async |token: &str| narrows.about("/oauth2/introspect", "orders", token).await.body["active"].clone();
    let (one, other) = (for_orders(&narrows).await, for_orders(&narrows).await);
    let (claims, others) = (claims_of(&one), claims_of(&other));

    // 1. Each guard says where it saw it first. The same place, however it is written, is no news.
    for from in ["192.0.2.1", "192.0.2.1", "::ffff:192.0.2.1"] {
        assert_eq!(said(&narrows, &plane, ORDERS, &[place(&claims, from)]).await, 0, "{from}");
    }
    for from in ["2001:db8:1:2::a", "2001:db8:1:2:ffff::b"] {
        assert_eq!(said(&narrows, &plane, ORDERS, &[place(&others, from)]).await, 0, "{from}");
    }
    // 2. A guard of another audience says nothing of it, whatever it knows.
    assert_eq!(said(&narrows, &plane, "tickets", &[place(&claims, "203.0.113.9")]).await, 0);
    assert_eq!((alive(&one).await, of_guards(&narrows).await.len()), (json!(true), 0));

    // 3. Another place is, once.
    let elsewhere = [place(&others, "2001:db8:1:2::c"), place(&claims, "192.0.2.2")];
    assert_eq!(said(&narrows, &plane, ORDERS, &elsewhere).await, 1);
    assert_eq!(said(&narrows, &plane, ORDERS, &elsewhere).await, 0);
    assert_eq!((alive(&one).await, alive(&other).await), (json!(false), json!(true)));
    let records = of_guards(&narrows).await;
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!((&record["reason"], &record["jti"]), (&json!("token_seen_twice"), &claims["jti"]));
    assert_eq!(record["client_ip"], "192.0.2.2");
    let inputs = &record["inputs"];
    assert_eq!(
        (&inputs["first"], &inputs["second"], &inputs["revoked"]),
        (&json!("192.0.2.1"), &json!("192.0.2.2"), &json!(true))
    );

    // 4. Of two guards that say it at once, one is second.
    for _ in 0..4 {
        let claims = claims_of(&for_orders(&narrows).await);
        let places = ["198.51.100.1", "198.51.100.2"].map(|from| [place(&claims, from)]);
        let (a, b) = tokio::join!(
            said(&narrows, &plane, ORDERS, &places[0]),
            said(&narrows, &plane, ORDERS, &places[1])
        );
        assert_eq!(a + b, 1);
    }
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_no_place_is_refused_and_nothing_of_the_batch_is_kept() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let claims = claims_of(&for_orders(&narrows).await);
    let good = place(&claims, "192.0.2.1");
    let mut bodies = vec![
        json!({}),
        json!({ "places": {} }),
        json!({ "places": [1] }),
        json!({ "places": [], "more": 1 }),
        json!({ "places": vec![good.clone(); 257] }),
    ];
    let changes = [
        json!({ "jti": "" }),
        json!({ "jti": "a\u{0}b" }),
        json!({ "jti": "j".repeat(257) }),
        json!({ "iat": null }),
        json!({ "exp": "x" }),
        json!({ "exp": 1_u64 << 53 }),
        json!({ "from": "here" }),
        json!({ "token": "x" }),
    ];
    bodies.extend(changes.iter().map(|changes| json!({ "places": [good.clone(), with(good.clone(), changes)] })));
    for body in bodies {
        let reply = narrows.ask("POST", "/v1/guards/orders/places", &plane, Some(&body)).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{body}");
    }
    assert_eq!(
        said(&narrows, &plane, ORDERS, &[place(&claims, "192.0.2.2")]).await,
        0,
        "it is the first"
    );
    narrows.stop().await;
}
