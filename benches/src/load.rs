//! Load: a bounded number of requests over a bounded number of kept connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections that send at the same time.
pub(crate) const CONNECTIONS: usize = 16;

/// What came back, and how long it took.
pub(crate) struct Reply {
    pub(crate) time: Duration,
    pub(crate) body: Vec<u8>,
}

/// Sends every form once to `path` at `port` and waits for its reply; gives all, the fastest first.
///
/// Panics when a reply is not `200`: what is refused is not measured.
pub(crate) async fn send(port: u16, path: &str, forms: Vec<String>) -> Vec<Reply> {
    let post = |form: String| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        )
    };
    send_over(CONNECTIONS, port, forms.into_iter().map(post).collect()).await
}

/// Sends every request once over so many connections, and waits for its reply; gives all, the fastest first.
///
/// Panics when a reply is not `200`: what is refused is not measured.
pub(crate) async fn send_over(connections: usize, port: u16, requests: Vec<String>) -> Vec<Reply> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let mut workers = Vec::new();
    for _ in 0..connections.min(requests.len()) {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        workers.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut replies, mut buffer) = (Vec::new(), Vec::new());
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let started = Instant::now();
                let body = ask(&mut stream, request, &mut buffer).await;
                replies.push(Reply {
                    time: started.elapsed(),
                    body,
                });
            }
            replies
        }));
    }
    let mut replies = Vec::new();
    for worker in workers {
        replies.extend(worker.await.unwrap());
    }
    replies.sort_unstable_by_key(|reply| reply.time);
    replies
}

async fn ask(stream: &mut TcpStream, request: &str, buffer: &mut Vec<u8>) -> Vec<u8> {
    stream.write_all(request.as_bytes()).await.unwrap();
    buffer.clear();
    loop {
        assert_ne!(stream.read_buf(buffer).await.unwrap(), 0, "the server closed the connection");
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length: usize = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        if buffer.len() == end + 4 + length {
            assert!(head.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(buffer));
            return buffer.split_off(end + 4);
        }
    }
}
