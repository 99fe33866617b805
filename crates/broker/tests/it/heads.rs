//! Heads of requests: bounded before anything is looked at.

use std::time::Duration;

use broker::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::installation::Installation;

/// What a peer that sends `bytes` and no more is answered by a listener with this patience.
async fn answer(narrows: &Installation, bytes: &[u8], patience: Duration) -> String {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut listener = Listener::new(socket, None, 100);
    listener.patience = patience;
    let routes = broker::routes(&narrows.broker, true);
    let serving = tokio::spawn(broker::serve(listener, routes, std::future::pending()));
    let mut peer = TcpStream::connect(address).await.unwrap();
    let mut reply = Vec::new();
    // One that is answered early may find the door shut while it still sends.
    let _ = peer.write_all(bytes).await;
    let _ = peer.read_to_end(&mut reply).await;
    serving.abort();
    String::from_utf8_lossy(&reply).into_owned()
}

fn head(fields: &str) -> Vec<u8> {
    format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{fields}\r\n").into_bytes()
}

#[tokio::test]
async fn fields_and_bytes_of_a_head_are_bounded() {
    let narrows = Installation::start().await;
    let patience = Duration::from_secs(3600);
    let fields = |count: usize| (0..count).map(|at| format!("x-{at}: 1\r\n")).collect::<String>();
    assert!(answer(&narrows, &head(&fields(62)), patience).await.starts_with("HTTP/1.1 200 "));
    assert!(answer(&narrows, &head(&fields(63)), patience).await.starts_with("HTTP/1.1 431 "));
    let long = |length: usize| format!("x-long: {}\r\n", "x".repeat(length));
    assert!(answer(&narrows, &head(&long(16 * 1024)), patience).await.starts_with("HTTP/1.1 200 "));
    assert!(!answer(&narrows, &head(&long(64 * 1024)), patience).await.starts_with("HTTP/1.1 200 "));
    narrows.stop().await;
}

#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    // Of a peer that has said something right before too: its first request does not buy the second one time.
    let narrows = Installation::start().await;
    let right = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for before in ["", right] {
        let begun = format!("{before}GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
        let reply = answer(&narrows, begun.as_bytes(), Duration::from_millis(300)).await;
        assert_eq!(reply.matches("200 OK").count(), before.matches("GET").count(), "{reply}");
    }
    narrows.stop().await;
}
