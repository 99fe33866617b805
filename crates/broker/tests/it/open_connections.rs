//! Connections are bounded, whatever protocol they have changed to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use broker::Listener;
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Changes the protocol, and says everything again.
async fn socket(mut request: Request<Body>) -> Response<Body> {
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    let reply = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    reply.header("connection", "upgrade").header("upgrade", "echo").body(Body::empty()).unwrap()
}

/// What comes until `end` has come.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = String::new();
    while !seen.ends_with(end) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).await.unwrap(), 1, "it ended: {seen}");
        seen.push(char::from(byte[0]));
    }
    seen
}

async fn ask(address: std::net::SocketAddr, path: &str, fields: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn one_that_has_changed_its_protocol_still_counts() {
    let served = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&served);
    let second = get(move || async move {
        note.store(true, Ordering::SeqCst);
        "second"
    });
    let routes = Router::new().route("/socket", get(socket)).route("/second", second);
    let listening = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listening.local_addr().unwrap();
    let listener = Listener::new(listening, None, 1);
    let serving = tokio::spawn(broker::serve(listener, routes, std::future::pending()));
    let claim = async {
        let mut first = ask(address, "/socket", "connection: upgrade\r\nupgrade: echo\r\n").await;
        assert!(until(&mut first, "\r\n\r\n").await.starts_with("HTTP/1.1 101"));
        let mut other = ask(address, "/second", "").await;
        // Each word goes there and back, so the listener has had its turns.
        for _ in 0..100 {
            first.write_all(b"to and fro").await.unwrap();
            until(&mut first, "to and fro").await;
        }
        assert!(!served.load(Ordering::SeqCst), "there is room for one connection");
        drop(first);
        until(&mut other, "second").await;
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), claim).await.unwrap();
    serving.abort();
}
