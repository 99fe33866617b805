//! Hostile requests: a clear error, a record, and never a 5xx.

use serde_json::{Value, json};

use crate::installation::{Installation, encode, seconds};

/// What a client must be told.
#[track_caller]
fn told(id: &str, reply: &crate::installation::Reply, status: u16, error: &str, reason: &str) {
    assert_eq!(
        (reply.status, reply.text("error"), reply.text("reason")),
        (status, error, reason),
        "{id}: {:?}",
        reply.body
    );
    assert!(!reply.text("decision_id").is_empty(), "{id}: no decision_id");
    assert!(
        reply
            .text("error_description")
            .bytes()
            .all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
        "{id}"
    );
    assert_eq!(reply.headers["cache-control"], "no-store", "{id}");
}

#[tokio::test]
async fn hostile_exchanges_get_the_error_of_the_contract() {
    let narrows = Installation::start().await;
    let read = |id: &str| json!([{ "type": "ticket", "actions": ["read"], "identifier": id }]).to_string();
    let (invalid, details, scope, target) = (
        "invalid_request",
        "invalid_authorization_details",
        "invalid_scope",
        "invalid_target",
    );
    let kind = |name: &str| format!("urn:ietf:params:oauth:token-type:{name}");
    let rows: Vec<(&str, Vec<(&str, String)>, &str, &str)> = vec![
        (
            "TEX-001",
            vec![(
                "authorization_details",
                json!([{ "type": "ticket", "actions": ["update"], "identifier": "1" }]).to_string(),
            )],
            details,
            "policy_denied",
        ),
        (
            "TEX-001",
            vec![("authorization_details", String::new()), ("scope", "admin".to_owned())],
            scope,
            "wider_than_subject",
        ),
        ("TEX-002", vec![("authorization_details", String::new())], scope, "nothing_asked"),
        ("TEX-004", vec![("scope", "a  b".to_owned())], scope, "malformed_request"),
        (
            "TEX-004",
            vec![("scope", "profile\u{a0}admin".to_owned())],
            scope,
            "malformed_request",
        ),
        (
            "TEX-004",
            vec![("authorization_details", String::new()), ("scope", "*".to_owned())],
            scope,
            "wider_than_subject",
        ),
        (
            "TEX-004",
            vec![("authorization_details", String::new()), ("scope", many_scopes())],
            scope,
            "wider_than_subject",
        ),
        (
            "TEX-004",
            vec![("authorization_details", String::new()), ("scope", "PROFILE".to_owned())],
            scope,
            "wider_than_subject",
        ),
        ("TEX-005", vec![("audience", "payments".to_owned())], target, "unknown_audience"),
        (
            "TEX-007",
            vec![("resource", "https://orders.internal".to_owned())],
            target,
            "several_audiences",
        ),
        (
            "TEX-008",
            vec![("audience", String::new()), ("resource", "javascript:".to_owned())],
            target,
            "unknown_audience",
        ),
        ("TEX-010", vec![("audience", String::new())], invalid, "malformed_request"),
        (
            "TEX-016",
            vec![("client_id", "orders".to_owned()), ("client_secret", "orders-secret".to_owned())],
            invalid,
            "subject_token_not_for_client",
        ),
        (
            "TEX-017",
            vec![
                ("client_id", "stranger".to_owned()),
                ("client_secret", "stranger-secret".to_owned()),
            ],
            invalid,
            "subject_token_not_for_client",
        ),
        (
            "TEX-046",
            vec![("subject_token_type", kind("saml2"))],
            invalid,
            "unsupported_token_type",
        ),
        ("TEX-046", vec![("subject_token_type", String::new())], invalid, "malformed_request"),
        (
            "TEX-047",
            vec![("subject_token_type", kind("refresh_token"))],
            invalid,
            "unsupported_token_type",
        ),
        (
            "TEX-049",
            vec![("requested_token_type", kind("id_token"))],
            invalid,
            "unsupported_token_type",
        ),
        (
            "TEX-050",
            vec![("subject_token_type", kind("id_token"))],
            invalid,
            "subject_token_invalid",
        ),
        (
            "JWS-001",
            vec![("subject_token", "eyJhbGciOiJub25lIn0.e30.".to_owned())],
            invalid,
            "subject_token_invalid",
        ),
        (
            "JWS-026",
            vec![("subject_token", ".".repeat(16_000))],
            invalid,
            "subject_token_invalid",
        ),
        (
            "RAR",
            vec![("authorization_details", "[{".to_owned())],
            details,
            "malformed_details",
        ),
        (
            "RAR",
            vec![("authorization_details", json!([{ "type": "gone", "actions": ["x"] }]).to_string())],
            details,
            "unknown_type",
        ),
        (
            "RAR",
            vec![(
                "authorization_details",
                json!([{ "type": "ticket", "actions": ["x"], "identifier": "1" }]).to_string(),
            )],
            details,
            "unknown_action",
        ),
        (
            "RAR",
            vec![(
                "authorization_details",
                json!([{ "type": "ticket", "actions": ["read"], "identifier": "1", "x": 1 }]).to_string(),
            )],
            details,
            "unknown_member",
        ),
        ("POL", vec![("authorization_details", read("13"))], details, "policy_denied"),
        ("expires_in", vec![("expires_in", "0".to_owned())], invalid, "malformed_request"),
        ("grant", vec![("grant_type", String::new())], invalid, "malformed_request"),
        (
            "grant",
            vec![("grant_type", "password".to_owned())],
            "unsupported_grant_type",
            "unsupported_grant_type",
        ),
    ];
    for (id, changes, error, reason) in rows {
        let changes: Vec<_> = changes.iter().map(|(name, value)| (*name, value.as_str())).collect();
        told(id, &narrows.exchange(&changes).await, 400, error, reason);
    }
    narrows.stop().await;
}

#[tokio::test]
async fn a_form_is_a_form() {
    let narrows = Installation::start().await;
    let pairs: Vec<_> = narrows.form().into_iter().collect();
    let good = encode(&pairs);
    for (id, body, headers) in [
        (
            "TEX-055",
            json!({ "grant_type": "x" }).to_string(),
            vec![("content-type", "application/json")],
        ),
        ("TEX-055", good.clone(), vec![("content-type", "text/plain")]),
        ("TEX-055", good.clone(), vec![("content-type", "multipart/form-data; boundary=x")]),
        ("TEX-056", format!("{good}&scope=a&scope=b"), vec![]),
        ("TEX-056", format!("{good}&client_id=edge"), vec![]),
        ("TEX-056", format!("{good}&x=%00"), vec![]),
        ("TEX-056", format!("{good}&x=%ff"), vec![]),
    ] {
        told(
            id,
            &narrows.post(&body, &headers).await,
            400,
            "invalid_request",
            "malformed_request",
        );
    }
    // No details were asked for, so the error speaks of scope.
    let empty = narrows.exchange(&[("authorization_details", "[]"), ("scope", "admin")]).await;
    told("TEX-001", &empty, 400, "invalid_scope", "wider_than_subject");
    let large = format!("{good}&x={}", "a".repeat(64 * 1024));
    let reply = narrows.post(&large, &[]).await;
    // DOS-011: a form that is larger than the limit is not read to its end.
    assert_eq!((reply.status, reply.text("reason")), (413, "too_large"));
    let (status, ..) = narrows.get("/oauth2/token").await;
    assert_eq!(status, 405, "TEX-055: GET");
    narrows.stop().await;
}

#[tokio::test]
async fn a_body_in_a_coding_is_no_form_and_nothing_is_decoded() {
    // DOS-023
    let narrows = Installation::start().await;
    let pairs: Vec<_> = narrows.form().into_iter().collect();
    let good = encode(&pairs);
    for coding in ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, identity", "identity, gzip", ""] {
        let reply = narrows.post(&good, &[("content-encoding", coding)]).await;
        told(coding, &reply, 400, "invalid_request", "malformed_request");
    }
    assert_eq!(narrows.post(&good, &[("content-encoding", "Identity")]).await.status, 200);
    // A thousand to one: a gzip member whose one stored block says that more follows than the limit lets in.
    let bomb = "\u{1f}\u{8}\0".repeat(1000);
    told(
        "bomb",
        &narrows.post(&bomb, &[("content-encoding", "gzip")]).await,
        400,
        "invalid_request",
        "malformed_request",
    );
    narrows.stop().await;
}

#[tokio::test]
async fn tokens_out_of_time_or_out_of_place_are_told_apart() {
    let narrows = Installation::start().await;
    let with = |name: &str, value: Value| {
        let mut claims = narrows.user_claims();
        claims[name] = value;
        narrows.issuer.sign("at+jwt", &claims)
    };
    let rows = [
        (
            "TEX-011",
            with("exp", json!(seconds() - 1)),
            "invalid_request",
            "subject_token_expired",
        ),
        (
            "CLM-007",
            with("iat", json!(seconds() + 3600)),
            "invalid_request",
            "subject_token_invalid",
        ),
        (
            "CLM-014",
            with("iss", json!("https://login.corp.example/")),
            "invalid_request",
            "subject_token_invalid",
        ),
        (
            "CLM-028",
            narrows.edge.sign("client-authentication+jwt", &narrows.user_claims()),
            "invalid_request",
            "subject_token_invalid",
        ),
        (
            "TEX-037",
            with("may_act", json!("edge")),
            "invalid_request",
            "subject_token_invalid",
        ),
        (
            "TEX-037",
            with("may_act", json!({ "sub": "orders" })),
            "invalid_request",
            "may_act_mismatch",
        ),
        (
            "cnf",
            with("cnf", json!({ "jkt": "x" })),
            "invalid_dpop_proof",
            "invalid_dpop_proof",
        ),
    ];
    for (id, token, error, reason) in rows {
        told(id, &narrows.exchange(&[("subject_token", &token)]).await, 400, error, reason);
    }
    let mut unmapped = narrows.user_claims();
    unmapped["scope"] = json!("crm.read");
    let reply = narrows.exchange(&[("subject_token", &narrows.issuer.sign("at+jwt", &unmapped))]).await;
    told("scope", &reply, 400, "invalid_authorization_details", "scope_not_mapped");
    narrows.stop().await;
}

#[tokio::test]
async fn a_parameter_that_asks_for_more_than_there_is_changes_nothing() {
    let narrows = Installation::start().await;
    let reply = narrows
        .exchange(&[
            ("requested_subject", "admin"),
            ("requested_issuer", "x"),
            ("client_assertion_", "x"),
        ])
        .await;
    assert_eq!((reply.status, &reply.claims()["sub"]), (200, &json!("alice")), "TEX-022");
    narrows.stop().await;
}

#[tokio::test]
async fn an_actor_token_denotes_the_client_itself() {
    let narrows = Installation::start().await;
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    let other = narrows.user_token();
    let reply = narrows.exchange(&[("actor_token", &other), ("actor_token_type", kind)]).await;
    told("TEX-034 TEX-035", &reply, 400, "invalid_request", "actor_token_not_for_client");
    let garbage = narrows.exchange(&[("actor_token", "a.b.c"), ("actor_token_type", kind)]).await;
    told("TEX-034", &garbage, 400, "invalid_request", "actor_token_invalid");
    // Its own token, which client_credentials gives it, is taken, and bounds the life.
    let own = narrows
        .exchange(&[
            ("grant_type", "client_credentials"),
            ("subject_token", ""),
            ("subject_token_type", ""),
            ("expires_in", "30"),
        ])
        .await;
    assert_eq!(own.status, 200, "{:?}", own.body);
    let reply = narrows.exchange(&[("actor_token", own.text("access_token")), ("actor_token_type", kind)]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    assert!(reply.body["expires_in"].as_i64().unwrap() <= 30);
    narrows.stop().await;
}

#[tokio::test]
async fn a_disabled_client_or_subject_is_refused_after_a_look_at_standing() {
    use broker::store::{Party, Standing, Store};
    let narrows = Installation::start().await;
    let store = Store::open(&narrows.broker.settings().store).await.unwrap();
    let record = || {
        issuance::audit::Record::new(
            uuid::Uuid::now_v7().to_string(),
            delegation::time::Timestamp::from_seconds(seconds()),
            issuance::audit::Kind::Operator,
        )
    };
    let alice = Party::Subject {
        issuer_name: "corp".to_owned(),
        sub: "alice".to_owned(),
    };
    store.set_standing(&alice, Standing::Disabled, record()).await.unwrap();
    narrows.broker.tend().await;
    told("TEX-023", &narrows.exchange(&[]).await, 400, "invalid_request", "subject_disabled");
    store.set_standing(&alice, Standing::Enabled, record()).await.unwrap();
    let edge = Party::Client(delegation::oauth::ClientId::parse("edge").unwrap());
    store.set_standing(&edge, Standing::Disabled, record()).await.unwrap();
    narrows.broker.tend().await;
    told(
        "TEX-026",
        &narrows.exchange(&[]).await,
        401,
        "invalid_client",
        "client_authentication_failed",
    );
    store.set_standing(&edge, Standing::Enabled, record()).await.unwrap();
    narrows.broker.tend().await;
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    narrows.stop().await;
}

#[tokio::test]
async fn chains_end_where_the_configuration_says() {
    let narrows = Installation::with(crate::installation::RULES, |snapshot| {
        snapshot.max_chain = 2;
        for client in snapshot.clients.values_mut() {
            client.receives.push(delegation::registry::Receives {
                issuer_name: None,
                audience: "https://tickets.internal".to_owned(),
            });
        }
    })
    .await;
    let first = narrows.exchange(&[]).await;
    let second = narrows
        .exchange(&[
            ("subject_token", first.text("access_token")),
            ("client_id", "orders"),
            ("client_secret", "orders-secret"),
        ])
        .await;
    assert_eq!(second.status, 200, "{:?}", second.body);
    assert_eq!(second.claims()["act"]["act"]["sub"], json!("edge"));
    let third = narrows.exchange(&[("subject_token", second.text("access_token"))]).await;
    told("TEX-041 TEX-043", &third, 400, "invalid_request", "chain_too_long");
    narrows.stop().await;
}

/// Ten thousand scopes of three letters, as many as a form has room for.
fn many_scopes() -> String {
    let letter = |at: u32| char::from_digit(10 + at % 26, 36).unwrap();
    let scope = |at: u32| String::from_iter([letter(at / 676), letter(at / 26), letter(at)]);
    (0..10_000).map(scope).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_grant_is_one_that_the_client_may_use() {
    let narrows = Installation::with(crate::installation::RULES, |snapshot| {
        use delegation::oauth::{ClientId, GrantType};
        snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap().grants = [GrantType::TokenExchange].into();
    })
    .await;
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    let alone = [
        ("grant_type", "client_credentials"),
        ("subject_token", ""),
        ("subject_token_type", ""),
    ];
    let reply = narrows.exchange(&alone).await;
    told("grant", &reply, 400, "unauthorized_client", "unauthorized_client");
    narrows.stop().await;
}

#[tokio::test]
async fn a_body_says_once_what_it_is() {
    let narrows = Installation::start().await;
    let body = encode(&narrows.form().into_iter().collect::<Vec<_>>());
    let form = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(narrows.post(&body, &[form]).await.status, 200);
    for second in [form, ("content-type", "application/json")] {
        let reply = narrows.post(&body, &[form, second]).await;
        assert_eq!((reply.status, reply.text("error")), (400, "invalid_request"));
    }
    narrows.stop().await;
}
