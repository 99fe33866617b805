//! What Envoy's HTTP flavour asks, and what it is told.

use std::net::SocketAddr;

use ::http::{Request, Response};
use axum::body::Body;
use axum::{Extension, Router};
use boundary::ext_authz::http;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::exchanger::{FakeExchanger, GOOD, boundary};

fn door(from: &str) -> (Router, FakeExchanger) {
    let (boundary, exchanger) = boundary();
    let peer: SocketAddr = format!("{from}:40000").parse().unwrap();
    (http::routes(boundary).layer(Extension(peer)), exchanger)
}

async fn ask(routes: &Router, line: &str, headers: &[(&str, &str)], body: &str) -> Response<Body> {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target).header("host", "tickets.internal");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    routes.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
}

fn header<'r>(reply: &'r Response<Body>, name: &str) -> Option<&'r str> {
    let mut values = reply.headers().get_all(name).iter();
    let value = values.next().map(|value| value.to_str().unwrap());
    assert!(values.next().is_none(), "{name} comes once");
    value
}

/// A request line, headers and a body; the status and the reason of its refusal.
type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], &'r str, u16, &'r str);

const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";

/// EXA-005: of a header that is in no answer, Envoy keeps what the client sent.
#[tokio::test]
async fn exactly_200_with_the_token_and_what_to_remove() {
    let (routes, _) = door("127.0.0.1");
    let bearer = format!("Bearer {GOOD}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("narrows-subject", "eve"),
        ("dpop", "x"),
        ("x-forwarded-for", "203.0.113.9"),
    ];
    let reply = ask(&routes, "GET /tickets/42?full=1", &headers, "").await;
    assert_eq!(reply.status(), 200);
    assert_eq!(header(&reply, "authorization"), Some("Bearer minted:ticket:read/42"));
    assert_eq!(header(&reply, TO_REMOVE), Some("narrows-subject,dpop"));
    let public = ask(&routes, "GET /healthz", &headers[..1], "").await;
    assert_eq!((public.status().as_u16(), header(&public, "authorization")), (200, None));
    assert_eq!(header(&public, TO_REMOVE), Some("authorization"));
}

#[tokio::test]
async fn a_refusal_has_its_own_status_and_lets_nothing_through() {
    let (routes, exchanger) = door("127.0.0.1");
    let bearer = format!("Bearer {GOOD}");
    let token = ("authorization", bearer.as_str());
    let json = ("content-type", "application/json");
    let partial = |word| ("x-envoy-auth-partial-body", word);
    let body = r#"{"id":"42"}"#;
    // EXA-004 is the second row, EXA-008 are the last ones.
    let rows: [Row<'_>; 9] = [
        ("GET /tickets/42", &[], "", 401, "no_token"),
        ("GET /tickets/42", &[token, token], "", 400, "malformed_request"),
        (
            "GET /tickets/42",
            &[("authorization", "Bearer other")],
            "",
            401,
            "subject_token_invalid",
        ),
        ("GET /admin", &[token], "", 403, "no_route"),
        ("GET /.well-known/oauth-protected-resource", &[], "", 403, "no_route"),
        ("GET /tickets/../healthz", &[token], "", 400, "malformed_request"),
        ("POST /tickets", &[token, json, partial("true")], body, 400, "unread_input"),
        ("POST /tickets", &[token, json], body, 400, "unread_input"),
        ("POST /tickets", &[token, json, partial("false")], "", 400, "unread_input"),
    ];
    for (line, headers, body, status, reason) in rows {
        let reply = ask(&routes, line, headers, body).await;
        assert_eq!(
            (reply.status().as_u16(), exchanger.last().as_str()),
            (status, reason),
            "{line} {headers:?}"
        );
        assert_eq!((header(&reply, "authorization"), header(&reply, TO_REMOVE)), (None, None));
        assert_eq!(header(&reply, "content-type"), Some("application/problem+json"));
        assert!(!reply.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    let reply = ask(&routes, "POST /tickets", &[token, json, partial("false")], body).await;
    assert_eq!((reply.status().as_u16(), exchanger.last().as_str()), (200, "ticket:read/42"));
    let huge = "x".repeat(1024 * 1024 + 1);
    let reply = ask(&routes, "POST /tickets", &[token, json, partial("false")], &huge).await;
    assert_eq!(reply.status(), 413);
    let reply = ask(&routes, "GET /healthz", &[], &huge).await;
    assert_eq!(reply.status(), 413, "whatever the route reads");
}

/// EXA-010
#[tokio::test]
async fn a_stranger_learns_nothing() {
    let (routes, exchanger) = door("192.0.2.1");
    let bearer = format!("Bearer {GOOD}");
    let reply = ask(&routes, "GET /tickets/42", &[("authorization", bearer.as_str())], "").await;
    assert_eq!((reply.status().as_u16(), header(&reply, "authorization")), (403, None));
    assert_eq!(exchanger.last(), "", "nothing was decided");
}
