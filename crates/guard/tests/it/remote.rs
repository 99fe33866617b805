//! Claims about a guard whose broker is another process.

use std::time::Duration;

use delegation::authority::Authority;
use delegation::oauth::Reason;
use delegation::revocation::{Key, Party, PartyKind};
use delegation::token::Algorithm;
use narrows_guard::broker::{Asked, Broker as _, Consumed, FirstSeen, Introspected, Line, Rechecked, Refused, SeenTwice, Use, Used};
use narrows_guard::live::{Modes, Recheck};
use narrows_guard::remote::Remote;
use narrows_guard::surplus::Excess;
use narrows_guard::{Clock, Live, live};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer, now};

use crate::far_broker::{FarBroker, HEARTBEAT, Signs, link, remote, revoked, standing, until};
use crate::guarded::{ISSUER, bearer, call, claims, settings, token, with};
use crate::service::demand;
use crate::told::{caller, opaque, word};

/// A test waits no longer.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.unwrap()
}

fn guard(remote: Remote<Signs>, recheck: Recheck) -> Live<Remote<Signs>> {
    let settings = live::Settings {
        guard: settings(demand("GET /r/{id}", "ticket:read/{id}"), Excess::SameResource, &json!({})),
        recheck,
        modes: Modes::default(),
        clock: Clock::showing(now),
    };
    Live::new(settings, remote).unwrap()
}

async fn shown(live: &Live<Remote<Signs>>, token: &str) -> &'static str {
    word(&within(live.decide(&call(), &bearer(token), caller())).await)
}

fn is_dead(remote: &Remote<Signs>, jti: &str) -> bool {
    remote.view().0.is_dead(delegation::revocation::MarkKind::Jti, &Key::of(jti))
}

fn refusal(at: u32) -> Refused {
    Refused {
        decision_id: format!("00000000-0000-7000-8000-{at:012}"),
        at: now(),
        reason: Reason::NoToken,
        request: Some(Line {
            method: "GET".to_owned(),
            host: "tickets.internal".to_owned(),
            path: "/r/7".to_owned(),
        }),
        from: caller(),
        claims: None,
        compared: None,
        cause: None,
        observed: false,
    }
}

/// The ids of all refusals that the broker took, in their order, and how many it heard of that were lost.
fn recorded(broker: &FarBroker) -> (Vec<String>, u64) {
    let (mut ids, mut lost) = (Vec::new(), 0);
    for body in broker.asked("guards/tickets/refusals") {
        let list = body["refusals"].as_array().unwrap().iter();
        ids.extend(list.map(|one| one["decision_id"].as_str().unwrap().to_owned()));
        lost += body["lost"].as_u64().unwrap();
    }
    (ids, lost)
}

#[tokio::test]
async fn nothing_is_allowed_before_all_that_was_revoked_is_known_and_what_is_revoked_then_is_refused() {
    let broker = FarBroker::start(&ISSUER).await;
    let live = guard(remote(&broker).await, Recheck::Never);
    until(|| broker.opened().len() == 1).await;
    assert!(!live.broker().is_ready());
    assert_eq!(shown(&live, &token(&claims())).await, "revocation_view_stale");
    broker.tells(&revoked(1, "another"));
    broker.makes_ready(live.broker()).await;
    assert_eq!(shown(&live, &token(&claims())).await, "allowed");
    assert!(is_dead(live.broker(), "another"));
    broker.tells(&revoked(2, "t-2"));
    until(|| is_dead(live.broker(), "t-2")).await;
    assert_eq!(shown(&live, &token(&claims())).await, "subject_token_revoked");
}

#[tokio::test]
async fn a_feed_that_broke_is_opened_again_where_it_was_and_one_with_a_gap_from_the_beginning() {
    let broker = FarBroker::start(&ISSUER).await;
    let remote = remote(&broker).await;
    until(|| broker.opened().len() == 1).await;
    broker.tells(&revoked(7, "first"));
    broker.makes_ready(&remote).await;
    broker.hangs_up();
    until(|| broker.opened().len() == 2).await;
    assert_eq!(broker.opened(), [None, Some("7".to_owned())]);

    broker.has_gap(true);
    broker.hangs_up();
    until(|| broker.opened().len() >= 4).await;
    assert_eq!(broker.opened()[3], None, "after `gap` all of it is read anew");
    assert!(is_dead(&remote, "first"), "what was known stays known meanwhile");
    broker.tells(&revoked(1, "second"));
    until(|| {
        broker.tells(HEARTBEAT);
        is_dead(&remote, "second")
    })
    .await;
    assert!(!is_dead(&remote, "first"), "the new view is what the broker has");
}

#[tokio::test]
async fn what_is_no_feed_of_revocations_makes_no_view() {
    let unread = [
        "event: heartbeat\ndata: not json\n\n".to_owned(),
        "event: revoked\nid: 1\ndata: {\"kind\":\"unheard_of\",\"key\":\"00\",\"at\":1}\n\n".to_owned(),
        revoked(1, "x").replace("\"key\":\"", "\"key\":\"0"),
        revoked(1, "x").replace("id: 1\n", ""),
        standing(true, &[], &[]),
        standing(false, &[alice()], &[]).replace("\"subject\"", "\"unheard_of\""),
        standing(false, &[alice()], &[]).replace("\"key\":\"", "\"key\":\"0"),
        standing(false, &[alice()], &[]).replace("enabled", "enable"),
        standing(false, &[], &[alice()]).replace("disabled", "disable"),
        standing(false, &[], &[]).replace("false", "0"),
    ];
    for text in unread {
        let broker = FarBroker::start(&ISSUER).await;
        let remote = remote(&broker).await;
        until(|| broker.opened().len() == 1).await;
        broker.tells(&format!("{text}{HEARTBEAT}"));
        until(|| broker.opened().len() == 2).await;
        assert!(!remote.is_ready(), "{text}");
    }
}

fn alice() -> Party {
    (PartyKind::Subject, Key::of_pair(CORP, "alice"))
}

fn agent() -> Party {
    (PartyKind::Client, Key::of("agent"))
}

fn disables(remote: &Remote<Signs>, party: Party) -> bool {
    remote.view().0.disabled().contains(&party)
}

#[tokio::test]
async fn nothing_is_allowed_before_who_is_disabled_is_told() {
    let broker = FarBroker::start(&ISSUER).await;
    broker.begins_with("");
    let remote = remote(&broker).await;
    until(|| broker.opened().len() == 1).await;
    broker.tells(HEARTBEAT);
    until(|| broker.opened().len() == 2).await;
    assert!(!remote.is_ready(), "an earlier broker beats and tells of nobody");
    // Changes alone are not all of it.
    broker.tells(&format!("{}{HEARTBEAT}", standing(false, &[alice()], &[])));
    until(|| broker.opened().len() == 3).await;
    assert!(!remote.is_ready() && !disables(&remote, alice()));
    broker.begins_with(&standing(true, &[alice()], &[]));
    broker.hangs_up();
    until(|| broker.opened().len() == 4).await;
    broker.makes_ready(&remote).await;
    assert!(disables(&remote, alice()));

    // That there is nobody, a heartbeat says by itself.
    broker.begins_with("");
    broker.hangs_up();
    until(|| broker.opened().len() == 5).await;
    broker.tells("event: heartbeat\ndata: {\"seq\":0,\"disabled\":0}\n\n");
    until(|| !disables(&remote, alice())).await;
    broker.tells(&standing(false, &[alice()], &[]));
    until(|| disables(&remote, alice())).await;
}

#[tokio::test]
async fn whoever_is_disabled_is_refused_until_enabled() {
    let broker = FarBroker::start(&ISSUER).await;
    let live = guard(remote(&broker).await, Recheck::Never);
    until(|| broker.opened().len() == 1).await;
    broker.makes_ready(live.broker()).await;
    let shows = async || shown(&live, &token(&claims())).await;
    assert_eq!(shows().await, "allowed");
    for (party, expected) in [(alice(), "subject_disabled"), (agent(), "subject_token_revoked")] {
        broker.tells(&standing(false, &[party], &[]));
        until(|| disables(live.broker(), party)).await;
        assert_eq!(shows().await, expected);
        broker.tells(&standing(false, &[], &[party]));
        until(|| !disables(live.broker(), party)).await;
        assert_eq!(shows().await, "allowed");
    }
    // What is revoked beside it is dead in whichever order they come.
    broker.tells(&format!("{}{}", standing(false, &[alice()], &[]), revoked(1, "t-2")));
    until(|| disables(live.broker(), alice()) && is_dead(live.broker(), "t-2")).await;
    assert_eq!(shows().await, "subject_disabled");
    broker.tells(&standing(false, &[], &[alice()]));
    until(|| !disables(live.broker(), alice())).await;
    assert_eq!(shows().await, "subject_token_revoked");
}

#[tokio::test]
async fn whoever_was_enabled_while_nobody_listened_is_so_when_all_is_told_again_and_not_before() {
    let broker = FarBroker::start(&ISSUER).await;
    let remote = remote(&broker).await;
    broker.begins_with(&standing(true, &[alice()], &[]));
    until(|| broker.opened().len() == 1).await;
    broker.hangs_up();
    until(|| broker.opened().len() == 2).await;
    broker.tells(&revoked(7, "first"));
    broker.makes_ready(&remote).await;
    assert!(disables(&remote, alice()) && !disables(&remote, agent()));

    // The next stream is of somebody else. What it has told in part is not in force.
    broker.begins_with(&standing(true, &[], &[]));
    broker.hangs_up();
    until(|| broker.opened().len() == 3).await;
    broker.tells(&format!("{}{}", standing(false, &[agent()], &[]), revoked(8, "second")));
    until(|| is_dead(&remote, "second")).await;
    assert!(disables(&remote, alice()) && !disables(&remote, agent()), "not all is told");
    broker.tells(HEARTBEAT);
    until(|| disables(&remote, agent())).await;
    assert!(!disables(&remote, alice()));
    assert_eq!(broker.opened()[2].as_deref(), Some("7"), "no place is one of standing");

    // Nor is anything of it kept where all is read anew.
    broker.has_gap(true);
    broker.begins_with(&standing(true, &[alice()], &[]));
    broker.hangs_up();
    until(|| broker.opened().len() >= 5).await;
    broker.tells(HEARTBEAT);
    until(|| disables(&remote, alice())).await;
    assert!(!disables(&remote, agent()));
}

#[tokio::test]
async fn a_broker_that_is_away_lets_the_view_grow_old() {
    let broker = FarBroker::start(&ISSUER).await;
    let remote = remote(&broker).await;
    until(|| broker.opened().len() == 1).await;
    broker.makes_ready(&remote).await;
    let before = remote.view().1;
    broker.crash().await;
    until(|| remote.view().1 > before + Duration::from_millis(300)).await;
    // There again, it is followed again.
    let again = FarBroker::start_at(broker.address, &ISSUER).await;
    until(|| {
        again.tells(HEARTBEAT);
        remote.view().1 < Duration::from_millis(200)
    })
    .await;
}

#[tokio::test]
async fn a_use_is_accepted_only_when_the_broker_says_so() {
    let broker = FarBroker::start(&ISSUER).await;
    let remote = remote(&broker).await;
    let of = |answer: Use, recorded: Option<&str>| Consumed {
        answer,
        recorded: recorded.map(str::to_owned),
    };
    let refusal = |reason: &str, id: &str| json!({ "reason": reason, "decision_id": id });
    let revoked = Use::Refused(Reason::SubjectTokenRevoked);
    let rows: [(u16, Value, Consumed); 14] = [
        (200, json!({ "accepted": true }), of(Use::Accepted, None)),
        (200, json!({ "accepted": "true" }), of(Use::Unavailable, None)),
        (200, json!({}), of(Use::Unavailable, None)),
        (409, json!({ "reason": "token_used" }), of(Use::Used, None)),
        (409, refusal("token_used", "d-1"), of(Use::Used, Some("d-1"))),
        (400, json!({ "reason": "subject_token_revoked" }), of(revoked, None)),
        (422, refusal("subject_token_revoked", "d-2"), of(revoked, Some("d-2"))),
        // What people are shown is an id.
        (409, refusal("token_used", "<d>"), of(Use::Used, None)),
        (409, refusal("token_used", &"d".repeat(65)), of(Use::Used, None)),
        // It is on record there among those of strangers, or not at all.
        (
            422,
            refusal("subject_token_invalid", "d-3"),
            of(Use::Refused(Reason::SubjectTokenInvalid), None),
        ),
        (403, refusal("unauthorized_client", "d-4"), of(Use::Unavailable, None)),
        (422, refusal("invalid_dpop_proof", "d-5"), of(Use::Unavailable, None)),
        (503, refusal("store_unavailable", "d-6"), of(Use::Unavailable, None)),
        (503, refusal("subject_token_revoked", "d-7"), of(Use::Unavailable, None)),
    ];
    let line = Line {
        method: "GET".to_owned(),
        host: "tickets.internal".to_owned(),
        path: "/r/7".to_owned(),
    };
    let asked = Asked {
        request: Some(&line),
        from: caller(),
        observed: false,
    };
    for (status, said, expected) in &rows {
        broker.says("uses", *status, said.clone());
        assert_eq!(within(remote.consume("the.token", &asked)).await, *expected, "{said}");
    }
    let request = json!({ "method": "GET", "host": "tickets.internal", "path": "/r/7" });
    assert_eq!(
        broker.asked("uses")[0],
        json!({ "token": "the.token", "request": request, "client_ip": "192.0.2.7" })
    );
    assert_eq!(broker.asked("uses").len(), rows.len(), "a use is asked for once");
    broker.crash().await;
    assert_eq!(within(remote.consume("the.token", &asked)).await, of(Use::Unavailable, None));
}

#[tokio::test]
async fn policy_is_asked_about_this_request_and_only_a_yes_is_one() {
    let broker = FarBroker::start(&ISSUER).await;
    let live = guard(remote(&broker).await, Recheck::Each);
    until(|| broker.opened().len() == 1).await;
    broker.makes_ready(live.broker()).await;
    let shown_token = token(&claims());
    let path = "guards/tickets/recheck";
    broker.says(path, 200, json!({ "allowed": true }));
    assert_eq!(shown(&live, &shown_token).await, "allowed");
    let expected = json!({
        "token": shown_token, "client_ip": "192.0.2.7",
        "request": { "method": "GET", "host": "tickets.internal", "path": "/r/7" },
        "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "7" }],
    });
    assert_eq!(broker.asked(path)[0], expected);
    let rows = [
        (
            200,
            json!({ "refused": { "reason": "policy_denied", "decision_id": "d-1" } }),
            "policy_denied",
        ),
        (
            200,
            json!({ "allowed": true, "refused": { "reason": "policy_denied", "decision_id": "d-1" } }),
            "policy_denied",
        ),
        (
            200,
            json!({ "refused": { "reason": "unheard_of", "decision_id": "d-1" } }),
            "store_unavailable",
        ),
        (
            200,
            json!({ "refused": { "reason": "policy_denied", "decision_id": "<b>" } }),
            "store_unavailable",
        ),
        (200, json!({ "allowed": 1 }), "store_unavailable"),
        (200, json!({}), "store_unavailable"),
        (500, json!({ "allowed": true }), "store_unavailable"),
    ];
    for (status, said, expected) in rows {
        broker.says(path, status, said.clone());
        assert_eq!(shown(&live, &shown_token).await, expected, "{said}");
    }
    // Asked as a whole, with the broker gone.
    broker.crash().await;
    let asked = Asked {
        request: None,
        from: caller(),
        observed: false,
    };
    assert_eq!(
        within(live.broker().recheck("t", &asked, &Authority::default())).await,
        Rechecked::Unavailable
    );
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_as_our_client_and_only_an_answer_is_one() {
    let broker = FarBroker::start(&ISSUER).await;
    let live = guard(remote(&broker).await, Recheck::Never);
    until(|| broker.opened().len() == 1).await;
    broker.makes_ready(live.broker()).await;
    let said = with(json!({ "active": true, "token_type": "Bearer" }));
    broker.says("introspect", 200, said.clone());
    assert_eq!(shown(&live, &opaque(1)).await, "allowed");
    let form = broker.asked("introspect")[0].as_str().unwrap().to_owned();
    assert!(
        form.starts_with(&format!("token={}&token_type_hint=access_token&", opaque(1))),
        "{form}"
    );
    let rows = [
        (200, json!({ "active": false }), "subject_token_invalid"),
        (200, json!({ "active": "true" }), "store_unavailable"),
        (200, json!({}), "store_unavailable"),
        (200, json!([]), "store_unavailable"),
        (401, json!({ "error": "invalid_client" }), "store_unavailable"),
        (500, said, "store_unavailable"),
    ];
    for (at, (status, said, expected)) in (2..).zip(rows) {
        broker.says("introspect", status, said.clone());
        assert_eq!(shown(&live, &opaque(at)).await, expected, "{status} {said}");
    }
    assert!(!format!("{:?}", live.broker()).contains("own-"));
    broker.crash().await;
    assert!(matches!(
        within(live.broker().introspect(&opaque(9))).await,
        Introspected::Unavailable
    ));
}

#[tokio::test]
async fn refusals_are_on_record_soon_in_their_order_and_say_what_is_known() {
    let broker = FarBroker::start(&ISSUER).await;
    broker.says("guards/tickets/refusals", 200, json!({ "recorded": 1 }));
    let live = guard(remote(&broker).await, Recheck::Never);
    until(|| broker.opened().len() == 1).await;
    broker.makes_ready(live.broker()).await;
    let broad = token(&with(json!({ "scope": "profile" })));
    assert_eq!(shown(&live, &broad).await, "overbroad_token");
    until(|| live.broker().waiting() == (0, 0)).await;
    let body = broker.asked("guards/tickets/refusals").remove(0);
    let (id, at) = (body["refusals"][0]["decision_id"].clone(), body["refusals"][0]["at"].clone());
    let minute = now().millis()..now().millis() + 60_000;
    assert!(minute.contains(&at.as_i64().unwrap()), "{at}");
    let expected = json!({
        "refusals": [{
            "decision_id": id, "at": at, "reason": "overbroad_token", "client_ip": "192.0.2.7",
            "request": { "method": "GET", "host": "tickets.internal", "path": "/r/7" },
            "claims": {
                "jti": "t-2", "sub": "alice", "client_id": "edge", "aud": "https://tickets.internal",
                "exp": now().seconds() + 60, "iat": now().seconds() - 10, "txn": "x-1", "task": "k-1",
                "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" },
                "actor": [{ "iss": BROKER, "sub": "agent" }], "chain": ["o_1", "t-1"], "scope": "profile",
                "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "7" }],
            },
            "compared": { "required": ["ticket:read/7"], "presented": ["ticket:read/7", "scope profile"], "surplus": ["scope profile"] },
        }],
        "lost": 0,
    });
    assert_eq!(body, expected);
    for at in 0..250 {
        live.broker().refused(refusal(at));
    }
    until(|| live.broker().waiting() == (0, 0)).await;
    let (ids, lost) = recorded(&broker);
    assert_eq!((ids.len(), lost), (251, 0));
    assert!(ids[1..].is_sorted());
}

#[tokio::test]
async fn refusals_wait_while_the_broker_is_away_and_are_sent_when_it_is_back() {
    let broker = FarBroker::start(&ISSUER).await;
    let remote = remote(&broker).await;
    // It does not take them, then it is gone, then it is back: none is lost, and none is sent without its id.
    remote.refused(refusal(1));
    until(|| !broker.asked("guards/tickets/refusals").is_empty()).await;
    broker.crash().await;
    remote.refused(refusal(2));
    let again = FarBroker::start_at(broker.address, &ISSUER).await;
    again.says("guards/tickets/refusals", 200, json!({ "recorded": 2 }));
    until(|| remote.waiting() == (0, 0)).await;
    let (ids, lost) = recorded(&again);
    assert_eq!((ids, lost), (vec![refusal(1).decision_id, refusal(2).decision_id], 0));
}

#[tokio::test]
async fn whoever_waits_for_the_record_waits_until_the_broker_takes_it() {
    let broker = FarBroker::start(&ISSUER).await;
    let remote = remote(&broker).await;
    remote.refused(refusal(1));
    let asked_in_vain = until(|| broker.asked("guards/tickets/refusals").len() >= 4);
    let mut flushed = std::pin::pin!(remote.flush());
    tokio::select! {
        biased;
        () = &mut flushed => panic!("nothing is on record"),
        () = asked_in_vain => broker.says("guards/tickets/refusals", 200, json!({ "recorded": 1 })),
    }
    within(flushed).await;
    assert_eq!(remote.waiting(), (0, 0));
}

#[tokio::test]
async fn one_refusal_that_is_not_taken_holds_up_no_other() {
    let broker = FarBroker::start(&ISSUER).await;
    let remote = remote(&broker).await;
    broker.says("guards/tickets/refusals", 400, json!({ "reason": "malformed_request" }));
    for at in 0..3 {
        remote.refused(refusal(at));
    }
    until(|| remote.waiting().0 == 0).await;
    broker.says("guards/tickets/refusals", 200, json!({ "recorded": 0 }));
    remote.refused(refusal(4));
    until(|| remote.waiting() == (0, 0)).await;
    let last = broker.asked("guards/tickets/refusals").pop().unwrap();
    assert_eq!(
        (last["refusals"].as_array().unwrap().len(), &last["lost"]),
        (1, &json!(3)),
        "they are counted"
    );
}

#[tokio::test]
async fn what_waits_is_bounded_and_a_flood_of_strangers_leaves_room() {
    let broker = FarBroker::start(&ISSUER).await;
    // Nothing is taken.
    let remote = remote(&broker).await;
    let path = "/".repeat(8 * 1024);
    let long = |claims| Refused {
        request: Some(Line {
            method: "GET".to_owned(),
            host: "tickets.internal".to_owned(),
            path: path.clone(),
        }),
        claims,
        ..refusal(1)
    };
    for _ in 0..3000 {
        remote.refused(long(None));
    }
    let (waiting, lost) = remote.waiting();
    assert!(
        (400..520).contains(&waiting) && lost == 3000 - u64::try_from(waiting).unwrap(),
        "{waiting} {lost}"
    );
    let ours = ISSUER.key_set();
    let known = delegation::token::Unverified::parse(&token(&claims())).unwrap().authenticate(&ours).unwrap();
    let said: Box<delegation::token::AccessClaims> = Box::new(known.says(&testkit::snapshot().types, 8).unwrap());
    for _ in 0..3000 {
        remote.refused(long(Some(said.clone())));
    }
    let (all, _) = remote.waiting();
    assert!(all > waiting + 1000 && all < 2100, "{all}");
}

#[tokio::test]
async fn what_was_used_is_handed_over_under_one_name_and_kept_here_until_it_is_there() {
    let broker = FarBroker::start(&ISSUER).await;
    let remote = remote(&broker).await;
    let used = Used {
        batch: "b-1".to_owned(),
        from: now(),
        until: now().plus(Duration::from_secs(60)),
        sums: json!({ "sums": [], "others": 2 }).as_object().unwrap().clone(),
    };
    assert!(!within(remote.used(&used)).await);
    broker.says("usage", 200, json!({}));
    assert!(within(remote.used(&used)).await);
    let expected = json!({
        "batch": "b-1", "service": "tickets", "from": now().millis(), "until": now().millis() + 60_000, "sums": [], "others": 2,
    });
    assert_eq!(broker.asked("usage"), [expected.clone(), expected]);
}

#[tokio::test]
async fn a_token_that_was_seen_twice_is_said_to_have_been() {
    let broker = FarBroker::start(&ISSUER).await;
    broker.says("guards/tickets/sightings", 200, json!({ "recorded": true }));
    let remote = remote(&broker).await;
    remote.seen_twice(SeenTwice {
        jti: "t-2".to_owned(),
        iat: now(),
        exp: now(),
        first: caller(),
        second: "198.51.100.1".parse().unwrap(),
    });
    until(|| !broker.asked("guards/tickets/sightings").is_empty()).await;
    let expected = json!({ "jti": "t-2", "iat": now().seconds(), "exp": now().seconds(), "first": "192.0.2.7", "second": "198.51.100.1" });
    assert_eq!(broker.asked("guards/tickets/sightings"), [expected]);
}

#[tokio::test]
async fn where_tokens_were_shown_is_said_until_it_is_kept_or_never_will_be() {
    let broker = FarBroker::start(&ISSUER).await;
    let remote = remote(&broker).await;
    let seen = [FirstSeen {
        jti: "t-2".to_owned(),
        iat: now(),
        exp: now().plus(Duration::from_secs(60)),
        from: caller(),
    }];
    for (status, settled) in [(200, true), (400, true), (404, true), (413, true), (429, false), (503, false)] {
        broker.says("guards/tickets/places", status, json!({ "seen_twice": 0 }));
        assert_eq!(within(remote.first_seen(&seen)).await, settled, "{status}");
    }
    let expected = json!({ "places": [
        { "jti": "t-2", "iat": now().seconds(), "exp": now().seconds() + 60, "from": "192.0.2.7" },
    ] });
    assert_eq!(broker.asked("guards/tickets/places")[0], expected);
    broker.crash().await;
    assert!(!within(remote.first_seen(&seen)).await);
}

#[tokio::test]
async fn keys_are_the_newest_that_any_address_gave() {
    let new = FakeIssuer::new(BROKER, "next", Algorithm::Es256);
    let (first, second) = (FarBroker::start(&ISSUER).await, FarBroker::start(&ISSUER).await);
    let link = link(&[first.address, second.address], Duration::from_secs(10));
    within(link.tend()).await;
    let live = guard(Remote::start(link, "tickets".to_owned()), Recheck::Never);
    // The address that gave the keys is away, and the other one signs with a new one by now.
    first.crash().await;
    second.publishes(&new);
    assert_eq!(
        shown(&live, &new.sign("at+jwt", &claims())).await,
        "revocation_view_stale",
        "the key is known"
    );
    let forged = FakeIssuer::new(BROKER, "other", Algorithm::Es256).sign("at+jwt", &claims());
    assert_eq!(shown(&live, &forged).await, "subject_token_invalid");
}

#[tokio::test]
async fn a_feed_that_says_nothing_is_left() {
    let broker = FarBroker::start(&ISSUER).await;
    let _remote = remote(&broker).await;
    until(|| broker.opened().len() == 2).await;
}

#[tokio::test]
async fn a_look_for_keys_does_not_hold_a_request_up() {
    let broker = FarBroker::start(&ISSUER).await;
    let link = link(&[broker.address], Duration::from_millis(200));
    within(link.tend()).await;
    let remote = Remote::start(link, "tickets".to_owned());
    broker.stalls_keys();
    // Whoever asks for keys without an answer waits for five seconds.
    let looked = tokio::time::timeout(Duration::from_secs(4), remote.look_for_keys()).await;
    assert!(looked.is_ok() && remote.keys().is_some(), "those that were there stay");
}
