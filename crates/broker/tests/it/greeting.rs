//! The caller's token is looked at before the rest of its request has come, as an exchange looks at it.

use std::num::NonZeroU32;

use broker::Rates;
use broker::front_door::{self, Refused, Seen};
use delegation::oauth::{Form, Reason};
use issuance::mint::Minted;
use serde_json::json;
use testkit::{CORP, FakeIssuer};

use crate::boundaries::{self, GREET, decided, started_as, with};
use crate::front_door::{edge, seen};
use crate::installation::{Installation, Plan, encode, seconds};
use crate::introspection::{Endpoint, OPAQUE, active};

async fn exchanged(narrows: &Installation, seen: &Seen<'_>, token: &str) -> Result<Minted, Refused> {
    let mut form = narrows.form();
    form.retain(|name, _| !name.starts_with("client_"));
    form.insert("subject_token".to_owned(), token.to_owned());
    let pairs: Vec<_> = form.into_iter().collect();
    let form = Form::parse(encode(&pairs).as_bytes()).unwrap();
    front_door::exchange(&narrows.broker, seen, &form, None).await
}

/// What is refused says what the exchange of the same token would say, on record too; what is not is nowhere.
#[tokio::test]
async fn a_token_is_refused_before_the_rest_has_come_for_what_its_exchange_would_be() {
    let narrows = Installation::start().await;
    let (edge, broker) = (edge(), &narrows.broker);
    let here = seen(&edge);
    let with = |name: &str, value| {
        let mut claims = narrows.user_claims();
        claims[name] = value;
        narrows.issuer.sign("at+jwt", &claims)
    };
    let ours = exchanged(&narrows, &here, &narrows.user_token()).await.unwrap().token;
    let (now, forged) = (seconds(), FakeIssuer::es256(CORP).sign("at+jwt", &narrows.user_claims()));
    let mut over = narrows.user_claims();
    (over["iat"], over["exp"]) = (json!(now - 700), json!(now - 100));
    let expired = narrows.issuer.sign("at+jwt", &over);
    for (token, expected) in [
        ("junk".to_owned(), Reason::SubjectTokenInvalid),
        (forged, Reason::SubjectTokenInvalid),
        (with("iss", json!("https://elsewhere.example")), Reason::SubjectTokenInvalid),
        (with("aud", json!("https://elsewhere.example")), Reason::SubjectTokenNotForClient),
        (narrows.issuer.sign("JWT", &narrows.user_claims()), Reason::SubjectTokenInvalid),
        (expired, Reason::SubjectTokenExpired),
        (with("nbf", json!(now + 1000)), Reason::SubjectTokenInvalid),
        (ours, Reason::SubjectTokenNotForClient),
        (with("may_act", json!({ "sub": "another" })), Reason::MayActMismatch),
    ] {
        let greeted = front_door::greet(broker, &here, &token).await.unwrap_err();
        let decided = exchanged(&narrows, &here, &token).await.unwrap_err();
        assert_eq!((greeted.reason, decided.reason), (expected, expected));
        // What anybody could have sent is counted together.
        if expected == Reason::SubjectTokenInvalid {
            continue;
        }
        let records = narrows.records().await;
        let said = |id: &str| {
            let mut of = records.iter().filter(|record| record["id"] == id);
            let (record, again) = (of.next().unwrap(), of.next());
            assert!(again.is_none());
            [
                "reason",
                "client",
                "subject",
                "request",
                "boundary",
                "client_ip",
                "inputs",
                "kind",
                "chain",
            ]
            .map(|name| record[name].clone())
        };
        assert_eq!(said(&greeted.decision_id), said(&decided.decision_id));
    }
    let before = narrows.records().await.len();
    let greeted = front_door::greet(broker, &here, &narrows.user_token()).await.unwrap();
    assert_eq!((&*greeted.subject().iss, &*greeted.subject().sub), (CORP, "alice"));
    assert_eq!(narrows.records().await.len(), before, "a look is no decision");
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_shown_and_is_nothing_counts_for_its_address() {
    let rates = Rates {
        per_address: NonZeroU32::new(5).unwrap(),
        ..Rates::default()
    };
    let narrows = Installation::of(Plan { rates, ..Plan::default() }).await;
    let edge = edge();
    let mut reasons = Vec::new();
    for _ in 0..40 {
        reasons.push(front_door::greet(&narrows.broker, &seen(&edge), "x").await.unwrap_err().reason);
    }
    assert_eq!(reasons.first(), Some(&Reason::SubjectTokenInvalid));
    assert!(reasons.contains(&Reason::RateLimited));
    let right = front_door::greet(&narrows.broker, &seen(&edge), &narrows.user_token()).await;
    assert_eq!(right.unwrap_err().reason, Reason::RateLimited, "nothing from there is verified");
    narrows.stop().await;
}

/// What an issuer said goes along with the request that it was said about, and with no other.
#[tokio::test]
async fn the_issuer_of_an_opaque_token_is_asked_once_about_one_request() {
    let (endpoint, introspection) = Endpoint::start().await;
    let narrows = Installation::with_introspection(introspection).await;
    endpoint.says(200, &active().to_string());
    let (edge, broker) = (edge(), &narrows.broker);
    let greeted = front_door::greet(broker, &seen(&edge), OPAQUE).await.unwrap();
    let whole = Seen {
        greeted: Some(&greeted),
        ..seen(&edge)
    };
    front_door::attributes(broker, &whole, OPAQUE).await.unwrap();
    exchanged(&narrows, &whole, OPAQUE).await.unwrap();
    assert_eq!(endpoint.asked().len(), 1);
    endpoint.says(200, r#"{"active":false}"#);
    let other = exchanged(&narrows, &whole, "ya29.another").await.unwrap_err();
    assert_eq!(
        (other.reason, endpoint.asked().len()),
        (Reason::SubjectTokenInvalid, 2),
        "another token"
    );
    let next = exchanged(&narrows, &seen(&edge), OPAQUE).await.unwrap_err();
    assert_eq!(
        (next.reason, endpoint.asked().len()),
        (Reason::SubjectTokenInvalid, 3),
        "another request"
    );
    let next = front_door::greet(broker, &seen(&edge), OPAQUE).await.unwrap_err();
    assert_eq!((next.reason, endpoint.asked().len()), (Reason::SubjectTokenInvalid, 4));
    narrows.stop().await;
}

/// A boundary elsewhere is told whose token it is; what an issuer said could not go along with its request.
#[tokio::test]
async fn a_boundary_elsewhere_is_told_whose_token_it_is_unless_its_issuer_would_be_asked_twice() {
    let (endpoint, introspection) = Endpoint::start().await;
    let (narrows, client) = started_as(Plan {
        introspection: Some(introspection),
        ..crate::api::plan()
    })
    .await;
    endpoint.says(200, &active().to_string());
    let ask = async |token: &str| {
        let body = with(boundaries::seen(), &json!({ "subject_token": token }));
        narrows.ask("POST", GREET, &client, Some(&body)).await
    };
    let before = narrows.records().await.len();
    let told = ask(&narrows.user_token()).await;
    assert_eq!(
        (told.status, told.body),
        (200, json!({ "holder": { "iss": CORP, "sub": "alice" } }))
    );
    let told = ask(OPAQUE).await;
    assert_eq!((told.status, told.body), (200, json!({ "holder": null })));
    assert_eq!(
        (endpoint.asked().len(), narrows.records().await.len()),
        (0, before),
        "a look is no decision"
    );
    let mut over = narrows.user_claims();
    (over["iat"], over["exp"]) = (json!(seconds() - 700), json!(seconds() - 100));
    let refused = ask(&narrows.issuer.sign("at+jwt", &over)).await;
    assert_eq!(decided(&refused), "subject_token_expired");
    let records = narrows.records().await;
    let record = records.iter().find(|record| record["id"] == refused.body["refused"]["decision_id"]).unwrap();
    assert_eq!(
        (&record["boundary"], &record["request"]["path"]),
        (&json!("front"), &json!("/tickets/42"))
    );
    narrows.stop().await;
}
