//! Security events that issuers push: what they do, who may send them, and what happens when one comes again.

use std::num::NonZeroU32;
use std::time::Duration;

use broker::{Clock, Rates, Role};
use delegation::time::Timestamp;
use serde_json::{Value, json};
use testkit::{CORP, FakeIssuer};

use crate::api::{operator, plan};
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, RULES, Reply, seconds};
use crate::tasks;

on_both_engines!(
    what_a_signal_says_is_in_force_with_its_answer_and_on_record,
    a_signal_has_an_effect_once_whatever_happened_since,
    a_risk_is_what_was_said_last_in_whatever_order_it_arrives,
    an_operators_word_on_a_risk_stands_against_what_was_said_before_it,
    who_was_enabled_is_refused_again_by_what_no_operator_knew,
    a_person_who_is_disabled_by_a_signal_has_no_work_done_later,
    of_one_signal_sent_many_times_at_once_one_has_an_effect,
);

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";

/// Refuses whom policy sees at high risk.
fn no_risk() -> String {
    format!("{RULES}\n@id(\"no-risk\") forbid (principal, action, resource) when {{ context.risk == \"high\" }};")
}

async fn installation(engine: Engine) -> Installation {
    Installation::of(Plan {
        engine,
        rules: no_risk(),
        ..plan()
    })
    .await
}

/// One whose clock stands still until it is set.
async fn with_clock(engine: Engine) -> (Clock, Installation) {
    let clock = Clock::standing(Timestamp::from_seconds(seconds()));
    let narrows = Installation::of(Plan {
        engine,
        clock: clock.clone(),
        rules: no_risk(),
        ..plan()
    })
    .await;
    (clock, narrows)
}

/// The claims of an event of corp's about alice, with these changes; null takes a claim away.
fn claims(narrows: &Installation, name: &str, payload: Value, changes: Value) -> Value {
    let events = serde_json::Map::from_iter([(name.to_owned(), payload)]);
    let mut claims = json!({
        "iss": CORP, "aud": narrows.url, "iat": narrows.clock.now().seconds(), "jti": uuid::Uuid::now_v7().to_string(),
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" },
        "events": events,
    });
    let Value::Object(changes) = changes else {
        panic!("changes are an object")
    };
    let members = claims.as_object_mut().unwrap();
    members.extend(changes);
    members.retain(|_, value| !value.is_null());
    claims
}

fn event(narrows: &Installation, name: &str) -> String {
    narrows.issuer.sign("secevent+jwt", &claims(narrows, name, json!({}), json!({})))
}

fn risk(narrows: &Installation, level: &str, changes: Value) -> String {
    let payload = json!({ "principal": "USER", "current_level": level });
    let claims = claims(narrows, &format!("{CAEP}risk-level-change"), payload, changes);
    narrows.issuer.sign("secevent+jwt", &claims)
}

async fn push(narrows: &Installation, event: &str) -> Reply {
    let headers = [("content-type", "application/secevent+jwt")];
    narrows.ask_with("POST", "/v1/events", &headers, Some(event.as_bytes().to_vec())).await
}

async fn taken(narrows: &Installation, event: &str) {
    let reply = push(narrows, event).await;
    assert_eq!((reply.status, &reply.body), (202, &Value::Null));
}

/// How an exchange of a token of alice's that was issued `age` seconds ago ends.
async fn of_age(narrows: &Installation, age: i64) -> (u16, String) {
    let mut claims = narrows.user_claims();
    claims["iat"] = json!(narrows.clock.now().seconds() - age);
    let reply = narrows.exchange(&[("subject_token", &narrows.issuer.sign("at+jwt", &claims))]).await;
    (reply.status, reply.text("reason").to_owned())
}

/// The records that signals left, by reason.
async fn reasons(narrows: &Installation) -> Vec<String> {
    let records = narrows.records().await;
    let signals = records.iter().filter(|record| record["inputs"]["signalled_by"] == "corp");
    signals.map(|record| record["reason"].as_str().unwrap().to_owned()).collect()
}

/// TEX-031: a session that ended at the provider is no evidence any more.
async fn what_a_signal_says_is_in_force_with_its_answer_and_on_record(engine: Engine) {
    let (clock, narrows) = with_clock(engine).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let late = json!({ "event_timestamp": clock.now().seconds() - 60 });
    let late = claims(&narrows, &format!("{CAEP}session-revoked"), late, json!({}));
    taken(&narrows, &narrows.issuer.sign("secevent+jwt", &late)).await;
    assert_eq!(
        of_age(&narrows, 30).await.0,
        400,
        "and what was issued between the event and its receipt"
    );
    clock.set(clock.now().plus(Duration::from_secs(10)));
    let revoked = (400, "subject_token_revoked".to_owned());
    let ends = [
        format!("{CAEP}session-revoked"),
        format!("{RISC}sessions-revoked"),
        format!("{RISC}credential-compromise"),
    ];
    for name in &ends {
        let issued = narrows.exchange(&[]).await.text("access_token").to_owned();
        taken(&narrows, &event(&narrows, name)).await;
        assert_eq!(of_age(&narrows, 0).await, revoked, "{name}: what was issued in this second, too");
        let active = narrows.about("/oauth2/introspect", "edge", &issued).await.body["active"].clone();
        assert_eq!(active, json!(false), "{name}: and what came of it");
        clock.set(clock.now().plus(Duration::from_secs(10)));
        assert_eq!(of_age(&narrows, 0).await.0, 200, "{name}: whoever logs in again may go on");
    }
    for name in ["account-disabled", "account-purged"] {
        taken(&narrows, &event(&narrows, &format!("{RISC}{name}"))).await;
        clock.set(clock.now().plus(Duration::from_secs(10)));
        assert_eq!(of_age(&narrows, 0).await, (400, "subject_disabled".to_owned()), "{name}");
        // Its issuer does not undo that, and neither does it undo an operator's word.
        taken(&narrows, &event(&narrows, &format!("{RISC}account-enabled"))).await;
        assert_eq!(of_age(&narrows, 0).await, (400, "subject_disabled".to_owned()), "{name}");
        let enabled = narrows.ask("POST", "/v1/subjects/corp/alice/enable", &admin, None).await;
        assert_eq!(enabled.status, 200);
        assert_eq!(of_age(&narrows, 0).await.0, 200);
        assert_eq!(
            of_age(&narrows, 15).await,
            revoked,
            "{name}: what was issued before is dead for good"
        );
    }
    let mut bob = narrows.user_claims();
    bob["sub"] = json!("bob");
    bob["iat"] = json!(clock.now().seconds() - 60);
    let bob = narrows.exchange(&[("subject_token", &narrows.issuer.sign("at+jwt", &bob))]).await;
    assert_eq!(bob.status, 200, "nobody else is meant");

    let unknown = json!({ "format": "opaque", "id": "stream-1" });
    let verification = "https://schemas.openid.net/secevent/ssf/event-type/verification";
    let ignored = claims(&narrows, verification, json!({ "state": "x" }), json!({ "sub_id": unknown }));
    taken(&narrows, &narrows.issuer.sign("secevent+jwt", &ignored)).await;
    let expected = [
        "revoked", "revoked", "revoked", "revoked", "disabled", "ignored", "disabled", "ignored", "ignored",
    ];
    assert_eq!(reasons(&narrows).await, expected);
    let records = narrows.records().await;
    let last = records.iter().rfind(|record| record["reason"] == "ignored").unwrap();
    assert_eq!((&last["jti"], &last["inputs"]["events"]), (&ignored["jti"], &json!([verification])));
    let disabled = records.iter().find(|record| record["reason"] == "disabled").unwrap();
    assert_eq!(disabled["subject"], json!({ "iss": CORP, "sub": "alice" }));
    assert_eq!((&disabled["kind"], &disabled["decision"]), (&json!("operator"), &json!("done")));
    narrows.stop().await;
}

async fn a_signal_has_an_effect_once_whatever_happened_since(engine: Engine) {
    let (clock, narrows) = with_clock(engine).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let disabling = event(&narrows, &format!("{RISC}account-disabled"));
    taken(&narrows, &disabling).await;
    assert_eq!(of_age(&narrows, 0).await.1, "subject_disabled");
    assert_eq!(
        narrows.ask("POST", "/v1/subjects/corp/alice/enable", &admin, None).await.status,
        200
    );
    clock.set(clock.now().plus(Duration::from_secs(10)));
    for _ in 0..3 {
        taken(&narrows, &disabling).await;
    }
    assert_eq!(of_age(&narrows, 0).await.0, 200, "neither disabled again nor revoked again");
    // Its id is remembered for as long as it would be taken, and by another broker on the store too.
    clock.set(clock.now().plus(Duration::from_secs(7 * 86_400 - 30)));
    for _ in 0..65 {
        // Whenever so many records were written, what may be forgotten is.
        assert_eq!(of_age(&narrows, 0).await.0, 200);
    }
    taken(&narrows, &disabling).await;
    assert_eq!(of_age(&narrows, 0).await.0, 200);
    clock.set(clock.now().plus(Duration::from_secs(30)));
    assert_eq!(push(&narrows, &disabling).await.text("err"), "invalid_request", "too old by now");
    assert_eq!(reasons(&narrows).await, ["disabled"]);
    let again = narrows.records().await;
    let again: Vec<_> = again.iter().filter(|record| record["reason"] == "seen_before").collect();
    assert!(
        !again.is_empty() && again.iter().all(|record| record["decision"] == "done"),
        "{again:?}"
    );
    narrows.stop().await;
}

async fn a_risk_is_what_was_said_last_in_whatever_order_it_arrives(engine: Engine) {
    let narrows = installation(engine).await;
    let now = narrows.clock.now().seconds();
    taken(&narrows, &risk(&narrows, "HIGH", json!({}))).await;
    assert_eq!(of_age(&narrows, 0).await, (400, "policy_denied".to_owned()));
    let before = json!({ "toe": now - 60 });
    taken(&narrows, &risk(&narrows, "LOW", before)).await;
    assert_eq!(of_age(&narrows, 0).await.0, 400, "that was said before");
    let earlier = json!({ "principal": "USER", "current_level": "LOW", "event_timestamp": now - 60 });
    let earlier = claims(&narrows, &format!("{CAEP}risk-level-change"), earlier, json!({}));
    taken(&narrows, &narrows.issuer.sign("secevent+jwt", &earlier)).await;
    assert_eq!(of_age(&narrows, 0).await.0, 400, "so was that");
    // Of a time that has not come, a signal tells as of now.
    taken(&narrows, &risk(&narrows, "MEDIUM", json!({ "toe": now + 3600 }))).await;
    assert_eq!(of_age(&narrows, 0).await.0, 200);
    taken(&narrows, &risk(&narrows, "HIGH", json!({}))).await;
    assert_eq!(of_age(&narrows, 0).await.0, 400, "so what is said next comes after it");
    taken(&narrows, &risk(&narrows, "MEDIUM", json!({}))).await;
    let admin = operator(&narrows, "ann", &[Role::Admin, Role::Auditor]).await;
    let listed = narrows.ask("GET", "/v1/subjects", &admin, None).await;
    assert_eq!(listed.body["items"][0]["risk"], "medium");
    let device = json!({ "principal": "DEVICE", "current_level": "HIGH" });
    let device = claims(&narrows, &format!("{CAEP}risk-level-change"), device, json!({}));
    taken(&narrows, &narrows.issuer.sign("secevent+jwt", &device)).await;
    assert_eq!(of_age(&narrows, 0).await.0, 200, "a device's risk is nobody's");
    // Two events in one token, each of its own time.
    let low = json!({ "principal": "USER", "current_level": "LOW", "event_timestamp": now - 60 });
    let mut both = claims(&narrows, &format!("{CAEP}risk-level-change"), low, json!({}));
    both["events"][format!("{CAEP}session-revoked")] = json!({ "event_timestamp": now });
    taken(&narrows, &narrows.issuer.sign("secevent+jwt", &both)).await;
    let listed = narrows.ask("GET", "/v1/subjects", &admin, None).await;
    assert_eq!(
        listed.body["items"][0]["risk"], "medium",
        "the end of a session tells nothing of when a risk was low"
    );
    let expected = [
        "risk_set",
        "overtaken",
        "overtaken",
        "risk_set",
        "risk_set",
        "risk_set",
        "ignored",
        "revoked",
    ];
    assert_eq!(reasons(&narrows).await, expected);
    narrows.stop().await;
}

async fn an_operators_word_on_a_risk_stands_against_what_was_said_before_it(engine: Engine) {
    let (clock, narrows) = with_clock(engine).await;
    let admin = operator(&narrows, "ann", &[Role::Admin, Role::Auditor]).await;
    let said_at = |level: &str, at: Timestamp| risk(&narrows, level, json!({ "iat": at.seconds() }));
    let say = async |risk: Value| {
        let reply = narrows.ask("POST", "/v1/subjects/corp/alice/risk", &admin, Some(&json!({ "risk": risk }))).await;
        assert_eq!((reply.status, &reply.body["risk"]), (200, &risk), "{:?}", reply.body);
    };
    let before = clock.now();
    taken(&narrows, &said_at("HIGH", before)).await;
    assert_eq!(of_age(&narrows, 0).await.0, 400);
    clock.set(before.plus(Duration::from_millis(60_500)));
    for word in ["low", "null"] {
        say(if word == "null" { Value::Null } else { json!(word) }).await;
        // A week later it is still the operator who spoke last.
        clock.set(clock.now().plus(Duration::from_secs(86_400)));
        taken(&narrows, &said_at("HIGH", before)).await;
        assert_eq!(of_age(&narrows, 0).await.0, 200, "{word}");
    }
    let listed = narrows.ask("GET", "/v1/subjects", &admin, None).await;
    assert_eq!(listed.body["items"], json!([]), "nothing is said of her");
    // The same where nothing was said before that could be cleared.
    let bob = |at: Timestamp| {
        let subject = json!({ "format": "iss_sub", "iss": CORP, "sub": "bob" });
        risk(&narrows, "HIGH", json!({ "iat": at.seconds(), "sub_id": subject }))
    };
    let cleared = narrows.ask("POST", "/v1/subjects/corp/bob/risk", &admin, Some(&json!({ "risk": null }))).await;
    assert_eq!(cleared.status, 200);
    taken(&narrows, &bob(before)).await;
    let listed = narrows.ask("GET", "/v1/subjects", &admin, None).await;
    assert_eq!(listed.body["items"], json!([]));
    // What is said in the second of an operator's clearing may have come after it, and what is said later has.
    taken(&narrows, &bob(clock.now())).await;
    clock.set(clock.now().plus(Duration::from_secs(1)));
    taken(&narrows, &said_at("HIGH", clock.now())).await;
    assert_eq!(of_age(&narrows, 0).await, (400, "policy_denied".to_owned()));
    let listed = narrows.ask("GET", "/v1/subjects", &admin, None).await;
    let subs: Vec<_> = listed.body["items"].as_array().unwrap().iter().map(|item| &item["sub"]).collect();
    assert_eq!(subs, ["alice", "bob"]);
    let expected = ["risk_set", "overtaken", "overtaken", "overtaken", "risk_set", "risk_set"];
    assert_eq!(reasons(&narrows).await, expected);
    // What else such an event does, it does, and its record says that.
    say(Value::Null).await;
    let mut both = claims(
        &narrows,
        &format!("{CAEP}session-revoked"),
        json!({}),
        json!({ "iat": before.seconds() }),
    );
    both["events"][format!("{CAEP}risk-level-change")] = json!({ "principal": "USER", "current_level": "HIGH" });
    taken(&narrows, &narrows.issuer.sign("secevent+jwt", &both)).await;
    assert_eq!(of_age(&narrows, 0).await.1, "subject_token_revoked");
    assert_eq!(reasons(&narrows).await.last().map(String::as_str), Some("revoked"));
    narrows.stop().await;
}

/// An event about an account is weighed by whoever enables it only if it was there: of two that say the same, the second is news.
async fn who_was_enabled_is_refused_again_by_what_no_operator_knew(engine: Engine) {
    let (clock, narrows) = with_clock(engine).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let disabling = || {
        let said = claims(
            &narrows,
            &format!("{RISC}account-disabled"),
            json!({}),
            json!({ "iat": seconds() - 3600 }),
        );
        narrows.issuer.sign("secevent+jwt", &said)
    };
    for _ in 0..2 {
        taken(&narrows, &disabling()).await;
        assert_eq!(of_age(&narrows, 0).await.1, "subject_disabled");
        let enabled = narrows.ask("POST", "/v1/subjects/corp/alice/enable", &admin, None).await;
        assert_eq!(enabled.status, 200);
        clock.set(clock.now().plus(Duration::from_secs(60)));
        assert_eq!(of_age(&narrows, 0).await.0, 200);
    }
    assert_eq!(reasons(&narrows).await, ["disabled", "disabled"]);
    narrows.stop().await;
}

/// The scene of a queue: the work was allowed when it was put there, and its person is gone when it is taken out.
async fn a_person_who_is_disabled_by_a_signal_has_no_work_done_later(engine: Engine) {
    let narrows = tasks::installation(engine).await;
    let deferred = [("expires_in", "7200"), ("purpose", "answer ticket 42")];
    let (task, id) = tasks::opened(&narrows, &deferred).await;
    assert_eq!(tasks::redeem(&narrows, &task, &[]).await.status, 200);
    taken(&narrows, &event(&narrows, &format!("{RISC}account-disabled"))).await;
    let refused = tasks::redeem(&narrows, &task, &[]).await;
    assert_eq!((refused.status, refused.text("reason")), (400, "subject_disabled"));
    let records = narrows.records().await;
    let record = records.iter().find(|record| record["id"] == refused.body["decision_id"]).unwrap();
    assert_eq!((&record["task"], &record["reason"]), (&json!(id), &json!("subject_disabled")));
    narrows.stop().await;
}

async fn of_one_signal_sent_many_times_at_once_one_has_an_effect(engine: Engine) {
    let narrows = std::sync::Arc::new(installation(engine).await);
    let event = event(&narrows, &format!("{RISC}account-disabled"));
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (narrows, event) = (std::sync::Arc::clone(&narrows), event.clone());
        all.spawn(async move { push(&narrows, &event).await.status });
    }
    assert_eq!(all.join_all().await, vec![202; 16]);
    assert_eq!(reasons(&narrows).await, ["disabled"]);
    assert_eq!(of_age(&narrows, 0).await.1, "subject_disabled");
    std::sync::Arc::into_inner(narrows).unwrap().stop().await;
}

#[tokio::test]
async fn a_signal_that_does_not_hold_says_why_and_does_nothing() {
    let narrows = installation(Engine::sqlite()).await;
    let other = FakeIssuer::es256("https://other.example");
    narrows.trust(&other, "other", |_| {}).await;
    let disabled = format!("{RISC}account-disabled");
    let now = seconds();
    let right = |changes: Value| claims(&narrows, &disabled, json!({}), changes);
    let payload = |payload: Value| claims(&narrows, &disabled, payload, json!({ "sub_id": null }));
    let level = |payload: Value| claims(&narrows, &format!("{CAEP}risk-level-change"), payload, json!({}));
    let alice = json!({ "format": "iss_sub", "iss": CORP, "sub": "alice" });
    let bob = json!({ "format": "iss_sub", "iss": CORP, "sub": "bob" });
    let deep = (0..20).fold(json!({}), |inner, _| json!({ "in": inner }));
    let others = json!({ "format": "iss_sub", "iss": other.issuer, "sub": "alice" });
    let refused = [
        ("no `iat`", right(json!({ "iat": null })), "invalid_request"),
        ("no `jti`", right(json!({ "jti": null })), "invalid_request"),
        ("no `aud`", right(json!({ "aud": null })), "invalid_request"),
        ("no `iss`", right(json!({ "iss": null })), "invalid_request"),
        ("no `events`", right(json!({ "events": null })), "invalid_request"),
        ("no event", right(json!({ "events": {} })), "invalid_request"),
        ("a list of events", right(json!({ "events": [disabled] })), "invalid_request"),
        (
            "an event that is no object",
            right(json!({ "events": { "https://x.example/y": "now" } })),
            "invalid_request",
        ),
        ("an empty `jti`", right(json!({ "jti": "" })), "invalid_request"),
        ("a `jti` that is no text", right(json!({ "jti": 7 })), "invalid_request"),
        ("an `iat` that is no date", right(json!({ "iat": "now" })), "invalid_request"),
        ("an `iat` to come", right(json!({ "iat": now + 300 })), "invalid_request"),
        ("an `nbf` to come", right(json!({ "nbf": now + 300 })), "invalid_request"),
        ("eight days old", right(json!({ "iat": now - 8 * 86_400 })), "invalid_request"),
        ("a `toe` that is no date", right(json!({ "toe": "then" })), "invalid_request"),
        ("an expiry", right(json!({ "exp": now + 60 })), "invalid_request"),
        ("a `sub`", right(json!({ "sub": "alice" })), "invalid_request"),
        (
            "for somebody else",
            right(json!({ "aud": "https://rp.example" })),
            "invalid_audience",
        ),
        (
            "for others",
            right(json!({ "aud": ["https://rp.example", "https://rq.example"] })),
            "invalid_audience",
        ),
        (
            "an issuer that is not trusted",
            right(json!({ "iss": "https://nobody.example" })),
            "invalid_issuer",
        ),
        ("our own word", right(json!({ "iss": narrows.url })), "invalid_issuer"),
        (
            "another issuer's keys",
            right(json!({ "iss": other.issuer })),
            "authentication_failed",
        ),
        ("another issuer's subject", right(json!({ "sub_id": others })), "access_denied"),
        (
            "our own subject",
            right(json!({ "sub_id": { "format": "iss_sub", "iss": narrows.url, "sub": "edge" } })),
            "access_denied",
        ),
        ("about nobody", right(json!({ "sub_id": null })), "invalid_request"),
        (
            "about an address",
            right(json!({ "sub_id": { "format": "email", "email": "alice@corp.example" } })),
            "invalid_request",
        ),
        (
            "about a session alone",
            right(json!({ "sub_id": { "format": "complex", "session": alice } })),
            "invalid_request",
        ),
        (
            "of no format",
            right(json!({ "sub_id": { "iss": CORP, "sub": "alice" } })),
            "invalid_request",
        ),
        (
            "a `sub` that nobody can have",
            right(json!({ "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "" } })),
            "invalid_request",
        ),
        (
            "a `sub` that is too long",
            right(json!({ "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "x".repeat(256) } })),
            "invalid_request",
        ),
        (
            "a user in a user",
            right(json!({ "sub_id": { "format": "complex", "user": { "format": "complex", "user": alice } } })),
            "invalid_request",
        ),
        (
            "an event that is nested too deep",
            claims(&narrows, &disabled, deep, json!({})),
            "invalid_request",
        ),
        ("a text for a subject", right(json!({ "sub_id": "alice" })), "invalid_request"),
        (
            "two subjects",
            claims(&narrows, &disabled, json!({ "subject": bob }), json!({})),
            "invalid_request",
        ),
        (
            "a subject for each event",
            right(json!({ "sub_id": null, "events": {
                disabled.as_str(): { "subject": alice }, format!("{RISC}credential-compromise"): { "subject": bob },
            } })),
            "invalid_request",
        ),
        ("another's subject inside", payload(json!({ "subject": others })), "access_denied"),
        (
            "an event time that is no date",
            claims(&narrows, &disabled, json!({ "event_timestamp": "x" }), json!({})),
            "invalid_request",
        ),
        ("no level", level(json!({ "principal": "USER" })), "invalid_request"),
        ("no principal", level(json!({ "current_level": "HIGH" })), "invalid_request"),
        (
            "an unknown level",
            level(json!({ "principal": "USER", "current_level": "high" })),
            "invalid_request",
        ),
    ];
    for (what, claims, err) in refused {
        let reply = push(&narrows, &narrows.issuer.sign("secevent+jwt", &claims)).await;
        assert_eq!((reply.status, reply.text("err")), (400, err), "{what}: {:?}", reply.body);
        assert!(!reply.text("description").is_empty(), "{what}");
        assert_eq!(reply.headers["content-language"], "en");
    }
    let stranger = FakeIssuer::new(CORP, "k2", delegation::token::Algorithm::Es256);
    let by_unknown_key = push(&narrows, &stranger.sign("secevent+jwt", &right(json!({})))).await;
    assert_eq!((by_unknown_key.status, by_unknown_key.text("err")), (400, "invalid_key"));
    for typ in ["JWT", "at+jwt", "logout+jwt"] {
        let reply = push(&narrows, &narrows.issuer.sign(typ, &right(json!({})))).await;
        assert_eq!((reply.status, reply.text("err")), (400, "invalid_request"), "{typ}");
    }
    assert_eq!(of_age(&narrows, 0).await.0, 200, "nothing of it happened");
    let reasons: Vec<_> = narrows.records().await.iter().map(|record| record["reason"].clone()).collect();
    assert!(
        ["invalid_audience", "access_denied", "invalid_key"]
            .iter()
            .all(|code| reasons.contains(&json!(code)))
    );
    narrows.stop().await;
}

#[tokio::test]
async fn a_subject_may_be_named_as_older_senders_name_it() {
    let narrows = installation(Engine::sqlite()).await;
    let alice = json!({ "format": "iss_sub", "iss": CORP, "sub": "alice" });
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let disabled = format!("{RISC}account-disabled");
    let named = [
        json!({ "aud": ["https://rp.example", narrows.url] }),
        json!({ "sub_id": { "format": "complex", "user": alice, "session": { "format": "opaque", "id": "s" } } }),
        json!({ "sub_id": null, "events": { disabled.as_str(): { "subject": alice } } }),
        json!({ "sub_id": null, "events": { disabled.as_str(): { "subject": { "subject_type": "iss-sub", "iss": CORP, "sub": "alice" } } } }),
        json!({ "sub_id": null, "events": { disabled.as_str(): { "subject": { "user": alice } } } }),
        json!({ "events": { disabled.as_str(): { "subject": alice }, "https://x.example/y": { "subject": 7 } } }),
    ];
    for changes in named {
        let claims = claims(&narrows, &disabled, json!({}), changes);
        taken(&narrows, &narrows.issuer.sign("secevent+jwt", &claims)).await;
        assert_eq!(of_age(&narrows, -20).await.1, "subject_disabled", "{claims}");
        assert_eq!(
            narrows.ask("POST", "/v1/subjects/corp/alice/enable", &admin, None).await.status,
            200
        );
    }
    narrows.stop().await;
}

#[tokio::test]
async fn a_body_is_one_event_declared_as_such_and_bounded() {
    let narrows = installation(Engine::sqlite()).await;
    let event = event(&narrows, &format!("{RISC}account-disabled"));
    let with = async |headers: &[(&str, &str)]| {
        let reply = narrows.ask_with("POST", "/v1/events", headers, Some(event.clone().into_bytes())).await;
        (reply.status, reply.text("err").to_owned())
    };
    let refused = (400, "invalid_request".to_owned());
    let media = ("content-type", "application/secevent+jwt");
    assert_eq!(with(&[]).await, refused);
    assert_eq!(with(&[("content-type", "application/jwt")]).await, refused);
    assert_eq!(with(&[media, ("content-type", "application/secevent+jwt")]).await, refused);
    assert_eq!(with(&[media, ("content-encoding", "gzip")]).await, refused);
    for body in ["", "x", "a.b.c", &format!("{event}\n{event}"), "\u{fffd}"] {
        let reply = push(&narrows, body).await;
        assert_eq!((reply.status, reply.text("err")), (400, "invalid_request"), "{body}");
    }
    let large = push(&narrows, &"x".repeat(16 * 1024 + 1)).await;
    assert_eq!((large.status, large.text("reason")), (413, "too_large"));
    assert_eq!(of_age(&narrows, 0).await.0, 200);
    assert_eq!(with(&[("content-type", "Application/SecEvent+JWT; charset=utf-8")]).await.0, 202);
    narrows.stop().await;
}

/// What does not verify is counted; the signatures of a known issuer are looked at all the same, at a rate of their own.
#[tokio::test]
async fn a_flood_of_what_is_no_signal_is_cut_off_and_a_signal_gets_through() {
    let narrows = Installation::of(Plan {
        rates: Rates {
            per_address: NonZeroU32::new(3).unwrap(),
            ..Rates::default()
        },
        ..plan()
    })
    .await;
    let forged = FakeIssuer::es256("https://nobody.example");
    let mut noise = claims(&narrows, &format!("{RISC}account-disabled"), json!({}), json!({}));
    noise["iss"] = json!(forged.issuer);
    let noise = forged.sign("secevent+jwt", &noise);
    let mut seen = Vec::new();
    while seen.last() != Some(&429) {
        seen.push(push(&narrows, &noise).await.status);
        assert!(seen.len() < 500, "never cut off");
    }
    assert!(seen.contains(&400));
    let event = event(&narrows, &format!("{RISC}account-disabled"));
    taken(&narrows, &event).await;
    // Once; again and again is somebody else's doing.
    let mut seen = Vec::new();
    while seen.last() != Some(&429) {
        seen.push(push(&narrows, &event).await.status);
        assert!(seen.len() < 500, "never cut off");
    }
    narrows.stop().await;
}

/// Another broker on the store knows without being told: the standing by its next look, the end by its next reading.
#[tokio::test]
async fn another_node_follows() {
    let narrows = installation(Engine::sqlite()).await;
    let clock = narrows.clock.clone();
    taken(&narrows, &event(&narrows, &format!("{RISC}account-disabled"))).await;
    let store = narrows.engine.open().await;
    let view = store.standing().await.unwrap();
    let alice = delegation::identity::Subject {
        issuer_name: "corp".to_owned(),
        iss: CORP.to_owned(),
        sub: "alice".to_owned(),
    };
    assert!(view.is_subject_disabled(&alice));
    let line = delegation::revocation::Line {
        chain: &[],
        txn: None,
        task: None,
        subject: &alice,
        client: None,
        act: None,
        iat: Timestamp::from_seconds(clock.now().seconds() - 1),
    };
    assert_eq!(view.kills(&line), Some(delegation::revocation::MarkKind::Subject));
    narrows.stop().await;
}
