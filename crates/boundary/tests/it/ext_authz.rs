//! What Envoy's gRPC filter asks, and what it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::{Extension, Router};
use boundary::Boundary;
use boundary::ext_authz::grpc;
use envoy_types::pb::envoy::config::core::v3::address::Address as Kind;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderMap, HeaderValue, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use tonic::{Code, Status};
use tower::ServiceExt as _;

use crate::exchanger::{FakeExchanger, GOOD, boundary, cramped};

/// The door, as a peer from `from` finds it.
pub(crate) struct Door {
    client: AuthorizationClient<Router>,
    routes: Router,
    exchanger: FakeExchanger,
}

impl Door {
    pub(crate) fn seen_from(from: &str) -> Self {
        Self::of(boundary(), from)
    }

    fn of((boundary, exchanger): (Arc<Boundary<FakeExchanger>>, FakeExchanger), from: &str) -> Self {
        let peer: SocketAddr = format!("{from}:40000").parse().unwrap();
        let routes = grpc::routes(boundary).layer(Extension(peer));
        Self {
            client: AuthorizationClient::new(routes.clone()),
            routes,
            exchanger,
        }
    }

    pub(crate) fn open() -> Self {
        Self::seen_from("127.0.0.1")
    }

    pub(crate) async fn ask(&mut self, request: CheckRequest) -> Result<CheckResponse, Status> {
        self.client.check(request).await.map(tonic::Response::into_inner)
    }

    /// What was decided last.
    pub(crate) fn decided(&self) -> String {
        self.exchanger.last()
    }

    async fn allowed(&mut self, asked: Asked) -> OkHttpResponse {
        let reply = self.ask(asked.into()).await.unwrap();
        assert_eq!(reply.status.as_ref().unwrap().code, 0, "{reply:?}");
        let Some(HttpResponse::OkResponse(ok)) = reply.http_response else {
            panic!("{reply:?}")
        };
        ok
    }

    async fn denied(&mut self, asked: impl Into<CheckRequest>) -> (i32, DeniedHttpResponse) {
        let reply = self.ask(asked.into()).await.unwrap();
        let code = reply.status.as_ref().unwrap().code;
        assert_ne!(code, 0, "{reply:?}");
        let Some(HttpResponse::DeniedResponse(denied)) = reply.http_response else {
            panic!("{reply:?}")
        };
        (code, denied)
    }

    /// The status that a denied request's client sees.
    async fn status(&mut self, asked: Asked) -> i32 {
        self.denied(asked).await.1.status.unwrap().code
    }
}

/// A request as Envoy tells of it: the lines of its head, and its body.
#[derive(Clone)]
pub(crate) struct Asked {
    http: HttpRequest,
    context: HashMap<String, String>,
    lines: Vec<(String, Vec<u8>)>,
}

impl Asked {
    fn new(method: &str, path: &str) -> Self {
        let pseudo = [
            (":method", method),
            (":path", path),
            (":authority", "tickets.internal"),
            (":scheme", "https"),
        ];
        Self {
            http: HttpRequest {
                method: method.to_owned(),
                path: path.to_owned(),
                host: "tickets.internal".to_owned(),
                size: -1,
                ..HttpRequest::default()
            },
            context: HashMap::new(),
            lines: pseudo.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec(),
        }
    }

    /// Alice's request for a ticket.
    fn ticket() -> Self {
        Self::new("GET", "/tickets/42").with("authorization", &format!("Bearer {GOOD}"))
    }

    /// The same, in a body.
    fn posted(body: &str) -> Self {
        let mut asked = Self::new("POST", "/tickets").with("authorization", &format!("Bearer {GOOD}"));
        asked.http.raw_body = body.as_bytes().to_vec();
        asked.with("content-type", "application/json")
    }

    fn with(self, name: &str, value: &str) -> Self {
        self.with_bytes(name, value.as_bytes())
    }

    fn with_bytes(mut self, name: &str, value: &[u8]) -> Self {
        self.lines.push((name.to_owned(), value.to_vec()));
        self
    }

    /// With `encode_raw_headers`: every line by itself, and no map.
    fn raw(mut self) -> CheckRequest {
        let line = |(key, raw_value): (String, Vec<u8>)| HeaderValue {
            key,
            raw_value,
            ..HeaderValue::default()
        };
        self.http.header_map = Some(HeaderMap {
            headers: self.lines.drain(..).map(line).collect(),
        });
        self.into()
    }
}

impl From<Asked> for CheckRequest {
    /// As a map, in which Envoy joins lines of one name.
    fn from(asked: Asked) -> Self {
        let Asked { mut http, context, lines } = asked;
        for (name, value) in lines {
            let value = String::from_utf8(value).unwrap();
            let joined = http.headers.entry(name).or_default();
            *joined = if joined.is_empty() { value } else { format!("{joined},{value}") };
        }
        Self {
            attributes: Some(AttributeContext {
                request: Some(Request {
                    time: None,
                    http: Some(http),
                }),
                context_extensions: context,
                ..AttributeContext::default()
            }),
        }
    }
}

fn set(ok: &OkHttpResponse) -> Vec<(String, String)> {
    let header = |option: &envoy_types::pb::envoy::config::core::v3::HeaderValueOption| {
        // EXA-005: another value of its name would stay beside an appended one.
        assert_eq!(option.append_action, 2, "OVERWRITE_IF_EXISTS_OR_ADD");
        let header = option.header.clone().unwrap();
        (header.key, header.value)
    };
    ok.headers.iter().map(header).collect()
}

fn minted(detail: &str) -> Vec<(String, String)> {
    vec![("authorization".to_owned(), format!("Bearer minted:{detail}"))]
}

/// EXA-005: what Envoy is not told to take off, it sends on as the client sent it.
#[tokio::test]
async fn one_token_replaces_the_callers_and_no_spoofed_header_goes_on() {
    let spoofed = [
        "narrows-subject",
        "narrows_subject",
        "txn-token",
        "x-forwarded-prefix",
        "dpop",
        "authorization_",
        "x-envoy-original-path",
    ];
    let asked = spoofed.iter().fold(Asked::ticket(), |asked, name| asked.with(name, "eve"));
    let asked = asked.with("x-forwarded-for", "203.0.113.9").with("accept", "*/*");
    let mut door = Door::open();
    for raw in [false, true] {
        let request = if raw { asked.clone().raw() } else { asked.clone().into() };
        let reply = door.ask(request).await.unwrap();
        let Some(HttpResponse::OkResponse(ok)) = reply.http_response else {
            panic!("{reply:?}")
        };
        assert_eq!(set(&ok), minted("ticket:read/42"));
        let removed: std::collections::BTreeSet<_> = ok.headers_to_remove.iter().map(String::as_str).collect();
        assert_eq!(
            removed,
            std::collections::BTreeSet::from(spoofed),
            "neither more nor less, and never `authorization`"
        );
    }
}

#[tokio::test]
async fn a_public_route_takes_no_token_on() {
    let asked = Asked::new("GET", "/healthz").with("authorization", &format!("Bearer {GOOD}"));
    let ok = Door::open().allowed(asked).await;
    assert_eq!((set(&ok), ok.headers_to_remove), (Vec::new(), vec!["authorization".to_owned()]));
}

/// Whoever cannot say whom a token is about lets no request on whose route asks that.
#[tokio::test]
async fn a_route_that_reads_the_subject_needs_to_be_told_about_it() {
    let mut door = Door::open();
    let mine = |scheme: &str| Asked::new("GET", "/mine").with("authorization", &format!("{scheme} {GOOD}"));
    assert_eq!(door.status(mine("Bearer")).await, 403);
    assert_eq!(door.decided(), "wider_than_subject", "no exchange was asked for");
    assert_eq!(door.status(mine("DPoP")).await, 401);
    assert_eq!(door.decided(), "invalid_dpop_proof");
}

/// EXA-007: the path holds the query, and the field for the query is empty.
#[tokio::test]
async fn the_query_is_read_from_the_path() {
    let mut door = Door::open();
    let bearer = format!("Bearer {GOOD}");
    let ok = door.allowed(Asked::new("GET", "/tickets/42?full=1").with("authorization", &bearer)).await;
    assert_eq!(set(&ok), minted("ticket:read/42"));
    let token = Asked::new("GET", "/tickets/42?access_token=x").with("authorization", &bearer);
    assert_eq!(door.status(token).await, 400, "a token in the query is seen");
    let mut two = Asked::ticket();
    two.http.query = "full=1".to_owned();
    assert_eq!(door.status(two).await, 400);
}

/// EXA-004: whichever of two Envoy or a service behind it would take, the other was not decided on.
#[tokio::test]
async fn what_comes_twice_or_in_two_ways_is_refused() {
    let two = Asked::ticket().with("authorization", "Bearer other");
    let mut door = Door::open();
    assert_eq!(door.status(two.clone()).await, 400, "joined by Envoy");
    assert_eq!(door.denied(two.raw()).await.1.status.unwrap().code, 400, "line by line");
    let changed = |change: fn(&mut HttpRequest)| {
        let mut asked = Asked::ticket();
        change(&mut asked.http);
        asked
    };
    let rows = [
        ("path", changed(|http| http.path = "/tickets/43".to_owned())),
        ("method", changed(|http| http.method = "DELETE".to_owned())),
        ("host", changed(|http| http.host = "other.internal".to_owned())),
        ("two hosts that Envoy joined", Asked::ticket().with(":authority", "other.internal")),
        ("Host beside :authority", Asked::ticket().with("host", "other.internal")),
        ("headers as map and as lines", {
            changed(|http| {
                http.header_map = Some(HeaderMap {
                    headers: vec![HeaderValue {
                        key: "accept".to_owned(),
                        value: "*/*".to_owned(),
                        ..HeaderValue::default()
                    }],
                });
            })
        }),
        ("a path to climb", Asked::new("GET", "/tickets/../healthz")),
        ("an encoded slash", Asked::new("GET", "/tickets/a%2Fb")),
    ];
    for (what, asked) in rows {
        assert_eq!(door.status(asked).await, 400, "{what}");
        assert_eq!(door.decided(), "malformed_request", "{what}");
    }
    let mut nameless = Asked::ticket();
    nameless.http.path.clear();
    let lines = |change: fn(&mut HeaderValue)| {
        let mut request = Asked::ticket().raw();
        let http = request.attributes.as_mut().and_then(|attributes| attributes.request.as_mut()?.http.as_mut());
        change(http.unwrap().header_map.as_mut().unwrap().headers.last_mut().unwrap());
        request
    };
    let rows = [
        ("a path twice", nameless.with(":path", "/tickets/43").raw()),
        (
            "a line of text and other bytes",
            lines(|line| line.value = "Bearer other".to_owned()),
        ),
        ("a line without a name", lines(|line| line.key.clear())),
        (
            "a line that is two",
            Asked::ticket().with_bytes("x-note", b"a\r\nnarrows-subject: eve").raw(),
        ),
    ];
    for (what, request) in rows {
        assert_eq!(door.denied(request).await.1.status.unwrap().code, 400, "{what}");
        assert_eq!(door.decided(), "malformed_request", "{what}");
    }
    // No path, no host, no method: nothing is taken for a public route.
    assert_eq!(door.denied(CheckRequest::default()).await.0, 7);
}

/// EXA-002
#[tokio::test]
async fn bytes_that_are_no_text_are_never_let_through() {
    let mut door = Door::open();
    let asked = Asked::ticket().with_bytes("x-note", b"\xFF").raw();
    assert_eq!(door.denied(asked).await.1.status.unwrap().code, 400);
    // In the map of texts they make a message that is none (attributes, request, http, headers, one entry).
    let field = |number: u8, inner: &[u8]| [&[number << 3 | 2, u8::try_from(inner.len()).unwrap()], inner].concat();
    let entry = [field(1, b"x-note"), field(2, b"\xFF")].concat();
    let message = field(1, &field(4, &field(2, &field(3, &entry))));
    let framed = [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()][..], &message].concat();
    let request = http::Request::post("/envoy.service.auth.v3.Authorization/Check").header("content-type", "application/grpc");
    let reply = door.routes.oneshot(request.body(Body::from(framed)).unwrap()).await.unwrap();
    let status = reply.headers().get("grpc-status").unwrap().to_str().unwrap();
    assert_ne!(status, "0", "Envoy takes an error for a refusal");
}

/// EXA-008: a body that is not there whole is not one that may be decided on.
#[tokio::test]
async fn a_body_counts_only_where_envoy_says_that_it_is_whole() {
    const PARTIAL: &str = "x-envoy-auth-partial-body";
    let body = r#"{"id":"42"}"#;
    let mut door = Door::open();
    let ok = door.allowed(Asked::posted(body).with(PARTIAL, "false")).await;
    assert_eq!(set(&ok), minted("ticket:read/42"));
    assert_eq!(ok.headers_to_remove, [PARTIAL]);
    let mut as_text = Asked::posted("").with(PARTIAL, "false");
    as_text.http.body = body.to_owned();
    assert_eq!(set(&door.allowed(as_text.clone()).await), minted("ticket:read/42"));

    as_text.http.body = r#"{"id":"4!"}"#.to_owned();
    let mut longer = Asked::posted(body).with(PARTIAL, "false");
    longer.http.size = 33;
    let mut two = Asked::posted(body).with(PARTIAL, "false");
    two.http.body = body.to_owned();
    assert_eq!(door.status(two).await, 400, "in text and in bytes");
    assert_eq!(door.decided(), "malformed_request");
    let large = Asked::posted(&format!("{{\"id\":\"{}\"}}", "4".repeat(1024 * 1024))).with(PARTIAL, "false");
    assert_eq!(door.status(large).await, 413);
    let rows = [
        ("cut off", Asked::posted(body).with(PARTIAL, "true")),
        ("it may be cut off", Asked::posted(body)),
        (
            "the client says the same",
            Asked::posted(body).with(PARTIAL, "false").with(PARTIAL, "true"),
        ),
        ("the client says that there is none", Asked::posted("").with(PARTIAL, "false")),
        ("Envoy sends none along", Asked::posted("")),
        ("shorter than Envoy says", longer),
        ("in text, with what Envoy writes for a byte that is none", as_text),
    ];
    for (what, asked) in rows {
        assert_eq!(door.status(asked).await, 400, "{what}");
        assert_eq!(door.decided(), "unread_input", "{what}");
    }
}

/// EXA-010
#[tokio::test]
async fn a_stranger_learns_nothing() {
    let refused = Door::seen_from("192.0.2.1").ask(Asked::ticket().into()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

/// EXA-011: `OUT_OF_RANGE` is what the library says where the row has `RESOURCE_EXHAUSTED`.
#[tokio::test]
async fn a_question_that_is_too_large_is_not_read() {
    let mut door = Door::open();
    let refused = door.ask(Asked::posted(&"x".repeat(10 * 1024 * 1024)).into()).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(door.decided(), "", "nothing was decided");
}

/// EXA-011: of many questions at a time no more are held than there is room for.
#[tokio::test]
async fn a_question_that_there_is_no_room_for_is_not_read() {
    let mut door = Door::of(cramped(100), "127.0.0.1");
    let refused = door.ask(Asked::posted(&"x".repeat(20_000)).into()).await.unwrap_err();
    assert_eq!((refused.code(), door.decided().as_str()), (Code::ResourceExhausted, ""));
    assert!(
        door.ask(Asked::posted(&"x".repeat(200)).into()).await.is_ok(),
        "a small one needs none"
    );
}

#[tokio::test]
async fn a_refusal_has_its_status_its_challenge_and_its_record() {
    let mut door = Door::open();
    let (code, denied) = door.denied(Asked::new("GET", "/tickets/42")).await;
    assert_eq!((code, denied.status.unwrap().code), (16, 401));
    let headers: HashMap<_, _> = denied
        .headers
        .into_iter()
        .filter_map(|each| each.header)
        .map(|each| (each.key, each.value))
        .collect();
    assert!(headers["www-authenticate"].starts_with("Bearer resource_metadata="), "{headers:?}");
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(headers["cache-control"], "no-store");
    let problem: serde_json::Value = serde_json::from_str(&denied.body).unwrap();
    assert_eq!(
        (&problem["reason"], &problem["decision_id"]),
        (&"no_token".into(), &"decision-1".into())
    );

    let reply = door.ask(Asked::new("GET", "/admin").into()).await.unwrap();
    assert_eq!(reply.status.unwrap().code, 7);
    let said = reply.dynamic_metadata.unwrap().fields;
    let names: std::collections::BTreeSet<_> = said.keys().map(String::as_str).collect();
    assert_eq!(names, std::collections::BTreeSet::from(["decision_id", "reason"]));
    let wrong = Asked::new("GET", "/tickets/42").with("authorization", "Bearer other");
    assert_eq!(door.status(wrong).await, 401);
}

#[tokio::test]
async fn the_route_that_envoy_names_is_the_only_one_that_will_do() {
    let mut door = Door::open();
    let named = |route: &str| {
        let mut asked = Asked::ticket();
        asked.context.insert("route".to_owned(), route.to_owned());
        asked
    };
    assert_eq!(set(&door.allowed(named("GET /tickets/{id}")).await), minted("ticket:read/42"));
    for other in ["GET /healthz", "", "get /tickets/{id}"] {
        assert_eq!(door.status(named(other)).await, 403, "{other}");
        assert_eq!(door.decided(), "no_route");
    }
}

/// The address that Envoy was connected from is the client's, unless that is a proxy that is believed.
#[tokio::test]
async fn the_clients_address_is_what_envoy_saw() {
    let from = |address: &str| {
        let socket = SocketAddress {
            address: address.to_owned(),
            ..SocketAddress::default()
        };
        let mut request = CheckRequest::from(Asked::ticket().with("x-forwarded-for", "203.0.113.9"));
        request.attributes.as_mut().unwrap().source = Some(Peer {
            address: Some(Address {
                address: Some(Kind::SocketAddress(socket)),
            }),
            ..Peer::default()
        });
        request
    };
    let mut door = Door::open();
    for (connected, expected) in [
        ("198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "203.0.113.9"),
        ("pipe", "203.0.113.9"),
    ] {
        door.ask(from(connected)).await.unwrap();
        assert_eq!(door.exchanger.from(), expected, "{connected}");
    }
}
