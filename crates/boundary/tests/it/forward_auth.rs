//! What nginx, Traefik and Caddy ask, and what they are told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::{Extension, Router};
use boundary::{Boundary, forward_auth};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Route, Rule};
use tower::ServiceExt as _;

use crate::exchanger::{FakeExchanger, GOOD, boundary, routes, settings};

const PLACE: &str = "/.well-known/oauth-protected-resource";

fn door() -> Router {
    let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    forward_auth::routes(boundary().0).layer(Extension(peer))
}

async fn ask(line: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target).header("host", "tickets.internal");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    door().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// 200 is what lets a request through: nothing that may be about another request gets it for where it was asked.
#[tokio::test]
async fn metadata_is_for_who_reads_it_and_asks_about_nothing_else() {
    for line in [format!("GET {PLACE}"), format!("HEAD {PLACE}/tickets"), format!("GET {PLACE}/a/")] {
        assert_eq!(ask(&line, &[]).await.status(), 200, "{line}");
    }
    for line in [
        format!("POST {PLACE}"),
        format!("DELETE {PLACE}/tickets"),
        format!("GET {PLACE}//tickets"),
        format!("GET {PLACE}/../healthz"),
        format!("GET {PLACE}/%2e%2e"),
        format!("GET {PLACE}/a;b"),
        format!("GET {PLACE}s"),
    ] {
        assert_eq!(ask(&line, &[]).await.status(), 400, "{line}");
    }
}

/// Nor does half a name of another request, at the place of the metadata.
#[tokio::test]
async fn half_a_question_gets_no_metadata() {
    for named in ["x-forwarded-host", "x-forwarded-method", "x-forwarded-uri", "x-original-method"] {
        let reply = ask(&format!("GET {PLACE}"), &[(named, "tickets.internal")]).await;
        assert!(matches!(reply.status().as_u16(), 400 | 403), "{named}: {}", reply.status());
    }
}

/// nginx writes a body of its own, so the id of the record stands in a header too.
#[tokio::test]
async fn a_refusal_says_the_id_of_its_record_in_a_header() {
    let asked = [("x-original-method", "GET"), ("x-original-uri", "/tickets/42")];
    let reply = ask("GET /", &asked).await;
    assert_eq!(
        (reply.status().as_u16(), &reply.headers()["narrows-decision"]),
        (401, &"decision-1".parse().unwrap())
    );
    let asked = [("x-original-method", "GET"), ("x-original-uri", "/healthz")];
    let reply = ask("GET /", &asked).await;
    assert_eq!((reply.status().as_u16(), reply.headers().get("narrows-decision")), (200, None));
}

/// GWY-016: whoever reads `_method` in a form that nobody here sees, makes a request for another route of it.
#[tokio::test]
async fn a_form_that_is_not_shown_is_refused_where_another_method_enforces() {
    let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    let types = testkit::snapshot().types;
    let mut routes = routes(|_| None);
    for (key, detail) in [
        ("POST /tickets/{id}", Some("ticket:read/{id}")),
        ("DELETE /tickets/{id}", Some("ticket:read/{id}")),
        ("POST /uploads", Some("ticket:list")),
        ("GET /uploads", Some("ticket:list")),
        ("PUT /alone", Some("ticket:list")),
        ("PATCH /healthz", None),
        ("PUT /mine", None),
    ] {
        let pattern = Pattern::parse(key).unwrap();
        let template = |text| Template::parse(text, &types, &Reads::Request(pattern.variables())).unwrap();
        let demand = |text| Demand {
            detail: Some(template(text)),
            ..Demand::default()
        };
        let rule = detail.map_or(Rule::Public, |text| Rule::Needs(Box::new(demand(text))));
        routes.push(Route::new(key.to_owned(), pattern, rule));
    }
    let exchanger = FakeExchanger::default();
    let doors = Arc::new(Boundary::new(settings(routes, BTreeMap::new()), exchanger.clone()));
    let door: Router = forward_auth::routes(doors).layer(Extension(peer));
    let parts = "multipart/form-data; boundary=x";
    let named = "--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--x--\r\n";
    let unnamed = named.replace("_method", "comment");
    // A body that turns out to be empty: as in chunks.
    let nothing = || Body::new(Body::empty().with_trailers(std::future::ready(None)));
    for (method, target, kind, body, status, decided) in [
        ("POST", "/tickets/42", parts, Body::empty(), 403, "unread_input"),
        ("POST", "/tickets/42", parts, nothing(), 403, "unread_input"),
        (
            "POST",
            "/tickets/42",
            "Multipart/Mixed; boundary=x",
            Body::empty(),
            403,
            "unread_input",
        ),
        ("POST", "/tickets/42", "application/json", Body::empty(), 200, "ticket:read/42"),
        ("POST", "/tickets/42", "", Body::empty(), 200, "ticket:read/42"),
        // As far as it is shown, it is looked at.
        ("POST", "/tickets/42", parts, Body::from(unnamed.clone()), 200, "ticket:read/42"),
        ("POST", "/tickets/42", parts, Body::from(named), 403, "malformed_request"),
        // What else stands there only reads.
        ("POST", "/uploads", parts, Body::empty(), 200, "ticket:list"),
        ("POST", "/uploads", parts, Body::from(named), 403, "malformed_request"),
        // Nothing else stands there, or nothing that anybody needs a token for.
        ("PUT", "/alone", parts, Body::empty(), 200, "ticket:list"),
        ("PATCH", "/healthz", parts, Body::empty(), 200, ""),
        // On public routes too, and beside those that only read.
        ("PUT", "/mine", parts, Body::empty(), 403, "unread_input"),
        ("PUT", "/mine", parts, nothing(), 403, "unread_input"),
    ] {
        let before = exchanger.decisions();
        let mut request = Request::get("/").header("authorization", format!("Bearer {GOOD}"));
        for (name, value) in [
            ("host", "tickets.internal"),
            ("x-original-method", method),
            ("x-original-uri", target),
        ] {
            request = request.header(name, value);
        }
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let reply = door.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let last = if exchanger.decisions() == before {
            String::new()
        } else {
            exchanger.last()
        };
        assert_eq!(
            (reply.status().as_u16(), last.as_str()),
            (status, decided),
            "{method} {target} {kind}"
        );
        if status != 200 {
            assert_eq!(reply.headers()["narrows-status"], "400", "nginx takes 403, and says what was meant");
        }
    }
}
