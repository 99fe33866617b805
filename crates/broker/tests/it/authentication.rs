//! Client authentication over HTTP: every failure looks the same.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use delegation::oauth::ClientId;
use delegation::registry::AuthMethod;
use serde_json::json;

use crate::installation::{ASSERTION_TYPE, Installation, encode, seconds};

async fn assert(narrows: &Installation, assertion: &str) -> u16 {
    narrows
        .exchange(&[
            ("client_id", ""),
            ("client_secret", ""),
            ("client_assertion", assertion),
            ("client_assertion_type", ASSERTION_TYPE),
        ])
        .await
        .status
}

async fn basic(narrows: &Installation, header: &str) -> crate::installation::Reply {
    let mut form = narrows.form();
    form.remove("client_id");
    form.remove("client_secret");
    let pairs: Vec<_> = form.into_iter().collect();
    narrows.post(&encode(&pairs), &[("authorization", header)]).await
}

#[tokio::test]
async fn an_assertion_works_once() {
    let narrows = Installation::start().await;
    let assertion = narrows.assertion(&[]);
    assert_eq!(assert(&narrows, &assertion).await, 200);
    assert_eq!(assert(&narrows, &assertion).await, 401, "CLI-001: shown again");
    let denied = narrows.assertion(&[]);
    let refused = narrows
        .exchange(&[
            ("client_id", ""),
            ("client_secret", ""),
            ("client_assertion", &denied),
            ("client_assertion_type", ASSERTION_TYPE),
            ("audience", "gone"),
        ])
        .await;
    assert_eq!(refused.status, 400);
    assert_eq!(assert(&narrows, &denied).await, 401, "a refusal uses it up too");
    let again = narrows
        .exchange(&[
            ("client_id", ""),
            ("client_secret", ""),
            ("client_assertion", &denied),
            ("client_assertion_type", ASSERTION_TYPE),
            ("audience", "gone"),
        ])
        .await;
    assert_eq!(
        (again.status, again.text("error")),
        (401, "invalid_client"),
        "and is not told twice why"
    );
    narrows.stop().await;
}

#[tokio::test]
async fn of_many_at_once_one_wins() {
    let narrows = Installation::start().await;
    let assertion = narrows.assertion(&[]);
    let narrows = std::sync::Arc::new(narrows);
    let tries = (0..16).map(|_| {
        let (narrows, assertion) = (std::sync::Arc::clone(&narrows), assertion.clone());
        tokio::spawn(async move { assert(&narrows, &assertion).await })
    });
    let mut won = 0;
    for each in tries.collect::<Vec<_>>() {
        won += u32::from(each.await.unwrap() == 200);
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn bad_credentials_all_look_the_same() {
    let narrows = Installation::start().await;
    // CLI-007: another aud. CLI-019: it lives too long. CLI-010: a key of the edge for another client.
    let bad = [
        narrows.assertion(&[("aud", json!(format!("{}/oauth2/token", narrows.url)))]),
        narrows.assertion(&[("aud", json!([narrows.url, "https://other.example"]))]),
        narrows.assertion(&[("exp", json!(seconds() + 301))]),
        narrows.assertion(&[("exp", json!(seconds() - 1)), ("iat", json!(seconds() - 50))]),
        narrows.assertion(&[("sub", json!("orders"))]),
        narrows.assertion(&[("iss", json!("orders")), ("sub", json!("orders"))]),
        narrows.assertion(&[("iss", json!("gone")), ("sub", json!("gone"))]),
        testkit::FakeIssuer::es256("edge").sign(
            "JWT",
            &json!({ "iss": "edge", "sub": "edge", "aud": narrows.url, "iat": seconds(), "exp": seconds() + 60, "jti": "x" }),
        ),
        narrows.user_token(),
        "a.b.c".to_owned(),
        String::from("x"),
    ];
    let mut bodies = std::collections::BTreeSet::new();
    for assertion in bad {
        let reply = narrows
            .exchange(&[
                ("client_id", ""),
                ("client_secret", ""),
                ("client_assertion", &assertion),
                ("client_assertion_type", ASSERTION_TYPE),
            ])
            .await;
        assert_eq!(reply.status, 401, "{assertion}");
        bodies.insert(format!(
            "{} {} {}",
            reply.text("error"),
            reply.text("reason"),
            reply.text("error_description")
        ));
    }
    let none = narrows.exchange(&[("client_id", ""), ("client_secret", "")]).await;
    bodies.insert(format!(
        "{} {} {}",
        none.text("error"),
        none.text("reason"),
        none.text("error_description")
    ));
    let public = narrows.exchange(&[("client_secret", "")]).await;
    assert_eq!(public.status, 401, "TEX-020");
    let wrong = narrows.exchange(&[("client_secret", "edge-secre")]).await;
    bodies.insert(format!(
        "{} {} {}",
        wrong.text("error"),
        wrong.text("reason"),
        wrong.text("error_description")
    ));
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    narrows.stop().await;
}

#[tokio::test]
async fn the_header_is_form_encoded_and_challenged() {
    let narrows = Installation::with(crate::installation::RULES, |snapshot| {
        let edge = snapshot.clients.values_mut().find(|client| client.id.as_str() == "edge").unwrap();
        let digest = delegation::token::sha256("a:b+c %".as_bytes());
        let method = AuthMethod::SecretBasic(delegation::registry::SecretDigest::from_bytes(digest));
        edge.auth = vec![delegation::registry::ClientAuth { method, until: None }];
    })
    .await;
    let good = format!("Basic {}", STANDARD.encode("edge:a%3Ab%2Bc+%25"));
    assert_eq!(basic(&narrows, &good).await.status, 200);
    for bad in [
        // CLI-014
        format!("Basic {}", "A".repeat(7 * 1024)),
        format!("Basic {}", STANDARD.encode([0xff, 0xfe, b':', b'x'])),
        format!("Basic {}", STANDARD.encode("ed%3Age:a%3Ab%2Bc+%25")),
        format!("Basic {}", STANDARD.encode("ed%zzge:a")),
        "Basic".to_owned(),
        format!("Basic {}", STANDARD.encode("edge:wrong")),
        "Basic !!".to_owned(),
        "Bearer x".to_owned(),
        format!("Basic {}", STANDARD.encode("edge")),
    ] {
        let reply = basic(&narrows, &bad).await;
        assert_eq!((reply.status, reply.text("error")), (401, "invalid_client"), "{bad}");
        assert!(reply.headers.contains_key("www-authenticate"), "{bad}");
    }
    let mut form = narrows.form();
    form.insert("client_secret".to_owned(), "x".to_owned());
    let pairs: Vec<_> = form.into_iter().collect();
    let two = narrows.post(&encode(&pairs), &[("authorization", good.as_str())]).await;
    assert_eq!((two.status, two.text("reason")), (400, "malformed_request"), "CLI-011: two methods");
    narrows.stop().await;
}

#[tokio::test]
async fn an_assertion_beside_a_secret_is_not_looked_at() {
    let narrows = Installation::start().await;
    let assertion = narrows.assertion(&[]);
    let reply = narrows
        .exchange(&[("client_assertion", &assertion), ("client_assertion_type", ASSERTION_TYPE)])
        .await;
    assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "JWS-043");
    narrows.stop().await;
}

#[tokio::test]
async fn an_assertion_that_does_not_verify_uses_nothing_up() {
    let narrows = Installation::start().await;
    let jti = json!("the-victims");
    let claims = json!({ "iss": "edge", "sub": "edge", "aud": narrows.url, "iat": seconds(), "exp": seconds() + 60, "jti": jti });
    let forged = testkit::FakeIssuer::es256("edge").sign("client-authentication+jwt", &claims);
    assert_eq!(assert(&narrows, &forged).await, 401);
    assert_eq!(assert(&narrows, &narrows.assertion(&[("jti", jti)])).await, 200, "CLI-002");
    narrows.stop().await;
}

#[tokio::test]
async fn an_assertion_has_its_own_typ_or_none_that_says_otherwise() {
    let narrows = Installation::start().await;
    let signed = |typ: Option<&str>| {
        let claims =
            json!({ "iss": "edge", "sub": "edge", "aud": narrows.url, "iat": seconds(), "exp": seconds() + 60, "jti": format!("{typ:?}") });
        let mut header = narrows.edge.header("JWT");
        match typ {
            Some(typ) => header["typ"] = json!(typ),
            None => drop(header.as_object_mut().unwrap().remove("typ")),
        }
        narrows.edge.sign_raw(header.to_string().as_bytes(), claims.to_string().as_bytes())
    };
    for good in [
        None,
        Some("JWT"),
        Some("client-authentication+jwt"),
        Some("application/client-authentication+jwt"),
    ] {
        assert_eq!(assert(&narrows, &signed(good)).await, 200, "CLI-008 {good:?}");
    }
    for bad in [
        "at+jwt",
        "dpop+jwt",
        "txntoken+jwt",
        "oauth-id-jag+jwt",
        "secevent+jwt",
        "logout+jwt",
        "",
    ] {
        assert_eq!(assert(&narrows, &signed(Some(bad))).await, 401, "CLI-008 {bad}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn a_secret_in_the_query_is_not_read() {
    let narrows = Installation::start().await;
    let mut form = narrows.form();
    form.remove("client_secret");
    let pairs: Vec<_> = form.into_iter().collect();
    let url = format!("{}/oauth2/token?client_id=edge&client_secret=edge-secret", narrows.url);
    let request = reqwest::Client::builder().no_proxy().build().unwrap().post(url).body(encode(&pairs));
    let response = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 401, "CLI-013");
    assert!(narrows.records().await.iter().all(|record| !record.to_string().contains("edge-secret")));
    narrows.stop().await;
}

#[tokio::test]
async fn what_stands_beside_a_good_credential_must_agree_with_it() {
    let narrows = Installation::start().await;
    let shown = async |kind: &str, client: &str| {
        let assertion = narrows.assertion(&[]);
        let changes = [
            ("client_id", client),
            ("client_secret", ""),
            ("client_assertion", assertion.as_str()),
            ("client_assertion_type", kind),
        ];
        let reply = narrows.exchange(&changes).await;
        (reply.status, reply.text("error").to_owned())
    };
    let failed = (401, "invalid_client".to_owned());
    assert_eq!(shown(ASSERTION_TYPE, "edge").await.0, 200);
    assert_eq!(shown(ASSERTION_TYPE, "orders").await, failed, "another client's name");
    let saml = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    assert_eq!(shown(saml, "edge").await, failed, "declared as what it is not");
    assert_eq!(shown("", "edge").await, failed, "not declared");
    narrows.stop().await;
}

#[tokio::test]
async fn the_right_secret_counts_in_the_scheme_and_header_that_it_belongs_to() {
    let narrows = Installation::with(crate::installation::RULES, |snapshot| {
        let edge = snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap();
        let AuthMethod::SecretPost(secret) = edge.auth[0].method.clone() else {
            return;
        };
        edge.auth[0].method = AuthMethod::SecretBasic(secret);
    })
    .await;
    let credentials = STANDARD.encode("edge:edge-secret");
    assert_eq!(basic(&narrows, &format!("Basic {credentials}")).await.status, 200);
    for scheme in ["Bearer", "Digest", "Basic2"] {
        assert_eq!(basic(&narrows, &format!("{scheme} {credentials}")).await.status, 401, "{scheme}");
    }
    let mut form = narrows.form();
    form.remove("client_id");
    form.remove("client_secret");
    let body = encode(&form.into_iter().collect::<Vec<_>>());
    let right = format!("Basic {credentials}");
    let (wrong, twice) = (
        "Basic eDp5",
        narrows.post(&body, &[("authorization", &right), ("authorization", &right)]).await,
    );
    assert_eq!((twice.status, twice.text("error")), (400, "invalid_request"));
    let other = narrows.post(&body, &[("authorization", &right), ("authorization", wrong)]).await;
    assert_eq!((other.status, other.text("error")), (400, "invalid_request"));
    narrows.stop().await;
}

#[tokio::test]
async fn whoever_names_a_client_whose_keys_cannot_be_had_counts_for_the_network() {
    let narrows = Installation::start().await;
    std::fs::remove_file(narrows.folder.path().join("edge.json")).unwrap();
    let assertion = narrows.assertion(&[]);
    let changes = [
        ("client_secret", ""),
        ("client_assertion", &*assertion),
        ("client_assertion_type", ASSERTION_TYPE),
    ];
    let reply = narrows.exchange(&changes).await;
    let told = (reply.status, reply.text("reason"));
    assert_eq!(told, (503, "issuer_unavailable"), "{:?}", reply.body);
    let (some, few) = (NonZeroU32::new(10_000).unwrap(), NonZeroU32::new(2).unwrap());
    let rates = broker::Rates {
        per_client: some,
        per_address: few,
    };
    narrows.swap(crate::installation::RULES, rates, narrows.entries()).await;
    let mut statuses = Vec::new();
    while statuses.last() != Some(&429) && statuses.len() < 200 {
        statuses.push(narrows.exchange(&changes).await.status);
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 503 | 429)), "{statuses:?}");
    assert_eq!(narrows.exchange(&[]).await.status, 200, "another client at the same address");
    narrows.stop().await;
}
