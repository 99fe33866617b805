//! What is served beside the token endpoint, and what a right exchange gives.

use delegation::token::{Algorithm, KeySet, SubjectToken, Unverified};
use serde_json::{Value, json};

use crate::installation::{Installation, Plan};

#[tokio::test]
async fn a_right_exchange_gives_a_narrow_token_that_verifies() {
    let narrows = Installation::start().await;
    let reply = narrows.exchange(&[("scope", "profile")]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let mut names: Vec<_> = reply.body.as_object().unwrap().keys().cloned().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "access_token",
            "authorization_details",
            "expires_in",
            "issued_token_type",
            "scope",
            "token_type"
        ]
    );
    assert_eq!((reply.text("token_type"), reply.text("scope")), ("Bearer", "profile"));
    assert_eq!(reply.body["expires_in"], json!(120));
    let (_, _, jwks) = narrows.get("/oauth2/jwks").await;
    let keys = KeySet::parse(&narrows.url, jwks.as_bytes(), &[Algorithm::Es256]).unwrap();
    Unverified::<SubjectToken>::parse(reply.text("access_token")).unwrap().authenticate(&keys).unwrap();
    let claims = reply.claims();
    assert_eq!(
        (claims["iss"].as_str(), claims["aud"].as_str(), claims["sub"].as_str()),
        (Some(narrows.url.as_str()), Some("https://tickets.internal"), Some("alice"))
    );
    assert_eq!(
        claims["act"],
        json!({ "iss": narrows.url, "sub": "edge" }),
        "TEX-040: who acts is always named"
    );
    narrows.stop().await;
}

#[tokio::test]
async fn metadata_names_what_is_served() {
    let narrows = Installation::start().await;
    let (status, media, body) = narrows.get("/.well-known/oauth-authorization-server").await;
    let metadata: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, media.as_str(), metadata["issuer"].as_str()),
        (200, "application/json", Some(narrows.url.as_str()))
    );
    for name in ["token_endpoint", "introspection_endpoint", "revocation_endpoint", "jwks_uri"] {
        let path = metadata[name].as_str().unwrap().strip_prefix(&narrows.url).unwrap();
        assert_ne!(narrows.get(path).await.0, 404, "{name}");
    }
    for unserved in ["authorization_endpoint", "registration_endpoint"] {
        assert!(metadata.get(unserved).is_none(), "{unserved}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn our_keys_are_public_halves_alone() {
    let narrows = Installation::start().await;
    let (_, media, body) = narrows.get("/oauth2/jwks").await;
    let keys: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(media, "application/jwk-set+json");
    let mut members: Vec<_> = keys["keys"][0].as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert!(keys["keys"][0]["kid"].as_str().unwrap().starts_with("nrw-"));
    narrows.stop().await;
}

#[tokio::test]
async fn health_readiness_and_metrics_answer() {
    let narrows = Installation::start().await;
    assert_eq!(narrows.get("/healthz").await.0, 200);
    let (status, _, body) = narrows.get("/readyz").await;
    let ready: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, ready["policy_version"].as_str(), ready["store"].as_str()),
        (200, Some("p-1"), Some("ok"))
    );
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    assert_eq!(narrows.exchange(&[("audience", "gone")]).await.status, 400);
    let (_, media, text) = narrows.get("/metrics").await;
    assert!(media.starts_with("application/openmetrics-text"));
    assert!(
        text.contains("narrows_issued_total 1") && text.contains(r#"narrows_refusals_total{reason="unknown_audience"} 1"#),
        "{text}"
    );
    narrows.stop().await;
}

#[tokio::test]
async fn a_second_hop_keeps_transaction_and_attributes() {
    let rules = r#"
@id("support-reads") permit (principal, action == Action::"ticket:read", resource is Detail::Ticket)
when { context.subject in Group::"corp|support" };
"#;
    let narrows = Installation::with(rules, |snapshot| {
        let orders = snapshot.clients.values_mut().find(|client| client.id.as_str() == "orders").unwrap();
        orders.receives.push(delegation::registry::Receives {
            issuer_name: None,
            audience: "https://tickets.internal".to_owned(),
        });
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
    assert_eq!(
        second.status, 200,
        "the group is known though the token does not carry it: {:?}",
        second.body
    );
    let (one, two) = (first.claims(), second.claims());
    assert_eq!(one["txn"], two["txn"]);
    assert!(two["exp"].as_i64() <= one["exp"].as_i64());
    assert_eq!(two["chain"], json!([one["chain"][0], one["jti"]]));
    narrows.stop().await;
}

#[tokio::test]
async fn a_change_is_in_force_with_the_next_request() {
    use policy_cedar::{CedarPolicy, PolicyFile};
    let narrows = Installation::start().await;
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    let mut snapshot = testkit::snapshot();
    snapshot.issuer.clone_from(&narrows.url);
    let files = [PolicyFile {
        name: "none.cedar".to_owned(),
        text: "@id(\"no\") forbid (principal, action, resource);".to_owned(),
    }];
    let policy = CedarPolicy::load(&snapshot, &files, "UTC", "p-2".to_owned()).unwrap();
    let entry = fetch::IssuerEntry {
        name: "corp".to_owned(),
        issuer: testkit::CORP.to_owned(),
        source: fetch::KeySource::File(narrows.folder.path().join("corp.json")),
        algorithms: vec![Algorithm::Es256],
    };
    narrows
        .broker
        .swap(
            broker::Settings {
                body_limit: 4096,
                ..(*narrows.broker.settings()).clone()
            },
            broker::InForce {
                snapshot: std::sync::Arc::new(snapshot),
                policy,
                rates: broker::Rates::default(),
                introspection: None,
                boundaries: Default::default(),
                guards: Default::default(),
                connections: Default::default(),
            },
            vec![entry],
        )
        .await
        .unwrap();
    assert_eq!(narrows.exchange(&[]).await.text("reason"), "policy_denied");
    let large = narrows.exchange(&[("unread", &"x".repeat(4096))]).await;
    assert_eq!(
        (large.status, large.text("reason")),
        (413, "too_large"),
        "limits change with the rest"
    );
    narrows.stop().await;
}

#[tokio::test]
async fn a_view_of_standing_that_is_too_old_refuses_everybody() {
    let max_view_age = std::time::Duration::ZERO;
    let narrows = Installation::of(Plan {
        max_view_age,
        ..Plan::default()
    })
    .await;
    let stale = narrows.exchange(&[]).await;
    assert_eq!(
        (stale.status, stale.text("error"), stale.text("reason")),
        (503, "temporarily_unavailable", "revocation_view_stale")
    );
    assert!(stale.headers.contains_key("retry-after"));
    narrows.stop().await;
}
