//! A broker in another process that is made up: it says what a test lets it say.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use boundary::Seen;
use boundary::remote::{Remote, Replies};
use delegation::details::{Detail, Standing};
use delegation::oauth::{AudienceId, ClientId};
use fetch::{FetchSettings, Fetcher};
use narrows_guard::Needs;
use narrows_guard::link::{Link, Place};
use serde_json::{Value, json};
use testkit::{BROKER, CORP, FakeIssuer};
use tokio::net::TcpListener;

/// The audience that requests need.
pub(crate) const TICKETS: &str = "https://tickets.internal";

/// What signs assertions here.
pub(crate) type Signs = fn() -> Option<String>;

/// What is answered to an ask.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// This, with this status.
    Reply(u16, Value),
    /// Nothing, for ever.
    Nothing,
}

/// A broker that is made up; it ends with the test's runtime.
pub(crate) struct FakeBroker {
    pub(crate) address: SocketAddr,
    pub(crate) keys: FakeIssuer,
    state: Arc<Told>,
}

struct Told {
    /// The key set that it publishes.
    keys: Mutex<Value>,
    says: Mutex<Says>,
    asked: Mutex<Vec<(String, Value)>>,
    bearers: AtomicUsize,
    /// From which of its tokens on they are taken.
    taken_from: AtomicUsize,
    connections: AtomicUsize,
}

pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

pub(crate) fn granted(token: &str) -> Says {
    Says::Reply(200, json!({ "granted": { "access_token": token, "expires_in": 60 } }))
}

/// What a token says that is right for [`needs`].
pub(crate) fn claims() -> Value {
    json!({
        "iss": BROKER, "sub": "alice", "aud": TICKETS, "iat": now(), "exp": now() + 60, "jti": "j-1", "txn": "t-1",
        "client_id": "edge", "sub_id": { "format": "iss_sub", "iss": CORP, "sub": "alice" },
        "act": { "iss": BROKER, "sub": "edge" },
        "authorization_details": [detail("ticket:read/42").to_json()],
    })
}

pub(crate) fn detail(text: &str) -> Detail {
    Detail::parse_short(text, &testkit::snapshot().types, Standing::Asked).unwrap()
}

/// One ticket is to be read.
pub(crate) fn needs() -> Needs {
    Needs {
        service: "tickets".to_owned(),
        route: "GET /tickets/{id}".to_owned(),
        audience: AudienceId::parse(TICKETS).unwrap(),
        details: vec![detail("ticket:read/42")],
        onward: Vec::new(),
        scopes: Default::default(),
        max_auth_age: None,
        acr: None,
        connection: None,
        stream: false,
        upgrade: None,
        body_max: None,
        mode: None,
        wider: Default::default(),
    }
}

pub(crate) fn seen() -> Seen {
    Seen {
        line: Some(("GET".to_owned(), "tickets.internal".to_owned(), "/tickets/42".to_owned())),
        from: "192.0.2.7".parse().unwrap(),
        is_callers_own: true,
        observed: false,
    }
}

impl FakeBroker {
    pub(crate) async fn start() -> Self {
        let keys = FakeIssuer::es256(BROKER);
        let state = Arc::new(Told {
            keys: Mutex::new(keys.jwks()),
            says: Mutex::new(Says::Reply(503, json!({ "reason": "store_unavailable" }))),
            asked: Mutex::default(),
            bearers: AtomicUsize::new(0),
            taken_from: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counted = Arc::clone(&state);
        let listener = listener.tap_io(move |_| {
            counted.connections.fetch_add(1, Ordering::SeqCst);
        });
        let routes = Router::new()
            .route(
                "/oauth2/jwks",
                get(async |State(told): State<Arc<Told>>| told.keys.lock().unwrap().to_string()),
            )
            .route("/oauth2/token", post(token))
            .route("/v1/boundaries/{name}/{what}", post(ask))
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { address, keys, state }
    }

    pub(crate) fn says(&self, says: Says) {
        *self.state.says.lock().unwrap() = says;
    }

    /// Publishes other keys than it signs with.
    pub(crate) fn publishes(&self, keys: Value) {
        *self.state.keys.lock().unwrap() = keys;
    }

    /// What came to `/v1`: path and body.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.state.asked.lock().unwrap().clone()
    }

    /// How many tokens it gave for itself.
    pub(crate) fn bearers(&self) -> usize {
        self.state.bearers.load(Ordering::SeqCst)
    }

    /// Takes no token of its own that it gave before the `at`th.
    pub(crate) fn takes_from(&self, at: usize) {
        self.state.taken_from.store(at, Ordering::SeqCst);
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// A right token of its own.
    pub(crate) fn token(&self) -> String {
        self.keys.sign("at+jwt", &claims())
    }

    /// The same, come of what `chain` names.
    pub(crate) fn token_of(&self, chain: &Value) -> String {
        let mut claims = claims();
        claims["chain"] = chain.clone();
        self.keys.sign("at+jwt", &claims)
    }
}

async fn token(State(told): State<Arc<Told>>, form: String) -> String {
    assert!(
        form.contains("client_assertion=signed") && form.contains("scope=narrows.data_plane"),
        "{form}"
    );
    let at = told.bearers.fetch_add(1, Ordering::SeqCst);
    json!({ "access_token": format!("own-{at}"), "expires_in": 300 }).to_string()
}

async fn ask(
    State(told): State<Arc<Told>>,
    Path((name, what)): Path<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> Response<Body> {
    let shown = headers["authorization"].to_str().unwrap().strip_prefix("Bearer own-").unwrap().parse::<usize>();
    if shown.unwrap() < told.taken_from.load(Ordering::SeqCst) {
        return reply(401, &json!({ "reason": "unauthenticated" }));
    }
    told.asked.lock().unwrap().push((format!("{name}/{what}"), serde_json::from_str(&body).unwrap()));
    let says = told.says.lock().unwrap().clone();
    match says {
        Says::Reply(status, said) => reply(status, &said),
        Says::Nothing => std::future::pending().await,
    }
}

fn reply(status: u16, said: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(said.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// The way to the brokers at these addresses, and how what comes of it is read.
pub(crate) fn replies(addresses: &[SocketAddr], deadline: Duration, max_age: Duration) -> Arc<Replies<Signs>> {
    Arc::new(Replies::new(link(addresses, deadline, max_age), Arc::new(testkit::snapshot())))
}

/// The way to the brokers at these addresses.
pub(crate) fn link(addresses: &[SocketAddr], deadline: Duration, max_age: Duration) -> Arc<Link<Signs>> {
    let place = Place {
        issuer: BROKER.to_owned(),
        urls: addresses.iter().map(|address| format!("http://{address}/").parse().unwrap()).collect(),
        client: ClientId::parse("edge").unwrap(),
        deadline,
        max_age,
    };
    let fetcher = Arc::new(Fetcher::new(FetchSettings::default()).unwrap());
    let signs: Signs = || Some("signed".to_owned());
    Arc::new(Link::new(place, fetcher, signs).unwrap())
}

/// The boundary `front`, with patience for a machine that is busy.
pub(crate) fn front(addresses: &[SocketAddr]) -> Remote<Signs> {
    Remote::new(
        replies(addresses, Duration::from_secs(30), Duration::from_secs(30)),
        "front".to_owned(),
    )
}
