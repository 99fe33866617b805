//! A broker in another process that is made up: it says what a test lets it say.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode, Uri};
use axum::routing::{get, post};
use bytes::Bytes;
use delegation::oauth::ClientId;
use delegation::revocation::{Key, Party};
use fetch::{FetchSettings, Fetcher};
use narrows_guard::link::{Link, Place};
use narrows_guard::remote::Remote;
use serde_json::{Value, json};
use testkit::{BROKER, FakeIssuer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// No wait of a test is longer.
const BOUND: Duration = Duration::from_secs(60);

/// What signs assertions here.
pub(crate) type Signs = fn() -> Option<String>;

pub(crate) struct FarBroker {
    pub(crate) address: SocketAddr,
    state: Arc<Told>,
    server: JoinHandle<()>,
}

struct Told {
    keys: Mutex<Value>,
    says: Mutex<BTreeMap<String, (u16, Value)>>,
    asked: Mutex<Vec<(String, Value)>>,
    readers: Mutex<Vec<mpsc::UnboundedSender<Bytes>>>,
    /// What the feed says first of who is disabled, in each stream.
    begins: Mutex<String>,
    /// The `Last-Event-ID` of each who opened the feed.
    opened: Mutex<Vec<Option<String>>>,
    /// Whether the feed cannot tell what follows a place.
    gap: AtomicBool,
    /// Whether whoever asks for keys waits for ever.
    no_keys: AtomicBool,
    bearers: AtomicUsize,
}

impl FarBroker {
    pub(crate) async fn start(keys: &FakeIssuer) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), keys).await
    }

    pub(crate) async fn start_at(address: SocketAddr, keys: &FakeIssuer) -> Self {
        let state = Arc::new(Told {
            keys: Mutex::new(keys.jwks()),
            says: Mutex::default(),
            asked: Mutex::default(),
            readers: Mutex::default(),
            begins: Mutex::new(standing(true, &[], &[])),
            opened: Mutex::default(),
            gap: AtomicBool::new(false),
            no_keys: AtomicBool::new(false),
            bearers: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new()
            .route("/oauth2/jwks", get(jwks))
            .route("/oauth2/token", post(token))
            .route("/oauth2/introspect", post(introspect))
            .route("/v1/revocations/stream", get(stream))
            .route("/v1/{*path}", post(ask))
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, routes).await;
        });
        Self { address, state, server }
    }

    /// Ends it as a crash would: nothing is answered, and its connections break.
    pub(crate) async fn crash(&self) {
        self.server.abort();
        self.state.readers.lock().unwrap().clear();
        until(|| self.server.is_finished()).await;
    }

    /// Publishes other keys.
    pub(crate) fn publishes(&self, keys: &FakeIssuer) {
        *self.state.keys.lock().unwrap() = keys.jwks();
    }

    /// Answers nobody who asks for keys.
    pub(crate) fn stalls_keys(&self) {
        self.state.no_keys.store(true, Ordering::SeqCst);
    }

    /// Answers what is asked at `path`.
    pub(crate) fn says(&self, path: &str, status: u16, said: Value) {
        self.state.says.lock().unwrap().insert(path.to_owned(), (status, said));
    }

    /// What was asked at `path`.
    pub(crate) fn asked(&self, path: &str) -> Vec<Value> {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|(at, _)| at == path).map(|(_, body)| body.clone()).collect()
    }

    pub(crate) fn opened(&self) -> Vec<Option<String>> {
        self.state.opened.lock().unwrap().clone()
    }

    pub(crate) fn has_gap(&self, gap: bool) {
        self.state.gap.store(gap, Ordering::SeqCst);
    }

    /// Sends this to all who follow the feed.
    pub(crate) fn tells(&self, text: &str) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.state.readers.lock().unwrap().retain(|reader| reader.send(bytes.clone()).is_ok());
    }

    /// Says this first in every stream from now on.
    pub(crate) fn begins_with(&self, text: &str) {
        text.clone_into(&mut self.state.begins.lock().unwrap());
    }

    /// Ends every feed.
    pub(crate) fn hangs_up(&self) {
        self.state.readers.lock().unwrap().clear();
    }

    /// Sends heartbeats until `remote` says that it is ready.
    pub(crate) async fn makes_ready(&self, remote: &Remote<Signs>) {
        until(|| {
            self.tells(HEARTBEAT);
            remote.is_ready()
        })
        .await;
    }
}

impl Drop for FarBroker {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What the feed says each second.
pub(crate) const HEARTBEAT: &str = "event: heartbeat\ndata: {\"seq\":0}\n\n";

/// The event that says that this token is revoked.
pub(crate) fn revoked(seq: u32, jti: &str) -> String {
    let said = json!({ "seq": seq, "kind": "jti", "key": hex(&Key::of(jti)), "at": testkit::now().seconds() });
    format!("id: {seq}\nevent: revoked\ndata: {said}\n\n")
}

/// The event that says who is disabled and who is enabled.
pub(crate) fn standing(begins: bool, disabled: &[Party], enabled: &[Party]) -> String {
    let said = |parties: &[Party]| Value::from_iter(parties.iter().map(|(kind, key)| json!({ "kind": kind.as_str(), "key": hex(key) })));
    let said = json!({ "begins": begins, "disabled": said(disabled), "enabled": said(enabled) });
    format!("event: standing\ndata: {said}\n\n")
}

fn hex(key: &Key) -> String {
    key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Waits until it is so, and not for ever.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let polled = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(BOUND, polled).await.unwrap();
}

/// The way to the brokers at these addresses.
pub(crate) fn link(addresses: &[SocketAddr], deadline: Duration) -> Arc<Link<Signs>> {
    Arc::new(untended(addresses, deadline))
}

/// The same, before anybody has it.
pub(crate) fn untended(addresses: &[SocketAddr], deadline: Duration) -> Link<Signs> {
    let place = Place {
        issuer: BROKER.to_owned(),
        urls: addresses.iter().map(|address| format!("http://{address}/").parse().unwrap()).collect(),
        client: ClientId::parse("tickets-guard").unwrap(),
        deadline,
        max_age: Duration::from_secs(5),
    };
    let fetcher = Arc::new(Fetcher::new(FetchSettings::default()).unwrap());
    let signs: Signs = || Some("signed".to_owned());
    Link::new(place, fetcher, signs).unwrap()
}

/// The guard of `tickets` at this broker, which has a token and keys already.
pub(crate) async fn remote(broker: &FarBroker) -> Remote<Signs> {
    let link = link(&[broker.address], Duration::from_secs(10));
    tokio::time::timeout(BOUND, link.tend()).await.unwrap();
    Remote::start(link, "tickets".to_owned())
}

async fn jwks(State(told): State<Arc<Told>>) -> String {
    if told.no_keys.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    told.keys.lock().unwrap().to_string()
}

async fn token(State(told): State<Arc<Told>>, form: String) -> String {
    assert!(
        form.contains("client_assertion=signed") && form.contains("scope=narrows.data_plane"),
        "{form}"
    );
    let at = told.bearers.fetch_add(1, Ordering::SeqCst);
    json!({ "access_token": format!("own-{at}"), "expires_in": 300 }).to_string()
}

async fn introspect(State(told): State<Arc<Told>>, headers: HeaderMap, form: String) -> Response<Body> {
    assert!(
        form.contains("client_assertion=signed") && !headers.contains_key("authorization"),
        "{form}"
    );
    answer(&told, "introspect", Value::from(form))
}

async fn ask(State(told): State<Arc<Told>>, Path(path): Path<String>, headers: HeaderMap, body: String) -> Response<Body> {
    assert!(headers["authorization"].to_str().unwrap().starts_with("Bearer own-"));
    answer(&told, &path, serde_json::from_str(&body).unwrap())
}

fn answer(told: &Told, path: &str, body: Value) -> Response<Body> {
    told.asked.lock().unwrap().push((path.to_owned(), body));
    let says = told.says.lock().unwrap().get(path).cloned();
    let (status, said) = says.unwrap_or_else(|| (503, json!({ "reason": "store_unavailable" })));
    let mut response = Response::new(Body::from(said.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

async fn stream(State(told): State<Arc<Told>>, headers: HeaderMap, _: Uri) -> Response<Body> {
    let last = headers.get("last-event-id").map(|last| last.to_str().unwrap().to_owned());
    told.opened.lock().unwrap().push(last.clone());
    if last.is_some() && told.gap.load(Ordering::SeqCst) {
        let mut response = Response::new(Body::from(json!({ "reason": "gap" }).to_string()));
        *response.status_mut() = StatusCode::GONE;
        return response;
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let begins = told.begins.lock().unwrap().clone();
    sender.send(Bytes::from(begins)).unwrap();
    told.readers.lock().unwrap().push(sender);
    Response::new(Body::new(Frames(receiver)))
}

/// A body that is sent as it comes.
pub(crate) struct Frames(pub(crate) mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(http_body::Frame::data(bytes))))
    }
}
