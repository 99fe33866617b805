//! Whose bodies are waited for, and whose share of the room they take.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::{Extension, Router};
use boundary::proxy::Upstreams;
use boundary::{Boundary, ext_authz, forward_auth, proxy};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tower::ServiceExt as _;

use crate::exchanger::{ALICES, BOBS, FakeExchanger, GOOD, boundary, cramped};

const BODY: &str = r#"{"id":"42"}"#;
/// The proxy that all others come through.
const PROXY: &str = "127.0.0.1:40000";

/// A body that never comes.
struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// A door that may wait for a body, with what a proxy says there.
struct Door {
    name: &'static str,
    routes: fn(Arc<Boundary<FakeExchanger>>) -> Router,
    said: &'static [(&'static str, &'static str)],
}

const DOORS: [Door; 3] = [
    Door {
        name: "the own proxy",
        routes: |boundary| proxy::routes(boundary, Upstreams::new().unwrap()),
        said: &[],
    },
    Door {
        name: "forward_auth",
        routes: forward_auth::routes,
        said: &[
            ("x-forwarded-method", "POST"),
            ("x-forwarded-uri", "/tickets"),
            ("x-forwarded-host", "tickets.internal"),
        ],
    },
    Door {
        name: "ext_authz by HTTP",
        routes: ext_authz::http::routes,
        said: &[("x-envoy-auth-partial-body", "false")],
    },
];

/// What a door says to a request for a route that reads a body.
async fn ask(routes: Router, said: &[(&str, &str)], shown: &[&str], body: Body) -> (StatusCode, String) {
    let peer: SocketAddr = PROXY.parse().unwrap();
    let mut request = Request::builder().method("POST").uri("/tickets").header("host", "tickets.internal");
    for (name, value) in said {
        request = request.header(*name, *value);
    }
    for line in shown {
        request = request.header("authorization", *line);
    }
    let request = request.header("content-type", "application/json").body(body).unwrap();
    let reply = routes.layer(Extension(peer)).oneshot(request).await.unwrap();
    let status = reply.status();
    let problem = reply.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&problem).into_owned())
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A body that never comes is given up after ten seconds, and for that reason.
#[tokio::test(start_paused = true)]
async fn nobodys_body_is_waited_for_who_shows_nothing_that_holds() {
    let (good, forged) = (bearer(GOOD), bearer("forged.token.signature"));
    for Door { name, routes, said } in DOORS {
        for (shown, status, reason, told) in [
            (&[][..], 401, "no_token", "no_token"),
            (&[&*good, "Bearer another"], 400, "malformed_request", "more than one credential"),
            (&["Basic YTpi"], 400, "malformed_request", "expected the scheme"),
            (&["DPoP a.b.c"], 401, "invalid_dpop_proof", "DPoP is not served"),
            (&[&*forged], 401, "subject_token_invalid", "subject_token_invalid"),
        ] {
            let (boundary, exchanger) = boundary();
            let (code, problem) = ask(routes(boundary), said, shown, Body::new(Never)).await;
            assert_eq!(
                (code.as_u16(), exchanger.decided()),
                (status, vec![reason.to_owned()]),
                "{name}: {shown:?}"
            );
            assert!(problem.contains(told), "{name}: {problem}");
        }
        let (boundary, exchanger) = boundary();
        ask(routes(boundary), said, &[&good], Body::new(Never)).await;
        assert_eq!(exchanger.last(), "malformed_request", "{name}: this one was waited for");
    }
}

#[tokio::test]
async fn what_was_found_before_the_body_came_is_handed_on_with_the_same_token() {
    for Door { name, routes, said } in DOORS {
        let (boundary, exchanger) = boundary();
        ask(routes(boundary), said, &[&bearer(GOOD)], Body::from(BODY)).await;
        assert_eq!(exchanger.decided(), ["ticket:read/42"], "{name}");
        let once = vec![GOOD.to_owned()];
        assert_eq!(exchanger.greeted(), (once.clone(), once), "{name}");
    }
}

/// Where no body is waited for, a token is looked at when it is exchanged.
#[tokio::test]
async fn nobody_is_greeted_whose_body_nobody_reads() {
    let (boundary, exchanger) = boundary();
    let routes = proxy::routes(boundary, Upstreams::new().unwrap()).layer(Extension(PROXY.parse::<SocketAddr>().unwrap()));
    let request = Request::get("/tickets/42").header("host", "tickets.internal").header("authorization", bearer(GOOD));
    routes.oneshot(request.body(Body::from(BODY)).unwrap()).await.unwrap();
    assert_eq!(exchanger.last(), "ticket:read/42");
    assert_eq!(exchanger.greeted(), (Vec::new(), Vec::new()));
}

/// All of them come through one proxy, which does not say for whom.
#[tokio::test(start_paused = true)]
async fn a_subject_that_is_known_has_a_fourth_of_the_room_and_no_more() {
    for Door { name, routes, said } in DOORS {
        for (room, shown, expected) in [
            (4 * BODY.len(), ALICES, "ticket:read/42"),
            (4 * BODY.len(), BOBS, "ticket:read/42"),
            (4 * BODY.len() - 1, ALICES, "rate_limited"),
            (4 * BODY.len() - 1, GOOD, "ticket:read/42"),
        ] {
            let (boundary, exchanger) = cramped(room);
            ask(routes(boundary), said, &[&bearer(shown)], Body::from(BODY)).await;
            assert_eq!(exchanger.last(), expected, "{name}: {shown} in {room}");
        }
    }
}
