//! Bodies have room together, at whatever door they come.

use std::net::SocketAddr;

use axum::body::Body;
use axum::{Extension, Router};
use boundary::proxy::Upstreams;
use boundary::{ext_authz, forward_auth, proxy};
use http::{Request, StatusCode};
use tower::ServiceExt as _;

use crate::exchanger::{GOOD, cramped};

const BODY: &str = r#"{"id":"42"}"#;

async fn ask(routes: &Router, headers: &[(&str, &str)]) -> StatusCode {
    let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    let mut request = Request::builder().method("POST").uri("/tickets").header("host", "tickets.internal");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let asked = request.header("authorization", format!("Bearer {GOOD}")).header("content-type", "application/json");
    let routes = routes.clone().layer(Extension(peer));
    routes.oneshot(asked.body(Body::from(BODY)).unwrap()).await.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_there_is_no_room_for_is_429_at_every_door_and_on_record() {
    let forwarded = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/tickets"),
        ("x-forwarded-host", "tickets.internal"),
    ];
    let partial = [("x-envoy-auth-partial-body", "false")];
    for (room, expected) in [(BODY.len(), "ticket:read/42"), (BODY.len() - 1, "rate_limited")] {
        let upstreams = Upstreams::new().unwrap();
        let (boundary, exchanger) = cramped(room);
        let status = ask(&proxy::routes(boundary, upstreams), &[]).await;
        assert_eq!(exchanger.last(), expected, "the own proxy");
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, expected == "rate_limited");
        let (boundary, exchanger) = cramped(room);
        let status = ask(&forward_auth::routes(boundary), &forwarded).await;
        assert_eq!(exchanger.last(), expected, "forward_auth");
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, expected == "rate_limited");
        let (boundary, exchanger) = cramped(room);
        let status = ask(&ext_authz::http::routes(boundary), &partial).await;
        assert_eq!(exchanger.last(), expected, "ext_authz by HTTP");
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, expected == "rate_limited");
    }
}
