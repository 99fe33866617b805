//! What only observes lets everything go on as it came, whatever is decided and whoever answers; what enforces stays so.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use axum::{Extension, Router};
use boundary::{Boundary, Exchanger, Granted, Greeted, Modes, Refused, Said, Seen, Settings, Shown, ext_authz, forward_auth};
use delegation::oauth::{Reason, Scope};
use delegation::time::Timestamp;
use http::{HeaderMap, Request, StatusCode};
use narrows_guard::Needs;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Demand, Mode, Route, Rule};
use tower::ServiceExt as _;

use crate::exchanger::{FakeExchanger, routes, settings, usual};

/// A broker that never answers.
#[derive(Debug)]
struct Away;

impl Exchanger for Away {
    type Found = ();

    async fn greet(&self, _: &Seen, _: &str) -> Result<Greeted<()>, Refused> {
        pending().await
    }

    async fn exchange(&self, _: &Seen, _: Shown<'_, ()>, _: &Needs) -> Result<Granted, Refused> {
        pending().await
    }

    async fn observe(&self, _: &Seen, _: Shown<'_, ()>, _: &Needs) -> Result<(), Refused> {
        pending().await
    }

    async fn refuse(&self, _: &Seen, _: Reason) -> Refused {
        pending().await
    }

    async fn ended(&self, _: &Granted) -> Reason {
        pending().await
    }
}

/// A moment that lies `seconds` ahead, or behind.
fn ahead(seconds: i64) -> Option<Timestamp> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Some(Timestamp::from_seconds(i64::try_from(now.as_secs()).unwrap() + seconds))
}

fn said(mode: Option<Mode>, until: Option<Timestamp>) -> Said {
    Said { mode, until }
}

/// A boundary that says this, before a service that says that.
fn says(boundary: Said, service: Said) -> Settings {
    Settings {
        modes: Modes {
            boundary,
            services: [("tickets".to_owned(), service)].into(),
        },
        ..usual()
    }
}

fn observing() -> Settings {
    says(said(Some(Mode::Observe), ahead(3600)), Said::default())
}

/// What the door for nginx, Traefik and Caddy answers about `GET target`.
async fn asked<E: Exchanger>(settings: Settings, exchanger: E, target: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap) {
    let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    let routes: Router = forward_auth::routes(Arc::new(Boundary::new(settings, exchanger))).layer(Extension(peer));
    let mut request = Request::builder()
        .uri("/")
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-uri", target)
        .header("x-forwarded-host", "tickets.internal");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answered = routes.oneshot(request.body(Body::empty()).unwrap());
    let reply = tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap().unwrap();
    (reply.status(), reply.headers().clone())
}

const BEARER: [(&str, &str); 1] = [("authorization", "Bearer good.token.signature")];

#[tokio::test]
async fn a_broker_that_is_away_holds_up_nothing_and_what_the_proxy_takes_from_us_is_what_it_sent() {
    for target in ["/tickets/42", "/healthz", "/nowhere", "/a/../b", "/tickets/42?access_token=x"] {
        for headers in [&BEARER[..], &[("authorization", "Basic eDp5")], &[("narrows-subject", "eve")], &[]] {
            let (status, reply) = asked(observing(), Away, target, headers).await;
            assert_eq!(status, 200, "{target}");
            let sent = headers.iter().find(|(name, _)| *name == "authorization").map(|(_, value)| *value);
            assert_eq!(reply.get("authorization").map(|value| value.to_str().unwrap()), sent, "{target}");
            assert!(!reply.keys().any(|name| name.as_str().starts_with("narrows-")), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn envoy_is_told_to_change_nothing() {
    let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    let routes: Router = ext_authz::http::routes(Arc::new(Boundary::new(observing(), Away))).layer(Extension(peer));
    let request = Request::builder().uri("/nowhere").header("host", "tickets.internal").header("dpop", "x");
    let request = request.header("authorization", "Bearer x").body(Body::from(vec![b'x'; 2 * 1024 * 1024]));
    let answered = tokio::time::timeout(Duration::from_secs(20), routes.oneshot(request.unwrap()));
    let reply = answered.await.unwrap().unwrap();
    assert_eq!(reply.status(), 200);
    for name in ["authorization", "x-envoy-auth-headers-to-remove"] {
        assert_eq!(reply.headers().get(name), None, "{name}");
    }
}

#[tokio::test]
async fn what_would_be_decided_is_asked_for_as_observed() {
    for (target, headers, told) in [
        ("/tickets/42", &BEARER[..], "observed ticket:read/42"),
        ("/tickets/42", &[("authorization", "Bearer other")][..], "subject_token_invalid"),
        ("/nowhere", &BEARER[..], "no_route"),
        ("/a/../b", &BEARER[..], "malformed_request"),
    ] {
        let exchanger = FakeExchanger::default();
        asked(observing(), exchanger.clone(), target, headers).await;
        let began = Instant::now();
        while exchanger.last() != told {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{target}: {} and not {told}",
                exchanger.last()
            );
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn the_most_specific_word_holds_and_none_observes_without_a_day_that_is_to_come() {
    let (observe, enforce) = (Some(Mode::Observe), Some(Mode::Enforce));
    let none = Said::default();
    for (boundary, service, goes) in [
        (none, none, false),
        (said(observe, ahead(60)), none, true),
        (said(observe, ahead(-1)), none, false),
        (said(observe, None), none, false),
        (said(observe, ahead(60)), said(enforce, None), false),
        (said(observe, ahead(60)), said(observe, ahead(-1)), false),
        (none, said(observe, ahead(60)), true),
        (none, said(observe, None), false),
        (said(enforce, None), said(observe, ahead(60)), true),
    ] {
        for target in ["/tickets/42", "/nowhere"] {
            let (status, _) = asked(says(boundary, service), FakeExchanger::default(), target, &[]).await;
            assert_eq!(status == 200, goes, "{target}: {boundary:?} {service:?}");
        }
        // Whose it is cannot be read, so that all must observe, and the boundary itself.
        let (status, _) = asked(says(boundary, service), FakeExchanger::default(), "/a/../b", &[]).await;
        assert_eq!(status == 200, goes && boundary.mode == observe, "{boundary:?} {service:?}");
    }
}

/// GWY-016 GWY-020: written in another way, what enforces would be a request without a route.
#[tokio::test]
async fn beside_a_route_that_enforces_nothing_goes_on_that_is_not_understood() {
    let routes = routes(|key| (key == "GET /tickets/{id}").then_some(Mode::Enforce));
    let settings = Settings {
        modes: observing().modes,
        ..settings(routes, BTreeMap::new())
    };
    for (target, goes) in [
        ("/tickets/42", false),
        ("/tickets/42/", false),
        ("/tickets/./42", false),
        ("//tickets/42", false),
        ("/TICKETS/42", false),
        ("/healthz", true),
    ] {
        let (status, _) = asked(settings.clone(), FakeExchanger::default(), target, &[]).await;
        assert_eq!(status == 200, goes, "{target}");
    }
}

/// What enforces `GET /tickets/{id}`, `GET /mine` and `POST /tickets`, and observes the rest.
fn rest_observes() -> Settings {
    let mut routes = routes(|_| Some(Mode::Enforce));
    for key in [
        "GET /{path:rest}",
        "HEAD /{path:rest}",
        "POST /{path:rest}",
        "GET /tickets/{id}/label",
    ] {
        let demand = Demand {
            scope: Some(Scope::parse("pages").unwrap()),
            mode: Some(Mode::Observe),
            ..Demand::default()
        };
        routes.push(Route::new(
            key.to_owned(),
            Pattern::parse(key).unwrap(),
            Rule::Needs(Box::new(demand)),
        ));
    }
    Settings {
        modes: Modes {
            boundary: said(None, ahead(3600)),
            services: BTreeMap::new(),
        },
        ..settings(routes, BTreeMap::new())
    }
}

/// GWY-016 GWY-020: a service that reads less strictly takes these for what enforces.
#[tokio::test]
async fn beside_a_route_that_enforces_the_rest_does_not_observe_what_may_be_taken_for_it() {
    for (method, target, goes) in [
        ("GET", "/tickets/42", false),
        ("GET", "/tickets/42/", false),
        ("GET", "/Tickets/42", false),
        ("GET", "/TICKETS/42/?full=1", false),
        ("GET", "/mine", false),
        ("GET", "/mine/", false),
        ("GET", "/mine.json", false),
        ("GET", "/mine.json.gz", false),
        ("GET", "/MINE.json/", false),
        ("GET", "/%6dine", false),
        ("HEAD", "/mine", false),
        ("HEAD", "/Mine/", false),
        ("GET", "/pages/mine", true),
        ("GET", "/tickets/42/history", true),
        ("GET", "/tickets/42/label", true),
        ("GET", "/healthz/", true),
        ("GET", "/", false),
        ("HEAD", "/pages", true),
    ] {
        let routes = forward_auth::routes(Arc::new(Boundary::new(rest_observes(), FakeExchanger::default())));
        let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
        let request = Request::builder()
            .header("x-forwarded-method", method)
            .header("x-forwarded-uri", target)
            .header("x-forwarded-host", "tickets.internal");
        let routes: Router = routes.layer(Extension(peer));
        let answered = routes.oneshot(request.body(Body::empty()).unwrap());
        let reply = tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap().unwrap();
        assert_eq!(reply.status() == 200, goes, "{method} {target}: {}", reply.status());
    }
}

/// GWY-016: what says another method, path or identity goes on only where all observes that it could mean.
#[tokio::test]
async fn beside_a_route_that_enforces_what_would_be_taken_off_is_not_observed() {
    let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    for (target, header, goes) in [
        ("/pages", ("accept", "text/html"), true),
        ("/pages", ("x-http-method-override", "DELETE"), false),
        ("/pages", ("X-HTTP_Method.Override", "DELETE"), false),
        ("/pages", ("x-original-url", "/mine"), false),
        ("/pages", ("script_name", "/pages"), false),
        ("/pages", ("x-accel-mapping", ".*=/mine"), false),
        ("/pages", ("remote-user", "root"), true),
        ("/pages", ("narrows-subject", "root"), false),
        ("/pages", ("x-envoy-auth-partial-body", "false"), true),
        ("/pages?a=b&_method=DELETE", ("accept", "text/html"), false),
        ("/pages?%5Fmethod=DELETE", ("accept", "text/html"), false),
        ("/pages?method=DELETE", ("accept", "text/html"), true),
    ] {
        for (settings, goes, all) in [(rest_observes(), goes, false), (observing(), true, true)] {
            let doors = Arc::new(Boundary::new(settings.clone(), FakeExchanger::default()));
            let routes: Router = ext_authz::http::routes(doors).layer(Extension(peer));
            let request = Request::builder().uri(target).header("host", "tickets.internal").header(header.0, header.1);
            let answered = routes.oneshot(request.body(Body::empty()).unwrap());
            let reply = tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap().unwrap();
            assert_eq!(reply.status() == 200, goes, "{target} {header:?}");
            // What asks here names Envoy's own header, which no other proxy sets.
            if header.0 != "x-envoy-auth-partial-body" {
                let (status, _) = asked(settings, FakeExchanger::default(), target, &[header]).await;
                // Who asks a proxy there takes off itself, or the door refuses it.
                let goes = goes && (all || header.0 != "remote-user");
                assert_eq!(status == 200, goes, "{target} {header:?}");
            }
        }
    }
}

/// GWY-016: a form that names a method goes on only where all observes that it could mean, and one that is not shown where nothing
/// at its address enforces.
#[tokio::test]
async fn beside_a_route_that_enforces_a_form_that_names_a_method_is_not_observed() {
    let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    let (fields, parts) = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x");
    for (target, kind, coding, shown, refused) in [
        ("/pages", fields, "", "a=b", 200),
        ("/pages", fields, "", "a=b&_method=DELETE", 400),
        ("/pages", fields, "", "", 200),
        ("/pages", fields, "gzip", "a=b", 200),
        ("/tickets/42", fields, "", "a=b", 200),
        ("/tickets/42", fields, "", "_method=GET", 400),
        ("/tickets/42", fields, "", "", 401),
        ("/tickets/42", fields, "gzip", "a=b", 401),
        ("/tickets/42", parts, "", "", 401),
        ("/Tickets/42/", parts, "", "", 401),
        ("/tickets/42", "application/json", "", "", 200),
    ] {
        for (settings, expected) in [(rest_observes(), refused), (observing(), 200)] {
            let exchanger = FakeExchanger::default();
            let doors = Arc::new(Boundary::new(settings, exchanger));
            let routes: Router = ext_authz::http::routes(doors).layer(Extension(peer));
            let mut request = Request::post(target).header("host", "tickets.internal").header("content-type", kind);
            if !coding.is_empty() {
                request = request.header("content-encoding", coding);
            }
            let request = request.header("x-envoy-auth-partial-body", "false").body(Body::from(shown)).unwrap();
            let reply = tokio::time::timeout(Duration::from_secs(20), routes.oneshot(request)).await.unwrap().unwrap();
            assert_eq!(reply.status(), expected, "{target} {kind} {coding} {shown:?}");
        }
    }
}
