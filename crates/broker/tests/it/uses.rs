//! Tokens that are good for one use: taken once at `/v1/uses`, or by an exchange, on whichever node.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::store::{Party, Standing, Store};
use broker::{Rates, Settings, StoreJournal, guards};
use delegation::oauth::{AudienceId, ClientId, Reason};
use delegation::registry::{Snapshot, TokenForm};
use delegation::time::Timestamp;
use issuance::audit::{CommitError, Entry, Journal, Kind, Record, Use, UseKind};
use serde_json::{Value, json};

use crate::api::{operator, own_token, plan};
use crate::boundaries::{EXCHANGE, asked, decided, with};
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, Reply};

on_both_engines!(
    of_sixty_four_that_use_a_token_at_once_on_two_nodes_one_is_accepted,
    a_token_is_used_once_by_a_use_or_by_an_exchange_and_never_by_both,
);

pub(crate) const ORDERS: &str = "https://orders.internal";

/// A broker at which tokens for orders are good for one use, and what orders shows at `/v1`.
async fn started(engine: Engine, form: TokenForm) -> (Installation, String) {
    let Plan { rules, change, .. } = plan();
    let once = move |snapshot: &mut Snapshot| {
        change(snapshot);
        let orders = snapshot.audiences.get_mut(&AudienceId::parse(ORDERS).unwrap()).unwrap();
        orders.single_use = true;
        orders.form = form;
    };
    let narrows = Installation::of(Plan {
        engine,
        rules: format!("{rules}\n@id(\"tasks\") permit (principal, action == Action::\"task\", resource);"),
        change: Box::new(once),
        ..plan()
    })
    .await;
    let token = own_token(&narrows, "orders", "narrows.data_plane").await;
    (narrows, token)
}

/// A token for orders, which the edge got for alice.
pub(crate) async fn for_orders(narrows: &Installation) -> String {
    let reply = narrows.exchange(&[("audience", ORDERS)]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.text("access_token").to_owned()
}

pub(crate) fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn used(narrows: &Installation, plane: &str, token: &str) -> Reply {
    narrows.ask("POST", "/v1/uses", plane, Some(&json!({ "token": token }))).await
}

fn outcome(reply: &Reply) -> (u16, &str) {
    (reply.status, if reply.status == 200 { "accepted" } else { reply.text("reason") })
}

async fn exchanged(narrows: &Installation, token: &str) -> Reply {
    let changes = [
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", token),
        ("audience", "https://tickets.internal"),
    ];
    narrows.exchange(&changes).await
}

async fn of_sixty_four_that_use_a_token_at_once_on_two_nodes_one_is_accepted(engine: Engine) {
    let (narrows, plane) = started(engine, TokenForm::Jwt).await;
    let token = for_orders(&narrows).await;
    let claims = claims_of(&token);
    assert_eq!(claims["single_use"], true);
    // Another node is another writer on the same store.
    let node = Arc::new(StoreJournal::start(&narrows.engine.open().await));
    let (narrows, plane, token) = (Arc::new(narrows), Arc::new(plane), Arc::new(token));
    let key = Use {
        kind: UseKind::Token,
        issuer: claims["iss"].as_str().unwrap().to_owned(),
        id: claims["jti"].as_str().unwrap().to_owned(),
        forget_at: Timestamp::from_seconds(claims["exp"].as_i64().unwrap() + 60),
    };
    let uses = (0..64).map(|at| {
        let (narrows, plane, token) = (Arc::clone(&narrows), Arc::clone(&plane), Arc::clone(&token));
        let (node, key) = (Arc::clone(&node), key.clone());
        tokio::spawn(async move {
            if at % 2 == 0 {
                return matches!(outcome(&used(&narrows, &plane, &token).await), (200, _));
            }
            let record = Record::new(format!("node-{at}"), Timestamp::from_seconds(1), Kind::Guard);
            let entry = Entry {
                uses: vec![key],
                ..Entry::of(record)
            };
            match node.commit(entry).await {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error, CommitError::AlreadyUsed);
                    false
                }
            }
        })
    });
    let mut won = 0;
    for each in uses.collect::<Vec<_>>() {
        won += u32::from(each.await.unwrap());
    }
    assert_eq!(won, 1);
    assert_eq!(outcome(&used(&narrows, &plane, &token).await), (409, "token_used"));
    node.close().await;
    Arc::into_inner(narrows).unwrap().stop().await;
}

async fn a_token_is_used_once_by_a_use_or_by_an_exchange_and_never_by_both(engine: Engine) {
    let (narrows, plane) = started(engine, TokenForm::Jwt).await;
    // 1. A use, then everything else.
    let token = for_orders(&narrows).await;
    let alive = async |token: &str| narrows.about("/oauth2/introspect", "orders", token).await.body["active"].clone();
    assert_eq!(alive(&token).await, true);
    assert_eq!(outcome(&used(&narrows, &plane, &token).await), (200, "accepted"));
    assert_eq!(outcome(&used(&narrows, &plane, &token).await), (409, "token_used"));
    assert_eq!(alive(&token).await, false, "what has had its use is not alive");
    let refused = exchanged(&narrows, &token).await;
    assert_eq!(
        (refused.status, refused.text("error"), refused.text("reason")),
        (400, "invalid_request", "token_used")
    );

    // 2. An exchange, then everything else.
    let token = for_orders(&narrows).await;
    let child = exchanged(&narrows, &token).await;
    assert_eq!(child.status, 200, "{:?}", child.body);
    let refused = exchanged(&narrows, &token).await;
    assert_eq!(
        (refused.status, refused.text("error"), refused.text("reason")),
        (400, "invalid_request", "token_used")
    );
    assert_eq!(outcome(&used(&narrows, &plane, &token).await), (409, "token_used"));
    assert_eq!(alive(&token).await, false);

    // 3. A refused exchange uses nothing up.
    let token = for_orders(&narrows).await;
    let refused = narrows.exchange(&[("subject_token", &token), ("audience", "https://tickets.internal")]).await;
    assert_eq!(refused.text("reason"), "subject_token_not_for_client");
    assert_eq!(outcome(&used(&narrows, &plane, &token).await), (200, "accepted"));

    // 4. It is on record what was used, by whom, and what was refused.
    let records = narrows.records().await;
    let of = |reason: &str| records.iter().filter(|record| record["reason"] == reason && record["kind"] == "guard").count();
    assert_eq!((of("used"), of("token_used")), (2, 2));
    let one = records.iter().find(|record| record["reason"] == "used").unwrap();
    let seen = (&one["decision"], &one["client"], &one["subject"]["sub"], &one["inputs"]["guard"]);
    assert_eq!(seen, (&json!("allow"), &json!("edge"), &json!("alice"), &json!("orders")));
    let text = narrows.records().await.iter().map(ToString::to_string).collect::<String>();
    assert!(!text.contains(&token), "no token is on record");
    narrows.stop().await;
}

#[tokio::test]
async fn an_opaque_token_is_used_once_too_and_a_restart_forgets_no_use() {
    let (narrows, plane) = started(Engine::sqlite(), TokenForm::Opaque).await;
    let token = for_orders(&narrows).await;
    assert_eq!(outcome(&used(&narrows, &plane, &token).await), (200, "accepted"));
    assert_eq!(outcome(&used(&narrows, &plane, &token).await), (409, "token_used"));
    let store: Store = narrows.engine.open().await;
    assert!(!store.records(0, 100).await.unwrap().join("").contains(&token));
    narrows.stop().await;
}

/// A boundary hands out what it got before to a request that is the same; what is good for one request is not.
#[tokio::test]
async fn no_request_of_a_boundary_gets_a_token_that_another_one_got() {
    let usual = plan();
    let narrows = Installation::of(Plan {
        change: Box::new(move |snapshot: &mut Snapshot| {
            (usual.change)(snapshot);
            snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap().data_plane = true;
            snapshot.audiences.get_mut(&AudienceId::parse(ORDERS).unwrap()).unwrap().single_use = true;
        }),
        ..plan()
    })
    .await;
    let plane = own_token(&narrows, "edge", "narrows.data_plane").await;
    for (audience, reused) in [("https://tickets.internal", true), (ORDERS, false)] {
        let body = with(asked(&narrows), &json!({ "audience": audience }));
        let first = narrows.ask("POST", EXCHANGE, &plane, Some(&body)).await;
        let second = narrows.ask("POST", EXCHANGE, &plane, Some(&body)).await;
        let token = |reply: &Reply| reply.body["granted"]["access_token"].as_str().unwrap().to_owned();
        assert_eq!(token(&first) == token(&second), reused, "{audience}");
    }
    narrows.stop().await;
}

/// A boundary shows what it was shown, once for each of its own requests: the second is another use.
#[tokio::test]
async fn a_token_that_is_good_once_passes_a_boundary_once_and_opens_one_task() {
    let (narrows, _) = started(Engine::sqlite(), TokenForm::Jwt).await;
    let plane = own_token(&narrows, "orders", "narrows.data_plane").await;
    let token = for_orders(&narrows).await;
    let body = with(asked(&narrows), &json!({ "subject_token": token }));
    let passed = async || {
        let reply = narrows.ask("POST", "/v1/boundaries/back/exchange", &plane, Some(&body)).await;
        decided(&reply).to_owned()
    };
    assert_eq!(passed().await, "granted");
    assert_eq!(passed().await, "token_used");

    let token = for_orders(&narrows).await;
    let opened = async || {
        let changes = [
            ("client_id", "orders"),
            ("client_secret", "orders-secret"),
            ("subject_token", token.as_str()),
            ("requested_token_type", "urn:narrows:params:oauth:token-type:task"),
        ];
        let reply = narrows.exchange(&changes).await;
        (reply.status, reply.text("reason").to_owned())
    };
    assert_eq!(opened().await, (200, String::new()));
    assert_eq!(opened().await, (400, "token_used".to_owned()));
    narrows.stop().await;
}

/// Its record is the only one, so it says which request that was.
#[tokio::test]
async fn a_use_that_is_refused_is_on_record_with_its_request() {
    let (narrows, plane) = started(Engine::sqlite(), TokenForm::Jwt).await;
    let request = json!({ "method": "GET", "host": "orders.internal", "path": "/orders/7" });
    let body = json!({ "token": for_orders(&narrows).await, "request": request, "client_ip": "192.0.2.7" });
    let ask = async |changes: Value| narrows.ask("POST", "/v1/uses", &plane, Some(&with(body.clone(), &changes))).await;
    for wrong in [
        json!({ "client_ip": "here" }),
        json!({ "client_ip": null }),
        json!({ "request": { "method": "GET" } }),
        json!({ "request": { "method": "GET", "host": "a", "path": "/x?secret" } }),
        json!({ "service": "orders" }),
    ] {
        assert_eq!(outcome(&ask(wrong.clone()).await), (400, "malformed_request"), "{wrong}");
    }
    assert_eq!(outcome(&ask(json!({})).await), (200, "accepted"));
    let refused = ask(json!({})).await;
    assert_eq!(outcome(&refused), (409, "token_used"));
    let records = narrows.records().await;
    let of_use: Vec<_> = records.iter().filter(|record| record["kind"] == "guard").collect();
    assert_eq!(of_use.len(), 2);
    for (record, reason) in of_use.iter().zip(["used", "token_used"]) {
        assert_eq!(
            (&record["reason"], &record["request"], &record["client_ip"]),
            (&json!(reason), &request, &json!("192.0.2.7"))
        );
    }
    assert_eq!(of_use[1]["id"], refused.text("decision_id"));
    narrows.stop().await;
}

/// A guard of this process has no credential that would be refused before.
#[tokio::test]
async fn a_stale_view_and_a_client_that_is_disabled_use_nothing_up() {
    let (narrows, _) = started(Engine::sqlite(), TokenForm::Jwt).await;
    let orders = ClientId::parse("orders").unwrap();
    let token = for_orders(&narrows).await;
    let shown = || guards::Shown {
        token: token.clone(),
        request: None,
        from: None,
    };
    let why = async || guards::consume(&narrows.broker, &orders, shown()).await.err().map(|refused| refused.reason);
    let store = narrows.engine.open().await;
    let set = async |client: &str, standing: Standing| {
        let party = Party::Client(ClientId::parse(client).unwrap());
        let note = Record::new(format!("{client}-{standing:?}"), Timestamp::from_seconds(1), Kind::Operator);
        store.set_standing(&party, standing, note).await.unwrap();
        narrows.broker.tend().await;
    };
    set("edge", Standing::Disabled).await;
    assert_eq!(why().await, Some(Reason::SubjectTokenRevoked), "whoever holds it is disabled");
    set("edge", Standing::Enabled).await;
    set("orders", Standing::Disabled).await;
    assert_eq!(why().await, Some(Reason::ClientAuthenticationFailed), "whoever asks is disabled");
    set("orders", Standing::Enabled).await;
    let settings = Settings::clone(&narrows.broker.settings());
    let stale = Settings {
        max_view_age: Duration::ZERO,
        ..settings
    };
    let entries = narrows.entries();
    narrows
        .broker
        .swap(stale, narrows.in_force(crate::installation::RULES, Rates::default()), entries)
        .await
        .unwrap();
    assert_eq!(why().await, Some(Reason::RevocationViewStale));
    narrows.stop().await;
}

/// The whole token is verified before, and what does not hold uses nothing up.
#[tokio::test]
async fn what_does_not_hold_or_is_not_theirs_is_not_used() {
    let usual = plan();
    let narrows = Installation::of(Plan {
        change: Box::new(move |snapshot: &mut Snapshot| {
            (usual.change)(snapshot);
            snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap().data_plane = true;
        }),
        ..plan()
    })
    .await;
    let orders = own_token(&narrows, "orders", "narrows.data_plane").await;
    let edge = own_token(&narrows, "edge", "narrows.data_plane").await;
    let admin = operator(&narrows, "ann", &[broker::Role::Admin]).await;
    let token = for_orders(&narrows).await;

    // 1. Who asks.
    assert_eq!(used(&narrows, &admin, &token).await.status, 403);
    let no_plane = own_token(&narrows, "orders", "profile").await;
    assert_eq!(used(&narrows, &no_plane, &token).await.status, 403);
    assert_eq!(used(&narrows, "x", &token).await.status, 401);
    assert_eq!(outcome(&used(&narrows, &edge, &token).await), (422, "subject_token_not_for_client"));

    // 2. What is shown.
    for body in [
        json!({}),
        json!({ "token": 1 }),
        json!({ "token": "" }),
        json!({ "token": token, "jti": "x" }),
    ] {
        assert_eq!(narrows.ask("POST", "/v1/uses", &orders, Some(&body)).await.status, 400, "{body}");
    }
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    for unknown in ["x", &narrows.user_token(), &forged] {
        assert_eq!(
            outcome(&used(&narrows, &orders, unknown).await),
            (422, "subject_token_invalid"),
            "{unknown}"
        );
    }

    // 3. What ended.
    let revoked = for_orders(&narrows).await;
    let jti = claims_of(&revoked)["jti"].clone();
    assert_eq!(
        narrows.ask("POST", "/v1/revocations", &admin, Some(&json!({ "jti": jti }))).await.status,
        201
    );
    assert_eq!(outcome(&used(&narrows, &orders, &revoked).await), (422, "subject_token_revoked"));
    let disable = narrows
        .ask(
            "POST",
            "/v1/subjects/corp/alice/disable",
            &admin,
            Some(&json!({ "reason": "left" })),
        )
        .await;
    assert!(disable.status < 300, "{:?}", disable.body);
    assert_eq!(outcome(&used(&narrows, &orders, &token).await), (422, "subject_disabled"));
    let enable = narrows
        .ask("POST", "/v1/subjects/corp/alice/enable", &admin, Some(&json!({ "reason": "back" })))
        .await;
    assert!(enable.status < 300, "{:?}", enable.body);

    // 4. None of that used it up, and an audience without `single_use` has its tokens taken once all the same.
    assert_eq!(claims_of(&token).get("single_use"), None);
    assert_eq!(outcome(&used(&narrows, &orders, &token).await), (200, "accepted"));
    assert_eq!(outcome(&used(&narrows, &orders, &token).await), (409, "token_used"));
    assert_eq!(
        exchanged(&narrows, &token).await.status,
        200,
        "nobody said that it is good for one use alone"
    );
    narrows.stop().await;
}
