//! Claims about a guard that keeps itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use narrows_guard::live::{Modes, Recheck};
use narrows_guard::remote::Remote;
use narrows_guard::surplus::Excess;
use narrows_guard::{Clock, GuardError, Live, Running, live};
use serde_json::json;
use testkit::{BROKER, now};

use crate::far_broker::{FarBroker, Signs, untended, until};
use crate::guarded::{ISSUER, bearer, call, claims, settings, token, with};
use crate::service::demand;
use crate::told::{broker, caller, word};

const PLACES: &str = "guards/tickets/places";
const REFUSALS: &str = "guards/tickets/refusals";

/// A test waits no longer.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.unwrap()
}

fn checked(issuer: &str) -> live::Settings {
    let guard = settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}));
    live::Settings {
        guard: narrows_guard::Settings {
            issuer: issuer.to_owned(),
            ..guard
        },
        recheck: Recheck::Never,
        modes: Modes::default(),
        clock: Clock::showing(now),
    }
}

/// A guard that nobody tends, at a broker that takes whatever it is told.
async fn started(broker: &FarBroker) -> Running<Remote<Signs>> {
    for path in ["usage", PLACES, REFUSALS] {
        broker.says(path, 200, json!({}));
    }
    let guard = Live::start(checked(BROKER), untended(&[broker.address], Duration::from_secs(10))).unwrap();
    until(|| broker.opened().len() == 1).await;
    broker.makes_ready(guard.live().broker()).await;
    guard
}

async fn shown(live: &Live<Remote<Signs>>, token: &str) -> &'static str {
    word(&within(live.decide(&call(), &bearer(token), caller())).await)
}

#[tokio::test]
async fn a_guard_that_is_started_needs_nobody_to_keep_it() {
    let broker = FarBroker::start(&ISSUER).await;
    let guard = started(&broker).await;
    assert_eq!(shown(guard.live(), &token(&claims())).await, "allowed");
    until(|| !broker.asked(PLACES).is_empty()).await;
}

/// It is told at once, and not when it would have been anyway.
#[tokio::test]
async fn a_guard_that_ends_tells_first_what_is_left_to_be_told() {
    let broker = FarBroker::start(&ISSUER).await;
    let guard = started(&broker).await;
    assert_eq!(shown(guard.live(), &token(&claims())).await, "allowed");
    let broad = token(&with(json!({ "scope": "profile" })));
    assert_eq!(shown(guard.live(), &broad).await, "overbroad_token");
    assert!(broker.asked("usage").is_empty());
    within(guard.stop()).await;
    assert_eq!(broker.asked("usage").len(), 1);
    assert_eq!(broker.asked(PLACES).len(), 1);
    assert_eq!(broker.asked(REFUSALS)[0]["refusals"][0]["reason"], "overbroad_token");
    within(guard.stop()).await;
    assert_eq!(broker.asked("usage").len(), 1, "it has ended");
}

#[tokio::test]
async fn what_is_left_at_the_end_is_told_again_to_a_broker_that_was_away() {
    let broker = FarBroker::start(&ISSUER).await;
    let guard = started(&broker).await;
    let all = ["usage", PLACES, REFUSALS];
    let says = |status| all.map(|path| broker.says(path, status, json!({})));
    says(503);
    assert_eq!(shown(guard.live(), &token(&claims())).await, "allowed");
    let broad = token(&with(json!({ "scope": "profile" })));
    assert_eq!(shown(guard.live(), &broad).await, "overbroad_token");
    let ends = async {
        guard.stop().await;
        assert_eq!(guard.live().broker().waiting(), (0, 0));
    };
    // It is back when it was asked in vain.
    let returns = async {
        until(|| broker.asked("usage").len() >= 2).await;
        says(200);
    };
    within(async { tokio::join!(ends, returns) }).await;
    let [used, places, _] = all.map(|path| broker.asked(path));
    assert_eq!(used.last(), used.first(), "one batch, under its name");
    assert_eq!(places.last(), places.first());
    assert!(guard.live().hand_over().await, "nothing is left");
    assert_eq!(broker.asked("usage").len(), used.len());
}

#[tokio::test]
async fn so_does_one_that_is_dropped() {
    let broker = FarBroker::start(&ISSUER).await;
    let guard = started(&broker).await;
    let broad = token(&with(json!({ "scope": "profile" })));
    assert_eq!(shown(guard.live(), &broad).await, "overbroad_token");
    drop(guard);
    until(|| broker.asked("usage").len() == 1 && !broker.asked(REFUSALS).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_guard_ends_though_nobody_takes_what_is_left() {
    let broker = broker();
    broker.0.stalls.store(true, Ordering::SeqCst);
    let guard = Live::new(checked(BROKER), broker).unwrap().run();
    within(guard.stop()).await;
}

#[tokio::test]
async fn a_guard_asks_nobody_but_the_issuer_of_its_tokens() {
    let link = untended(&["127.0.0.1:9".parse().unwrap()], Duration::from_secs(1));
    let refused = Live::start(checked("https://elsewhere.example"), link).unwrap_err();
    assert!(matches!(refused, GuardError::Issuer { .. }), "{refused}");
}

#[tokio::test]
async fn a_link_is_tended_for_as_long_as_somebody_holds_it() {
    let broker = FarBroker::start(&ISSUER).await;
    let link = untended(&[broker.address], Duration::from_secs(10)).tended();
    until(|| link.is_ready()).await;
    let held = Arc::downgrade(&link);
    drop(link);
    until(|| held.strong_count() == 0).await;
}
