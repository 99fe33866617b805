//! Opaque outside tokens: their issuer is asked, each time, and believed no further than a JWT of its would be.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use delegation::oauth::Reason;
use fetch::Introspection;
use serde_json::{Value, json};
use testkit::{CORP, EDGE_AUDIENCE};

use crate::installation::{Installation, Reply, seconds};
use crate::reuse::jti;

pub(crate) const OPAQUE: &str = "ya29.a0AfB_byC-0123456789";

/// An introspection endpoint whose answer a test writes, and which remembers what it was asked.
#[derive(Clone, Default)]
pub(crate) struct Endpoint {
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Endpoint {
    pub(crate) async fn start() -> (Self, Introspection) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/introspect", listener.local_addr().unwrap()).parse().unwrap();
        let endpoint = Self::default();
        let routes = Router::new().route("/introspect", post(answer)).with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let introspection = Introspection {
            name: "corp".to_owned(),
            issuer: CORP.to_owned(),
            url,
            client_id: "narrows:1".to_owned(),
            client_secret: "s+cr t%".to_owned(),
        };
        (endpoint, introspection)
    }

    pub(crate) fn says(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(State(endpoint): State<Endpoint>, headers: HeaderMap, body: String) -> Response {
    let authorization = headers.get("authorization").unwrap().to_str().unwrap().to_owned();
    endpoint.asked.lock().unwrap().push((authorization, body));
    let (status, body) = endpoint.answer.lock().unwrap().clone();
    (http::StatusCode::from_u16(status).unwrap(), [("location", "/introspect")], body).into_response()
}

pub(crate) fn active() -> Value {
    json!({
        "active": true, "sub": "alice", "aud": EDGE_AUDIENCE, "iat": seconds() - 5, "exp": seconds() + 600, "client_id": "web",
        "scope": "tickets.full profile", "groups": ["support"], "token_type": "Bearer",
    })
}

async fn shown(narrows: &Installation, token: &str) -> Reply {
    narrows.exchange(&[("subject_token", token)]).await
}

#[tokio::test]
async fn an_active_token_is_exchanged_and_its_issuer_is_asked_each_time() {
    let (endpoint, introspection) = Endpoint::start().await;
    let narrows = Installation::with_introspection(introspection).await;
    endpoint.says(200, &active().to_string());
    let reply = shown(&narrows, OPAQUE).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let claims = reply.claims();
    assert_eq!(claims["sub_id"], json!({ "format": "iss_sub", "iss": CORP, "sub": "alice" }));
    let digest = delegation::token::chain_entry(CORP, None, OPAQUE);
    assert_eq!(claims["chain"], json!([digest]), "a token without jti is named by its own digest");
    // RFC 6749 §2.3.1: `narrows:1` and `s+cr t%`, each form-encoded, then base64.
    let credentials = "Basic bmFycm93cyUzQTE6cyUyQmNyK3QlMjU=".to_owned();
    let asked = (
        credentials,
        "token=ya29.a0AfB_byC-0123456789&token_type_hint=access_token".to_owned(),
    );
    assert_eq!(endpoint.asked(), vec![asked]);
    endpoint.says(200, r#"{"active":false}"#);
    assert_eq!(
        shown(&narrows, OPAQUE).await.text("reason"),
        "subject_token_invalid",
        "the answer was not kept"
    );
    let mut named = active();
    named["jti"] = json!("j-7");
    endpoint.says(200, &named.to_string());
    let chain = shown(&narrows, OPAQUE).await.claims()["chain"].clone();
    assert_eq!(chain, json!([delegation::token::chain_entry(CORP, Some("j-7"), "")]));
    narrows.stop().await;
}

#[tokio::test]
async fn a_reply_with_anything_wrong_in_it_is_no_evidence() {
    let (endpoint, introspection) = Endpoint::start().await;
    let narrows = Installation::with_introspection(introspection).await;
    let now = seconds();
    let wrong = [
        ("active", json!("true")),
        ("active", json!(1)),
        ("active", Value::Null),
        ("iss", json!("https://other.example")),
        ("iss", json!(7)),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!("web")),
        ("aud", json!([])),
        ("aud", json!(7)),
        ("exp", json!("soon")),
        ("exp", json!(1.5e9)),
        ("iat", json!(now + 3600)),
        ("nbf", json!(now + 3600)),
        ("jti", json!(7)),
        ("scope", json!(["tickets.full"])),
        ("token_type", json!("refresh_token")),
        ("token_type", json!("DPoP")),
        ("token_use", json!("refresh_token")),
        ("client_id", json!(["web"])),
        ("groups", json!("support")),
        ("may_act", json!("edge")),
        ("cnf", json!({ "x5t#S256": "abc" })),
    ];
    for (name, value) in wrong {
        let mut reply = active();
        reply[name] = value.clone();
        endpoint.says(200, &reply.to_string());
        assert_eq!(
            shown(&narrows, OPAQUE).await.text("reason"),
            "subject_token_invalid",
            "{name} {value}"
        );
    }
    for name in ["active", "sub", "aud", "exp", "iat"] {
        let mut reply = active();
        reply.as_object_mut().unwrap().remove(name);
        endpoint.says(200, &reply.to_string());
        assert_eq!(
            shown(&narrows, OPAQUE).await.text("reason"),
            "subject_token_invalid",
            "without {name}"
        );
    }
    for body in ["", "[]", "<html>", r#"{"active":false,"active":true}"#] {
        endpoint.says(200, body);
        assert_eq!(shown(&narrows, OPAQUE).await.text("reason"), "subject_token_invalid", "{body}");
    }
    for (name, value, reason) in [
        ("exp", json!(now - 1), "subject_token_expired"),
        ("aud", json!("https://other.example"), "subject_token_not_for_client"),
        ("scope", json!("unheard.of"), "scope_not_mapped"),
        ("cnf", json!({ "jkt": "abc" }), "invalid_dpop_proof"),
    ] {
        let mut reply = active();
        reply[name] = value;
        endpoint.says(200, &reply.to_string());
        assert_eq!(shown(&narrows, OPAQUE).await.text("reason"), reason);
    }
    narrows.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_fails_makes_its_tokens_unavailable_and_no_others() {
    let (endpoint, introspection) = Endpoint::start().await;
    let narrows = Installation::with_introspection(introspection).await;
    for status in [201, 204, 307, 401, 404, 500] {
        endpoint.says(status, &active().to_string());
        let before = endpoint.asked().len();
        let reply = shown(&narrows, OPAQUE).await;
        assert_eq!((reply.status, reply.text("reason")), (503, "issuer_unavailable"), "{status}");
        assert!(reply.headers.contains_key("retry-after"));
        assert_eq!(
            endpoint.asked().len(),
            before + 1,
            "no redirect is followed and nothing is tried twice"
        );
        assert_eq!(narrows.exchange(&[]).await.status, 200, "a signed token of the same issuer");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn a_token_that_may_be_anothers_is_shown_to_nobody() {
    let (endpoint, introspection) = Endpoint::start().await;
    let narrows = Installation::with_introspection(introspection).await;
    endpoint.says(200, &active().to_string());
    let jwt = narrows.user_token();
    let (header, _) = jwt.split_once('.').unwrap();
    let bent = [
        format!("{jwt}."),
        format!("{header}=.{header}"),
        format!("{header}.x"),
        format!("{jwt}.x.y"),
        format!("nrwa_{}", "a".repeat(49)),
        "nrwt_short".to_owned(),
        "with space".to_owned(),
        "o".repeat(16 * 1024 + 1),
    ];
    for token in bent {
        assert_eq!(shown(&narrows, &token).await.text("reason"), "subject_token_invalid", "{token}");
    }
    for declared in ["id_token", "jwt"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{declared}");
        let reply = narrows.exchange(&[("subject_token", OPAQUE), ("subject_token_type", &kind)]).await;
        assert_eq!(reply.text("reason"), "subject_token_invalid", "{declared}");
    }
    let access = "urn:ietf:params:oauth:token-type:access_token";
    let reply = narrows.exchange(&[("actor_token", OPAQUE), ("actor_token_type", access)]).await;
    assert_eq!(reply.text("reason"), "actor_token_invalid");
    let by_stranger = narrows.exchange(&[("subject_token", OPAQUE), ("client_secret", "wrong")]).await;
    assert_eq!(by_stranger.status, 401, "strangers cannot make us ask");
    assert!(endpoint.asked().is_empty(), "{:?}", endpoint.asked());
    narrows.stop().await;
}

#[tokio::test]
async fn nothing_about_an_opaque_token_outlives_the_answer_at_a_boundary_either() {
    let (endpoint, introspection) = Endpoint::start().await;
    let narrows = Installation::with_introspection(introspection).await;
    let ask = async || crate::reuse::ask(&narrows, "edge", &[("subject_token", OPAQUE)]).await;
    let mut said = active();
    endpoint.says(200, &said.to_string());
    let first = ask().await.unwrap();
    // What was minted may be handed out again only on the issuer's word of now.
    assert_eq!(jti(&ask().await.unwrap()), jti(&first));
    assert_eq!(endpoint.asked().len(), 2);
    said["groups"] = json!([]);
    endpoint.says(200, &said.to_string());
    assert_ne!(
        jti(&ask().await.unwrap()),
        jti(&first),
        "the issuer says something else of the subject"
    );
    endpoint.says(200, r#"{"active":false}"#);
    assert_eq!(ask().await.unwrap_err().reason, Reason::SubjectTokenInvalid);
    endpoint.says(503, "");
    assert_eq!(ask().await.unwrap_err().reason, Reason::IssuerUnavailable);
    assert_eq!(endpoint.asked().len(), 5, "asked each time");
    narrows.stop().await;
}
