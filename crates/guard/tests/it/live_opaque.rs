//! Claims about opaque tokens at a guard: the broker's word takes the place of a signature, for a second, and of nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use delegation::revocation::{Key, PartyKind};
use delegation::token::{OpaqueForm, OpaqueKind};
use narrows_guard::Live;
use narrows_guard::broker::Introspected;
use narrows_guard::live::{Modes, Recheck};
use narrows_guard::surplus::Excess;
use serde_json::{Value, json};
use tokio::time::advance;

use crate::guarded::{bearer, call, claims, settings, with};
use crate::service::demand;
use crate::told::{Beside, active, broker, caller, live, opaque, shown, word};

fn guard(broker: &Beside) -> Live<Beside> {
    let settings = settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}));
    live(settings, Recheck::Never, Modes::default(), broker)
}

fn questions(broker: &Beside) -> usize {
    broker.0.count(&broker.0.questions)
}

fn says(broker: &Beside, said: Introspected) {
    *broker.0.said.lock().unwrap() = said;
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_believed_for_a_second_and_asked_for_once() {
    let broker = broker();
    let live = guard(&broker);
    says(&broker, active(&claims()));
    let token = opaque(1);
    let all = futures_of((0..8).map(|_| shown(&live, &token))).await;
    assert_eq!((all, questions(&broker)), (vec!["allowed"; 8], 1), "all wait for one answer");
    advance(Duration::from_millis(999)).await;
    assert_eq!((shown(&live, &token).await, questions(&broker)), ("allowed", 1));
    says(&broker, Introspected::Inactive);
    advance(Duration::from_millis(1)).await;
    assert_eq!((shown(&live, &token).await, questions(&broker)), ("subject_token_invalid", 2));
    // Another token is another question.
    says(&broker, active(&claims()));
    assert_eq!((shown(&live, &opaque(2)).await, questions(&broker)), ("allowed", 3));
}

/// What comes of all of these, polled in turns.
async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = all.map(|each| (Box::pin(each), None)).collect();
    std::future::poll_fn(|context| {
        for (each, done) in &mut waiting {
            if done.is_none()
                && let std::task::Poll::Ready(value) = each.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if waiting.iter().all(|(_, done)| done.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn what_the_broker_says_is_checked_like_what_a_token_says() {
    let now = testkit::now().seconds();
    let rows: [(Value, &str); 8] = [
        (json!({}), "allowed"),
        (json!({ "aud": "https://other.internal" }), "subject_token_not_for_client"),
        (json!({ "iss": "https://other.example" }), "subject_token_invalid"),
        (json!({ "exp": now }), "subject_token_expired"),
        (json!({ "iat": now - 1000 }), "subject_token_invalid"),
        (json!({ "cnf": { "jkt": "k" } }), "invalid_dpop_proof"),
        (json!({ "scope": "profile" }), "overbroad_token"),
        (json!({ "authorization_details": [] }), "wider_than_subject"),
    ];
    for (at, (changes, expected)) in (0..).zip(rows) {
        let broker = broker();
        says(&broker, active(&with(changes.clone())));
        assert_eq!(shown(&guard(&broker), &opaque(at)).await, expected, "{changes}");
    }
    let broker = broker();
    let live = guard(&broker);
    says(&broker, active(&claims()));
    assert_eq!(shown(&live, &opaque(1)).await, "allowed");
    let edge = (PartyKind::Client, Key::of("edge"));
    broker.0.disable(edge, true);
    assert_eq!(shown(&live, &opaque(1)).await, "subject_token_revoked");
    broker.0.disable(edge, false);
    assert_eq!(shown(&live, &opaque(1)).await, "allowed");
    broker.0.revoke("t-2");
    assert_eq!(
        shown(&live, &opaque(1)).await,
        "subject_token_revoked",
        "the view is looked at all the same"
    );
    assert_eq!(questions(&broker), 1);
}

#[tokio::test]
async fn what_is_no_answer_lets_nobody_through() {
    let mut silent = claims();
    silent["active"] = json!("true");
    let mut other = claims();
    other
        .as_object_mut()
        .unwrap()
        .extend(json!({ "active": true, "token_type": "N_A" }).as_object().unwrap().clone());
    let mut twice = claims().to_string();
    twice.insert_str(1, "\"active\":true,\"token_type\":\"Bearer\",\"active\":true,");
    let rows = [
        (Introspected::Unavailable, "store_unavailable"),
        (Introspected::Inactive, "subject_token_invalid"),
        (Introspected::Active(silent.to_string()), "subject_token_invalid"),
        (Introspected::Active(claims().to_string()), "subject_token_invalid"),
        (Introspected::Active(other.to_string()), "subject_token_invalid"),
        (Introspected::Active(twice), "subject_token_invalid"),
        (Introspected::Active("[]".to_owned()), "subject_token_invalid"),
        (
            Introspected::Active(r#"{"active":true,"token_type":"Bearer"}"#.to_owned()),
            "subject_token_invalid",
        ),
    ];
    for (said, expected) in rows {
        let broker = broker();
        says(&broker, said.clone());
        assert_eq!(shown(&guard(&broker), &opaque(1)).await, expected, "{said:?}");
    }
    // What only looks like one is not asked about, and neither is another kind of ours.
    let broker = broker();
    let cut = opaque(1).get(..53).unwrap().to_owned();
    let task = OpaqueForm::make(OpaqueKind::Task, &[7; 32]);
    for token in [cut.as_str(), task.expose(), "opaque-of-somebody-else"] {
        assert_eq!(shown(&guard(&broker), token).await, "subject_token_invalid");
    }
    assert_eq!(questions(&broker), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_shows_tokens_that_are_none_makes_nobody_ask_for_ever() {
    let broker = broker();
    let live = guard(&broker);
    let shown_from = async |at: u32, from: IpAddr| word(&live.decide(&call(), &bearer(&opaque(at)), from).await);
    let mut reasons = Vec::new();
    for at in 0..100 {
        reasons.push(shown_from(at, caller()).await);
    }
    assert_eq!(questions(&broker), 16);
    assert_eq!(reasons.iter().filter(|reason| **reason == "rate_limited").count(), 84);
    // The same token again costs nothing, and neither does anybody else pay for it.
    assert_eq!(shown_from(0, caller()).await, "subject_token_invalid");
    says(&broker, active(&claims()));
    assert_eq!(shown_from(200, "198.51.100.1".parse().unwrap()).await, "allowed");
    // One half of an address of IPv6 is one party.
    says(&broker, Introspected::Inactive);
    for at in 0..100_u32 {
        let from = format!("2001:db8::{at:x}").parse().unwrap();
        shown_from(300 + at, from).await;
    }
    assert_eq!(questions(&broker), 16 + 1 + 16);
    advance(Duration::from_secs(1)).await;
    says(&broker, active(&claims()));
    assert_eq!(shown_from(400, caller()).await, "allowed");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_takes_no_yes_back_and_gives_none() {
    let broker = broker();
    let live = guard(&broker);
    says(&broker, active(&claims()));
    assert_eq!(shown(&live, &opaque(1)).await, "allowed");
    says(&broker, Introspected::Unavailable);
    advance(Duration::from_secs(1)).await;
    assert_eq!(shown(&live, &opaque(1)).await, "store_unavailable");
    says(&broker, active(&claims()));
    assert_eq!(shown(&live, &opaque(1)).await, "allowed", "silence is not remembered");
}

#[tokio::test(start_paused = true)]
async fn questions_under_way_are_few_and_so_are_the_tokens_that_are_known_about() {
    let broker = broker();
    let live = Arc::new(guard(&broker));
    let from = |at: u32| IpAddr::from((0xC000_0000 + at).to_be_bytes());
    broker.0.stalls.store(true, std::sync::atomic::Ordering::SeqCst);
    let waiting: Vec<_> = (0..64)
        .map(|at| {
            let live = Arc::clone(&live);
            tokio::spawn(async move { word(&live.decide(&call(), &bearer(&opaque(at)), from(at)).await) })
        })
        .collect();
    while questions(&broker) < 64 {
        tokio::task::yield_now().await;
    }
    let (asked, headers) = (call(), bearer(&opaque(64)));
    let one_more = tokio::time::timeout(Duration::from_secs(1), live.decide(&asked, &headers, from(64)));
    assert_eq!(word(&one_more.await.unwrap()), "rate_limited");
    for each in &waiting {
        each.abort();
    }
    for each in waiting {
        assert!(each.await.is_err());
    }
    broker.0.stalls.store(false, std::sync::atomic::Ordering::SeqCst);
    // Within a second so many are known about, and then there is room again.
    says(&broker, active(&claims()));
    let mut words = Vec::new();
    for at in 0..4200 {
        words.push(word(&live.decide(&call(), &bearer(&opaque(at)), from(at)).await));
    }
    assert_eq!(words.iter().filter(|word| **word == "allowed").count(), 4096);
    assert!(words[4096..].iter().all(|word| *word == "rate_limited"));
    advance(Duration::from_secs(1)).await;
    assert_eq!(shown(&live, &opaque(5000)).await, "allowed");
}
