//! What nginx, Traefik and Caddy ask, and what they are told.

use std::net::SocketAddr;

use axum::body::Body;
use axum::{Extension, Router};
use boundary::forward_auth;
use http::{Request, Response};
use tower::ServiceExt as _;

use crate::exchanger::boundary;

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
