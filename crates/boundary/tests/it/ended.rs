//! Requests whose token ends before they are answered, or while they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::{Extension, Router};
use boundary::proxy::{self, Upstreams};
use boundary::{Boundary, Exchanger, Granted, Greeted, Refused, Seen, Shown, Upstream};
use bytes::Bytes;
use delegation::oauth::Reason;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use narrows_guard::Needs;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Route, Rule};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::exchanger::{FakeExchanger, GOOD, settings};

/// What `asked` comes to, within what a busy machine may take.
async fn within<T>(asked: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), asked).await.unwrap()
}

/// A broker that says when what it gave holds no more, and why.
#[derive(Debug)]
struct Ending {
    inner: FakeExchanger,
    why: watch::Receiver<Option<Reason>>,
}

impl Exchanger for Ending {
    type Found = String;

    async fn greet(&self, seen: &Seen, token: &str) -> Result<Greeted<String>, Refused> {
        self.inner.greet(seen, token).await
    }

    async fn exchange(&self, seen: &Seen, shown: Shown<'_, String>, needs: &Needs) -> Result<Granted, Refused> {
        self.inner.exchange(seen, shown, needs).await
    }

    async fn observe(&self, seen: &Seen, shown: Shown<'_, String>, needs: &Needs) -> Result<(), Refused> {
        self.inner.observe(seen, shown, needs).await
    }

    async fn refuse(&self, seen: &Seen, reason: Reason) -> Refused {
        self.inner.refuse(seen, reason).await
    }

    async fn ended(&self, _: &Granted) -> Reason {
        self.why.clone().wait_for(Option::is_some).await.unwrap().unwrap()
    }
}

/// A request to `PUT /tickets/42` on its way, and its upstream.
struct Asked {
    exchanger: FakeExchanger,
    ends: watch::Sender<Option<Reason>>,
    reply: JoinHandle<Response<Body>>,
    upstream: TcpStream,
}

fn route() -> Route {
    let pattern = Pattern::parse("PUT /tickets/{id}").unwrap();
    let reads = Reads::Request(pattern.variables());
    let detail = Template::parse("ticket:read/{id}", &testkit::snapshot().types, &reads).unwrap();
    let demand = Demand {
        detail: Some(detail),
        ..Demand::default()
    };
    Route::new("PUT /tickets/{id}".to_owned(), pattern, Rule::Needs(Box::new(demand)))
}

/// The head of it has come to the upstream.
async fn asked(body: Body) -> Asked {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = Upstream::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (ends, why) = watch::channel(None);
    let exchanger = FakeExchanger::default();
    let settings = settings(vec![route()], BTreeMap::from([("tickets".to_owned(), at)]));
    let inner = exchanger.clone();
    let boundary = Arc::new(Boundary::new(settings, Ending { inner, why }));
    let peer: SocketAddr = "192.0.2.1:40000".parse().unwrap();
    let door: Router = proxy::routes(boundary, Upstreams::new().unwrap()).layer(Extension(peer));
    let request = Request::put("/tickets/42").header("host", "tickets.internal");
    let request = request.header("authorization", format!("Bearer {GOOD}")).body(body).unwrap();
    let reply = tokio::spawn(async move { door.oneshot(request).await.unwrap() });
    let (mut upstream, _) = within(listener.accept()).await.unwrap();
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        assert_ne!(within(upstream.read_buf(&mut head)).await.unwrap(), 0);
    }
    Asked {
        exchanger,
        ends,
        reply,
        upstream,
    }
}

#[tokio::test]
async fn a_request_that_is_not_answered_before_its_token_ends_is_refused() {
    for (reason, status) in [
        (Reason::SubjectTokenExpired, 401),
        (Reason::SubjectTokenRevoked, 401),
        (Reason::SubjectDisabled, 401),
        (Reason::RevocationViewStale, 503),
    ] {
        let mut asked = asked(Body::empty()).await;
        asked.ends.send_replace(Some(reason));
        let reply = within(asked.reply).await.unwrap();
        assert_eq!(reply.status(), status, "{reason:?}");
        let problem = within(reply.into_body().collect()).await.unwrap().to_bytes();
        let problem: Value = serde_json::from_slice(&problem).unwrap();
        assert_eq!(problem["reason"], reason.as_str());
        let (last, path) = (asked.exchanger.last(), asked.exchanger.path());
        assert_eq!((last.as_str(), path.as_deref()), (reason.as_str(), Some("/tickets/42")));
        // Whatever it says now is for nobody.
        let mut rest = Vec::new();
        let _ = within(asked.upstream.read_to_end(&mut rest)).await;
        assert!(rest.is_empty());
    }
}

/// Not for what came of the body, which ends too.
#[tokio::test]
async fn an_upload_that_ends_with_its_token_is_refused_for_that() {
    let (sender, pieces) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let mut asked = asked(Body::new(Pieces(pieces))).await;
    sender.send(Bytes::from_static(b"first")).unwrap();
    let mut came = Vec::new();
    while !came.ends_with(b"first\r\n") {
        assert_ne!(within(asked.upstream.read_buf(&mut came)).await.unwrap(), 0);
    }
    asked.ends.send_replace(Some(Reason::SubjectTokenRevoked));
    let reply = within(asked.reply).await.unwrap();
    assert_eq!(
        (reply.status().as_u16(), asked.exchanger.last().as_str()),
        (401, "subject_token_revoked")
    );
    drop(sender);
}

/// Also where all of it has come already.
#[tokio::test]
async fn what_is_ready_when_the_token_has_ended_goes_to_nobody() {
    let mut asked = asked(Body::empty()).await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate";
    asked.upstream.write_all(answer).await.unwrap();
    let reply = within(asked.reply).await.unwrap();
    assert_eq!(reply.status(), 200);
    asked.ends.send_replace(Some(Reason::SubjectTokenExpired));
    assert!(within(reply.into_body().collect()).await.is_err());
}

/// A body whose pieces are sent one by one.
struct Pieces(tokio::sync::mpsc::UnboundedReceiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(hyper::body::Frame::data(piece))))
    }
}
