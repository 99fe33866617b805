//! Claims about whose body a guard waits for.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use narrows_guard::live::{Guest, Modes, Recheck};
use narrows_guard::surplus::Excess;
use narrows_guard::{Body, Call, Live};
use serde_json::json;
use testkit::{BROKER, CORP, FakeIssuer};

use crate::guarded::{bearer, claims, settings, token, with};
use crate::service::{demand, route};
use crate::told::{Beside, Told, broker, caller, live, opaque, word};

fn guard(broker: &Beside) -> Live<Beside> {
    let mut settings = settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}));
    let more = [route("POST /r", "ticket:update/{body.id}"), route("POST /hook", "public")];
    settings.service.routes.extend(more);
    live(settings, Recheck::Never, Modes::default(), broker)
}

/// A request with a body that has not come.
fn call(target: &str) -> Call {
    Call::parse("POST", b"tickets.internal", target.as_bytes(), &HeaderMap::new(), Body::Hidden).unwrap()
}

async fn greeted(live: &Live<Beside>, target: &str, headers: &HeaderMap) -> &'static str {
    match live.greet(&call(target), headers, caller()).await {
        Ok(Guest::Holder(_)) => "holder",
        Ok(Guest::Anybody) => "anybody",
        Err(denied) => denied.refusal.reason.as_str(),
    }
}

fn two(mut headers: HeaderMap) -> HeaderMap {
    headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a"));
    headers
}

#[tokio::test]
async fn nobodys_body_is_waited_for_whose_token_is_none_of_ours_for_here_and_now() {
    let broker = broker();
    let live = guard(&broker);
    let forged = FakeIssuer::es256(BROKER).sign("at+jwt", &claims());
    for (headers, expected) in [
        (HeaderMap::new(), "no_token"),
        (two(bearer(&token(&claims()))), "malformed_request"),
        (bearer("junk"), "subject_token_invalid"),
        (bearer(&forged), "subject_token_invalid"),
        (bearer(&opaque(1)), "subject_token_invalid"),
        (
            bearer(&token(&with(json!({ "aud": "https://other.internal" })))),
            "subject_token_not_for_client",
        ),
        (bearer(&token(&with(json!({ "iat": 1, "exp": 2 })))), "subject_token_expired"),
    ] {
        let before = broker.0.refusals().len();
        assert_eq!(greeted(&live, "/r", &headers).await, expected);
        let told = broker.0.refusals();
        assert_eq!(
            (told.len(), told[before].reason.as_str()),
            (before + 1, expected),
            "on record, once"
        );
        assert_eq!(told[before].request.as_ref().unwrap().path, "/r");
        // Without a body there is nothing that could have been said first.
        let bare = call("/r").with_body(Body::Absent);
        assert_eq!(word(&live.decide(&bare, &headers, caller()).await), expected);
    }
    // One that holds is greeted, whether it allows this request or not, and one that was revoked is not.
    let right = bearer(&token(&claims()));
    assert_eq!(greeted(&live, "/r", &right).await, "holder");
    let others = bearer(&token(&with(
        json!({ "sub": "bob", "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "bob" } }),
    )));
    let of = async |headers: &HeaderMap| live.greet(&call("/r"), headers, caller()).await.unwrap();
    assert!(
        of(&right).await == of(&right).await && of(&right).await != of(&others).await,
        "by subject"
    );
    broker.0.revoke("t-2");
    assert_eq!(greeted(&live, "/r", &right).await, "subject_token_revoked");
    // Where no token is needed, nobody is asked who it is.
    for headers in [HeaderMap::new(), bearer("junk")] {
        assert_eq!(greeted(&live, "/hook", &headers).await, "anybody");
    }
}

#[tokio::test]
async fn to_be_greeted_uses_nothing_up_and_shows_the_token_nowhere() {
    let broker = broker();
    let live = guard(&broker);
    assert_eq!(greeted(&live, "/r", &bearer(&token(&claims()))).await, "holder");
    live.hand_over().await;
    let told: &Arc<Told> = &broker.0;
    assert_eq!([&told.uses, &told.rechecks].map(|of| told.count(of)), [0; 2]);
    assert!(told.places.lock().unwrap().is_empty() && told.batches.lock().unwrap().is_empty() && told.refusals().is_empty());
    *told.age.lock().unwrap() = Duration::from_secs(6);
    assert_eq!(greeted(&live, "/r", &bearer(&token(&claims()))).await, "revocation_view_stale");
}
