//! Bodies that nobody reads, on their way through the own proxy: how much of them may go on.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::{Extension, Router};
use boundary::proxy::{self, Upstreams};
use boundary::{Boundary, Modes, Said, Settings, Upstream, ext_authz, forward_auth};
use bytes::Bytes;
use delegation::time::Timestamp;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Mode, Route, Rule};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::exchanger::{FakeExchanger, GOOD, settings};

const PATIENCE: Duration = Duration::from_secs(20);

/// A body of which nobody knows the length before it has come.
struct Parts(VecDeque<&'static str>);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))))
    }
}

/// An upstream that answers when a body has come whole, which ends in `!` if it is not chunked; and what came to it.
async fn upstream() -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let came: Arc<Mutex<String>> = Arc::default();
    let ours = Arc::clone(&came);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let is_whole = {
                    let mut came = ours.lock().unwrap();
                    came.push_str(&String::from_utf8_lossy(&buffer[..count]));
                    came.ends_with("\r\n0\r\n\r\n") || came.ends_with('!')
                };
                if is_whole {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                }
            }
        }
    });
    (address, came)
}

/// What enforces `PUT /notes` of at most ten bytes, `PUT /any` of any length and `GET /tickets/{id}`, and observes the rest; or all.
fn before(upstream: SocketAddr, all_observes: bool) -> Settings {
    let types = testkit::snapshot().types;
    let route = |key: &str, body_max, mode| {
        let pattern = Pattern::parse(key).unwrap();
        let detail = Template::parse("ticket:read/1", &types, &Reads::Request(pattern.variables())).unwrap();
        let demand = Demand {
            detail: Some(detail),
            body_max,
            mode,
            ..Demand::default()
        };
        Route::new(key.to_owned(), pattern, Rule::Needs(Box::new(demand)))
    };
    let enforces = (!all_observes).then_some(Mode::Enforce);
    let routes = vec![
        route("PUT /notes", Some(10), enforces),
        route("PUT /any", None, enforces),
        route("GET /tickets/{id}", None, enforces),
        route("PUT /{path:rest}", Some(10), Some(Mode::Observe)),
        route("POST /{path:rest}", None, Some(Mode::Observe)),
        Route::new("POST /hook".to_owned(), Pattern::parse("POST /hook").unwrap(), Rule::Public),
    ];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let boundary = Said {
        mode: all_observes.then_some(Mode::Observe),
        until: Some(Timestamp::from_seconds(i64::try_from(now).unwrap() + 3600)),
    };
    let at = Upstream::parse(&format!("http://{upstream}")).unwrap();
    Settings {
        modes: Modes {
            boundary,
            services: BTreeMap::new(),
        },
        ..settings(routes, BTreeMap::from([("tickets".to_owned(), at)]))
    }
}

struct Outcome {
    status: StatusCode,
    problem: String,
    /// All that the upstream got.
    came: String,
    exchanger: FakeExchanger,
}

impl Outcome {
    /// Waits until the last that was decided is this.
    async fn on_record(&self, what: &str) {
        let began = Instant::now();
        while self.exchanger.last() != what {
            assert!(began.elapsed() < PATIENCE, "{} and not {what}", self.exchanger.last());
            tokio::task::yield_now().await;
        }
    }
}

/// Sends a request through the own proxy.
async fn sent(line: (&str, &str), headers: &[(&str, &str)], all_observes: bool, body: Body) -> Outcome {
    let (address, came) = upstream().await;
    let exchanger = FakeExchanger::default();
    let boundary = Arc::new(Boundary::new(before(address, all_observes), exchanger.clone()));
    let peer: SocketAddr = "192.0.2.1:40000".parse().unwrap();
    let door: Router = proxy::routes(boundary, Upstreams::new().unwrap()).layer(Extension(peer));
    let mut request = Request::builder().method(line.0).uri(line.1).header("host", "tickets.internal");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("authorization", format!("Bearer {GOOD}")).body(body).unwrap();
    let reply = timeout(PATIENCE, door.oneshot(request)).await.unwrap().unwrap();
    let status = reply.status();
    let problem = timeout(PATIENCE, reply.into_body().collect()).await.unwrap().unwrap().to_bytes();
    let came = came.lock().unwrap().clone();
    Outcome {
        status,
        problem: String::from_utf8_lossy(&problem).into_owned(),
        came,
        exchanger,
    }
}

fn chunked(parts: &[&'static str]) -> Body {
    Body::new(Parts(parts.iter().copied().collect()))
}

#[tokio::test]
async fn a_body_that_says_to_be_too_long_is_refused_before_anything_goes_on() {
    for (target, body, expected) in [
        ("/notes", "123456789!", 200),
        ("/notes", "1234567890!", 413),
        ("/any", "1234567890!", 200),
    ] {
        let length = body.len().to_string();
        let outcome = sent(("PUT", target), &[("content-length", &length)], false, Body::from(body)).await;
        assert_eq!(outcome.status, expected, "{target} {body}: {}", outcome.problem);
        assert_eq!(outcome.came.is_empty(), expected == 413, "{}", outcome.came);
        let is_first = outcome.problem.contains("\"decision_id\":\"decision-1\"");
        assert_eq!(is_first, expected == 413, "no broker was asked: {}", outcome.problem);
        let on_record = if expected == 413 { "too_large" } else { "ticket:read/1" };
        assert_eq!(outcome.exchanger.last(), on_record);
    }
}

#[tokio::test]
async fn a_body_that_grows_too_long_is_cut_off_and_on_record() {
    for (target, parts, expected) in [
        ("/notes", &["12345", "67890"][..], 200),
        ("/notes", &["12345", "67890", "excess"], 413),
        ("/notes", &["1234567890excess"], 413),
        ("/any", &["12345", "67890", "excess"], 200),
    ] {
        let outcome = sent(("PUT", target), &[], false, chunked(parts)).await;
        assert_eq!(outcome.status, expected, "{target} {parts:?}: {}", outcome.problem);
        let is_whole = outcome.came.ends_with("\r\n0\r\n\r\n");
        assert_eq!(is_whole, expected == 200, "{}", outcome.came);
        assert_eq!(outcome.came.contains("excess"), target == "/any", "{}", outcome.came);
        if expected == 413 {
            assert_eq!(outcome.exchanger.last(), "too_large");
            let problem: serde_json::Value = serde_json::from_str(&outcome.problem).unwrap();
            assert_eq!(
                (&problem["reason"], &problem["decision_id"]),
                (&"too_large".into(), &"decision-2".into())
            );
        } else {
            assert_eq!(outcome.exchanger.last(), "ticket:read/1");
        }
    }
}

#[tokio::test]
async fn at_a_route_that_observes_it_goes_on_and_is_only_on_record() {
    for (headers, body) in [
        (&[("content-length", "11")][..], Body::from("1234567890!")),
        (&[], chunked(&["12345", "67890", "excess"])),
    ] {
        let outcome = sent(("PUT", "/other"), headers, false, body).await;
        assert_eq!(outcome.status, 200, "{}", outcome.problem);
        assert!(outcome.came.contains("67890"), "{}", outcome.came);
        outcome.on_record("too_large").await;
    }
    let outcome = sent(("PUT", "/other"), &[], false, chunked(&["12345", "67890"])).await;
    assert_eq!(outcome.status, 200);
    outcome.on_record("observed ticket:read/1").await;
}

/// What another proxy tells of the length is believed: it sends the body on itself.
#[tokio::test]
async fn a_length_that_another_proxy_tells_is_refused_where_it_is_too_much() {
    let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    for (length, expected, on_record) in [
        ("10", 200, "ticket:read/1"),
        ("11", 413, "too_large"),
        ("1e1", 400, "malformed_request"),
    ] {
        let exchanger = FakeExchanger::default();
        let boundary = Arc::new(Boundary::new(before(peer, false), exchanger.clone()));
        let doors: [(Router, &[(&str, &str)]); 2] = [
            (
                forward_auth::routes(Arc::clone(&boundary)),
                &[
                    ("x-forwarded-method", "PUT"),
                    ("x-forwarded-uri", "/notes"),
                    ("x-forwarded-host", "tickets.internal"),
                ],
            ),
            (ext_authz::http::routes(boundary), &[]),
        ];
        for (door, headers) in doors {
            let mut request = Request::put("/notes").header("host", "tickets.internal").header("content-length", length);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.header("authorization", format!("Bearer {GOOD}")).body(Body::empty()).unwrap();
            let reply = timeout(PATIENCE, door.layer(Extension(peer)).oneshot(request)).await.unwrap().unwrap();
            assert_eq!(reply.status(), expected, "{length} {headers:?}");
            assert_eq!(exchanger.last(), on_record, "{length} {headers:?}");
        }
    }
}

/// GWY-016, in the body of a form.
#[tokio::test]
async fn beside_what_enforces_a_form_goes_on_up_to_the_name_of_another_method() {
    let fields = [("content-type", "application/x-www-form-urlencoded")];
    let parts = [("content-type", "multipart/form-data; boundary=x")];
    let method = &["a=b&_met", "hod=DELETE", "&c=d"][..];
    for (headers, body, all_observes, expected) in [
        (&fields, &["a=b&met", "hod=DELETE"][..], false, 200),
        (&fields, method, false, 400),
        (&fields, method, true, 200),
        (
            &parts,
            &["--x\r\ncontent-disposition: form-data; name=_method\r\n", "\r\nDELETE\r\n--x--"],
            false,
            400,
        ),
        (
            &parts,
            &["--x\r\ncontent-disposition: form-data; name=page\r\n", "\r\nDELETE\r\n--x--"],
            false,
            200,
        ),
    ] {
        for target in ["/pages", "/tickets/42", "/pages?access_token=x"] {
            let outcome = sent(("POST", target), headers, all_observes, chunked(body)).await;
            assert_eq!(outcome.status, expected, "{target} {body:?}: {}", outcome.problem);
            assert_eq!(outcome.came.contains("DELETE"), expected == 200, "{}", outcome.came);
            assert_eq!(outcome.came.ends_with("\r\n0\r\n\r\n"), expected == 200, "{}", outcome.came);
            let shows_token = target.contains("access_token");
            // It goes on where all observes, and would not if that enforced.
            let is_allowed = expected == 200 && !shows_token && body != method;
            let on_record = if is_allowed {
                "observed ticket:read/1"
            } else {
                "malformed_request"
            };
            outcome.on_record(on_record).await;
            // No line goes on record in which a token stands.
            let path = (!shows_token).then(|| target.to_owned());
            assert_eq!(outcome.exchanger.path(), path, "{body:?}");
        }
    }
    // Nobody here can look into it, and it may be another for what enforces.
    for (target, status, expected) in [("/pages", 200, "observed ticket:read/1"), ("/tickets/42", 400, "malformed_request")] {
        let coded = [("content-type", "multipart/form-data; boundary=x"), ("content-encoding", "gzip")];
        let outcome = sent(("POST", target), &coded, false, chunked(&["?"])).await;
        assert_eq!(outcome.status, status, "{target}: {}", outcome.problem);
        outcome.on_record(expected).await;
    }
}

/// GWY-016, where everything enforces, also where no token is needed: unlike a header, it cannot be taken off.
#[tokio::test]
async fn what_enforces_lets_no_request_on_that_names_another_method() {
    let fields = [("content-type", "application/x-www-form-urlencoded")];
    let parts = [("content-type", "multipart/form-data; boundary=x")];
    let named = &[
        "--x\r\ncontent-disposition: form-data; na",
        "me=\"_method\"\r\n",
        "\r\nDELETE\r\n--x--",
    ];
    let other = &[
        "--x\r\ncontent-disposition: form-data; na",
        "me=\"page\"\r\n",
        "\r\nDELETE\r\n--x--",
    ];
    for (line, allowed) in [(("PUT", "/any"), "ticket:read/1"), (("POST", "/hook"), "")] {
        let (method, target) = line;
        let asks = format!("{target}?a=b&%5Fmethod=DELETE");
        for (target, headers, body, expected) in [
            (asks.as_str(), &fields, &["a=b"][..], 400),
            (target, &fields, &["a=b&_met", "hod=DELETE"], 400),
            (target, &parts, &named[..], 400),
            (target, &fields, &["a=b&met", "hod=DELETE!"], 200),
            (target, &parts, &other[..], 200),
        ] {
            let outcome = sent((method, target), headers, false, chunked(body)).await;
            assert_eq!(outcome.status, expected, "{target} {body:?}: {}", outcome.problem);
            outcome.on_record(if expected == 400 { "malformed_request" } else { allowed }).await;
            assert_eq!(outcome.came.contains("DELETE"), expected == 200, "{}", outcome.came);
            let is_whole = outcome.came.ends_with("\r\n0\r\n\r\n") || outcome.came.ends_with('!');
            assert_eq!(is_whole, expected == 200, "{}", outcome.came);
        }
    }
}
