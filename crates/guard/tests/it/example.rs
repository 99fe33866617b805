//! The example of the documentation, as a process of its own in front of a broker that is made up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::FakeIssuer;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::far_broker::{FarBroker, HEARTBEAT, until};

/// The example, which is built where this test is.
fn program() -> PathBuf {
    let here = std::env::current_exe().unwrap();
    here.parent().unwrap().parent().unwrap().join("examples/tickets")
}

/// A running example; it ends with the test.
struct Example {
    address: SocketAddr,
    process: Child,
    _folder: tempfile::TempDir,
}

async fn start(broker: &FarBroker) -> Example {
    let folder = tempfile::tempdir().unwrap();
    let assertion = folder.path().join("assertion");
    tokio::fs::write(&assertion, "signed").await.unwrap();
    let mut process = Command::new(program())
        .arg("127.0.0.1:0")
        .arg(format!("http://{}", broker.address))
        .arg(assertion)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await.unwrap();
    let address = first.unwrap().unwrap().strip_prefix("listening on ").unwrap().parse().unwrap();
    Example {
        address,
        process,
        _folder: folder,
    }
}

/// Status and body of `GET path`.
async fn get(example: &Example, path: &str, token: Option<&str>) -> (u16, String) {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: tickets.internal\r\nConnection: close\r\n{authorization}\r\n");
    let asked = async {
        let mut stream = TcpStream::connect(example.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    };
    let response = tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn the_example_serves_what_is_allowed_and_nothing_else() {
    let mut keys = FakeIssuer::es256("placeholder");
    let broker = FarBroker::start(&keys).await;
    let issuer = format!("http://{}", broker.address);
    keys = FakeIssuer::es256(&issuer);
    broker.publishes(&keys);
    broker.says("usage", 200, json!({}));
    let mut example = start(&broker).await;
    assert_eq!(get(&example, "/healthz", None).await, (200, "ok".to_owned()));

    let now = narrows_guard::Clock::machine().now().seconds();
    let claims = |id: &str| {
        json!({
            "iss": issuer, "sub": "alice", "aud": "https://tickets.internal", "iat": now - 10, "exp": now + 200, "jti": "t-1",
            "client_id": "edge", "sub_id": { "format": "iss_sub", "iss": testkit::CORP, "sub": "alice" },
            "act": { "iss": issuer, "sub": "agent" }, "txn": "x-1",
            "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": id }],
        })
    };
    let token = keys.sign("at+jwt", &claims("7"));
    until(|| !broker.opened().is_empty()).await;
    let allowed = async {
        loop {
            broker.tells(HEARTBEAT);
            let answered = get(&example, "/tickets/7", Some(&token)).await;
            if answered.0 != 503 {
                return answered;
            }
        }
    };
    let allowed = tokio::time::timeout(Duration::from_secs(60), allowed).await.unwrap();
    assert_eq!(allowed, (200, "ticket 7 for alice, asked by agent".to_owned()));
    for (path, token, status, reason) in [
        ("/tickets/7", None, 401, "no_token"),
        ("/tickets/8", Some(token.as_str()), 403, "wider_than_subject"),
        ("/elsewhere", Some(token.as_str()), 403, "no_route"),
    ] {
        let (said, body) = get(&example, path, token).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((said, problem["reason"].as_str().unwrap()), (status, reason));
    }
    until(|| !broker.asked("guards/tickets/refusals").is_empty()).await;

    // Told to end, it tells what was used first.
    let pid = example.process.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let ended = tokio::time::timeout(Duration::from_secs(60), example.process.wait()).await.unwrap();
    assert!(ended.unwrap().success());
    assert_eq!(broker.asked("usage").len(), 1);
}

#[test]
fn the_documentation_shows_the_example_as_it_is() {
    let example = include_str!("../../examples/tickets.rs");
    let page = include_str!("../../../../docs/guard-library.md");
    assert!(
        page.contains(&format!("```rust\n{example}```\n")),
        "docs/guard-library.md holds another program"
    );
}
