//! Claims about a guard that only observes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use delegation::time::Timestamp;
use http::HeaderMap;
use narrows_guard::Live;
use narrows_guard::broker::Rechecked;
use narrows_guard::hygiene::headers::ProxyHeaders;
use narrows_guard::live::{Modes, Recheck};
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Demand, Mode, Route, Rule};
use narrows_guard::surplus::Excess;
use serde_json::json;
use testkit::now;

use crate::guarded::{bearer, call, claims, settings, token, with};
use crate::service::{asked, demand};
use crate::told::{Beside, broker, caller, denies, live};

fn tomorrow() -> Timestamp {
    now().plus(Duration::from_secs(86_400))
}

fn observes_all() -> Modes {
    Modes {
        mode: Some(Mode::Observe),
        until: Some(tomorrow()),
    }
}

/// A guard with `GET /r/{id}`, `GET /{word}`, and `GET /enforced` and `GET /observed`, which say so themselves.
fn guard(modes: Modes, broker: &Beside) -> Live<Beside> {
    let mut settings = settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}));
    for (key, mode) in [("GET /enforced", Mode::Enforce), ("GET /observed", Mode::Observe)] {
        let said = Demand {
            mode: Some(mode),
            ..demand(key, "ticket:list")
        };
        let route = Route::new(key.to_owned(), Pattern::parse(key).unwrap(), Rule::Needs(Box::new(said)));
        settings.service.routes.push(route);
    }
    settings.service.routes.push(crate::service::route("GET /{word}", "ticket:list"));
    live(settings, Recheck::Each, modes, broker)
}

#[tokio::test]
async fn the_most_specific_word_says_what_binds_and_no_word_without_a_day() {
    let observes = |mode, until| Modes { mode, until };
    let (day, past) = (Some(tomorrow()), Some(now()));
    let rows = [
        // The mode, and whether /r/7, /enforced, /observed, /ENFORCED, /word, what has no route and what could not be read go on.
        (observes(None, None), [false; 7]),
        (observes(None, day), [false, false, true, false, false, false, false]),
        (observes(Some(Mode::Enforce), day), [false, false, true, false, false, false, false]),
        (observes(Some(Mode::Observe), day), [true, false, true, false, true, false, false]),
        (observes(Some(Mode::Observe), past), [false; 7]),
        (observes(Some(Mode::Observe), None), [false; 7]),
    ];
    for (modes, expected) in rows {
        let live = guard(modes, &broker());
        let paths = ["/r/7", "/enforced", "/observed", "/ENFORCED", "/word", "/no/route"];
        let found: Vec<_> = paths
            .iter()
            .map(|path| live.observes(&asked("GET", path), &HeaderMap::new(), ProxyHeaders::Removed))
            .collect();
        assert_eq!(
            (found.as_slice(), live.observes_unread()),
            (&expected[..6], expected[6]),
            "{modes:?}"
        );
    }
    // Where every route observes, so does what is none.
    let whole = settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}));
    let live = live(whole, Recheck::Never, observes(Some(Mode::Observe), day), &broker());
    assert!(live.observes(&asked("GET", "/nothing"), &HeaderMap::new(), ProxyHeaders::Removed) && live.observes_unread());
}

#[tokio::test]
async fn what_is_observed_is_on_record_as_such_and_uses_nothing_up() {
    let broker = broker();
    let live = guard(observes_all(), &broker);
    live.observe(&call(), &bearer(&token(&with(json!({ "single_use": true })))), caller()).await;
    live.observe(&call(), &bearer(&token(&with(json!({ "scope": "profile" })))), caller()).await;
    let told = broker.0.refusals();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].reason.as_str(), told[0].observed), ("overbroad_token", true));
    assert_eq!(broker.0.count(&broker.0.uses), 0);
}

/// Whoever observes learns what policy would say, where that is asked for each request.
#[tokio::test]
async fn policy_is_asked_again_about_what_is_observed_and_told_that_it_is() {
    let broker = broker();
    let observed = guard(observes_all(), &broker);
    let asked = || (broker.0.count(&broker.0.rechecks), broker.0.count(&broker.0.observed));
    *broker.0.policy.lock().unwrap() = denies();
    observed.observe(&call(), &bearer(&token(&claims())), caller()).await;
    assert_eq!(asked(), (1, 1));
    assert!(broker.0.refusals().is_empty(), "the broker has it on record");
    *broker.0.policy.lock().unwrap() = Rechecked::Unavailable;
    observed.observe(&call(), &bearer(&token(&claims())), caller()).await;
    let told = broker.0.refusals();
    assert_eq!((told[0].reason.as_str(), told[0].observed), ("store_unavailable", true));
    // What enforces says so.
    guard(Modes::default(), &broker).decide(&call(), &bearer(&token(&claims())), caller()).await;
    assert_eq!(asked(), (3, 2));
}

#[tokio::test]
async fn questions_about_what_is_observed_are_bounded_and_keep_no_other_waiting() {
    let broker = broker();
    let live = Arc::new(guard(observes_all(), &broker));
    broker.0.ponders.store(true, Ordering::SeqCst);
    let shown = bearer(&token(&claims()));
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..1024 {
        let (live, shown) = (Arc::clone(&live), shown.clone());
        waiting.spawn(async move { live.observe(&call(), &shown, caller()).await });
    }
    let all_ask = async {
        while broker.0.count(&broker.0.observed) < 1024 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all_ask).await.unwrap();
    // One more is not asked about, and so does not wait.
    let call = call();
    let more = live.observe(&call, &shown, caller());
    tokio::time::timeout(Duration::from_secs(60), more).await.unwrap();
    assert_eq!(broker.0.count(&broker.0.observed), 1024);
    broker.0.ponders.store(false, Ordering::SeqCst);
    let decided = tokio::time::timeout(Duration::from_secs(60), live.decide(&call, &shown, caller())).await;
    assert_eq!(crate::told::word(&decided.unwrap()), "allowed");
}
