//! `POST /oauth2/revoke`, and what it ends.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::store::Store;
use broker::{Clock, Rates, Settings};
use delegation::identity::Subject;
use delegation::revocation::{Key, Line, MarkKind, Revocation, Revoked};
use delegation::time::Timestamp;
use issuance::audit::{Kind, Record};
use serde_json::{Value, json};
use testkit::CORP;

use crate::engine::{Engine, on_both_engines};
use crate::installation::{ASSERTION_TYPE, Installation, Plan, RULES, encode, seconds};

const REVOKE: &str = "/oauth2/revoke";

/// Alice's token, exchanged by the edge for orders.
async fn for_orders(narrows: &Installation, outside: &str) -> String {
    let reply = narrows.exchange(&[("audience", "https://orders.internal"), ("subject_token", outside)]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.text("access_token").to_owned()
}

/// The same, exchanged by orders for tickets.
async fn onward(narrows: &Installation, token: &str) -> crate::installation::Reply {
    let orders = [
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", token),
    ];
    narrows.exchange(&orders).await
}

fn jti(token: &str) -> String {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

fn alice() -> Subject {
    Subject {
        issuer_name: "corp".to_owned(),
        iss: CORP.to_owned(),
        sub: "alice".to_owned(),
    }
}

/// The line of a token of now that says no more than this.
fn line<'t>(chain: &'t [String], subject: &'t Subject) -> Line<'t> {
    Line {
        chain,
        txn: None,
        task: None,
        subject,
        client: None,
        act: None,
        iat: Timestamp::from_seconds(seconds()),
    }
}

async fn is_active(narrows: &Installation, client: &str, token: &str) -> bool {
    narrows.about("/oauth2/introspect", client, token).await.body["active"] == json!(true)
}

on_both_engines!(
    a_revoked_token_takes_with_it_all_that_came_from_it,
    what_came_from_a_revoked_token_by_two_hops_is_exchanged_no_more,
    what_cannot_be_put_on_record_is_neither_said_nor_ended,
    a_revocation_that_is_not_understood_is_not_passed_over,
    of_a_store_that_was_set_back_every_revocation_is_read_again,
);

/// INT-017, TEX-028: what came from a revoked token is dead with it; its ancestors and siblings live.
async fn a_revoked_token_takes_with_it_all_that_came_from_it(engine: Engine) {
    let narrows = Installation::on(engine).await;
    let outside = narrows.user_token();
    let (parent, sibling) = (for_orders(&narrows, &outside).await, for_orders(&narrows, &outside).await);
    let child = onward(&narrows, &parent).await;
    let child = child.text("access_token").to_owned();
    assert!(is_active(&narrows, "orders", &child).await);

    let revoked = narrows.about(REVOKE, "edge", &parent).await;
    assert_eq!(revoked.status, 200);

    assert!(!is_active(&narrows, "edge", &parent).await, "the token itself");
    assert!(!is_active(&narrows, "orders", &child).await, "what came from it");
    assert!(is_active(&narrows, "edge", &sibling).await, "its sibling");
    let refused = onward(&narrows, &parent).await;
    assert_eq!((refused.status, refused.text("reason")), (400, "subject_token_revoked"));
    let refused = onward(&narrows, &child).await;
    assert_eq!(
        (refused.status, refused.text("reason")),
        (400, "subject_token_revoked"),
        "an ancestor was revoked: {:?}",
        refused.body
    );
    for_orders(&narrows, &outside).await;
    // It is as dead for a broker that starts on the same store.
    let view = narrows.engine.open().await.standing().await.unwrap();
    assert_eq!(view.kills(&line(&[jti(&parent)], &alice())), Some(MarkKind::Jti));
    narrows.stop().await;
}

/// TEX-029: an ancestor is looked for along the whole chain, wherever its descendant is shown.
async fn what_came_from_a_revoked_token_by_two_hops_is_exchanged_no_more(engine: Engine) {
    let narrows = Installation::on(engine).await;
    let to_itself = async |token: &str| {
        let orders = [
            ("client_id", "orders"),
            ("client_secret", "orders-secret"),
            ("audience", "https://orders.internal"),
            ("subject_token", token),
        ];
        narrows.exchange(&orders).await
    };
    let root = for_orders(&narrows, &narrows.user_token()).await;
    let mut last = root.clone();
    for _ in 0..2 {
        let reply = to_itself(&last).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        reply.text("access_token").clone_into(&mut last);
    }
    assert_eq!(onward(&narrows, &last).await.status, 200);

    assert_eq!(narrows.about(REVOKE, "edge", &root).await.status, 200);

    for refused in [onward(&narrows, &last).await, to_itself(&last).await] {
        assert_eq!((refused.status, refused.text("error")), (400, "invalid_request"));
        assert_eq!(refused.text("reason"), "subject_token_revoked");
    }
    assert!(!is_active(&narrows, "orders", &last).await);
    narrows.stop().await;
}

#[tokio::test]
async fn a_revocation_is_forgotten_once_it_can_touch_nothing_and_not_before() {
    // When a revocation may be forgotten is kept in half hours: one of them is about to end.
    let clock = Clock::standing(Timestamp::from_seconds((seconds() / 1800 + 1) * 1800 - 30));
    let narrows = Installation::of(Plan {
        clock: clock.clone(),
        ..Plan::default()
    })
    .await;
    let (token, other) = (
        for_orders(&narrows, &narrows.user_token()).await,
        for_orders(&narrows, &narrows.user_token()).await,
    );
    // One that is to be forgotten while the token lives: no revocation of ours is, so that the token comes back is seen here alone.
    let store = narrows.engine.open().await;
    let short = Revocation {
        kind: MarkKind::Jti,
        key: Key::of(jti(&token).as_str()),
        at: clock.now(),
        forget_at: clock.now(),
    };
    let record = Record::new("d-revoke".to_owned(), clock.now(), Kind::Operator);
    store.revoke(&short, &record).await.unwrap();
    assert_eq!(narrows.about(REVOKE, "edge", &other).await.status, 200);
    let tended = async || {
        for _ in 0..Revoked::PARTS {
            narrows.broker.tend().await;
        }
        (is_active(&narrows, "edge", &token).await, is_active(&narrows, "edge", &other).await)
    };
    assert_eq!(tended().await, (false, false));
    clock.set(clock.now().plus(Duration::from_secs(60)));
    assert_eq!(tended().await, (true, false));
    narrows.stop().await;
}

#[tokio::test]
async fn a_revocation_needs_no_fresh_view() {
    let narrows = Installation::start().await;
    let token = for_orders(&narrows, &narrows.user_token()).await;
    let with_age = async |max_view_age| {
        let settings = Settings {
            max_view_age,
            ..Settings::clone(&narrows.broker.settings())
        };
        let in_force = narrows.in_force(RULES, Rates::default());
        narrows.broker.swap(settings, in_force, narrows.entries()).await.unwrap();
    };
    with_age(Duration::ZERO).await;
    let asked = narrows.about("/oauth2/introspect", "edge", &token).await;
    assert_eq!((asked.status, asked.text("reason")), (503, "revocation_view_stale"));
    assert_eq!(narrows.about(REVOKE, "edge", &token).await.status, 200);
    with_age(Duration::from_secs(3600)).await;
    assert!(!is_active(&narrows, "edge", &token).await);
    narrows.stop().await;
}

/// INT-013.
#[tokio::test]
async fn only_the_client_that_a_token_was_issued_to_may_revoke_it() {
    let narrows = Installation::start().await;
    let token = for_orders(&narrows, &narrows.user_token()).await;
    // Orders receives it, which gives no right to end it.
    for client in ["orders", "stranger"] {
        let refused = narrows.about(REVOKE, client, &token).await;
        let said = (refused.status, refused.text("error").to_owned(), refused.text("reason").to_owned());
        assert_eq!(said, (400, "invalid_grant".to_owned(), "invalid_grant".to_owned()), "{client}");
    }
    assert!(is_active(&narrows, "edge", &token).await);
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_not_known_is_answered_like_what_was_ended() {
    let narrows = Installation::start().await;
    let token = for_orders(&narrows, &narrows.user_token()).await;
    let (input, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{input}.{}", signature.chars().rev().collect::<String>());
    let outside = narrows.user_token();
    for unknown in ["nrwt_0", "x", &forged, &outside] {
        let reply = narrows.about(REVOKE, "edge", unknown).await;
        assert_eq!((reply.status, reply.body), (200, Value::Null), "{unknown}");
    }
    assert!(is_active(&narrows, "edge", &token).await, "a forged twin ends nothing");
    for_orders(&narrows, &outside).await;
    // Twice is once.
    for _ in 0..2 {
        assert_eq!(narrows.about(REVOKE, "edge", &token).await.status, 200);
    }
    narrows.stop().await;
}

/// INT-011.
async fn what_cannot_be_put_on_record_is_neither_said_nor_ended(engine: Engine) {
    let narrows = Installation::on(engine).await;
    let token = for_orders(&narrows, &narrows.user_token()).await;
    narrows.engine.run("ALTER TABLE records RENAME TO away").await;
    for path in ["/oauth2/introspect", REVOKE] {
        let reply = narrows.about(path, "edge", &token).await;
        assert_eq!((reply.status, reply.text("reason")), (503, "store_unavailable"), "{path}");
    }
    narrows.engine.run("ALTER TABLE away RENAME TO records").await;
    assert!(is_active(&narrows, "edge", &token).await);
    narrows.stop().await;
}

/// The bytes in which a revocation lies, as the engine spells them.
fn spelled(engine: &Engine, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    match engine {
        Engine::Sqlite(_) => format!("x'{hex}'"),
        Engine::Postgres(_) => format!("'\\x{hex}'"),
    }
}

/// A store in which one token is revoked, and this node knows.
async fn with_one_revoked(engine: &Engine, jti: &str) -> Store {
    let store = engine.open().await;
    let one = Revocation::new(MarkKind::Jti, Key::of(jti), Timestamp::from_seconds(1), Duration::from_secs(600));
    let record = Record::new("d-revoke".to_owned(), one.at, Kind::Operator);
    store.revoke(&one, &record).await.unwrap();
    store.standing().await.unwrap();
    store
}

async fn a_revocation_that_is_not_understood_is_not_passed_over(engine: Engine) {
    with_one_revoked(&engine, "j").await;
    for (column, wrong, right) in [
        ("kind", "'later'".to_owned(), "'jti'".to_owned()),
        ("name", spelled(&engine, &[0]), spelled(&engine, &[0; 32])),
    ] {
        engine.run(&format!("UPDATE revocations SET {column} = {wrong}")).await;
        assert!(engine.open().await.standing().await.is_err(), "{column}");
        engine.run(&format!("UPDATE revocations SET {column} = {right}")).await;
        assert!(engine.open().await.standing().await.is_ok(), "{column}");
    }
}

/// STO-020.
async fn of_a_store_that_was_set_back_every_revocation_is_read_again(engine: Engine) {
    let store = with_one_revoked(&engine, "before").await;
    // Another one has its place now.
    let after = spelled(&engine, Key::of("after").as_bytes());
    engine.run(&format!("UPDATE revocations SET name = {after}")).await;
    let is_dead = async || {
        let (chain, subject) = (["after".to_owned()], alice());
        store.standing().await.unwrap().kills(&line(&chain, &subject)).is_some()
    };
    assert!(!is_dead().await, "what was read is not read twice");
    engine.run("UPDATE log_head SET epoch = epoch + 1").await;
    assert!(is_dead().await);
}

#[tokio::test]
async fn an_assertion_is_used_up_by_what_it_ended() {
    let narrows = Installation::start().await;
    let token = for_orders(&narrows, &narrows.user_token()).await;
    let form = encode(&[
        ("client_assertion_type".to_owned(), ASSERTION_TYPE.to_owned()),
        ("client_assertion".to_owned(), narrows.assertion(&[])),
        ("token".to_owned(), token),
    ]);
    assert_eq!(narrows.post_to(REVOKE, &form, &[]).await.status, 200);
    let again = narrows.post_to(REVOKE, &form, &[]).await;
    assert_eq!((again.status, again.text("error")), (401, "invalid_client"));
    narrows.stop().await;
}

#[tokio::test]
async fn a_revocation_is_on_record_and_a_stranger_ends_nothing() {
    let narrows = Installation::start().await;
    let token = for_orders(&narrows, &narrows.user_token()).await;
    let guess = encode(&[
        ("client_id".to_owned(), "edge".to_owned()),
        ("client_secret".to_owned(), "guess".to_owned()),
        ("token".to_owned(), token.clone()),
    ]);
    assert_eq!(narrows.post_to(REVOKE, &guess, &[]).await.status, 401);
    assert!(is_active(&narrows, "edge", &token).await);
    assert_eq!(narrows.about(REVOKE, "edge", "").await.text("reason"), "malformed_request");
    assert_eq!(narrows.about(REVOKE, "edge", &token).await.status, 200);
    let records = narrows.records().await;
    let ended: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "revocation" && record["decision"] == "done")
        .collect();
    assert_eq!(ended.len(), 1);
    assert_eq!(
        (ended[0]["reason"].as_str(), ended[0]["client"].as_str()),
        (Some("revoked"), Some("edge"))
    );
    assert!(ended[0]["jti"].is_string());
    assert!(
        !records.iter().any(|record| record.to_string().contains(token.rsplit('.').next().unwrap())),
        "no token in the log"
    );
    narrows.stop().await;
}
