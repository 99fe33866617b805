//! Sentences of the contract that are easy to keep almost: each is tried where "almost" would show.

use std::collections::BTreeMap;

use delegation::identity::AttributeRule;
use delegation::oauth::{AudienceId, ClientId};
use delegation::registry::{AuthMethod, ClientAuth, WorkloadMatch};
use serde_json::{Value, json};
use testkit::{CORP, EDGE_AUDIENCE};

use crate::installation::{Installation, RULES, encode, seconds};

const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

#[tokio::test]
async fn any_method_but_post_is_405_and_no_cache_keeps_it() {
    let narrows = Installation::start().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}/oauth2/token", narrows.url);
        let response = reqwest::Client::new().request(method.clone(), url).send().await.unwrap();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        assert_eq!(response.status().as_u16(), 405, "{method}");
        assert_eq!(
            (header("cache-control"), header("allow")),
            (Some("no-store".to_owned()), Some("POST".to_owned())),
            "{method}"
        );
    }
    narrows.stop().await;
}

#[tokio::test]
async fn any_number_of_digits_is_a_life_and_the_life_is_capped() {
    let narrows = Installation::start().await;
    for (asked, given) in [("60", 60), ("000060", 60), ("99999999999999999999999999", 120)] {
        let reply = narrows.exchange(&[("expires_in", asked)]).await;
        assert_eq!((reply.status, &reply.body["expires_in"]), (200, &json!(given)), "{asked}");
    }
    for malformed in ["0", "000", "-1", "+5", "1.0", "1e1", " 5", "٣"] {
        let reply = narrows.exchange(&[("expires_in", malformed)]).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{malformed}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn an_empty_array_counts_as_absent_however_it_is_spaced() {
    let narrows = Installation::start().await;
    for empty in ["[]", "[ ]", " [\n] "] {
        for name in ["authorization_details", "onward"] {
            let reply = narrows.exchange(&[("authorization_details", ""), (name, empty), ("scope", "unknown")]).await;
            assert_eq!(
                (reply.text("error"), reply.text("reason")),
                ("invalid_scope", "wider_than_subject"),
                "{name} {empty:?}"
            );
        }
    }
    narrows.stop().await;
}

#[tokio::test]
async fn a_reply_names_the_type_of_its_token_whatever_the_grant() {
    let narrows = Installation::start().await;
    let pairs = [
        ("grant_type", "client_credentials"),
        ("client_id", "edge"),
        ("client_secret", "edge-secret"),
        ("audience", "https://tickets.internal"),
        ("scope", "profile"),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let reply = narrows.post(&encode(&pairs), &[]).await;
    assert_eq!((reply.status, reply.text("issued_token_type")), (200, ACCESS_TOKEN));
    narrows.stop().await;
}

#[tokio::test]
async fn a_mapped_claim_that_the_subject_lacks_is_in_no_token() {
    let with_groups = |snapshot: &mut delegation::registry::Snapshot| {
        let id = AudienceId::parse("https://tickets.internal").unwrap();
        snapshot.audiences.get_mut(&id).unwrap().claims.insert("groups".to_owned());
        let issuer = snapshot.issuers.get_mut(CORP).unwrap();
        issuer.attributes.insert("groups".to_owned(), AttributeRule::parse("set?").unwrap());
    };
    let narrows = Installation::with(RULES, with_groups).await;
    assert_eq!(narrows.exchange(&[]).await.claims()["groups"], json!(["support"]));
    let mut claims = narrows.user_claims();
    claims.as_object_mut().unwrap().remove("groups");
    let token = narrows.issuer.sign("at+jwt", &claims);
    let reply = narrows.exchange(&[("subject_token", &token)]).await;
    assert_eq!((reply.status, reply.claims().get("groups")), (200, None));
    narrows.stop().await;
}

#[tokio::test]
async fn a_payload_is_nested_no_deeper_than_the_longest_chain_and_eight_more() {
    let narrows = Installation::with(RULES, |snapshot| snapshot.max_chain = 3).await;
    let nested = |depth: usize| (1..depth).fold(json!(1), |inner, _| json!({ "x": inner }));
    for (depth, status) in [(11, 200), (12, 400)] {
        let mut claims = narrows.user_claims();
        claims["x"] = nested(depth);
        let token = narrows.issuer.sign("at+jwt", &claims);
        let reply = narrows.exchange(&[("subject_token", &token)]).await;
        let reason = if status == 200 { "" } else { "subject_token_invalid" };
        assert_eq!((reply.status, reply.text("reason")), (status, reason), "{depth}");
        let assertion = narrows.assertion(&[("x", nested(depth))]);
        let reply = narrows
            .exchange(&[
                ("client_secret", ""),
                ("client_assertion_type", crate::installation::ASSERTION_TYPE),
                ("client_assertion", &assertion),
            ])
            .await;
        assert_eq!(reply.status, if status == 200 { 200 } else { 401 }, "an assertion, {depth}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn what_workloads_authenticate_with_is_addressed_to_nobody_as_a_subject_token() {
    let narrows = Installation::with(RULES, |snapshot| {
        snapshot.issuers.get_mut(CORP).unwrap().authenticates_workloads = true;
    })
    .await;
    let mut claims = narrows.user_claims();
    claims["aud"] = json!([EDGE_AUDIENCE, narrows.url]);
    let token = narrows.issuer.sign("at+jwt", &claims);
    let reply = narrows.exchange(&[("subject_token", &token)]).await;
    assert_eq!((reply.status, reply.text("reason")), (400, "subject_token_not_for_client"));
    assert_eq!(narrows.exchange(&[]).await.status, 200, "its other tokens are as good as before");
    narrows.stop().await;
}

#[tokio::test]
async fn the_declared_type_of_an_actor_token_binds() {
    let workload = |snapshot: &mut delegation::registry::Snapshot| {
        let method = AuthMethod::WorkloadJwt(WorkloadMatch {
            issuer_name: "corp".to_owned(),
            subject: "edge-account".to_owned(),
            claims: BTreeMap::new(),
        });
        let edge = snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap();
        edge.auth.push(ClientAuth { method, until: None });
    };
    let narrows = Installation::with(RULES, workload).await;
    let claims: Value = json!({ "iss": CORP, "sub": "edge-account", "aud": "anywhere", "iat": seconds() - 5, "exp": seconds() + 600 });
    let openid = narrows.issuer.sign("JWT", &claims);
    let access = narrows.issuer.sign("at+jwt", &claims);
    for (token, declared, reason) in [
        (&openid, ID_TOKEN, ""),
        (&openid, JWT, ""),
        (&openid, ACCESS_TOKEN, "actor_token_invalid"),
        (&access, ACCESS_TOKEN, ""),
        (&access, JWT, ""),
        (&access, ID_TOKEN, "actor_token_invalid"),
    ] {
        let reply = narrows.exchange(&[("actor_token", token), ("actor_token_type", declared)]).await;
        assert_eq!(reply.text("reason"), reason, "{declared}: {:?}", reply.body);
    }
    narrows.stop().await;
}
