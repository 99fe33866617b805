//! An upstream that knows whoever calls it by a key in `X-Api-Key`, and says it back in every way that a path asks for.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// One upstream; it serves until the test process ends.
#[derive(Clone)]
pub(crate) struct Keyed {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Keyed {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let keyed = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let ours = keyed.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ours = ours.clone();
                std::thread::spawn(move || ours.answer(stream));
            }
        });
        keyed
    }

    /// The heads of the requests that came, in their order.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The values of the header `name`, in this very spelling, in the last request that came.
    pub(crate) fn last(&self, name: &str) -> Vec<String> {
        let seen = self.seen();
        let lines = seen.last().unwrap().lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(1) = stream.read(&mut byte) else { return };
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        self.seen.lock().unwrap().push(head);
        let key = self.last("x-api-key").first().cloned().unwrap_or_default();
        let whole = |head: &str, body: &str| format!("HTTP/1.1 {head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let reply = match path.rsplit('/').next().unwrap_or_default() {
            "header" => whole(&format!("200 OK\r\nx-was: you sent {key}.\r\n{key}: yes\r\n"), "nothing here"),
            "phrase" => whole(&format!("200 {key}\r\n"), "nothing here"),
            "body" => whole("200 OK\r\n", &format!("you sent {key}, and {key}!")),
            "base64" => whole("200 OK\r\n", &format!("Basic {}", STANDARD.encode(format!("user:{key}")))),
            "gzip" => whole("200 OK\r\ncontent-encoding: gzip\r\n", &key),
            "coded" => format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n{:x}\r\n{key}\r\n0\r\n\r\n",
                key.len()
            ),
            "moved" => whole(
                &format!("302 Found\r\nlocation: http://localhost:{}/elsewhere\r\n", self.address.port()),
                "",
            ),
            // Byte by byte, each in a chunk of its own, as events; the last has no end.
            "drip" => {
                let chunk = |byte: char| format!("1\r\n{byte}\r\n");
                let events = format!("data: {key}\n\ndata: kept\n\ndata: {}", key.get(..6).unwrap_or_default());
                let chunks: String = events.chars().map(chunk).collect();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
                format!("{head}{chunks}0\r\n\r\n")
            }
            _ => whole("200 OK\r\n", "fine"),
        };
        let _ = stream.write_all(reply.as_bytes());
    }
}
