//! Claims about a guard that is running: what it remembers, what it asks, and in which order.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use delegation::oauth::Reason;
use delegation::revocation::{Key, PartyKind};
use delegation::token::{Algorithm, KeySet};
use narrows_guard::broker::{Introspected, Rechecked, Use};
use narrows_guard::live::{Decision, Modes, Recheck};
use narrows_guard::route::Demand;
use narrows_guard::surplus::Excess;
use narrows_guard::{Live, Settings};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, now};

use crate::guarded::{AUDIENCE, bearer, call, claims, settings, token, with};
use crate::service::{asked, demand};
use crate::told::{Beside, Told, active, broker, caller, denies, ended, live, opaque, shown};

fn usual() -> Settings {
    settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({}))
}

fn guard(recheck: Recheck, broker: &Beside) -> Live<Beside> {
    live(usual(), recheck, Modes::default(), broker)
}

fn keys_of(issuer: &FakeIssuer) -> Option<Arc<KeySet>> {
    Some(Arc::new(issuer.key_set()))
}

#[tokio::test]
async fn a_right_token_is_admitted_with_what_it_says_and_nothing_is_asked() {
    let broker = broker();
    let live = guard(Recheck::Never, &broker);
    for _ in 0..2 {
        let Decision::Allowed(admitted) = live.decide(&call(), &bearer(&token(&claims())), caller()).await else {
            panic!("refused");
        };
        assert_eq!((admitted.sub.as_str(), admitted.needs().route.as_str()), ("alice", "GET /r/{id}"));
    }
    let told = &broker.0;
    let asked = [&told.looks, &told.uses, &told.questions, &told.rechecks].map(|of| told.count(of));
    assert_eq!((asked, told.refusals().len()), ([0; 4], 0));
    let health = asked_health();
    assert!(matches!(
        live.decide(&health, &Default::default(), caller()).await,
        Decision::Public
    ));
}

fn asked_health() -> narrows_guard::Call {
    asked("GET", "/healthz")
}

#[tokio::test]
async fn only_the_signature_of_a_token_is_remembered() {
    let broker = broker();
    let live = guard(Recheck::Never, &broker);
    let shown_again = async || shown(&live, &token_once()).await;
    assert_eq!(shown_again().await, "allowed");
    // The route, the view and its age are looked at again.
    let elsewhere = asked("GET", "/r/8");
    let decision = live.decide(&elsewhere, &bearer(&token_once()), caller()).await;
    assert_eq!(crate::told::word(&decision), "wider_than_subject");
    *broker.0.age.lock().unwrap() = Duration::from_secs(6);
    assert_eq!(shown_again().await, "revocation_view_stale");
    *broker.0.age.lock().unwrap() = Duration::ZERO;
    assert_eq!(shown_again().await, "allowed");
    let alice = (PartyKind::Subject, Key::of_pair(CORP, "alice"));
    broker.0.disable(alice, true);
    assert_eq!(shown_again().await, "subject_disabled");
    broker.0.disable(alice, false);
    assert_eq!(shown_again().await, "allowed");
    broker.0.revoke("t-2");
    assert_eq!(shown_again().await, "subject_token_revoked");
}

/// One token, the same bytes each time.
fn token_once() -> String {
    static ONCE: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| token(&claims()));
    ONCE.clone()
}

#[tokio::test]
async fn what_is_remembered_ends_with_its_life_and_its_key() {
    let broker = broker();
    let time = Arc::new(std::sync::atomic::AtomicI64::new(now().millis()));
    let clock = Arc::clone(&time);
    let settings = narrows_guard::live::Settings {
        guard: usual(),
        recheck: Recheck::Never,
        modes: Modes::default(),
        clock: narrows_guard::Clock::showing(move || {
            delegation::time::Timestamp::from_millis(clock.load(std::sync::atomic::Ordering::SeqCst))
        }),
    };
    let live = Live::new(settings, broker.clone()).unwrap();
    assert_eq!(shown(&live, &token_once()).await, "allowed");
    time.fetch_add(60_000, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(shown(&live, &token_once()).await, "subject_token_expired");
    time.fetch_sub(60_000, std::sync::atomic::Ordering::SeqCst);
    // The key was rotated out: whoever holds a token of it has nothing any more.
    *broker.0.keys.lock().unwrap() = keys_of(&FakeIssuer::new(BROKER, "other", Algorithm::Es256));
    assert_eq!(shown(&live, &token_once()).await, "subject_token_invalid");
}

#[tokio::test]
async fn another_configuration_forgets_what_was_read_by_the_old_one() {
    let broker = broker();
    let live = guard(Recheck::Never, &broker);
    assert_eq!(shown(&live, &token_once()).await, "allowed");
    let changed = narrows_guard::live::Settings {
        guard: settings(demand("GET /r/{id}", "ticket:update/{id}"), Excess::SameResource, &json!({})),
        recheck: Recheck::Never,
        modes: Modes::default(),
        clock: narrows_guard::Clock::showing(now),
    };
    live.swap(changed).unwrap();
    assert_eq!(shown(&live, &token_once()).await, "wider_than_subject");
}

#[tokio::test]
async fn a_key_that_is_not_there_is_looked_for_once_and_no_keys_are_no_answer() {
    let broker = broker();
    let live = guard(Recheck::Never, &broker);
    let rotated = FakeIssuer::new(BROKER, "next", Algorithm::Es256);
    let signed = rotated.sign("at+jwt", &claims());
    assert_eq!(shown(&live, &signed).await, "subject_token_invalid");
    assert_eq!(broker.0.count(&broker.0.looks), 1);
    *broker.0.fresh.lock().unwrap() = keys_of(&rotated);
    assert_eq!(shown(&live, &signed).await, "allowed");
    assert_eq!(shown(&live, &signed).await, "allowed");
    assert_eq!(broker.0.count(&broker.0.looks), 2);

    // Keys of somebody else are none.
    for keys in [None, Some(Arc::new(FakeIssuer::es256("https://other.example").key_set()))] {
        *broker.0.keys.lock().unwrap() = keys;
        *broker.0.fresh.lock().unwrap() = None;
        let decision = live.decide(&call(), &bearer(&signed), caller()).await;
        let Decision::Refused(denied) = decision else {
            panic!("let through")
        };
        assert_eq!(
            (denied.refusal.reason, denied.refusal.status().as_u16()),
            (Reason::IssuerUnavailable, 503)
        );
        let others = FakeIssuer::es256("https://other.example").sign("at+jwt", &with(json!({ "iss": "https://other.example" })));
        assert_eq!(shown(&live, &others).await, "issuer_unavailable");
    }
    // Whoever shows nothing is told so all the same.
    let decision = live.decide(&call(), &Default::default(), caller()).await;
    assert_eq!(crate::told::word(&decision), "no_token");
}

#[tokio::test]
async fn a_use_is_counted_last_and_only_of_what_is_right() {
    let broker = broker();
    let live = guard(Recheck::Each, &broker);
    let once = with(json!({ "single_use": true }));
    let uses = || broker.0.count(&broker.0.uses);
    assert_eq!(shown(&live, &token(&once)).await, "allowed");
    assert_eq!((uses(), broker.0.count(&broker.0.rechecks)), (1, 1));
    let mut broad = once.clone();
    broad["scope"] = json!("profile");
    assert_eq!(shown(&live, &token(&broad)).await, "overbroad_token");
    assert_eq!((uses(), broker.0.count(&broker.0.rechecks)), (1, 1), "nobody was asked");
    *broker.0.policy.lock().unwrap() = denies();
    assert_eq!(shown(&live, &token(&once)).await, "policy_denied");
    assert_eq!(uses(), 1, "policy was asked before");
    *broker.0.policy.lock().unwrap() = Rechecked::Allowed;
    *broker.0.revoked_meanwhile.lock().unwrap() = Some(ended("t-2"));
    assert_eq!(
        shown(&live, &token(&once)).await,
        "subject_token_revoked",
        "revoked while policy was asked"
    );
    assert_eq!(uses(), 1);
}

#[tokio::test]
async fn every_refusal_is_told_once_with_what_is_known_and_without_the_token() {
    let broker = broker();
    let live = guard(Recheck::Each, &broker);
    let broad = token(&with(json!({ "scope": "profile" })));
    let Decision::Refused(denied) = live.decide(&call(), &bearer(&broad), caller()).await else {
        panic!("let through");
    };
    let told = broker.0.refusals();
    let [refused] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (refused.decision_id.as_str(), refused.reason, refused.from, refused.observed),
        (denied.decision_id.as_str(), Reason::OverbroadToken, caller(), false)
    );
    let line = refused.request.as_ref().unwrap();
    assert_eq!(
        (line.method.as_str(), line.host.as_str(), line.path.as_str()),
        ("GET", "tickets.internal", "/r/7")
    );
    assert_eq!(refused.claims.as_ref().unwrap().jti, "t-2");
    assert_eq!(refused.compared.as_ref().unwrap().surplus.len(), 1);
    let signature = broad.rsplit('.').next().unwrap();
    assert!(!format!("{refused:?} {denied:?} {live:?}").contains(signature));

    // What the broker refused itself is on record there, under its own id.
    *broker.0.policy.lock().unwrap() = denies();
    let Decision::Refused(denied) = live.decide(&call(), &bearer(&token(&claims())), caller()).await else {
        panic!("let through");
    };
    assert_eq!(
        (denied.decision_id.as_str(), denied.refusal.status().as_u16()),
        ("of-the-broker", 403)
    );
    assert_eq!(broker.0.refusals().len(), 1);

    // A token in a path is no line of a record, and neither is what could not be read.
    let decision = live.decide(&asked("GET", &format!("/none/{broad}")), &Default::default(), caller()).await;
    assert_eq!(crate::told::word(&decision), "no_route");
    live.refuse(None, caller(), Reason::MalformedRequest);
    let told = broker.0.refusals();
    assert_eq!(told[1].request.as_ref().unwrap().path, "/none/…");
    assert!(told[2].request.is_none() && told[2].claims.is_none());
    assert!(!format!("{told:?}").contains(signature));
}

/// One refusal, one record: the broker's where it made one of this refusal alone, and else the guard's own.
#[tokio::test]
async fn what_the_broker_refused_is_on_record_once() {
    let broker = broker();
    let once = token(&with(json!({ "single_use": true })));
    let refused = |reason| Rechecked::Refused {
        reason,
        decision_id: "of-the-broker".to_owned(),
    };
    let yes = Rechecked::Allowed;
    let rows = [
        (Use::Used, yes.clone(), Some("of-the-use")),
        (Use::Refused(Reason::TaskCancelled), yes.clone(), Some("of-the-use")),
        (Use::Refused(Reason::SubjectTokenInvalid), yes.clone(), None),
        (Use::Unavailable, yes, None),
        (Use::Accepted, refused(Reason::PolicyDenied), Some("of-the-broker")),
        (Use::Accepted, refused(Reason::SubjectTokenInvalid), None),
        (Use::Accepted, refused(Reason::StoreUnavailable), None),
        (Use::Accepted, Rechecked::Unavailable, None),
    ];
    let live = guard(Recheck::Each, &broker);
    for (used, policy, theirs) in rows {
        let before = broker.0.refusals().len();
        *broker.0.used.lock().unwrap() = used;
        *broker.0.policy.lock().unwrap() = policy.clone();
        let Decision::Refused(denied) = live.decide(&call(), &bearer(&once), caller()).await else {
            panic!("let through");
        };
        let own: Vec<_> = broker.0.refusals().split_off(before).into_iter().map(|refused| refused.decision_id).collect();
        match theirs {
            Some(id) => assert_eq!((denied.decision_id.as_str(), own.len()), (id, 0), "{used:?} {policy:?}"),
            None => assert_eq!(own, std::slice::from_ref(&denied.decision_id), "{used:?} {policy:?}"),
        }
    }
}

/// What the broker may say of a use, of an opaque token and of policy; the first of each is a yes.
fn answers() -> (Vec<Use>, Vec<Introspected>, Vec<Rechecked>) {
    (
        vec![Use::Accepted, Use::Used, Use::Refused(Reason::TaskCancelled), Use::Unavailable],
        vec![
            Introspected::Active(String::new()),
            Introspected::Inactive,
            Introspected::Unavailable,
        ],
        vec![Rechecked::Allowed, denies(), Rechecked::Unavailable],
    )
}

#[tokio::test]
async fn nobody_but_the_broker_makes_a_yes_of_silence() {
    // Every token that needs its word, with every word that it may say, and with every silence.
    let (uses, said, policies) = answers();
    for bits in 0..16_u8 {
        let [once, is_opaque, is_rechecked, is_stale] = [1, 2, 4, 8].map(|bit| bits & bit != 0);
        let claims = with(json!({ "single_use": once }));
        let shown_token = if is_opaque { opaque(1) } else { token(&claims) };
        for used in &uses {
            for (at, said) in said.iter().enumerate() {
                for policy in &policies {
                    let broker = broker();
                    *broker.0.used.lock().unwrap() = *used;
                    *broker.0.said.lock().unwrap() = if at == 0 { active(&claims) } else { said.clone() };
                    *broker.0.policy.lock().unwrap() = policy.clone();
                    *broker.0.age.lock().unwrap() = if is_stale { Duration::from_secs(6) } else { Duration::ZERO };
                    let live = guard(if is_rechecked { Recheck::Each } else { Recheck::Never }, &broker);
                    let word = shown(&live, &shown_token).await;
                    let is_yes = !is_stale
                        && (!once || *used == Use::Accepted)
                        && (!is_opaque || at == 0)
                        && (!is_rechecked || *policy == Rechecked::Allowed);
                    assert_eq!(word == "allowed", is_yes, "{bits:04b} {used:?} {said:?} {policy:?}: {word}");
                }
            }
        }
    }
}

#[tokio::test]
async fn each_no_has_its_reason() {
    let reason = async |claims: &Value, recheck, used, policy: Rechecked| {
        let broker = broker();
        *broker.0.used.lock().unwrap() = used;
        *broker.0.policy.lock().unwrap() = policy;
        shown(&guard(recheck, &broker), &token(claims)).await
    };
    let once = with(json!({ "single_use": true }));
    let (never, each) = (Recheck::Never, Recheck::Each);
    assert_eq!(reason(&once, never, Use::Used, Rechecked::Allowed).await, "token_used");
    assert_eq!(
        reason(&once, never, Use::Unavailable, Rechecked::Allowed).await,
        "store_unavailable"
    );
    let cancelled = Use::Refused(Reason::TaskCancelled);
    assert_eq!(reason(&once, never, cancelled, Rechecked::Allowed).await, "task_cancelled");
    assert_eq!(reason(&claims(), each, Use::Accepted, denies()).await, "policy_denied");
    // What the broker says of the guard is nothing of the caller's.
    let of_us = |reason| Rechecked::Refused {
        reason,
        decision_id: "of-the-broker".to_owned(),
    };
    for ours in [Reason::ClientAuthenticationFailed, Reason::UnauthorizedClient, Reason::NotYours] {
        assert_eq!(reason(&claims(), each, Use::Accepted, of_us(ours)).await, "store_unavailable");
    }
    let stale = of_us(Reason::RevocationViewStale);
    assert_eq!(reason(&claims(), each, Use::Accepted, stale).await, "revocation_view_stale");
    let silent = Rechecked::Unavailable;
    assert_eq!(reason(&claims(), each, Use::Accepted, silent).await, "store_unavailable");
}

/// Asked for any tenant, policy would refuse what it allows for this one, and what the token holds.
#[tokio::test]
async fn policy_is_asked_again_about_what_is_fixed() {
    let broker = broker();
    let settings = settings(
        demand("GET /r/{id}", "ticket:read/{id}"),
        Excess::SameResource,
        &json!({ "tenant": "acme" }),
    );
    let live = live(settings, Recheck::Each, Modes::default(), &broker);
    let held = with(json!({ "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "7", "tenant": "acme" }] }));
    assert_eq!(shown(&live, &token(&held)).await, "allowed");
    assert_eq!(*broker.0.rechecked.lock().unwrap(), ["ticket:read/7?tenant=acme"]);
}

#[tokio::test(start_paused = true)]
async fn a_response_ends_with_its_token_and_when_nobody_knows() {
    type Ends = fn(&Told);
    let rows: [(Ends, Reason); 4] = [
        (|told| told.revoke("t-2"), Reason::SubjectTokenRevoked),
        (
            |told| told.disable((PartyKind::Subject, Key::of_pair(CORP, "alice")), true),
            Reason::SubjectDisabled,
        ),
        (
            |told| told.disable((PartyKind::Client, Key::of("agent")), true),
            Reason::SubjectTokenRevoked,
        ),
        (
            |told| *told.age.lock().unwrap() = Duration::from_secs(6),
            Reason::RevocationViewStale,
        ),
    ];
    for (end, expected) in rows {
        let broker = broker();
        let live = guard(Recheck::Never, &broker);
        let Decision::Allowed(admitted) = live.decide(&call(), &bearer(&token(&claims())), caller()).await else {
            panic!("refused");
        };
        let goes_on = tokio::time::timeout(Duration::from_secs(30), live.why_ended(&admitted)).await;
        assert!(goes_on.is_err(), "it holds");
        end(&broker.0);
        // At the first look: what is ready then would go by before a second.
        let first = pin!(live.why_ended(&admitted)).poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(first, Poll::Ready(expected));
        let ended = tokio::time::timeout(Duration::from_secs(2), live.why_ended(&admitted)).await;
        assert_eq!(ended.unwrap(), expected);
    }
    let live = guard(Recheck::Never, &broker());
    let Decision::Allowed(admitted) = live.decide(&call(), &bearer(&token(&claims())), caller()).await else {
        panic!("refused");
    };
    let later = narrows_guard::live::Settings {
        guard: usual(),
        recheck: Recheck::Never,
        modes: Modes::default(),
        clock: narrows_guard::Clock::showing(|| now().plus(Duration::from_secs(60))),
    };
    live.swap(later).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(2), live.why_ended(&admitted)).await;
    assert_eq!(ended.unwrap(), Reason::SubjectTokenExpired);
}

#[tokio::test]
async fn what_was_used_is_handed_over_until_it_is_kept_and_then_forgotten() {
    let broker = broker();
    let live = guard(Recheck::Never, &broker);
    let batches = || broker.0.batches.lock().unwrap().clone();
    live.hand_over().await;
    assert!(batches().is_empty(), "nothing was used");
    shown(&live, &token(&claims())).await;
    shown(&live, &token(&with(json!({ "scope": "profile" })))).await;
    broker.0.keeps.store(false, std::sync::atomic::Ordering::SeqCst);
    live.hand_over().await;
    shown(&live, &token(&claims())).await;
    live.hand_over().await;
    broker.0.keeps.store(true, std::sync::atomic::Ordering::SeqCst);
    live.hand_over().await;
    live.hand_over().await;
    let all = batches();
    assert_eq!(all.len(), 4);
    assert!(all[0] == all[1] && all[1] == all[2], "what was not kept goes again as it was");
    assert_ne!(all[3].batch, all[2].batch);
    let text = format!("{all:?}");
    assert!(
        text.contains("ticket") && !text.contains("t-2") && !text.contains("alice"),
        "{text}"
    );
}

/// What a report calls "never shown" is what no guard was shown, and not what one refused.
#[tokio::test]
async fn a_token_that_is_refused_is_handed_over_as_shown_if_it_is_for_this_guard() {
    let broker = broker();
    let live = guard(Recheck::Each, &broker);
    broker.0.revoke("t-revoked");
    *broker.0.policy.lock().unwrap() = denies();
    let other = json!([{ "type": "ticket", "actions": ["read"], "identifier": "8" }]);
    for (changes, expected) in [
        (json!({ "jti": "t-denied" }), "policy_denied"),
        (json!({ "jti": "t-denied" }), "policy_denied"),
        (json!({ "jti": "t-revoked" }), "subject_token_revoked"),
        (json!({ "jti": "t-8", "authorization_details": other }), "wider_than_subject"),
        (json!({ "jti": "t-long", "exp": now().seconds() + 6000 }), "subject_token_invalid"),
        (
            json!({ "jti": "t-elsewhere", "aud": "https://other.internal" }),
            "subject_token_not_for_client",
        ),
        (json!({ "jti": "t-ended", "exp": now().seconds() - 1 }), "subject_token_expired"),
    ] {
        assert_eq!(shown(&live, &token(&with(changes.clone()))).await, expected, "{changes}");
    }
    live.observe(
        &call(),
        &bearer(&token(&with(json!({ "jti": "t-seen", "authorization_details": other })))),
        caller(),
    )
    .await;
    let forged = FakeIssuer::new(BROKER, "other", Algorithm::Es256).sign("at+jwt", &claims());
    assert_eq!(shown(&live, &forged).await, "subject_token_invalid");
    live.hand_over().await;
    let batch = broker.0.batches.lock().unwrap().remove(0);
    let sums = json!([{ "client": "edge", "audience": AUDIENCE, "route": "GET /r/{id}", "tokens": 5 }]);
    assert_eq!(batch.sums["sums"], sums);
}

#[tokio::test]
async fn a_token_that_is_shown_from_two_places_is_told_about_if_it_holds() {
    let broker = broker();
    let live = guard(Recheck::Never, &broker);
    let elsewhere = "198.51.100.1".parse().unwrap();
    let sightings = || broker.0.sightings.lock().unwrap().clone();
    let from = async |from, token: &str, path: &str| {
        live.decide(&asked("GET", path), &bearer(token), from).await;
    };
    // Nobody's token, and one that does not hold, say nothing of where theirs is.
    let forged = FakeIssuer::new(BROKER, "other", Algorithm::Es256).sign("at+jwt", &claims());
    let elsewheres = token(&with(json!({ "aud": "https://other.internal", "jti": "t-3" })));
    for shown in [&forged, &elsewheres] {
        from(caller(), shown, "/r/7").await;
        from(elsewhere, shown, "/r/7").await;
    }
    assert!(sightings().is_empty());
    from(caller(), &token(&claims()), "/r/7").await;
    from(caller(), &token(&claims()), "/r/7").await;
    live.observe(&call(), &bearer(&token(&claims())), elsewhere).await;
    assert!(sightings().is_empty(), "what is only observed ends nobody's token");
    // It holds, and allows something else.
    from(elsewhere, &token(&claims()), "/r/8").await;
    from(elsewhere, &token(&claims()), "/r/7").await;
    let told = sightings();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].jti.as_str(), told[0].first, told[0].second), ("t-2", caller(), elsewhere));
}

/// Whoever stole a token does not know what a route asks for.
#[tokio::test]
async fn a_token_that_holds_is_seen_elsewhere_whatever_its_request_is_refused_for() {
    let strong = Demand {
        max_auth_age: Some(Duration::from_secs(60)),
        ..demand("GET /r/{id}", "ticket:read/{id}")
    };
    let counted = demand("GET /r/{id}", "ticket:read/x?tenant=:{id}");
    let elsewhere = "198.51.100.1".parse().unwrap();
    for (demand, path, expected) in [
        (strong, "/r/7", "insufficient_user_authentication"),
        (counted, "/r/05", "malformed_details"),
    ] {
        let broker = broker();
        let live = live(settings(demand, Excess::Any, &json!({})), Recheck::Never, Modes::default(), &broker);
        for from in [caller(), elsewhere] {
            let decision = live.decide(&asked("GET", path), &bearer(&token(&claims())), from).await;
            assert_eq!(crate::told::word(&decision), expected);
        }
        let told = broker.0.sightings.lock().unwrap().clone();
        assert_eq!(told.len(), 1, "{expected}");
        assert_eq!((told[0].first, told[0].second), (caller(), elsewhere));
    }
}

#[tokio::test]
async fn the_broker_is_told_where_a_token_was_shown_first_until_it_keeps_that() {
    let broker = broker();
    let live = guard(Recheck::Never, &broker);
    let told = || std::mem::take(&mut *broker.0.places.lock().unwrap());
    for jti in ["t-7", "t-8"] {
        let token = token(&with(json!({ "jti": jti })));
        shown(&live, &token).await;
        shown(&live, &token).await;
    }
    live.observe(&call(), &bearer(&token(&with(json!({ "jti": "t-9" })))), caller()).await;
    broker.0.keeps.store(false, std::sync::atomic::Ordering::SeqCst);
    live.hand_over().await;
    assert_eq!(told().len(), 2);
    broker.0.keeps.store(true, std::sync::atomic::Ordering::SeqCst);
    live.hand_over().await;
    let seen = told();
    assert_eq!(seen.iter().map(|seen| seen.jti.as_str()).collect::<Vec<_>>(), ["t-7", "t-8"]);
    assert_eq!((seen[0].from, seen[0].exp), (caller(), now().plus(Duration::from_secs(60))));
    live.hand_over().await;
    assert!(told().is_empty(), "each once");
}
