//! Claims about the layer: what a service behind it sees, and what its callers see.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use delegation::time::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use narrows_guard::live::{Modes, Recheck};
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::{Demand, Mode, Route, Rule, Upgrade};
use narrows_guard::surplus::Excess;
use narrows_guard::{GuardLayer, Identity, Live, Settings};
use serde_json::{Value, json};
use testkit::now;
use tokio::sync::{Mutex, mpsc};
use tower::ServiceExt as _;

use crate::far_broker::{Frames, until};
use crate::guarded::{bearer, claims, settings, token, with};
use crate::service::route;
use crate::told::{Beside, broker, caller, live};

/// What the service behind the layer saw, and what it streams.
#[derive(Default)]
struct Backend {
    calls: AtomicUsize,
    heads: std::sync::Mutex<Vec<HeaderMap>>,
    bodies: std::sync::Mutex<Vec<Bytes>>,
    stream: Mutex<Option<mpsc::UnboundedReceiver<Bytes>>>,
}

impl Backend {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn guard(modes: Modes, broker: &Beside) -> Arc<Live<Beside>> {
    Arc::new(live(checks(), Recheck::Never, modes, broker))
}

fn checks() -> Settings {
    let demand = crate::service::demand("GET /r/{id}", "ticket:read/{id}");
    let mut settings = settings(demand, Excess::SameResource, &json!({}));
    settings.service.routes.extend([
        route("POST /r", "ticket:update/{body.id}"),
        route("POST /hook", "public"),
        unread(),
        socket(),
        route("GET /slow/{id}", "ticket:read/{id}"),
        route("GET /stream/{id}", "ticket:read/{id}"),
    ]);
    settings
}

/// A route that reads no body, and bounds it.
fn unread() -> Route {
    let demand = Demand {
        body_max: Some(1024),
        ..crate::service::demand("PUT /r/{id}", "ticket:update/{id}")
    };
    let pattern = Pattern::parse("PUT /r/{id}").unwrap();
    Route::new("unread".to_owned(), pattern, Rule::Needs(Box::new(demand)))
}

/// A route whose connection may become a WebSocket.
fn socket() -> Route {
    let demand = Demand {
        upgrade: Some(Upgrade::WebSocket),
        ..crate::service::demand("GET /socket/{id}", "ticket:read/{id}")
    };
    let pattern = Pattern::parse("GET /socket/{id}").unwrap();
    Route::new("socket".to_owned(), pattern, Rule::Needs(Box::new(demand)))
}

fn service(modes: Modes, broker: &Beside, backend: &Arc<Backend>) -> Router {
    behind(guard(modes, broker), backend)
}

fn behind(guard: Arc<Live<Beside>>, backend: &Arc<Backend>) -> Router {
    let seen = |backend: &Arc<Backend>| {
        let backend = Arc::clone(backend);
        async move |identity: Option<Identity>, request: Request<Body>| {
            backend.calls.fetch_add(1, Ordering::SeqCst);
            let (head, body) = request.into_parts();
            backend.heads.lock().unwrap().push(head.headers);
            let Ok(body) = body.collect().await else {
                return "broken off".to_owned();
            };
            if body.trailers().is_some() {
                return "trailers".to_owned();
            }
            let body = body.to_bytes();
            backend.bodies.lock().unwrap().push(body);
            identity.map_or_else(
                || "nobody".to_owned(),
                |who| {
                    let details: Vec<_> = who.details().iter().map(ToString::to_string).collect();
                    let actors: Vec<_> = who.actors().collect();
                    format!(
                        "{} by {} in {} for {}",
                        who.subject(),
                        actors.join(","),
                        who.task().unwrap(),
                        details.join(",")
                    )
                },
            )
        }
    };
    let (slow, streamed) = (Arc::clone(backend), Arc::clone(backend));
    Router::new()
        .route("/r/{id}", get(seen(backend)).put(seen(backend)))
        .route("/r", post(seen(backend)))
        .route("/hook", post(seen(backend)))
        .route("/healthz", get(seen(backend)))
        .route("/asks", get(async |_: Identity| "never"))
        .route(
            "/slow/{id}",
            get(async move || {
                slow.calls.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<&str>().await
            }),
        )
        .route(
            "/stream/{id}",
            get(async move || {
                let frames = streamed.stream.lock().await.take().unwrap();
                Response::new(Body::new(Frames(frames)))
            }),
        )
        .layer(GuardLayer::new(guard, |_| Some(caller())))
}

fn request(method: &str, path: &str, headers: HeaderMap, body: &'static str) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::HOST, "tickets.internal".parse().unwrap());
    request
}

/// Nothing binds.
fn observes() -> Modes {
    Modes {
        mode: Some(Mode::Observe),
        until: Some(Timestamp::from_seconds(now().seconds() + 60)),
    }
}

async fn answered(service: &Router, request: Request<Body>) -> Response<Body> {
    let answered = tokio::time::timeout(Duration::from_secs(60), service.clone().oneshot(request)).await;
    answered.unwrap().unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = tokio::time::timeout(Duration::from_secs(60), response.into_body().collect()).await;
    String::from_utf8(bytes.unwrap().unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_handler_learns_who_it_serves_and_from_nobody_else() {
    let (broker, backend) = (broker(), Arc::default());
    let service = service(Modes::default(), &broker, &backend);
    let mut headers = bearer(&token(&claims()));
    for name in [
        "narrows-subject",
        "narrows_subject",
        "x-forwarded-for",
        "txn-token",
        "x-http-method-override",
        "script_name",
        "remote-user",
        "client-cert",
    ] {
        headers.insert(HeaderName::try_from(name).unwrap(), "mallory".parse().unwrap());
    }
    headers.insert("x-mine", "stays".parse().unwrap());
    let response = answered(&service, request("GET", "/r/7", headers.clone(), "")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "alice by agent in k-1 for ticket:read/7");
    let said: Vec<_> = backend.heads.lock().unwrap()[0].keys().map(ToString::to_string).collect();
    assert!(said.contains(&"x-mine".to_owned()) && !said.iter().any(|name| name.contains("narrows") || name.contains("forwarded")));
    assert_eq!(said.len(), 3, "{said:?}");
    // A public route has nobody, whatever came with the request.
    let mut public = request("GET", "/healthz", headers, "");
    public.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(text(answered(&service, public).await).await, "nobody");
}

#[tokio::test]
async fn an_identity_comes_from_the_layer_alone_and_a_handler_without_one_fails() {
    // An identity of another request in the extensions of this one.
    let (broker, backend) = (broker(), Arc::new(Backend::default()));
    let taken = Arc::new(std::sync::Mutex::new(None));
    let kept = Arc::clone(&taken);
    let takes = Router::new()
        .route(
            "/r/{id}",
            get(async move |identity: Identity| {
                *kept.lock().unwrap() = Some(identity);
            }),
        )
        .layer(GuardLayer::new(guard(Modes::default(), &broker), |_| Some(caller())));
    assert_eq!(
        answered(&takes, request("GET", "/r/7", bearer(&token(&claims())), "")).await.status(),
        200
    );
    let mut public = request("GET", "/healthz", HeaderMap::new(), "");
    public.extensions_mut().insert(taken.lock().unwrap().take().unwrap());
    let service = service(Modes::default(), &broker, &backend);
    assert_eq!(text(answered(&service, public).await).await, "nobody");

    let bare = Router::new().route("/asks", get(async |_: Identity| "served"));
    let response = answered(&bare, request("GET", "/asks", HeaderMap::new(), "")).await;
    assert_eq!(response.status(), 500);
}

/// It goes on before it is known whose it is: a handler that cannot do without is told what to take.
#[tokio::test]
async fn what_is_observed_has_no_identity_even_with_a_right_token() {
    let (broker, backend) = (broker(), Arc::default());
    let service = service(observes(), &broker, &backend);
    let shown = |path| request("GET", path, bearer(&token(&claims())), "");
    let response = answered(&service, shown("/asks")).await;
    assert_eq!(response.status(), 500);
    assert!(text(response).await.contains("Option<Identity>"));
    assert_eq!(text(answered(&service, shown("/r/7")).await).await, "nobody");
}

/// GWY-020 GWY-022: axum knows the one from the other, and what stands behind it may not.
#[tokio::test]
async fn what_a_less_strict_service_takes_for_another_route_never_reaches_it() {
    let broker = broker();
    let mut settings = settings(
        crate::service::demand("GET /r/{id}", "ticket:read/{id}"),
        Excess::SameResource,
        &json!({}),
    );
    settings.service.routes.push(route("GET /{path:rest}", "public"));
    let guard = Arc::new(live(settings, Recheck::Never, Modes::default(), &broker));
    let service = Router::new().fallback(async || "served").layer(GuardLayer::new(guard, |_| Some(caller())));
    for (path, status) in [("/r/7", 401), ("/R/7", 400), ("/r/7/", 400), ("/anything", 200)] {
        let response = answered(&service, request("GET", path, HeaderMap::new(), "")).await;
        assert_eq!(response.status(), status, "{path}");
        let body = text(response).await;
        assert_eq!(body == "served", status == 200, "{body}");
        assert_eq!(body.contains("malformed_request"), status == 400, "{body}");
    }
}

#[tokio::test]
async fn what_is_refused_never_reaches_the_service_and_its_caller_learns_why() {
    let (broker, backend) = (broker(), Arc::default());
    let service = service(Modes::default(), &broker, &backend);
    let broad = token(&with(json!({ "scope": "profile" })));
    let rows = [
        (request("GET", "/r/7", HeaderMap::new(), ""), 401, "no_token", Some("Bearer")),
        (
            request("GET", "/r/7", bearer(&broad), ""),
            401,
            "overbroad_token",
            Some("Bearer error=\"invalid_token\""),
        ),
        (
            request("GET", "/r/8", bearer(&token(&claims())), ""),
            403,
            "wider_than_subject",
            Some("Bearer error=\"insufficient_scope\""),
        ),
        (request("GET", "/nothing", bearer(&token(&claims())), ""), 403, "no_route", None),
        (
            request("GET", "//r/7", bearer(&token(&claims())), ""),
            400,
            "malformed_request",
            None,
        ),
        (
            request("GET", &format!("/r/7?access_token={broad}"), HeaderMap::new(), ""),
            400,
            "malformed_request",
            None,
        ),
    ];
    for (request, status, reason, challenge) in rows {
        let response = answered(&service, request).await;
        assert_eq!(response.status(), status, "{reason}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let said = response.headers().get(header::WWW_AUTHENTICATE).map(|line| line.to_str().unwrap().to_owned());
        assert_eq!(said.is_some(), challenge.is_some(), "{said:?}");
        assert!(said.unwrap_or_default().starts_with(challenge.unwrap_or_default()), "{reason}");
        let body = text(response).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&problem["reason"], &problem["status"]), (&json!(reason), &json!(status)));
        let told = broker.0.refusals().pop().unwrap();
        assert_eq!(
            (problem["decision_id"].as_str().unwrap(), told.reason.as_str()),
            (told.decision_id.as_str(), reason)
        );
        assert!(!body.contains(broad.rsplit('.').next().unwrap()));
    }
    *broker.0.age.lock().unwrap() = Duration::from_secs(6);
    let response = answered(&service, request("GET", "/r/7", bearer(&token(&claims())), "")).await;
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers()[header::RETRY_AFTER].to_str().unwrap()
        ),
        (503, "1")
    );
    assert_eq!(backend.calls(), 0);
}

#[tokio::test]
async fn a_request_from_nowhere_and_one_to_two_hosts_are_refused() {
    let (broker, backend) = (broker(), Arc::new(Backend::default()));
    let nowhere = Router::new().layer(GuardLayer::new(guard(Modes::default(), &broker), |_| None));
    let response = answered(&nowhere, request("GET", "/healthz", HeaderMap::new(), "")).await;
    assert_eq!(response.status(), 400);
    let service = service(Modes::default(), &broker, &backend);
    let mut two = request("GET", "http://other.internal/healthz", HeaderMap::new(), "");
    assert_eq!(answered(&service, two).await.status(), 400);
    two = request("GET", "http://tickets.internal/healthz", HeaderMap::new(), "");
    assert_eq!(answered(&service, two).await.status(), 200);
    two = request("GET", "/healthz", HeaderMap::new(), "");
    two.headers_mut().append(header::HOST, "other.internal".parse().unwrap());
    assert_eq!(answered(&service, two).await.status(), 400);
    assert_eq!(backend.calls(), 1);
}

/// A token for changing ticket 7, and JSON to show.
fn update() -> HeaderMap {
    let mut headers = bearer(&token(&with(json!({
        "authorization_details": [{ "type": "ticket", "actions": ["update"], "identifier": "7" }]
    }))));
    headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    headers
}

#[tokio::test]
async fn a_body_that_is_decided_on_goes_on_byte_for_byte_and_is_bounded() {
    let (broker, backend) = (broker(), Arc::default());
    let service = service(Modes::default(), &broker, &backend);
    let body = "{ \"id\" :\"7\" }";
    let response = answered(&service, request("POST", "/r", update(), body)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(backend.bodies.lock().unwrap().pop().unwrap(), body);
    assert_eq!(
        answered(&service, request("POST", "/r", update(), "{\"id\":\"8\"}")).await.status(),
        403
    );

    // Larger than may be, said before and not said before; nobody's is read who shows no token.
    let (sender, frames) = mpsc::unbounded_channel();
    for _ in 0..20 {
        sender.send(Bytes::from(vec![b' '; 64 * 1024])).unwrap();
    }
    let mut large = request("POST", "/r", update(), "");
    *large.body_mut() = Body::new(Frames(frames));
    assert_eq!(answered(&service, large).await.status(), 413);
    let mut large = request("POST", "/r", update(), "");
    *large.body_mut() = Body::from(vec![b' '; 1024 * 1024 + 1]);
    assert_eq!(answered(&service, large).await.status(), 413);
    let (_sender, never) = mpsc::unbounded_channel();
    let mut silent = request("POST", "/r", HeaderMap::new(), "");
    *silent.body_mut() = Body::new(Frames(never));
    assert_eq!(answered(&service, silent).await.status(), 401);
    assert_eq!(backend.calls(), 1);
}

/// A request to change ticket 7, or to where no token is needed, whose body comes in these pieces.
fn in_pieces(method: &str, path: &str, headers: HeaderMap, pieces: &[&[u8]]) -> Request<Body> {
    let (sender, frames) = mpsc::unbounded_channel();
    for piece in pieces {
        sender.send(Bytes::copy_from_slice(piece)).unwrap();
    }
    let mut request = request(method, path, headers, "");
    *request.body_mut() = Body::new(Frames(frames));
    request
}

/// Method, path and pieces of a body, and what is answered: status and reason.
type Sent<'s> = (&'s str, &'s str, &'s [&'s [u8]], u16, &'s str);

#[tokio::test]
async fn a_body_that_nobody_reads_goes_by_within_its_bound_and_without_the_callers_token() {
    let (broker, backend) = (broker(), Arc::new(Backend::default()));
    let service = service(Modes::default(), &broker, &backend);
    let headers = update();
    let token = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
    let secret = token.rsplit('.').next().unwrap().as_bytes();
    let (begins, ends) = secret.split_at(9);
    let half = vec![b'x'; 512];
    let rows: [Sent<'_>; 6] = [
        ("PUT", "/r/7", &[&half, &half], 200, ""),
        ("PUT", "/r/7", &[&half, &half, b"x"], 413, "too_large"),
        ("PUT", "/r/7", &[b"{\"a\":\"", begins, ends, b"\"}"], 400, "malformed_request"),
        ("PUT", "/r/7", &[begins, b".", ends], 200, ""),
        ("POST", "/hook", &[begins, ends], 400, "malformed_request"),
        ("POST", "/hook", &[&half, &half, &half], 200, ""),
    ];
    for (method, path, pieces, status, reason) in rows {
        let (kept, told) = (backend.bodies.lock().unwrap().len(), broker.0.refusals().len());
        let response = answered(&service, in_pieces(method, path, headers.clone(), pieces)).await;
        assert_eq!(response.status(), status, "{path} {reason}");
        let refused = status != 200;
        assert_eq!(
            backend.bodies.lock().unwrap().len(),
            kept + usize::from(!refused),
            "{path} {reason}"
        );
        let refusals = broker.0.refusals();
        assert_eq!(refusals.len(), told + usize::from(refused), "once");
        if refused {
            let problem: Value = serde_json::from_str(&text(response).await).unwrap();
            let last = refusals.last().unwrap();
            assert_eq!(
                (&problem["reason"], &problem["decision_id"]),
                (&json!(reason), &json!(last.decision_id))
            );
            assert_eq!((last.reason.as_str(), last.request.is_some()), (reason, true));
        } else {
            assert_eq!(backend.bodies.lock().unwrap().last().unwrap(), &pieces.concat());
        }
    }
    // One that says itself that it is too large gets to nobody.
    let calls = backend.calls();
    let mut large = request("PUT", "/r/7", headers, "");
    *large.body_mut() = Body::from(vec![b'x'; 1025]);
    assert_eq!((answered(&service, large).await.status().as_u16(), backend.calls()), (413, calls));
}

#[tokio::test]
async fn a_form_that_nobody_reads_goes_by_up_to_the_name_of_another_method() {
    let (broker, backend) = (broker(), Arc::new(Backend::default()));
    let service = service(Modes::default(), &broker, &backend);
    for (name, status) in [("_method", 400), ("page", 200)] {
        let kind = "multipart/form-data; boundary=x".parse().unwrap();
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
        let ends = format!("me=\"{name}\"\r\n");
        let pieces: [&[u8]; 3] = [
            b"--x\r\ncontent-disposition: form-data; na",
            ends.as_bytes(),
            b"\r\nDELETE\r\n--x--",
        ];
        let response = answered(&service, in_pieces("POST", "/hook", headers, &pieces)).await;
        assert_eq!(response.status(), status, "{name}");
    }
    assert_eq!(backend.bodies.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_form_to_a_public_route_holds_no_token() {
    let (broker, backend) = (broker(), Arc::new(Backend::default()));
    let service = service(Modes::default(), &broker, &backend);
    let form = |sent: &'static str| {
        let kind = "application/x-www-form-urlencoded".parse().unwrap();
        request("POST", "/hook", HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]), sent)
    };
    assert_eq!(answered(&service, form("access_token=x")).await.status(), 400);
    assert_eq!(backend.calls(), 0);
    assert_eq!(answered(&service, form("a=x")).await.status(), 200);
    assert_eq!(backend.bodies.lock().unwrap().pop().unwrap(), "a=x");
}

#[tokio::test(start_paused = true)]
async fn nobodys_body_is_waited_for_whose_token_is_none_for_here() {
    let (broker, backend) = (broker(), Arc::default());
    let service = service(Modes::default(), &broker, &backend);
    let elsewhere = token(&with(json!({ "aud": "https://other.internal" })));
    for (shown, reason) in [("junk", "subject_token_invalid"), (&elsewhere, "subject_token_not_for_client")] {
        let (_sender, never) = mpsc::unbounded_channel();
        let mut silent = request("POST", "/r", bearer(shown), "");
        *silent.body_mut() = Body::new(Frames(never));
        let response = tokio::time::timeout(Duration::from_secs(1), service.clone().oneshot(silent)).await;
        assert_eq!(response.unwrap().unwrap().status(), 401, "{reason}");
        assert_eq!(broker.0.refusals().pop().unwrap().reason.as_str(), reason);
    }
    assert_eq!((broker.0.refusals().len(), backend.calls()), (2, 0));
}

#[tokio::test]
async fn a_connection_is_upgraded_by_a_route_that_says_so_and_by_no_other() {
    let broker = broker();
    let may_upgrade = async |request: Request<Body>| request.extensions().get::<OnUpgrade>().is_some().to_string();
    let service = Router::new()
        .fallback(may_upgrade)
        .layer(GuardLayer::new(guard(Modes::default(), &broker), |_| Some(caller())));
    for (path, shown, may) in [
        ("/socket/7", bearer(&token(&claims())), "true"),
        ("/r/7", bearer(&token(&claims())), "false"),
        ("/healthz", HeaderMap::new(), "false"),
    ] {
        let mut request = request("GET", path, shown, "");
        let upgrade = hyper::upgrade::on(&mut request);
        request.extensions_mut().insert(upgrade);
        assert_eq!(text(answered(&service, request).await).await, may, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_not_waited_for() {
    let (broker, backend) = (broker(), Arc::default());
    let service = service(Modes::default(), &broker, &backend);
    let (_sender, never) = mpsc::unbounded_channel();
    let mut silent = request("POST", "/r", update(), "");
    *silent.body_mut() = Body::new(Frames(never));
    let response = tokio::time::timeout(Duration::from_secs(11), service.oneshot(silent)).await.unwrap();
    assert_eq!((response.unwrap().status().as_u16(), backend.calls()), (400, 0));
}

#[tokio::test(start_paused = true)]
async fn a_response_breaks_off_when_its_token_ends() {
    let (broker, backend) = (broker(), Arc::new(Backend::default()));
    let service = service(Modes::default(), &broker, &backend);
    let (sender, frames) = mpsc::unbounded_channel();
    *backend.stream.lock().await = Some(frames);
    let mut body = answered(&service, request("GET", "/stream/7", bearer(&token(&claims())), "")).await.into_body();
    sender.send(Bytes::from_static(b"one")).unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    broker.0.revoke("t-2");
    let end = tokio::time::timeout(Duration::from_secs(2), body.frame()).await.unwrap();
    assert!(end.unwrap().is_err(), "it is not taken for whole");
    sender.send(Bytes::from_static(b"two")).unwrap();
    assert!(body.frame().await.is_none());
}

/// What a program hands over whole is still sent bit by bit, for as long as its reader takes.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_one_piece_breaks_off_too() {
    let (broker, backend) = (broker(), Arc::new(Backend::default()));
    let service = service(Modes::default(), &broker, &backend);
    let whole = Bytes::from((0..150_000_u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    for is_revoked in [false, true] {
        let (sender, frames) = mpsc::unbounded_channel();
        *backend.stream.lock().await = Some(frames);
        let mut body = answered(&service, request("GET", "/stream/7", bearer(&token(&claims())), "")).await.into_body();
        sender.send(whole.clone()).unwrap();
        drop(sender);
        let mut seen = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
        assert!(seen.len() < whole.len(), "the rest is not on its way yet");
        assert_eq!(http_body::Body::size_hint(&body).lower(), (whole.len() - seen.len()) as u64);
        if is_revoked {
            broker.0.revoke("t-2");
            // The clock is the test's.
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(body.frame().await.unwrap().is_err(), "it is not taken for whole");
            assert!(body.frame().await.is_none());
        } else {
            while let Some(frame) = body.frame().await {
                seen.extend(frame.unwrap().into_data().unwrap());
            }
            assert_eq!(seen, whole);
        }
    }
}

#[tokio::test]
async fn trailers_of_a_request_go_on_where_it_is_observed_and_nowhere_else() {
    let observing = Modes {
        mode: Some(Mode::Observe),
        until: Some(Timestamp::from_seconds(now().seconds() + 60)),
    };
    for (modes, path, seen) in [
        (Modes::default(), "/r/7", "alice"),
        (Modes::default(), "/hook", "nobody"),
        (observing, "/r/7", "trailers"),
    ] {
        let (broker, backend) = (broker(), Arc::new(Backend::default()));
        let service = service(modes, &broker, &backend);
        let method = if path == "/hook" { "POST" } else { "PUT" };
        let mut request = in_pieces(method, path, update(), &[b"a"]);
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("narrows-subject"), HeaderValue::from_static("eve"))]);
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::new(body.with_trailers(std::future::ready(Some(Ok(trailers)))));
        let told = text(answered(&service, request).await).await;
        assert!(told.starts_with(seen), "{path}: {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_token_ends_before_it_is_answered_is_refused() {
    let (broker, backend) = (broker(), Arc::new(Backend::default()));
    let service = service(Modes::default(), &broker, &backend);
    let answering = tokio::spawn(service.oneshot(request("GET", "/slow/7", bearer(&token(&claims())), "")));
    until(|| backend.calls() == 1).await;
    broker.0.revoke("t-2");
    let response = tokio::time::timeout(Duration::from_secs(2), answering).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), 401);
    let told = broker.0.refusals();
    assert_eq!((told[0].reason.as_str(), told[0].claims.is_some()), ("subject_token_revoked", true));
}

/// Whoever follows what a header, a query or a form says makes a request of it for a route that enforces.
#[tokio::test]
async fn beside_what_enforces_nothing_is_observed_that_names_another_method() {
    let modes = observes();
    let (broker, backend) = (broker(), Arc::default());
    let mut settings = checks();
    let enforced = Demand {
        mode: Some(Mode::Enforce),
        ..crate::service::demand("DELETE /hook", "ticket:update/7")
    };
    let pattern = Pattern::parse("DELETE /hook").unwrap();
    settings
        .service
        .routes
        .push(Route::new("enforced".to_owned(), pattern, Rule::Needs(Box::new(enforced))));
    let service = behind(Arc::new(live(settings, Recheck::Never, modes, &broker)), &backend);
    let typed = |value: &'static str| HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]);
    let fields = || typed("application/x-www-form-urlencoded");
    let mut overridden = HeaderMap::new();
    overridden.insert("x-http-method-override", "DELETE".parse().unwrap());
    let part = "--b\r\ncontent-disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--b--\r\n";
    let rows = [
        ("/hook", fields(), "a=b", 200, 1),
        // Taken off, it says nothing any more.
        ("/hook", overridden, "", 200, 2),
        ("/hook?_method=DELETE", HeaderMap::new(), "", 400, 2),
        ("/hook", fields(), "a=b&_method=DELETE", 400, 2),
        ("/hook", typed("multipart/form-data; boundary=b"), part, 400, 2),
    ];
    for (target, headers, body, status, seen) in rows {
        let response = answered(&service, request("POST", target, headers.clone(), body)).await;
        assert_eq!(response.status(), status, "{target} {headers:?} {body}");
        assert_eq!(backend.bodies.lock().unwrap().len(), seen, "{target} {headers:?} {body}");
    }
    assert!(!backend.heads.lock().unwrap()[1].contains_key("x-http-method-override"));
    assert!(broker.0.refusals().iter().all(|refused| !refused.observed));
}

#[tokio::test]
async fn what_is_observed_goes_on_as_it_came_and_is_on_record() {
    let (broker, backend) = (broker(), Arc::default());
    let service = service(observes(), &broker, &backend);
    let mut headers = update();
    headers.insert("narrows-subject", "as it came".parse().unwrap());
    let response = answered(&service, request("POST", "/r", headers, "{\"id\":\"8\"}")).await;
    assert_eq!(text(response).await, "nobody");
    assert_eq!(backend.heads.lock().unwrap()[0]["narrows-subject"], "as it came");
    assert_eq!(backend.bodies.lock().unwrap()[0], "{\"id\":\"8\"}");
    until(|| !broker.0.refusals().is_empty()).await;
    let told = broker.0.refusals();
    assert_eq!((told[0].reason.as_str(), told[0].observed), ("wider_than_subject", true));

    // A body that is too large to be looked into goes on whole, and so does what could not be read.
    let large = "x".repeat(1024 * 1024 + 7);
    let mut whole = request("POST", "/r", update(), "");
    let (sender, frames) = mpsc::unbounded_channel();
    for part in large.as_bytes().chunks(100_000) {
        sender.send(Bytes::copy_from_slice(part)).unwrap();
    }
    drop(sender);
    *whole.body_mut() = Body::new(Frames(frames));
    assert_eq!(answered(&service, whole).await.status(), 200);
    assert_eq!(backend.bodies.lock().unwrap()[1].len(), large.len());
    assert_eq!(
        answered(&service, request("GET", "//r/7", HeaderMap::new(), "")).await.status(),
        404,
        "the service's own answer"
    );
    until(|| broker.0.refusals().len() == 3).await;
    let said = |reason: &str| {
        let told = broker.0.refusals();
        told.into_iter().find(|told| told.reason.as_str() == reason && told.observed).unwrap()
    };
    assert!(said("too_large").request.is_some());
    let unread = said("malformed_request");
    assert!(unread.request.is_none() && unread.cause.is_some());

    // Nor is one held back that outgrows its route unread; of one that fits there is no record.
    let half = vec![b'x'; 512];
    let twice: [&[u8]; 2] = [&half, &half];
    assert_eq!(answered(&service, in_pieces("PUT", "/r/7", update(), &twice)).await.status(), 200);
    let more: [&[u8]; 3] = [&half, &half, b"x"];
    assert_eq!(answered(&service, in_pieces("PUT", "/r/7", update(), &more)).await.status(), 200);
    assert_eq!(backend.bodies.lock().unwrap().last().unwrap().len(), 1025);
    until(|| broker.0.refusals().len() == 4).await;
    let last = broker.0.refusals().pop().unwrap();
    assert_eq!((last.reason.as_str(), last.observed), ("too_large", true));
    assert_eq!(last.request.unwrap().method, "PUT");
}
