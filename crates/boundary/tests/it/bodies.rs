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

/// The proxy that others come through.
const PROXY: &str = "127.0.0.1:40000";

async fn ask(routes: &Router, peer: &str, headers: &[(&str, &str)]) -> StatusCode {
    let peer: SocketAddr = peer.parse().unwrap();
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
        let status = ask(&proxy::routes(boundary, upstreams), PROXY, &[]).await;
        assert_eq!(exchanger.last(), expected, "the own proxy");
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, expected == "rate_limited");
        let (boundary, exchanger) = cramped(room);
        let status = ask(&forward_auth::routes(boundary), PROXY, &forwarded).await;
        assert_eq!(exchanger.last(), expected, "forward_auth");
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, expected == "rate_limited");
        let (boundary, exchanger) = cramped(room);
        let status = ask(&ext_authz::http::routes(boundary), PROXY, &partial).await;
        assert_eq!(exchanger.last(), expected, "ext_authz by HTTP");
        assert_eq!(status == StatusCode::TOO_MANY_REQUESTS, expected == "rate_limited");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_gets_a_fourth_of_the_room_at_every_door_that_knows_whose_it_is() {
    let forwarded = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/tickets"),
        ("x-forwarded-host", "tickets.internal"),
        ("x-forwarded-for", "192.0.2.1"),
    ];
    let partial = [("x-envoy-auth-partial-body", "false"), ("x-forwarded-for", "192.0.2.1")];
    for (room, expected) in [(4 * BODY.len(), "ticket:read/42"), (4 * BODY.len() - 1, "rate_limited")] {
        let (boundary, exchanger) = cramped(room);
        ask(&proxy::routes(boundary, Upstreams::new().unwrap()), "192.0.2.1:40000", &[]).await;
        assert_eq!(exchanger.last(), expected, "the own proxy");
        let (boundary, exchanger) = cramped(room);
        ask(&forward_auth::routes(boundary), PROXY, &forwarded).await;
        assert_eq!(exchanger.last(), expected, "forward_auth");
        let (boundary, exchanger) = cramped(room);
        ask(&ext_authz::http::routes(boundary), PROXY, &partial).await;
        assert_eq!(exchanger.last(), expected, "ext_authz by HTTP");
    }
}
