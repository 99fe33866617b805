//! Upstream credentials at the own proxy, when a broker gives what it should not, or cannot put an echo on record.

use std::collections::BTreeMap;
use std::future::pending;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::Body;
use boundary::proxy::{Upstreams, routes};
use boundary::{
    Boundary, Credential, Exchanger, Granted, Greeted, Modes, Origin, Refused, Said, Seen, Settings, Shown, Upstream, forward_auth,
};
use delegation::oauth::{Reason, TokenType};
use delegation::time::Timestamp;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use narrows_guard::Needs;
use narrows_guard::live::Guest;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Mode, Route, Rule};
use tower::ServiceExt as _;

use crate::exchanger::settings;

const KEY: &str = "sk-0123456789";

/// Grants everything, with this credential, and records an echo or does not.
struct Shows {
    credential: Option<Credential>,
    records: bool,
}

impl Exchanger for Shows {
    type Found = ();

    async fn greet(&self, _: &Seen, _: &str) -> Result<Greeted<()>, Refused> {
        Ok(Greeted {
            guest: Guest::Anybody,
            found: (),
        })
    }

    async fn exchange(&self, _: &Seen, _: Shown<'_, ()>, _: &Needs) -> Result<Granted, Refused> {
        Ok(Granted {
            token: "minted".to_owned(),
            kind: TokenType::AccessToken,
            expires_in: Duration::from_secs(60),
            credential: self.credential.clone(),
        })
    }

    async fn observe(&self, _: &Seen, _: Shown<'_, ()>, _: &Needs) -> Result<(), Refused> {
        Ok(())
    }

    async fn refuse(&self, _: &Seen, reason: Reason) -> Refused {
        Refused {
            reason,
            decision_id: "decision".to_owned(),
        }
    }

    async fn echoed(&self, _: &Seen, _: &str) -> bool {
        self.records
    }

    async fn ended(&self, _: &Granted) -> Reason {
        pending().await
    }
}

/// An upstream that answers with `reply`, and the heads of what came to it.
fn upstream(reply: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let ours = Arc::clone(&seen);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).unwrap_or_default();
            ours.lock().unwrap().push(String::from_utf8_lossy(&buffer[..count]).into_owned());
            let _ = stream.write_all(reply.as_bytes());
        }
    });
    (address, seen)
}

fn credential(origin: &str) -> Option<Credential> {
    let header = HeaderName::from_static("x-api-key");
    Credential::new(
        "key".to_owned(),
        Origin::parse(origin).unwrap(),
        header,
        HeaderValue::from_static(KEY),
        KEY,
    )
}

/// What a boundary before `upstream` is told whose one route has this connection, or none, and this mode.
fn before(upstream: SocketAddr, connection: Option<&str>, mode: Option<Mode>) -> Settings {
    let pattern = Pattern::parse("GET /tickets/{id}").unwrap();
    let types = testkit::snapshot().types;
    let demand = Demand {
        detail: Some(Template::parse("ticket:read/{id}", &types, &Reads::Request(pattern.variables())).unwrap()),
        connection: connection.map(str::to_owned),
        mode,
        ..Demand::default()
    };
    let route = Route::new("read".to_owned(), pattern, Rule::Needs(Box::new(demand)));
    let at = Upstream::parse(&format!("http://{upstream}")).unwrap();
    settings(vec![route], BTreeMap::from([("tickets".to_owned(), at)]))
}

/// Asks a boundary before `upstream` for a route with a connection, or without; the status, and the body unless it broke off.
async fn ask(exchanger: Shows, upstream: SocketAddr, connection: Option<&str>) -> (StatusCode, Option<String>) {
    asked(before(upstream, connection, None), exchanger).await
}

async fn asked(settings: Settings, exchanger: Shows) -> (StatusCode, Option<String>) {
    let peer: SocketAddr = "192.0.2.1:40000".parse().unwrap();
    let door = routes(Arc::new(Boundary::new(settings, exchanger)), Upstreams::new().unwrap()).layer(Extension(peer));
    let request = Request::get("/tickets/42")
        .header("host", "tickets.internal")
        .header("authorization", "Bearer a.b.c");
    let asked = async {
        let response = door.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.ok();
        (status, body.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap()))
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap()
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine";
const IN_BODY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 17\r\nconnection: close\r\n\r\nin: sk-0123456789";
const IN_HEAD: &str = "HTTP/1.1 200 OK\r\nx-was: sk-0123456789\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine";

#[tokio::test]
async fn a_request_goes_on_with_exactly_what_its_route_asks_for() {
    let (address, seen) = upstream(FINE);
    let ours = || credential(&format!("http://{address}"));
    for (given, asked) in [(None, Some("key")), (ours(), None)] {
        let exchanger = Shows {
            credential: given,
            records: true,
        };
        let (status, body) = ask(exchanger, address, asked).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body:?}");
    }
    assert_eq!(seen.lock().unwrap().len(), 0);
    let exchanger = Shows {
        credential: ours(),
        records: true,
    };
    assert_eq!(
        ask(exchanger, address, Some("key")).await,
        (StatusCode::OK, Some("fine".to_owned()))
    );
    assert!(seen.lock().unwrap()[0].contains(&format!("x-api-key: {KEY}\r\n")));
}

/// GWY-038: to the very scheme, host and port that it is for.
#[tokio::test]
async fn a_credential_goes_to_no_other_origin_than_its_own() {
    let (address, seen) = upstream(FINE);
    for other in [
        format!("https://{address}"),
        format!("http://localhost:{}", address.port()),
        "http://127.0.0.1:1".to_owned(),
    ] {
        let exchanger = Shows {
            credential: credential(&other),
            records: true,
        };
        assert_eq!(ask(exchanger, address, Some("key")).await.0, StatusCode::BAD_GATEWAY, "{other}");
    }
    assert_eq!(seen.lock().unwrap().len(), 0, "nothing of it was sent");
}

#[tokio::test]
async fn an_echo_that_cannot_be_put_on_record_goes_nowhere_and_neither_does_its_response() {
    for (reply, recorded, unrecorded) in [
        (IN_HEAD, (StatusCode::OK, Some("fine".to_owned())), StatusCode::BAD_GATEWAY),
        (IN_BODY, (StatusCode::OK, Some("in: *************".to_owned())), StatusCode::OK),
    ] {
        let (address, _) = upstream(reply);
        let shows = |records| Shows {
            credential: credential(&format!("http://{address}")),
            records,
        };
        assert_eq!(ask(shows(true), address, Some("key")).await, recorded);
        let (status, body) = ask(shows(false), address, Some("key")).await;
        assert_eq!(status, unrecorded);
        assert!(status == StatusCode::BAD_GATEWAY || body.is_none(), "it breaks off: {body:?}");
    }
}

/// Nobody is shown a credential where nothing is decided yet, and no door holds up what it could not serve.
#[tokio::test]
async fn a_route_that_observes_goes_on_without_its_credential_at_every_door() {
    let (address, seen) = upstream(FINE);
    let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
    let until = Some(Timestamp::from_seconds(i64::try_from(until).unwrap()));
    let of = |mode| {
        let said = Said { mode: None, until };
        Settings {
            modes: Modes {
                boundary: said,
                ..Modes::default()
            },
            ..before(address, Some("key"), Some(mode))
        }
    };
    let exchanger = || Shows {
        credential: credential(&format!("http://{address}")),
        records: true,
    };
    assert_eq!(
        asked(of(Mode::Observe), exchanger()).await,
        (StatusCode::OK, Some("fine".to_owned()))
    );
    let came = seen.lock().unwrap()[0].clone();
    assert!(came.contains("authorization: Bearer a.b.c\r\n") && !came.contains(KEY), "{came}");
    for (mode, status) in [(Mode::Observe, StatusCode::OK), (Mode::Enforce, StatusCode::FORBIDDEN)] {
        let peer: SocketAddr = "127.0.0.1:40000".parse().unwrap();
        let door = forward_auth::routes(Arc::new(Boundary::new(of(mode), exchanger()))).layer(Extension(peer));
        let request = Request::get("/")
            .header("x-forwarded-method", "GET")
            .header("x-forwarded-uri", "/tickets/42")
            .header("x-forwarded-host", "tickets.internal")
            .header("authorization", "Bearer a.b.c");
        let response = tokio::time::timeout(Duration::from_secs(20), door.oneshot(request.body(Body::empty()).unwrap()));
        assert_eq!(response.await.unwrap().unwrap().status(), status);
    }
}
