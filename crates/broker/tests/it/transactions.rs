//! Transaction tokens (draft-ietf-oauth-transaction-tokens): rows TT-02 to TT-13, and that they take every road of a signed token.

use std::time::Duration;

use broker::{Clock, front_door};
use delegation::oauth::{AudienceId, TokenType};
use delegation::registry::{Audience, Snapshot, TokenForm};
use delegation::time::Timestamp;
use serde_json::{Value, json};
use testkit::CORP;

use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, RULES, Reply, seconds};
use crate::reuse;

const ORDERS: &str = "https://orders.internal";
const TICKETS: &str = "https://tickets.internal";
const ELSEWHERE: &str = "https://elsewhere.internal";
const TYPE: &str = "urn:ietf:params:oauth:token-type:";
const TXN: &str = "urn:ietf:params:oauth:token-type:txn_token";
const TASK: &str = "urn:narrows:params:oauth:token-type:task";
const READ: &str = r#"[{"type":"ticket","actions":["read"],"identifier":"42"}]"#;
/// What every transaction token of ours begins with.
const BEGINS: &str = "eyJ0eXAiOiJ0eG50b2tlbitqd3QiLCJraWQiOiJucnct";

/// Orders and another audience have transaction tokens; tickets has access tokens.
fn transactions(snapshot: &mut Snapshot) {
    let id = |id| AudienceId::parse(id).unwrap();
    let orders = snapshot.audiences.get_mut(&id(ORDERS)).unwrap();
    orders.form = TokenForm::Txn;
    let elsewhere = Audience {
        id: id(ELSEWHERE),
        ..orders.clone()
    };
    snapshot.audiences.insert(elsewhere.id.clone(), elsewhere);
}

async fn on(engine: Engine) -> Installation {
    Installation::on_with(engine, transactions).await
}

async fn asked(narrows: &Installation, changes: &[(&str, &str)]) -> Reply {
    let mut all = vec![("audience", ORDERS), ("requested_token_type", TXN), ("scope", "profile")];
    all.extend(changes);
    narrows.exchange(&all).await
}

async fn for_orders(narrows: &Installation) -> Reply {
    let reply = asked(narrows, &[]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply
}

/// `token`, shown by orders.
async fn onward(narrows: &Installation, token: &str, changes: &[(&str, &str)]) -> Reply {
    let mut orders = vec![
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", token),
        ("subject_token_type", TXN),
    ];
    orders.extend(changes);
    narrows.exchange(&orders).await
}

async fn introspected(narrows: &Installation, client: &str, token: &str) -> Value {
    narrows.about("/oauth2/introspect", client, token).await.body
}

fn said(reply: &Reply) -> (u16, &str, &str) {
    (reply.status, reply.text("error"), reply.text("reason"))
}

on_both_engines!(
    it_says_what_the_draft_wants_and_what_we_go_by,
    the_kind_that_is_asked_for_and_the_audiences_are_one,
    one_that_takes_anothers_place_is_never_more,
    what_ends_it_ends_what_came_from_it,
    a_task_is_redeemed_for_one,
);

async fn it_says_what_the_draft_wants_and_what_we_go_by(engine: Engine) {
    let narrows = on(engine).await;
    let subject = narrows.user_token();
    let context = r#"{"req_ip":"69.151.72.123","authn":"face"}"#;
    let reply = asked(
        &narrows,
        &[
            ("subject_token", &subject),
            ("request_context", context),
            ("request_details", r#"{"action":"BUY"}"#),
        ],
    )
    .await;
    // TT-06, TT-05.
    let token = reply.text("access_token");
    assert_eq!(
        (reply.status, reply.text("token_type"), reply.text("issued_token_type")),
        (200, "N_A", TXN)
    );
    assert_eq!((reply.body["expires_in"].as_i64(), reply.text("scope")), (Some(120), "profile"));
    assert!(reply.body.get("refresh_token").is_none());
    assert!(token.starts_with(BEGINS), "a beginning of its own");
    let said = reply.claims();
    let (iss, iat) = (narrows.url.as_str(), said["iat"].as_i64().unwrap());
    let claims = json!({
        "iss": iss, "sub": "alice", "aud": ORDERS, "iat": iat, "exp": iat + 120, "jti": said["jti"], "client_id": "edge",
        "txn": said["txn"], "chain": said["chain"], "act": { "iss": iss, "sub": "edge" }, "req_wl": "edge",
        "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" },
        "scope": "profile ticket:read/42",
        "tctx": { "scope": "profile", "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": "42" }] },
    });
    // TT-09: nothing of the outside token, and nothing that only the requester says.
    assert_eq!(said, claims);

    let mut active = claims.as_object().unwrap().clone();
    active.extend([("active".to_owned(), json!(true)), ("token_type".to_owned(), json!("N_A"))]);
    assert_eq!(
        introspected(&narrows, "orders", token).await,
        Value::Object(active.clone()),
        "it receives it"
    );
    assert_eq!(
        introspected(&narrows, "edge", token).await,
        Value::Object(active),
        "it was issued to it"
    );
    assert_eq!(introspected(&narrows, "stranger", token).await, json!({ "active": false }));
    let signature = token.rsplit('.').next().unwrap();
    let records = narrows.records().await;
    assert!(records.iter().any(|record| record["jti"] == said["jti"] && record["txn"] == said["txn"]));
    assert!(
        records.iter().all(|record| !record.to_string().contains(signature)),
        "no record holds it"
    );
    narrows.stop().await;
}

async fn the_kind_that_is_asked_for_and_the_audiences_are_one(engine: Engine) {
    let narrows = on(engine).await;
    let unsupported = (400, "invalid_request", "unsupported_token_type");
    // TT-02: what is asked for, where, and what comes.
    for (requested, audience, expected) in [
        ("", ORDERS, (200, "", "")),
        ("txn_token", ORDERS, (200, "", "")),
        ("access_token", ORDERS, unsupported),
        ("jwt", ORDERS, unsupported),
        ("id_token", ORDERS, unsupported),
        ("refresh_token", ORDERS, unsupported),
        ("txn_token", TICKETS, unsupported),
        ("", TICKETS, (200, "", "")),
        ("access_token", TICKETS, (200, "", "")),
    ] {
        let kind = if requested.is_empty() {
            String::new()
        } else {
            format!("{TYPE}{requested}")
        };
        let reply = asked(&narrows, &[("requested_token_type", &kind), ("audience", audience)]).await;
        assert_eq!(said(&reply), expected, "{requested} for {audience}");
        let issued = if audience == ORDERS {
            TXN
        } else {
            "urn:ietf:params:oauth:token-type:access_token"
        };
        if expected.0 == 200 {
            assert_eq!(reply.text("issued_token_type"), issued, "{requested} for {audience}");
        }
    }
    // TT-05, TT-08: whose word about a subject is none.
    for kind in ["refresh_token", "self_signed", "unsigned_json"] {
        let reply = asked(&narrows, &[("subject_token_type", &format!("{TYPE}{kind}"))]).await;
        assert_eq!(said(&reply), unsupported, "{kind}");
    }
    // Only an exchange gives one: there is always somebody whose transaction it is.
    let itself = [
        ("grant_type", "client_credentials"),
        ("subject_token", ""),
        ("subject_token_type", ""),
    ];
    assert_eq!(said(&asked(&narrows, &itself).await), unsupported);
    // What it is for is never left open.
    let later = [("scope", ""), ("authorization_details", ""), ("onward", READ)];
    assert_eq!(said(&asked(&narrows, &later).await).2, "nothing_asked");
    let malformed = [("request_details", "[1]")];
    assert_eq!(
        said(&asked(&narrows, &malformed).await),
        (400, "invalid_request", "malformed_request")
    );
    narrows.stop().await;
}

async fn one_that_takes_anothers_place_is_never_more(engine: Engine) {
    let clock = Clock::standing(Timestamp::from_seconds(seconds()));
    let narrows = Installation::of(Plan {
        engine,
        clock: clock.clone(),
        change: Box::new(transactions),
        ..Plan::default()
    })
    .await;
    let first = for_orders(&narrows).await;
    let (token, before) = (first.text("access_token"), first.claims());
    // TT-10. Twice: the second time it is remembered.
    for _ in 0..2 {
        let next = onward(&narrows, token, &[("audience", ORDERS), ("requested_token_type", TXN)]).await;
        assert_eq!((next.status, next.text("token_type")), (200, "N_A"), "{:?}", next.body);
        let after = next.claims();
        for same in ["txn", "sub", "aud", "sub_id"] {
            assert_eq!(after[same], before[same], "{same}");
        }
        assert_eq!((&after["req_wl"], &after["scope"]), (&json!("orders"), &json!("ticket:read/42")));
        assert_eq!(after["act"]["sub"], "orders");
        assert_eq!(after["act"]["act"]["sub"], "edge", "who asked before stays in the chain");
        assert_eq!(after["chain"], json!([before["chain"][0], before["jti"]]));
        assert!(after["exp"].as_i64() <= before["exp"].as_i64());
        assert_eq!(
            after["tctx"],
            json!({ "authorization_details": before["tctx"]["authorization_details"] })
        );
    }
    let other = r#"[{"type":"ticket","actions":["read"],"identifier":"43"}]"#;
    for (what, changes, expected) in [
        (
            "another resource",
            &[("audience", ORDERS), ("authorization_details", other)][..],
            (400, "invalid_authorization_details", "wider_than_subject"),
        ),
        (
            "the purpose, taken for scopes",
            &[("audience", ORDERS), ("authorization_details", ""), ("scope", "ticket:read/42")],
            (400, "invalid_scope", "wider_than_subject"),
        ),
        (
            "another domain",
            &[("audience", ELSEWHERE)],
            (400, "invalid_target", "audience_closed"),
        ),
        (
            "a task",
            &[("requested_token_type", TASK)],
            (400, "invalid_request", "unsupported_token_type"),
        ),
        (
            "declared as an access token",
            &[("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")],
            (400, "invalid_request", "subject_token_invalid"),
        ),
        (
            "declared as a jwt",
            &[("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")],
            (400, "invalid_request", "subject_token_invalid"),
        ),
        (
            "by whom it is not for",
            &[("client_id", "edge"), ("client_secret", "edge-secret")],
            (400, "invalid_request", "subject_token_not_for_client"),
        ),
    ] {
        assert_eq!(said(&onward(&narrows, token, changes).await), expected, "{what}");
    }
    // A scope that it lacks is one too many.
    let narrow = asked(&narrows, &[("scope", "")]).await;
    let wider = [("audience", ORDERS), ("authorization_details", ""), ("scope", "profile")];
    let reply = onward(&narrows, narrow.text("access_token"), &wider).await;
    assert_eq!(said(&reply), (400, "invalid_scope", "wider_than_subject"));
    // Out of the domain there is an access token, which is no transaction token.
    let access = onward(&narrows, token, &[("audience", TICKETS)]).await;
    assert_eq!((access.status, access.text("token_type")), (200, "Bearer"));
    let reply = onward(&narrows, access.text("access_token"), &[("audience", ORDERS)]).await;
    assert_eq!(said(&reply), (400, "invalid_request", "subject_token_invalid"));
    clock.set(clock.now().plus(Duration::from_secs(120)));
    assert_eq!(
        said(&onward(&narrows, token, &[("audience", ORDERS)]).await),
        (400, "invalid_request", "subject_token_expired")
    );
    assert_eq!(introspected(&narrows, "orders", token).await, json!({ "active": false }));
    narrows.stop().await;
}

async fn what_ends_it_ends_what_came_from_it(engine: Engine) {
    let narrows = on(engine).await;
    for ends in ["revoke", "leak"] {
        let first = for_orders(&narrows).await;
        let token = first.text("access_token");
        let next = onward(&narrows, token, &[("audience", ORDERS)]).await;
        let refused = narrows.about("/oauth2/revoke", "orders", token).await;
        assert_eq!(refused.text("error"), "invalid_grant");
        assert_eq!(introspected(&narrows, "orders", token).await["active"], true);
        let ended = if ends == "revoke" {
            narrows.about("/oauth2/revoke", "edge", token).await.status
        } else {
            let body = json!({ "token": token }).to_string().into_bytes();
            let headers = [("content-type", "application/json")];
            narrows.ask_with("POST", "/v1/leaks", &headers, Some(body)).await.status
        };
        assert_eq!(ended, if ends == "revoke" { 200 } else { 202 });
        for token in [token, next.text("access_token")] {
            assert_eq!(introspected(&narrows, "orders", token).await, json!({ "active": false }), "{ends}");
        }
        let reply = onward(&narrows, token, &[("audience", ORDERS)]).await;
        assert_eq!(said(&reply), (400, "invalid_request", "subject_token_revoked"), "{ends}");
    }
    narrows.stop().await;
}

async fn a_task_is_redeemed_for_one(engine: Engine) {
    let rules = format!("{RULES}\n@id(\"tasks\") permit (principal, action == Action::\"task\", resource);");
    let narrows = Installation::of(Plan {
        engine,
        rules,
        change: Box::new(transactions),
        ..Plan::default()
    })
    .await;
    let opened = asked(&narrows, &[("requested_token_type", TASK)]).await;
    assert_eq!(opened.status, 200, "{:?}", opened.body);
    let task = opened.text("access_token");
    let redeems = [("subject_token", task), ("subject_token_type", TASK)];
    let redeemed = asked(&narrows, &redeems).await;
    assert_eq!((redeemed.status, redeemed.text("issued_token_type")), (200, TXN));
    assert_eq!(redeemed.claims()["task"], opened.body["task_id"]);
    let access = "urn:ietf:params:oauth:token-type:access_token";
    let refused = asked(&narrows, &[redeems[0], redeems[1], ("requested_token_type", access)]).await;
    assert_eq!(said(&refused), (400, "invalid_request", "unsupported_token_type"));
    narrows.stop().await;
}

#[tokio::test]
async fn a_boundary_gets_the_same_one_again_and_hears_of_its_end() {
    let narrows = on(Engine::sqlite()).await;
    let subject = narrows.user_token();
    let changes = [("audience", ORDERS), ("subject_token", subject.as_str())];
    let first = reuse::ask(&narrows, "edge", &changes).await.unwrap();
    assert_eq!(first.kind, TokenType::TxnToken);
    let again = reuse::ask(&narrows, "edge", &changes).await.unwrap();
    assert_eq!((again.token.as_str(), again.kind), (first.token.as_str(), TokenType::TxnToken));

    let broker = narrows.broker.clone();
    let ended = front_door::ended(&broker, &first.token);
    tokio::pin!(ended);
    // It is looked at every half second: while the token holds, the first looks find it alive.
    let early = tokio::time::timeout(Duration::from_millis(1200), &mut ended).await;
    assert!(early.is_err(), "it is alive");
    assert_eq!(narrows.about("/oauth2/revoke", "edge", &first.token).await.status, 200);
    let why = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert_eq!(why, delegation::oauth::Reason::SubjectTokenRevoked);
    let next = reuse::ask(&narrows, "edge", &changes).await.unwrap();
    assert_ne!(next.token, first.token);
    // Shown where a boundary takes access tokens it is none.
    let shown = [("audience", TICKETS), ("subject_token", next.token.as_str())];
    let refused = reuse::ask(&narrows, "edge", &shown).await.unwrap_err();
    assert_eq!(refused.reason, delegation::oauth::Reason::SubjectTokenInvalid);
    narrows.stop().await;
}
