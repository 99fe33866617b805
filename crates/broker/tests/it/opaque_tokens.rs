//! Opaque access tokens: the same as signed ones wherever they are shown to us, and nothing to anybody else.

use std::time::Duration;

use broker::Clock;
use broker::front_door::Watched;
use delegation::oauth::AudienceId;
use delegation::registry::{Snapshot, TokenForm};
use delegation::revocation::{Key, MarkKind};
use delegation::time::Timestamp;
use delegation::token::{OpaqueForm, OpaqueKind};
use serde_json::{Value, json};

use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, Reply, seconds};
use crate::{api, reuse};

const ORDERS: &str = "https://orders.internal";

fn opaque(snapshot: &mut Snapshot) {
    let orders = snapshot.audiences.get_mut(&AudienceId::parse(ORDERS).unwrap()).unwrap();
    orders.form = TokenForm::Opaque;
}

async fn on(engine: Engine) -> Installation {
    Installation::on_with(engine, opaque).await
}

async fn for_orders(narrows: &Installation) -> Reply {
    let reply = narrows.exchange(&[("audience", ORDERS)]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply
}

/// `token`, exchanged on by orders, for tickets; those are signed.
async fn onward(narrows: &Installation, token: &str, changes: &[(&str, &str)]) -> Reply {
    let mut orders = vec![
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", token),
    ];
    orders.extend(changes);
    narrows.exchange(&orders).await
}

async fn introspected(narrows: &Installation, client: &str, token: &str) -> Value {
    narrows.about("/oauth2/introspect", client, token).await.body
}

async fn leaked(narrows: &Installation, token: &str) -> Reply {
    let body = json!({ "token": token }).to_string().into_bytes();
    narrows.ask_with("POST", "/v1/leaks", &[("content-type", "application/json")], Some(body)).await
}

on_both_engines!(
    it_says_nothing_and_introspection_says_what_a_signed_token_would,
    it_is_exchanged_on_like_a_signed_token,
    what_ends_it_ends_what_came_from_it,
    a_store_that_cannot_be_read_is_not_an_unknown_token,
    an_open_response_looks_its_token_up_once,
    it_is_known_until_nothing_that_came_from_it_can_be_alive,
);

async fn it_says_nothing_and_introspection_says_what_a_signed_token_would(engine: Engine) {
    let narrows = on(engine).await;
    let reply = for_orders(&narrows).await;
    let token = reply.text("access_token");
    assert_eq!(OpaqueForm::parse(token).unwrap().kind(), OpaqueKind::Access);
    assert_eq!((reply.text("token_type"), reply.body["expires_in"].as_i64()), ("Bearer", Some(120)));
    assert_eq!(reply.text("issued_token_type"), "urn:ietf:params:oauth:token-type:access_token");
    let said = introspected(&narrows, "orders", token).await;
    let (jti, txn, chain) = (&said["jti"], &said["txn"], &said["chain"]);
    let (iss, iat) = (narrows.url.as_str(), said["iat"].as_i64().unwrap());
    let claims = json!({
        "active": true, "token_type": "Bearer", "iss": iss, "sub": "alice", "aud": ORDERS, "iat": iat, "exp": iat + 120, "jti": jti,
        "client_id": "edge", "txn": txn, "chain": chain, "act": { "iss": iss, "sub": "edge" },
        "sub_id": { "format": "iss_sub", "iss": testkit::CORP, "sub": "alice" },
        "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "42" }],
    });
    assert_eq!(said, claims);
    assert_eq!(introspected(&narrows, "edge", token).await, claims, "it was issued to the edge");
    assert_eq!(introspected(&narrows, "stranger", token).await, json!({ "active": false }));
    let records = narrows.records().await;
    assert!(records.iter().any(|record| record["jti"] == *jti && record["kind"] == "exchange"));
    assert!(
        records.iter().all(|record| !record.to_string().contains(token)),
        "the log has no token"
    );
    // Another node knows it by the digest of its text, and by that alone.
    let kept = narrows
        .engine
        .open()
        .await
        .opaque_token(&OpaqueForm::parse(token).unwrap().digest())
        .await
        .unwrap()
        .unwrap();
    assert!(!kept.claims.contains(token));
    let others = [
        OpaqueForm::make(OpaqueKind::Access, &[3; 32]).expose().to_owned(),
        token.replacen("nrwa_", "nrwt_", 1),
        format!("{token}0"),
    ];
    for other in others {
        assert_eq!(
            introspected(&narrows, "orders", &other).await,
            json!({ "active": false }),
            "{other}"
        );
        assert_eq!(onward(&narrows, &other, &[]).await.text("reason"), "subject_token_invalid");
    }
    narrows.stop().await;
}

async fn it_is_exchanged_on_like_a_signed_token(engine: Engine) {
    let narrows = on(engine).await;
    let reply = for_orders(&narrows).await;
    let token = reply.text("access_token");
    let said = introspected(&narrows, "orders", token).await;
    // Twice: the second time it is remembered.
    for _ in 0..2 {
        let next = onward(&narrows, token, &[]).await;
        let claims = next.claims();
        assert_eq!(next.status, 200, "{:?}", next.body);
        let chain = json!([said["chain"][0], said["jti"]]);
        assert_eq!((&claims["chain"], &claims["txn"]), (&chain, &said["txn"]));
        assert_eq!(claims["act"]["act"]["sub"], "edge");
    }
    let jwt = [("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")];
    assert_eq!(
        onward(&narrows, token, &jwt).await.text("reason"),
        "subject_token_invalid",
        "it is no JWT"
    );
    let wider = [(
        "authorization_details",
        r#"[{"type":"ticket","actions":["read"],"identifier":"43"}]"#,
    )];
    assert_eq!(onward(&narrows, token, &wider).await.text("reason"), "wider_than_subject");
    assert_eq!(
        narrows.exchange(&[("subject_token", token)]).await.text("reason"),
        "subject_token_not_for_client"
    );
    narrows.stop().await;
}

async fn what_ends_it_ends_what_came_from_it(engine: Engine) {
    let narrows = on(engine).await;
    for ends in ["revoke", "leak"] {
        let reply = for_orders(&narrows).await;
        let token = reply.text("access_token");
        let next = onward(&narrows, token, &[]).await;
        assert_eq!(
            narrows.about("/oauth2/revoke", "orders", token).await.text("error"),
            "invalid_grant"
        );
        assert_eq!(introspected(&narrows, "orders", token).await["active"], true);
        let ended = match ends {
            "revoke" => narrows.about("/oauth2/revoke", "edge", token).await.status,
            _ => leaked(&narrows, token).await.status,
        };
        assert_eq!(ended, if ends == "revoke" { 200 } else { 202 });
        assert_eq!(introspected(&narrows, "orders", token).await, json!({ "active": false }), "{ends}");
        assert_eq!(onward(&narrows, token, &[]).await.text("reason"), "subject_token_revoked");
        let child = introspected(&narrows, "orders", next.text("access_token")).await;
        assert_eq!(child, json!({ "active": false }), "{ends}");
    }
    narrows.stop().await;
}

async fn an_open_response_looks_its_token_up_once(engine: Engine) {
    let narrows = on(engine).await;
    let token = for_orders(&narrows).await.text("access_token").to_owned();
    let watched = Watched::of(&narrows.broker, &token).await.unwrap();
    narrows.engine.run("ALTER TABLE opaque_tokens RENAME TO away").await;
    assert!(watched.holds(&narrows.broker), "nobody is asked for it again");
    narrows.engine.run("ALTER TABLE away RENAME TO opaque_tokens").await;
    assert_eq!(narrows.about("/oauth2/revoke", "edge", &token).await.status, 200);
    assert!(!watched.holds(&narrows.broker), "and its end is seen");
    narrows.stop().await;
}

async fn a_store_that_cannot_be_read_is_not_an_unknown_token(engine: Engine) {
    let narrows = on(engine).await;
    let token = for_orders(&narrows).await.text("access_token").to_owned();
    narrows.engine.run("ALTER TABLE opaque_tokens RENAME TO away").await;
    let said = |reply: Reply| (reply.status, reply.text("reason").to_owned());
    let unavailable = (503, "store_unavailable".to_owned());
    assert_eq!(said(narrows.about("/oauth2/introspect", "orders", &token).await), unavailable);
    assert_eq!(said(narrows.about("/oauth2/revoke", "edge", &token).await), unavailable);
    assert_eq!(said(onward(&narrows, &token, &[]).await), unavailable);
    assert_eq!(said(leaked(&narrows, &token).await), unavailable);
    assert_eq!(
        said(narrows.exchange(&[("audience", ORDERS)]).await),
        unavailable,
        "and none is issued that is not kept"
    );
    narrows.engine.run("ALTER TABLE away RENAME TO opaque_tokens").await;
    assert_eq!(introspected(&narrows, "orders", &token).await["active"], true);
    narrows.stop().await;
}

/// Longer than it lives: a deferred task that was made of it may live on, and whoever finds it ends that.
async fn it_is_known_until_nothing_that_came_from_it_can_be_alive(engine: Engine) {
    let clock = Clock::standing(Timestamp::from_seconds(seconds()));
    let narrows = Installation::of(Plan {
        engine,
        clock: clock.clone(),
        change: Box::new(opaque),
        ..Plan::default()
    })
    .await;
    let token = for_orders(&narrows).await.text("access_token").to_owned();
    let jti = introspected(&narrows, "orders", &token).await["jti"].as_str().unwrap().to_owned();
    let digest = OpaqueForm::parse(&token).unwrap().digest();
    clock.set(clock.now().plus(Duration::from_secs(120)));
    assert_eq!(introspected(&narrows, "orders", &token).await, json!({ "active": false }));
    assert_eq!(onward(&narrows, &token, &[]).await.text("reason"), "subject_token_expired");

    let store = narrows.engine.open().await;
    let kept = store.opaque_token(&digest).await.unwrap().unwrap();
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(kept.forget_at.seconds(), clock.now().seconds() + 24 * 3600);
    assert_eq!(leaked(&narrows, &token).await.status, 202);
    assert!(store.standing().await.unwrap().is_dead(MarkKind::Jti, &Key::of(&jti)));

    clock.set(clock.now().plus(day + Duration::from_secs(1)));
    for _ in 0..70 {
        narrows.about("/oauth2/introspect", "orders", "none").await;
    }
    let gone = async {
        while store.opaque_token(&digest).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    narrows.stop().await;
}

#[tokio::test]
async fn a_client_shows_its_own_as_actor_token_and_to_the_api() {
    let mut plan = api::plan();
    let before = std::mem::replace(&mut plan.change, Box::new(|_| {}));
    plan.change = Box::new(|snapshot| {
        before(snapshot);
        for audience in snapshot.audiences.values_mut() {
            audience.form = TokenForm::Opaque;
        }
    });
    let narrows = Installation::of(plan).await;
    let own = api::own_token(&narrows, "edge", "profile").await;
    assert!(own.starts_with("nrwa_"));
    assert_eq!(narrows.ask("GET", "/v1/tasks", &own, None).await.status, 200);
    let unknown = OpaqueForm::make(OpaqueKind::Access, &[3; 32]);
    assert_eq!(narrows.ask("GET", "/v1/tasks", unknown.expose(), None).await.status, 401);

    let acting = |token: &str, declared: &str| {
        let declared = format!("urn:ietf:params:oauth:token-type:{declared}");
        [("actor_token", token.to_owned()), ("actor_token_type", declared)]
    };
    let as_actor = async |token: &str, declared: &str| {
        let shown = acting(token, declared);
        let shown: Vec<_> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
        narrows.exchange(&shown).await
    };
    assert_eq!(as_actor(&own, "access_token").await.status, 200);
    assert_eq!(as_actor(&own, "jwt").await.text("reason"), "actor_token_invalid");
    assert_eq!(
        as_actor(unknown.expose(), "access_token").await.text("reason"),
        "actor_token_invalid"
    );
    assert_eq!(narrows.about("/oauth2/revoke", "edge", &own).await.status, 200);
    assert_eq!(as_actor(&own, "access_token").await.text("reason"), "actor_token_revoked");
    assert_eq!(narrows.ask("GET", "/v1/tasks", &own, None).await.status, 401);
    narrows.stop().await;
}

#[tokio::test]
async fn a_boundary_gets_the_same_one_again_and_a_new_one_when_it_is_revoked() {
    let narrows = on(Engine::sqlite()).await;
    let subject = narrows.user_token();
    let changes = [("audience", ORDERS), ("subject_token", subject.as_str())];
    let first = reuse::ask(&narrows, "edge", &changes).await.unwrap();
    assert_eq!(reuse::ask(&narrows, "edge", &changes).await.unwrap().token, first.token);
    assert_eq!(narrows.about("/oauth2/revoke", "edge", &first.token).await.status, 200);
    let next = reuse::ask(&narrows, "edge", &changes).await.unwrap();
    assert_ne!(next.token, first.token);
    assert_eq!(introspected(&narrows, "orders", &next.token).await["active"], true);
    narrows.stop().await;
}
