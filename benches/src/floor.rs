//! The floor: the least that a server must do to exchange a token and be able to prove it.
//!
//! HTTP through the same library, the same two signatures verified and the same one made, the same form and claims
//! parsed, and a record of 512 bytes that is synced, in groups, before the reply. No policy, no replay check, no
//! authority, no store. What the product costs beyond this is the product.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::FakeIssuer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// How long a group of records may gather, and how many at most: the same as the program's.
const LINGER: Duration = Duration::from_millis(1);
const GROUP: usize = 256;

struct Floor {
    provider: ParsedPublicKey,
    client: ParsedPublicKey,
    signer: FakeIssuer,
    records: Sender<Entry>,
}

struct Entry {
    record: [u8; 512],
    durable: oneshot::Sender<()>,
}

/// Serves on `port`, trusting the keys in `folder`.
pub(crate) async fn serve(port: u16, folder: &Path) {
    let (records, entries) = channel();
    let log = OpenOptions::new().create(true).append(true).open(folder.join("floor.log")).unwrap();
    std::thread::spawn(move || append(&entries, log));
    let floor = Arc::new(Floor {
        provider: key(&folder.join("provider.jwks.json")),
        client: key(&folder.join("edge.jwks.json")),
        signer: FakeIssuer::es256("http://127.0.0.1"),
        records,
    });
    let routes = Router::new()
        .route("/readyz", get(|| async { "ready" }))
        .route("/oauth2/token", post(exchange))
        .with_state(floor);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    axum::serve(listener, routes).await.unwrap();
}

async fn exchange(State(floor): State<Arc<Floor>>, body: Bytes) -> String {
    let (mut subject, mut assertion) = (None, None);
    for (name, value) in url::form_urlencoded::parse(&body) {
        match &*name {
            "subject_token" => subject = Some(claims(&value, &floor.provider)),
            "client_assertion" => assertion = Some(claims(&value, &floor.client)),
            _ => {}
        }
    }
    let (subject, assertion) = (subject.unwrap(), assertion.unwrap());
    let claims = json!({
        "iss": "http://127.0.0.1", "sub": subject["sub"], "aud": "https://orders.internal", "act": { "sub": assertion["sub"] },
        "jti": uuid::Uuid::now_v7().to_string(), "exp": subject["exp"],
        "authorization_details": [{ "type": "order", "actions": ["read"], "identifier": "4711" }],
    });
    let token = floor.signer.sign("at+jwt", &claims);
    let (durable, synced) = oneshot::channel();
    floor
        .records
        .send(Entry {
            record: [b'r'; 512],
            durable,
        })
        .unwrap();
    synced.await.unwrap();
    json!({ "access_token": token, "token_type": "Bearer", "expires_in": 120 }).to_string()
}

fn claims(token: &str, key: &ParsedPublicKey) -> Value {
    let (input, signature) = token.rsplit_once('.').unwrap();
    key.verify_sig(input.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let payload = input.split_once('.').unwrap().1;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn key(jwks: &Path) -> ParsedPublicKey {
    parsed(&serde_json::from_slice(&std::fs::read(jwks).unwrap()).unwrap())
}

/// The one ES256 key of `jwks`, read.
pub(crate) fn parsed(jwks: &Value) -> ParsedPublicKey {
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwks["keys"][0][name].as_str().unwrap()).unwrap();
    let point = [vec![4], part("x"), part("y")].concat();
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).unwrap()
}

/// Appends what has gathered, syncs once, and answers all that waited for it.
fn append(entries: &Receiver<Entry>, mut log: File) {
    while let Ok(first) = entries.recv() {
        let mut group = vec![first];
        let until = Instant::now() + LINGER;
        while group.len() < GROUP {
            match entries.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(entry) => group.push(entry),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let bytes: Vec<u8> = group.iter().flat_map(|entry| entry.record).collect();
        log.write_all(&bytes).unwrap();
        log.sync_data().unwrap();
        for entry in group {
            let _ = entry.durable.send(());
        }
    }
}
