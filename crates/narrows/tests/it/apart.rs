//! Boundaries in a process of their own, beside a broker that decides for them: both the real program.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use serde_json::{Value, json};
use testkit::FakeIssuer;

use crate::boundary::{body, claims, has_ended, header, problem, status};
use crate::front::Front;
use crate::guard::exchanged;
use crate::run::narrows;
use crate::served::{Served, door_of};
use crate::{connections, corp, echo};

/// What a change may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// For whom there is a token by its own name: the broker's own audience, and who may have it.
const DATA_PLANE: &str = r#"
[[audiences]]
id     = "http://127.0.0.1:8420"
scopes = ["narrows.data_plane"]

[[scopes]]
name    = "narrows.data_plane"
details = []
"#;

fn fronts(backend: SocketAddr) -> String {
    let routes = r#"
"PATCH /tickets/{id}" = { detail = "ticket:update/{id}?fields={body:keys}" }
"GET /fresh/{id}"     = { detail = "ticket:read/{id}", max_auth_age = "5m" }
"GET /stream"         = { detail = "ticket:list", stream = true }
"GET /socket"         = { detail = "ticket:list", upgrade = "websocket" }
"#;
    Front::before(&format!("http://{backend}")).routes(routes).text()
}

/// Boundaries or guards alone; they end with this value.
pub(crate) struct Apart {
    pub(crate) folder: tempfile::TempDir,
    child: Child,
}

impl Apart {
    /// With these files, and nothing else: no store, no key file and no policy.
    fn start(files: &[(&str, String)]) -> Self {
        Self::run("boundary", files)
    }

    /// The same of another verb.
    pub(crate) fn run(verb: &str, files: &[(&str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let child = Command::new(env!("CARGO_BIN_EXE_narrows"))
            .arg(verb)
            .current_dir(folder.path())
            .env_remove("NARROWS_CONFIG")
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let apart = Self { folder, child };
        apart.until("its doors are open", || apart.log().contains("\"serving\""));
        apart
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn door(&self, door: &str) -> SocketAddr {
        door_of(&self.log(), door).unwrap()
    }

    pub(crate) fn ready(&self) -> (u16, Value) {
        let reply = echo::ask(
            self.door("metrics_listen"),
            "GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        );
        (status(&reply), problem(&reply))
    }

    fn metrics(&self) -> String {
        let request = "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let reply = echo::ask(self.door("metrics_listen"), request);
        assert_eq!(
            (status(&reply), header(&reply, "content-type")),
            (200, Some("application/openmetrics-text; version=1.0.0; charset=utf-8"))
        );
        body(&reply).to_owned()
    }

    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < PATIENCE, "{what}:\n{}", self.log());
            // The condition decides, not the pause: that only keeps the asking from being a load of its own.
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A broker with a boundary of its own, and the same boundary apart from it.
pub(crate) struct Both {
    pub(crate) served: Served,
    pub(crate) apart: Apart,
    pub(crate) issuer: FakeIssuer,
}

impl Both {
    pub(crate) fn start() -> Self {
        Self::asking(|address| address, "30s")
    }

    /// The boundary asks at what `way` makes of the broker's address, and waits for so long.
    fn asking(way: impl FnOnce(SocketAddr) -> SocketAddr, deadline: &str) -> Self {
        let backend = echo::start();
        Self::of(|text| text + &fronts(backend), way, deadline)
    }

    /// The configuration of both is what `change` makes of the usual one.
    pub(crate) fn of(change: impl FnOnce(String) -> String, way: impl FnOnce(SocketAddr) -> SocketAddr, deadline: &str) -> Self {
        let issuer = corp::issuer();
        let served = Served::start(|folder| {
            corp::trust(folder, &issuer);
            let config = folder.join("narrows.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, change(text) + DATA_PLANE).unwrap();
            let rules = r#"
@id("edge-updates") permit (principal == Workload::"edge", action == Action::"ticket:update", resource is Detail::Ticket);
@id("planes") permit (principal == Workload::"edge", action == Action::"scope:narrows.data_plane", resource);
"#;
            std::fs::write(folder.join("policies/second.cedar"), rules).unwrap();
        });
        let apart = Apart::start(&files(served.path(), way(served.address), deadline));
        apart.until("the broker is asked", || apart.ready().0 == 200);
        Self { served, apart, issuer }
    }

    fn token(&self, scope: &str, group: &str, life: i64) -> String {
        corp::token(&self.issuer, scope, group, life)
    }
}

/// What the process apart has: the broker's own configuration with one table more.
fn files(broker: &Path, at: SocketAddr, deadline: &str) -> Vec<(&'static str, String)> {
    let read = |name: &str| std::fs::read_to_string(broker.join(name)).unwrap();
    let table =
        format!("\n[broker]\nurls = [\"http://{at}\"]\nclient = \"edge\"\nkey = {{ file = \"edge.key\" }}\ndeadline = \"{deadline}\"\n");
    let config = format!("metrics_listen = \"127.0.0.1:0\"\n{}{table}", read("narrows.toml"));
    vec![
        ("narrows.toml", config),
        ("edge.key", read("edge.key")),
        ("edge.jwks.json", read("edge.jwks.json")),
        ("corp.jwks.json", read("corp.jwks.json")),
    ]
}

/// What came of a request: its status, its reason, and what the token that went on says of whom and what.
type Came = (u16, Value, Value);
/// How a door is asked: where it is, the line of the request, and its headers.
type Asks = fn(SocketAddr, &str, &str) -> Came;

fn came(status: u16, problem: &Value, token: Option<&str>) -> Came {
    let said = token.and_then(|value| value.strip_prefix("Bearer ")).map(claims).unwrap_or_default();
    let told = json!({
        "aud": said["aud"], "details": said["authorization_details"], "act": said["act"], "sub": said["sub"], "client": said["client_id"],
    });
    (status, problem["reason"].clone(), told)
}

fn through_the_proxy(door: SocketAddr, line: &str, headers: &str, sent: &str) -> Came {
    let length = format!("content-length: {}\r\ncontent-type: application/json\r\n", sent.len());
    let framed = if sent.is_empty() { "" } else { &length };
    let request = format!("{line} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n{framed}{headers}\r\n{sent}");
    let reply = echo::ask(door, &request);
    let token = header(body(&reply), "authorization").map(str::to_owned);
    came(status(&reply), &problem(&reply), token.as_deref())
}

fn by_forward_auth(door: SocketAddr, line: &str, headers: &str) -> Came {
    let (method, target) = line.split_once(' ').unwrap();
    let named = format!("host: a\r\nx-forwarded-method: {method}\r\nx-forwarded-uri: {target}\r\nx-forwarded-host: tickets.internal\r\n");
    let reply = echo::ask(door, &format!("GET / HTTP/1.1\r\nconnection: close\r\n{named}{headers}\r\n"));
    came(status(&reply), &problem(&reply), header(&reply, "authorization"))
}

fn by_ext_authz(door: SocketAddr, line: &str, headers: &str) -> Came {
    let (method, path) = line.split_once(' ').unwrap();
    let headers: HashMap<_, _> = headers
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                time: None,
                http: Some(HttpRequest {
                    method: method.to_owned(),
                    path: path.to_owned(),
                    host: "tickets.internal".to_owned(),
                    headers,
                    ..HttpRequest::default()
                }),
            }),
            ..AttributeContext::default()
        }),
    };
    let asked = async {
        let mut client = AuthorizationClient::connect(format!("http://{door}")).await.unwrap();
        client.check(request).await.unwrap().into_inner()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reply = runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await.unwrap() });
    match reply.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => {
            let token = ok.headers.first().and_then(|line| line.header.clone()).map(|header| header.value);
            came(200, &Value::Null, token.as_deref())
        }
        HttpResponse::DeniedResponse(denied) => {
            let status = denied.status.map_or(0, |status| status.code);
            came(
                status.try_into().unwrap(),
                &serde_json::from_str(&denied.body).unwrap_or_default(),
                None,
            )
        }
        HttpResponse::ErrorResponse(error) => panic!("{error:?}"),
    }
}

#[test]
fn every_door_says_what_one_beside_the_broker_says() {
    let both = Both::start();
    let bearer = |token: String| format!("authorization: Bearer {token}\r\n");
    let good = bearer(both.token("tickets.full", "support", 600));
    let rows = [
        ("GET /tickets/42", good.clone(), 200),
        ("GET /tickets/42?full=1", good.clone(), 200),
        ("GET /healthz", good.clone(), 200),
        ("GET /healthz", String::new(), 200),
        ("GET /tickets/42", String::new(), 401),
        ("GET /tickets/42", bearer("x.y.z".to_owned()), 401),
        ("GET /tickets/42", bearer(both.token("tickets.full", "support", -10)), 401),
        ("GET /tickets/42", bearer(both.token("tickets.full", "sales", 600)), 403),
        ("GET /tickets/42", bearer(both.token("other", "support", 600)), 403),
        ("GET /fresh/42", good.clone(), 401),
        ("GET /admin", good.clone(), 403),
        ("GET /tickets//42", good.clone(), 400),
        ("GET /tickets/42", "authorization: Basic YTpi\r\n".to_owned(), 400),
        ("GET /tickets/42?access_token=x", good.clone(), 400),
    ];
    for (line, headers, expected) in rows {
        let asks: [(&str, Asks); 3] = [
            ("proxy", |door, line, headers| through_the_proxy(door, line, headers, "")),
            ("forward_auth", by_forward_auth),
            ("ext_authz_grpc", by_ext_authz),
        ];
        for (door, ask) in asks {
            let beside = ask(both.served.door(door), line, &headers);
            let apart = ask(both.apart.door(door), line, &headers);
            assert_eq!(apart, beside, "{door}: {line} {headers}");
            assert_eq!(apart.0, expected, "{door}: {line} {headers} {apart:?}");
            let has_token = apart.2["aud"] == "https://tickets.internal";
            assert_eq!(has_token, expected == 200 && line != "GET /healthz", "{door}: {line} {apart:?}");
        }
    }
    // What a route reads of a body is in what is asked.
    for sent in ["{\"state\":\"open\"}", "{\"state\":1,\"owner\":2}", "[]", "{"] {
        let ask = |door| through_the_proxy(door, "PATCH /tickets/42", &good, sent);
        let apart = ask(both.apart.door("proxy"));
        assert_eq!(apart, ask(both.served.door("proxy")), "{sent}");
        assert_eq!(apart.0 == 200, sent.ends_with('}'), "{sent}: {apart:?}");
    }
}

/// The record of a decision is the broker's, and tells of the boundary and the request.
#[test]
fn what_is_refused_apart_is_on_record_at_the_broker() {
    let both = Both::start();
    let door = both.apart.door("proxy");
    let bearer = format!("authorization: Bearer {}\r\n", both.token("tickets.full", "sales", 600));
    for (target, headers) in [("/admin", ""), ("/tickets/42", bearer.as_str())] {
        let reply = echo::ask(
            door,
            &format!("GET {target} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n{headers}\r\n"),
        );
        let id = problem(&reply)["decision_id"].as_str().unwrap().to_owned();
        let told = narrows(both.served.path(), &["why", &id, "--json"], "");
        assert!(
            told.code == 0 && told.out.contains(&format!("\"{target}\"")) && told.out.contains("\"front\""),
            "{told:?}"
        );
    }
    for there in ["narrows.db", "narrows.key", "policies"] {
        assert!(!both.apart.folder.path().join(there).exists(), "{there}");
    }
}

#[test]
fn without_its_broker_a_boundary_lets_public_requests_through_and_nothing_else() {
    let mut both = Both::asking(|address| address, "500ms");
    let good = format!("authorization: Bearer {}\r\n", both.token("tickets.full", "support", 600));
    assert_eq!(through_the_proxy(both.apart.door("proxy"), "GET /tickets/42", &good, "").0, 200);
    both.served.child.kill().unwrap();
    both.served.child.wait().unwrap();
    let refused: Came = came(503, &json!({ "reason": "store_unavailable" }), None);
    for (line, headers) in [("GET /tickets/42", good.as_str()), ("GET /tickets/42", ""), ("GET /admin", "")] {
        let apart = &both.apart;
        assert_eq!(through_the_proxy(apart.door("proxy"), line, headers, ""), refused, "{line}");
        assert_eq!(by_forward_auth(apart.door("forward_auth"), line, headers), refused, "{line}");
        assert_eq!(by_ext_authz(apart.door("ext_authz_grpc"), line, headers), refused, "{line}");
    }
    assert_eq!(through_the_proxy(both.apart.door("proxy"), "GET /healthz", "", "").0, 200);
    assert_eq!(both.apart.ready().0, 503);
    assert!(both.apart.log().contains("the broker is not reached"), "{}", both.apart.log());
}

/// What the operator of the process sees, with nothing of the broker's.
#[test]
fn its_metrics_say_what_was_decided_at_each_boundary_and_how_the_broker_is_reached() {
    let mut both = Both::asking(|address| address, "500ms");
    let bearer = |group: &str| format!("authorization: Bearer {}\r\n", both.token("tickets.full", group, 600));
    let (good, other) = (bearer("support"), bearer("sales"));
    let ask = |line: &str, headers: &str| through_the_proxy(both.apart.door("proxy"), line, headers, "").0;
    assert_eq!((ask("GET /tickets/42", &good), ask("GET /tickets/43", &good)), (200, 200));
    assert_eq!(
        (ask("GET /tickets/42", &other), ask("GET /admin", &good), ask("GET /healthz", "")),
        (403, 403, 200)
    );
    let text = both.apart.metrics();
    for line in [
        "narrows_granted_total{boundary=\"front\"} 2",
        "narrows_refusals_total{boundary=\"front\",reason=\"policy_denied\"} 1",
        "narrows_refusals_total{boundary=\"front\",reason=\"no_route\"} 1",
        "narrows_broker_reached 1",
        "narrows_change_refused 0",
        "narrows_body_room_bytes{share=\"enforced\"} 67108864",
        "narrows_body_room_bytes{share=\"observed\"} 16777216",
        "narrows_tls_handshakes_failed_total 0",
    ] {
        assert!(text.lines().any(|each| each == line), "{line}\n{text}");
    }
    for name in ["narrows_connections ", "narrows_broker_answer_age_seconds "] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}\n{text}");
    }
    assert!(text.ends_with("# EOF\n") && !text.contains("narrows_issued"), "{text}");

    both.served.child.kill().unwrap();
    both.served.child.wait().unwrap();
    assert_eq!(through_the_proxy(both.apart.door("proxy"), "GET /tickets/42", &good, "").0, 503);
    let text = both.apart.metrics();
    for line in [
        "narrows_broker_reached 0",
        "narrows_refusals_total{boundary=\"front\",reason=\"store_unavailable\"} 1",
    ] {
        assert!(text.lines().any(|each| each == line), "{line}\n{text}");
    }
}

/// What listens, and lets nothing more through once it is told to.
struct Relay {
    address: SocketAddr,
    stalled: std::sync::Arc<std::sync::atomic::AtomicBool>,
    connections: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Relay {
    fn to(broker: SocketAddr) -> Self {
        use std::sync::atomic::Ordering::SeqCst;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            stalled: std::sync::Arc::default(),
            connections: std::sync::Arc::default(),
        };
        let (stalled, connections) = (relay.stalled.clone(), relay.connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, SeqCst);
                let Ok(onward) = TcpStream::connect(broker) else { continue };
                for (mut from, mut to) in [(stream.try_clone().unwrap(), onward.try_clone().unwrap()), (onward, stream)] {
                    let stalled = stalled.clone();
                    std::thread::spawn(move || {
                        let mut buffer = [0; 4096];
                        while let Ok(count @ 1..) = std::io::Read::read(&mut from, &mut buffer) {
                            // Stalled, it reads and says nothing.
                            if !stalled.load(SeqCst) && std::io::Write::write_all(&mut to, &buffer[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        relay
    }
}

#[test]
fn a_broker_that_takes_too_long_is_not_waited_for_and_connections_are_used_again() {
    let mut relay = None;
    let both = Both::asking(
        |broker| {
            let made = Relay::to(broker);
            let address = made.address;
            relay = Some(made);
            address
        },
        "2s",
    );
    let relay = relay.unwrap();
    let good = format!("authorization: Bearer {}\r\n", both.token("tickets.full", "support", 600));
    let ask = || through_the_proxy(both.apart.door("proxy"), "GET /tickets/42", &good, "");
    for _ in 0..20 {
        assert_eq!(ask().0, 200);
    }
    let connections = relay.connections.load(std::sync::atomic::Ordering::SeqCst);
    assert!(connections <= 3, "20 requests over {connections} connections");
    relay.stalled.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(ask(), came(503, &json!({ "reason": "store_unavailable" }), None));
    assert_eq!(through_the_proxy(both.apart.door("proxy"), "GET /healthz", "", "").0, 200);
    assert!(
        both.apart.log().contains("the broker did not answer within"),
        "{}",
        both.apart.log()
    );
}

#[test]
fn what_goes_on_ends_when_its_token_is_revoked_at_the_broker() {
    let both = Both::start();
    let good = format!("authorization: Bearer {}\r\n", both.token("tickets.full", "support", 600));
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    let open = |target: &str, headers: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nhost: tickets.internal\r\n{headers}{good}\r\n");
        echo::open(both.apart.door("proxy"), &request)
    };
    let mut stream = open("/stream", "");
    echo::until(&mut stream, "first");
    let mut socket = open("/socket", upgrade);
    echo::until(&mut socket, "101 Switching Protocols");
    let revoked = narrows(both.served.path(), &["revoke", "--subject", "corp|alice"], "");
    assert_eq!(revoked.code, 0, "{revoked:?}");
    for (what, stream) in [("stream", &mut stream), ("socket", &mut socket)] {
        let mut rest = Vec::new();
        // Whatever still comes ends; a read that waits for ever fails by the bound of the connection.
        let ended = std::io::Read::read_to_end(stream, &mut rest);
        assert!(has_ended(ended), "{what} goes on");
    }
}

/// A broker that refuses the client of the boundary is there, and is not waited for like one that is away.
#[test]
fn what_goes_on_ends_when_the_client_of_its_boundary_is_disabled() {
    let backend = echo::start();
    let patient = "\n[revocation]\nmax_age = \"10m\"\n";
    let both = Both::of(|text| text + &fronts(backend) + patient, |address| address, "30s");
    let good = format!("authorization: Bearer {}\r\n", both.token("tickets.full", "support", 600));
    let open = |target: &str, headers: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nhost: tickets.internal\r\n{headers}{good}\r\n");
        echo::open(both.apart.door("proxy"), &request)
    };
    let mut stream = open("/stream", "");
    echo::until(&mut stream, "first");
    let mut socket = open("/socket", "connection: upgrade\r\nupgrade: websocket\r\n");
    echo::until(&mut socket, "101 Switching Protocols");

    // Its own token is ended, and the next look gets another: that is no refusal.
    let own = |both: &Both| {
        let own = connections::records(both.served.path())
            .into_iter()
            .filter(|record| record["scope"] == "narrows.data_plane");
        own.filter_map(|record| record["jti"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let held = own(&both);
    for jti in &held {
        let revoked = narrows(both.served.path(), &["revoke", "--jti", jti], "");
        assert_eq!(revoked.code, 0, "{revoked:?}");
    }
    both.apart.until("another token is had", || own(&both).len() > held.len());
    std::io::Write::write_all(&mut socket, b"still here").unwrap();
    echo::until(&mut socket, "still here");

    let disabled = narrows(both.served.path(), &["client", "disable", "edge"], "");
    assert_eq!(disabled.code, 0, "{disabled:?}");
    for (what, stream) in [("stream", &mut stream), ("socket", &mut socket)] {
        let mut rest = Vec::new();
        let ended = std::io::Read::read_to_end(stream, &mut rest);
        assert!(has_ended(ended), "{what} goes on");
    }
    // Nothing else of the boundary waits for a token that would not come.
    assert_eq!(
        through_the_proxy(both.apart.door("proxy"), "GET /tickets/42", &good, ""),
        came(503, &json!({ "reason": "store_unavailable" }), None)
    );
    // It says so, and finds out by itself that it is taken again.
    assert_eq!(both.apart.ready().0, 503);
    let enabled = narrows(both.served.path(), &["client", "enable", "edge"], "");
    assert_eq!(enabled.code, 0, "{enabled:?}");
    both.apart.until("it is ready again", || both.apart.ready().0 == 200);
}

/// Whoever sends requests by `/readyz` sends none to it meanwhile, and it has no feed.
#[test]
fn without_any_traffic_it_is_said_that_the_client_of_the_boundary_is_disabled_and_that_the_broker_is_away() {
    let mut both = Both::start();
    let is = |both: &Both, status: u16, why: &str| both.apart.until(why, || both.apart.ready().0 == status);
    is(&both, 200, "it is ready");
    for (verb, status) in [("disable", 503), ("enable", 200)] {
        let changed = narrows(both.served.path(), &["client", verb, "edge"], "");
        assert_eq!(changed.code, 0, "{changed:?}");
        is(&both, status, verb);
    }
    both.served.child.kill().unwrap();
    both.served.child.wait().unwrap();
    is(&both, 503, "nobody is there");
}

#[test]
fn a_change_of_routes_is_followed_and_a_bad_one_is_not() {
    let both = Both::start();
    let config = both.apart.folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let good = format!("authorization: Bearer {}\r\n", both.token("tickets.full", "support", 600));
    let ask = |target: &str| through_the_proxy(both.apart.door("proxy"), &format!("GET {target}"), &good, "").0;
    assert_eq!(ask("/more/42"), 403);
    let route = "\"GET /more/{id}\" = \"ticket:read/{id}\"\n";
    let more = text.replace("\"GET /healthz\"", &format!("{route}\"GET /healthz\""));
    std::fs::write(&config, &more).unwrap();
    both.apart.until("the route is served", || ask("/more/42") == 200);
    let refused = |text: &str, why: &str| {
        std::fs::write(&config, text).unwrap();
        both.apart.until(why, || {
            both.apart.ready().1["refused_change"].as_str().is_some_and(|said| said.contains(why))
        });
        assert_eq!(ask("/more/42"), 200, "{why}");
    };
    refused(&more.replace("[services.routes]", "[services.ruotes]"), "services[0].ruotes");
    refused(&more.replacen("http://", "http://127.0.0.1:9/", 1), "issuer: ");
    refused(&more.replace("deadline = \"30s\"", "deadline = \"29s\""), "broker: ");
    refused(
        &more.replace("client         = \"edge\"", "client         = \"elsewhere\""),
        "boundaries[0]",
    );
    std::fs::write(&config, &more).unwrap();
    both.apart.until("it is mended", || both.apart.ready().1["refused_change"].is_null());
}

/// It goes on at every door, with the broker or without.
#[test]
fn what_is_only_observed_apart_goes_on_and_the_broker_has_the_record() {
    let mut both = Both::start();
    let day = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = day.saturating_add(jiff::Span::new().days(30));
    let named = "name           = \"front\"\n";
    let observes = format!("{named}mode = \"observe\"\nobserve_until = \"{day}\"\n");
    for folder in [both.served.path(), both.apart.folder.path()] {
        let config = folder.join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap().replace(named, &observes);
        std::fs::write(&config, text).unwrap();
    }
    both.served.until("it may observe", |ready| ready["observing"][0]["boundary"] == "front");
    both.apart.until("it observes", || both.apart.ready().1["observing"][0]["boundary"] == "front");

    let bearer = format!("authorization: Bearer {}\r\n", both.token("tickets.full", "sales", 600));
    let go_on = |apart: &Apart| {
        for (line, headers) in [("GET /tickets/42", bearer.as_str()), ("GET /tickets/42", ""), ("GET /admin", "")] {
            assert_eq!(through_the_proxy(apart.door("proxy"), line, headers, "").0, 200, "{line}");
            assert_eq!(by_forward_auth(apart.door("forward_auth"), line, headers).0, 200, "{line}");
            assert_eq!(by_ext_authz(apart.door("ext_authz_grpc"), line, headers).0, 200, "{line}");
        }
    };
    go_on(&both.apart);
    let counted = "narrows_observed_total{boundary=\"front\",decision=\"deny\"} 9";
    both.apart.until("each is on record", || both.served.get("/metrics").contains(counted));
    both.apart.until("each is counted here too", || both.apart.metrics().contains(counted));
    let text = both.apart.metrics();
    assert!(
        text.contains("narrows_observing{boundary=\"front\"} 1\n") && !text.contains("narrows_refusals_total{"),
        "{text}"
    );
    both.served.child.kill().unwrap();
    both.served.child.wait().unwrap();
    go_on(&both.apart);
    both.apart.until("it says what is not on record", || both.apart.log().contains("is not on record"));
}

#[test]
fn it_stops_when_it_is_told_to() {
    let mut both = Both::start();
    let pid = both.apart.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let began = Instant::now();
    let ended = loop {
        if let Some(ended) = both.apart.child.try_wait().unwrap() {
            break ended;
        }
        assert!(began.elapsed() < PATIENCE, "{}", both.apart.log());
        std::thread::park_timeout(Duration::from_millis(20));
    };
    assert!(ended.success());
}

/// The exit code of boundaries that are not to start, and what they say; none if they run.
fn refused(folder: &Path) -> (Option<i32>, String) {
    let log = folder.join("refused");
    let mut child = Command::new(env!("CARGO_BIN_EXE_narrows"))
        .arg("boundary")
        .current_dir(folder)
        .env_remove("NARROWS_CONFIG")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let said = || std::fs::read_to_string(&log).unwrap();
    while child.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE && !said().contains("\"serving\"") {
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let _ = child.kill();
    (child.wait().unwrap().code(), said())
}

/// What it cannot serve it does not pretend to.
#[test]
fn it_does_not_start_without_what_it_needs_and_says_what_that_is() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let config = folder.path().join("narrows.toml");
    let base = std::fs::read_to_string(&config).unwrap();
    let fronts = fronts("127.0.0.1:9".parse().unwrap());
    let table = "\n[broker]\nurls = [\"http://127.0.0.1:9\"]\nclient = \"edge\"\nkey = { file = \"edge.key\" }\n";
    let whole = format!("{base}{fronts}{table}");
    let second = "\n[[clients]]\nid = \"other\"\nauth = { method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" }\n";
    let secret = format!(
        "auth = {{ method = \"client_secret_basic\", secret_sha256 = \"{}\" }}",
        "0".repeat(64)
    );
    let rows = [
        (format!("{base}{fronts}"), "broker: is required here"),
        (format!("{base}{table}"), "boundaries: there is none to serve"),
        (
            format!("{whole}{second}").replace("client = \"edge\"", "client = \"other\""),
            "boundaries[0].client: `front` acts as `edge`",
        ),
        (
            whole.replace("max_lifetime = \"2m\"", "token = \"opaque\""),
            "boundaries[0].services: tokens for `https://tickets.internal` are opaque",
        ),
        (whole.replace("key = { file = \"edge.key\" }", ""), "broker.key: is required"),
        (
            whole.replace("{ file = \"edge.key\" }", "\"x\""),
            "broker.key: expected an ES256 private key",
        ),
        (whole.replace("client = \"edge\"\nkey", "key"), "broker.client: is required"),
        (
            whole.replace("client = \"edge\"\nkey", "client = \"none\"\nkey"),
            "broker.client: there is no client `none`",
        ),
        (
            whole.replace("auth = { method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" }", &secret),
            "broker.client: `edge` has no `private_key_jwt`",
        ),
        (whole.replace("urls = [\"http://127.0.0.1:9\"]", ""), "broker.urls: is required"),
        (
            whole.replace("http://127.0.0.1:9\"]", "http://broker.internal\"]"),
            "broker.urls[0]: expected an https URL",
        ),
        (
            whole.replace("http://127.0.0.1:9\"]", "https://10.1.2.3\"]"),
            "broker.urls: `https://10.1.2.3/`: a private address",
        ),
        (format!("{whole}deadline = \"0s\"\n"), "broker.deadline: expected a duration"),
    ];
    for (text, why) in rows {
        std::fs::write(&config, &text).unwrap();
        let (code, said) = refused(folder.path());
        assert!(code == Some(1) && said.contains(why), "{why}: {code:?} {said}");
    }
    // A broker that is not there yet is no reason not to start.
    std::fs::write(&config, &whole).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let apart = Apart::start(&[
        ("narrows.toml", format!("metrics_listen = \"127.0.0.1:0\"\n{whole}")),
        ("edge.key", read("edge.key")),
        ("edge.jwks.json", read("edge.jwks.json")),
    ]);
    assert_eq!(apart.ready().0, 503);
    assert_eq!(through_the_proxy(apart.door("proxy"), "GET /tickets/42", "", "").0, 503);
}

#[test]
fn a_key_signs_under_the_name_that_its_owner_gave_it() {
    for named in [json!("edge-2026-11"), Value::Null] {
        let issuer = corp::issuer();
        let served = Served::start(|folder| {
            corp::trust(folder, &issuer);
            let config = folder.join("narrows.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, text + &fronts(echo::start()) + DATA_PLANE).unwrap();
            let path = folder.join("edge.jwks.json");
            let mut published: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let key = published["keys"][0].as_object_mut().unwrap();
            key.remove("kid");
            if named.is_string() {
                key.insert("kid".to_owned(), named.clone());
            }
            std::fs::write(&path, published.to_string()).unwrap();
            let rule = r#"@id("planes") permit (principal == Workload::"edge", action == Action::"scope:narrows.data_plane", resource);"#;
            std::fs::write(folder.join("policies/second.cedar"), rule).unwrap();
        });
        let apart = Apart::start(&files(served.path(), served.address, "30s"));
        apart.until("the broker knows the boundary's key", || apart.ready().0 == 200);

        let token = corp::token(&issuer, "tickets.full", "support", 300);
        exchanged(served.path(), &token, "https://tickets.internal", &["ticket:read/42"], &[]);
    }
}
