//! A request whose route depends on how strictly a path is read goes on at no door.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::{Extension, Router};
use boundary::{Boundary, ext_authz, forward_auth};
use http::Request;
use http_body_util::BodyExt as _;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Route, Rule};
use tower::ServiceExt as _;

use crate::exchanger::{FakeExchanger, routes, settings};

/// GWY-020 GWY-022.
#[tokio::test]
async fn beside_a_route_for_the_rest_what_may_be_taken_for_another_is_refused() {
    let mut routes = routes(|_| None);
    for key in ["GET /{path:rest}", "HEAD /{path:rest}"] {
        routes.push(Route::new(key.to_owned(), Pattern::parse(key).unwrap(), Rule::Public));
    }
    let settings = settings(routes, BTreeMap::new());
    for (method, target, status, decided) in [
        ("GET", "/tickets/42", 401, "no_token"),
        ("GET", "/TICKETS/42", 400, "malformed_request"),
        ("GET", "/tickets/42/", 400, "malformed_request"),
        ("GET", "/mine.json", 400, "malformed_request"),
        ("HEAD", "/mine", 400, "malformed_request"),
        ("GET", "/HEALTHZ", 200, ""),
        ("GET", "/tickets", 200, ""),
    ] {
        let exchanger = FakeExchanger::default();
        let boundary = Arc::new(Boundary::new(settings.clone(), exchanger.clone()));
        let asks = Request::builder()
            .uri("/")
            .header("x-forwarded-method", method)
            .header("x-forwarded-uri", target)
            .header("x-forwarded-host", "tickets.internal");
        let envoy = Request::builder().method(method).uri(target).header("host", "tickets.internal");
        for (routes, request) in [
            (forward_auth::routes(Arc::clone(&boundary)), asks),
            (ext_authz::http::routes(boundary), envoy),
        ] {
            let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
            let routes: Router = routes.layer(Extension(peer));
            let answered = routes.oneshot(request.body(Body::empty()).unwrap());
            let reply = tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap().unwrap();
            assert_eq!(reply.status(), status, "{method} {target}");
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            // The caller is not told of other routes.
            assert!(!body.contains("/tickets") && !body.contains("{path"), "{body}");
            if status != 200 {
                assert!(exchanger.last().contains(decided), "{}", exchanger.last());
            }
        }
    }
}
