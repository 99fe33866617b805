//! What `/readyz` tells to whom.

use std::net::SocketAddr;

use axum::body::Body;
use broker::Role;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::api::{operator, own_token, plan};
use crate::installation::Installation;

/// The answer to a request from somewhere else than this machine.
async fn ready_from(narrows: &Installation, from: &str, token: Option<&str>) -> (u16, String) {
    let mut request = http::Request::get("/readyz");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let peer: SocketAddr = from.parse().unwrap();
    let request = request.extension(peer).body(Body::empty()).unwrap();
    let response = broker::routes(&narrows.broker, true).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn strangers_hear_a_word_and_operators_what_is_in_force() {
    let narrows = Installation::of(plan()).await;
    let token = operator(&narrows, "ann", &[Role::Responder]).await;
    let client = own_token(&narrows, "orders", "narrows.data_plane").await;
    let word = (200, "ready".to_owned());
    for nobody in [None, Some("x"), Some(client.as_str()), Some(token.get(1..).unwrap())] {
        assert_eq!(ready_from(&narrows, "192.0.2.1:1", nobody).await, word, "{nobody:?}");
    }
    for (from, shown) in [("192.0.2.1:1", Some(token.as_str())), ("127.0.0.1:1", None), ("[::1]:1", None)] {
        let (status, told) = ready_from(&narrows, from, shown).await;
        assert!(status == 200 && told.contains("\"policy_version\":\"p-1\""), "{told}");
    }
    narrows.stop().await;
}
