//! A broker on a free port of loopback, with an issuer whose keys lie in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::connections::{ByName, Connection, Per};
use broker::{Asking, Broker, Clock, Guarded, InForce, Listener, Rates, Settings};
use delegation::oauth::{AudienceId, ClientId};
use delegation::registry::{AuthMethod, ClientAuth, Snapshot};
use delegation::token::Algorithm;
use fetch::{FetchSettings, Fetcher, Introspection, IssuerEntry, KeySource};
use policy_cedar::{CedarPolicy, PolicyFile};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{CORP, EDGE_AUDIENCE, FakeIssuer};

use crate::engine::Engine;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What policy says unless a test says otherwise: tickets may be read, by anyone who may ask.
pub(crate) const RULES: &str = r#"
@id("tickets-are-read") permit (principal, action in [Action::"ticket:read", Action::"ticket:list"], resource is Detail::Ticket);
@id("profile") permit (principal, action == Action::"scope:profile", resource);
@id("no-ticket-13") forbid (principal, action, resource == Detail::Ticket::"13");
"#;

/// What a test may want otherwise.
pub(crate) struct Plan {
    pub(crate) engine: Engine,
    pub(crate) rules: String,
    pub(crate) change: Box<dyn FnOnce(&mut Snapshot)>,
    pub(crate) max_view_age: Duration,
    /// Whom the broker asks about opaque tokens.
    pub(crate) introspection: Option<Introspection>,
    pub(crate) rates: Rates,
    pub(crate) algorithm: Algorithm,
    pub(crate) rotate_every: Duration,
    pub(crate) publish_before: Duration,
    pub(crate) clock: Clock,
    /// Where corp's keys are, if not in a file.
    pub(crate) corp: Option<KeySource>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            engine: Engine::sqlite(),
            rules: RULES.to_owned(),
            change: Box::new(|_| {}),
            max_view_age: Duration::from_secs(3600),
            introspection: None,
            rates: Rates::default(),
            algorithm: Algorithm::Es256,
            rotate_every: Duration::from_secs(86_400 * 30),
            publish_before: Duration::from_secs(3600),
            clock: Clock::System,
            corp: None,
        }
    }
}

/// A running broker and what a test needs to talk to it.
pub(crate) struct Installation {
    pub(crate) broker: Arc<Broker>,
    pub(crate) url: String,
    pub(crate) issuer: FakeIssuer,
    pub(crate) edge: FakeIssuer,
    pub(crate) folder: TempDir,
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    stop: tokio::sync::watch::Sender<bool>,
    http: reqwest::Client,
}

/// A reply of the token endpoint.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.body.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The claims of the issued token.
    pub(crate) fn claims(&self) -> Value {
        let payload = self.text("access_token").split('.').nth(1).unwrap_or_default();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

pub(crate) fn seconds() -> i64 {
    i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

impl Installation {
    pub(crate) async fn start() -> Self {
        Self::of(Plan::default()).await
    }

    pub(crate) async fn with(rules: &str, change: impl FnOnce(&mut Snapshot) + 'static) -> Self {
        let change = Box::new(change);
        Self::of(Plan {
            rules: rules.to_owned(),
            change,
            ..Plan::default()
        })
        .await
    }

    /// On this engine.
    pub(crate) async fn on(engine: Engine) -> Self {
        Self::of(Plan { engine, ..Plan::default() }).await
    }

    /// On this engine, with a changed snapshot.
    pub(crate) async fn on_with(engine: Engine, change: impl FnOnce(&mut Snapshot) + 'static) -> Self {
        let change = Box::new(change);
        Self::of(Plan {
            engine,
            change,
            ..Plan::default()
        })
        .await
    }

    /// A broker that asks this endpoint about opaque tokens.
    pub(crate) async fn with_introspection(introspection: Introspection) -> Self {
        Self::of(Plan {
            introspection: Some(introspection),
            ..Plan::default()
        })
        .await
    }

    /// As planned.
    pub(crate) async fn of(plan: Plan) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("narrows.key"), STANDARD.encode([7; 32])).unwrap();
        let (issuer, edge) = (FakeIssuer::es256(CORP), FakeIssuer::es256("edge"));
        let jwks = |name: &str, keys: &FakeIssuer| {
            let path = folder.path().join(name);
            std::fs::write(&path, keys.jwks().to_string()).unwrap();
            KeySource::File(path)
        };
        let entries = vec![
            IssuerEntry {
                name: "corp".to_owned(),
                issuer: CORP.to_owned(),
                source: plan.corp.unwrap_or_else(|| jwks("corp.json", &issuer)),
                algorithms: vec![Algorithm::Es256],
            },
            IssuerEntry {
                name: "client/edge/1".to_owned(),
                issuer: "edge".to_owned(),
                source: jwks("edge.json", &edge),
                algorithms: vec![Algorithm::Es256],
            },
        ];
        let mut snapshot = testkit::snapshot();
        snapshot.issuer.clone_from(&url);
        let client = snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap();
        client.auth.push(by_assertion());
        (plan.change)(&mut snapshot);
        let policy = CedarPolicy::load(
            &snapshot,
            &[PolicyFile {
                name: "rules.cedar".to_owned(),
                text: plan.rules,
            }],
            "UTC",
            "p-1".to_owned(),
        );
        let in_force = InForce {
            snapshot: Arc::new(snapshot),
            policy: policy.unwrap(),
            rates: plan.rates,
            introspection: plan.introspection,
            boundaries: boundaries(),
            guards: guards(),
            connections: connections(),
        };
        let settings = Settings {
            store: plan.engine.address(),
            key_files: vec![folder.path().join("narrows.key")],
            algorithm: plan.algorithm,
            rotate_every: plan.rotate_every,
            publish_before: plan.publish_before,
            body_limit: 64 * 1024,
            max_view_age: plan.max_view_age,
            connections: 100,
        };
        let fetcher = Fetcher::new(FetchSettings::default()).unwrap();
        let started = Broker::start_at(plan.clock.clone(), settings, in_force, entries, fetcher);
        let broker = started.await.unwrap();
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let routes = broker::routes(&broker, true);
        let mut listener = Listener::new(listener, None, 100);
        listener.meter = broker.meter();
        let serves = Arc::clone(&broker);
        let until = async move {
            drop(stopped.wait_for(|stopped| *stopped).await);
            serves.end_streams();
        };
        tokio::spawn(broker::serve(listener, routes, until));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            broker,
            url,
            issuer,
            edge,
            folder,
            engine: plan.engine,
            clock: plan.clock,
            stop,
            http,
        }
    }

    /// The keys of corp and of the edge, where they lie.
    pub(crate) fn entries(&self) -> Vec<IssuerEntry> {
        let entry = |name: &str, issuer: &str, file: &str| IssuerEntry {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            source: KeySource::File(self.folder.path().join(file)),
            algorithms: vec![Algorithm::Es256],
        };
        vec![entry("corp", CORP, "corp.json"), entry("client/edge/1", "edge", "edge.json")]
    }

    /// Puts other rules, rates and issuers in force, over the test snapshot.
    pub(crate) async fn swap(&self, rules: &str, rates: Rates, entries: Vec<IssuerEntry>) {
        let settings = Settings::clone(&self.broker.settings());
        self.broker.swap(settings, self.in_force(rules, rates), entries).await.unwrap();
    }

    /// Trusts another issuer beside corp, by the same rules but with a prefix of its own, and makes this change.
    pub(crate) async fn trust(&self, issuer: &FakeIssuer, name: &str, change: impl FnOnce(&mut Snapshot)) {
        self.trust_keys(&issuer.issuer, name, &issuer.jwks(), change).await;
    }

    /// The same for an issuer with these keys; its file and those of all others are looked at anew.
    pub(crate) async fn trust_keys(&self, issuer: &str, name: &str, jwks: &Value, change: impl FnOnce(&mut Snapshot)) {
        let path = self.folder.path().join(format!("{name}.json"));
        std::fs::write(&path, jwks.to_string()).unwrap();
        self.trust_source(issuer, name, KeySource::File(path), RULES, change).await;
    }

    /// The same for an issuer whose keys are there, with these rules.
    pub(crate) async fn trust_source(&self, issuer: &str, name: &str, source: KeySource, rules: &str, change: impl FnOnce(&mut Snapshot)) {
        let mut entries = self.entries();
        entries.push(IssuerEntry {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            source,
            algorithms: vec![Algorithm::Es256],
        });
        let add = |snapshot: &mut Snapshot| {
            let mut entry = snapshot.issuers.get(CORP).unwrap().clone();
            name.clone_into(&mut entry.name);
            issuer.clone_into(&mut entry.issuer);
            entry.sub_prefix = format!("{name}:");
            snapshot.issuers.insert(issuer.to_owned(), entry);
            change(snapshot);
        };
        let settings = Settings::clone(&self.broker.settings());
        let in_force = self.in_force_with(rules, Rates::default(), add);
        self.broker.swap(settings, in_force, entries).await.unwrap();
    }

    /// The installation's snapshot with other rules and rates.
    pub(crate) fn in_force(&self, rules: &str, rates: Rates) -> InForce {
        self.in_force_with(rules, rates, |_| {})
    }

    fn in_force_with(&self, rules: &str, rates: Rates, change: impl FnOnce(&mut Snapshot)) -> InForce {
        let mut snapshot = testkit::snapshot();
        snapshot.issuer.clone_from(&self.url);
        change(&mut snapshot);
        let files = [PolicyFile {
            name: "rules.cedar".to_owned(),
            text: rules.to_owned(),
        }];
        snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap().auth.push(by_assertion());
        let policy = CedarPolicy::load(&snapshot, &files, "UTC", "p-2".to_owned()).unwrap();
        let snapshot = Arc::new(snapshot);
        InForce {
            snapshot,
            policy,
            rates,
            introspection: None,
            boundaries: boundaries(),
            guards: guards(),
            connections: connections(),
        }
    }

    /// Makes a new key that signs at once.
    pub(crate) async fn rotate(&self, now: delegation::time::Timestamp) {
        let settings = self.broker.settings();
        let store = broker::store::Store::open(&settings.store).await.unwrap();
        let kid = broker::signer::rotate(&store, &settings.key_files, settings.algorithm, now).await.unwrap();
        let schedule = broker::signer::Schedule {
            algorithm: settings.algorithm,
            rotate_every: settings.rotate_every,
            publish_before: settings.publish_before,
            longest_life: Duration::from_secs(600),
        };
        broker::signer::activate(&store, &kid, &schedule, now).await.unwrap();
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        self.broker.close().await;
    }

    /// A right token of alice's.
    pub(crate) fn user_token(&self) -> String {
        self.issuer.sign("at+jwt", &self.user_claims())
    }

    pub(crate) fn user_claims(&self) -> Value {
        let now = self.clock.now().seconds();
        json!({
            "iss": CORP, "sub": "alice", "aud": EDGE_AUDIENCE, "iat": now - 5, "exp": now + 600, "jti": uuid::Uuid::now_v7().to_string(),
            "client_id": "web", "scope": "tickets.full profile", "groups": ["support"],
        })
    }

    /// The form of a right exchange by the edge, which a test then changes.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("grant_type", EXCHANGE.to_owned()),
            ("client_id", "edge".to_owned()),
            ("client_secret", "edge-secret".to_owned()),
            ("subject_token", self.user_token()),
            ("subject_token_type", ACCESS_TOKEN.to_owned()),
            ("audience", "https://tickets.internal".to_owned()),
            (
                "authorization_details",
                json!([{ "type": "ticket", "actions": ["read"], "identifier": "42" }]).to_string(),
            ),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A right form with other values; an empty one takes the parameter away.
    pub(crate) async fn exchange(&self, changes: &[(&str, &str)]) -> Reply {
        let mut form = self.form();
        for (name, value) in changes {
            form.insert((*name).to_owned(), (*value).to_owned());
        }
        let pairs: Vec<_> = form.into_iter().collect();
        self.post(&encode(&pairs), &[]).await
    }

    pub(crate) async fn post(&self, body: &str, headers: &[(&str, &str)]) -> Reply {
        self.post_to("/oauth2/token", body, headers).await
    }

    /// Posts a form to an endpoint as a client with a secret; a token is named by its text.
    pub(crate) async fn about(&self, path: &str, client: &str, token: &str) -> Reply {
        let pairs = [
            ("client_id", client),
            ("client_secret", &format!("{client}-secret")),
            ("token", token),
        ];
        let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.post_to(path, &encode(&pairs), &[]).await
    }

    pub(crate) async fn post_to(&self, path: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        let mut request = self.http.post(format!("{}{path}", self.url)).body(body.to_owned());
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply {
            status,
            headers,
            body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default(),
        }
    }

    /// Asks `/v1` with a bearer token.
    pub(crate) async fn ask(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Reply {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(body.map(|_| ("content-type", "application/json")));
        self.ask_with(method, path, &headers, body.map(|body| body.to_string().into_bytes())).await
    }

    /// The same with these headers alone.
    pub(crate) async fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Reply {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        // A stream that should have been refused would never end.
        request = request.timeout(Duration::from_secs(20));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply {
            status,
            headers,
            body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default(),
        }
    }

    /// Asks and gives the reply as it begins.
    pub(crate) async fn open(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// Posts a form and gives the media type and text of the reply.
    pub(crate) async fn post_for_text(&self, path: &str, form: &str, headers: &[(&str, &str)]) -> (String, String) {
        let media = "application/x-www-form-urlencoded";
        let mut request = self.http.post(format!("{}{path}", self.url)).body(form.to_owned()).header("content-type", media);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let media = response.headers()["content-type"].to_str().unwrap().to_owned();
        (media, response.text().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String, String) {
        let response = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        let media = response
            .headers()
            .get("content-type")
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default();
        (response.status().as_u16(), media, response.text().await.unwrap())
    }

    /// Has what was counted until now written, once its second is over.
    pub(crate) async fn count_up(&self) {
        let running = seconds();
        while seconds() == running {
            // The condition decides, not the pause: that only keeps the looking from being a load of its own.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.broker.follow().await;
    }

    /// Every record so far.
    pub(crate) async fn records(&self) -> Vec<Value> {
        let store = self.engine.open().await;
        store
            .records(0, 10_000)
            .await
            .unwrap()
            .iter()
            .map(|body| serde_json::from_str(body).unwrap())
            .collect()
    }

    /// An assertion of the edge, with these changes.
    pub(crate) fn assertion(&self, changes: &[(&str, Value)]) -> String {
        let mut claims = json!({ "iss": "edge", "sub": "edge", "aud": self.url, "iat": seconds(), "exp": seconds() + 60, "jti": uuid::Uuid::now_v7().to_string() });
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        self.edge.sign("client-authentication+jwt", &claims)
    }
}

fn by_assertion() -> ClientAuth {
    ClientAuth {
        method: AuthMethod::PrivateKeyJwt {
            keys: "client/edge/1".to_owned(),
        },
        until: None,
    }
}

pub(crate) fn encode(pairs: &[(String, String)]) -> String {
    let part = |text: &str| {
        text.bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect::<String>()
    };
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", part(name), part(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Two boundaries, and who acts there; a route of the first goes on with an upstream credential.
fn boundaries() -> BTreeMap<String, Asking> {
    let acts = |name: &str, client: &str, connections| {
        let client = ClientId::parse(client).unwrap();
        (name.to_owned(), Asking { client, connections })
    };
    let key = (AudienceId::parse("https://tickets.internal").unwrap(), "tickets-key".to_owned());
    BTreeMap::from([
        acts("front", "edge", BTreeSet::from([key])),
        acts("back", "orders", BTreeSet::new()),
    ])
}

/// What orders guards: its own service, and, by a mistake, one whose audience it does not receive.
fn guards() -> BTreeMap<String, Guarded> {
    let guarded = |name: &str, audience: &str| {
        let guarded = Guarded {
            audience: AudienceId::parse(audience).unwrap(),
            clients: BTreeSet::from([ClientId::parse("orders").unwrap()]),
        };
        (name.to_owned(), guarded)
    };
    BTreeMap::from([
        guarded("orders", "https://orders.internal"),
        guarded("tickets", "https://tickets.internal"),
    ])
}

/// The upstream credentials that routes may ask for.
fn connections() -> ByName {
    let key = Connection {
        name: "tickets-key".to_owned(),
        per: Per::All,
        origin: "https://api.example".to_owned(),
        header: http::HeaderName::from_static("x-api-key"),
        around: ("Token ".to_owned(), String::new()),
    };
    ByName::from([(key.name.clone(), key)])
}
