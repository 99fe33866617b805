//! A backend that answers with the request as it came, byte for byte; at `/stream` and `/socket` it goes on for ever.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Serves until the test process ends.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let Ok(count) = stream.read(&mut buffer) else { return };
        seen.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break;
            }
        }
        if count == 0 {
            return;
        }
    }
    let path = String::from_utf8_lossy(&seen).split(' ').nth(1).unwrap_or_default().to_owned();
    match path.as_str() {
        "/stream" => {
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n5\r\nfirst\r\n");
            // Whoever asked ends it.
            let _ = stream.read(&mut buffer);
            return;
        }
        "/socket" => {
            let _ = stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let _ = stream.write_all(&buffer[..count]);
            }
            return;
        }
        _ => {}
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nnarrows-subject: forged\r\nconnection: close\r\n\r\n",
        seen.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), &seen].concat());
}

/// A connection to `address`, over which a raw request was sent.
pub(crate) fn open(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// What comes over `stream` until `mark` has come.
pub(crate) fn until(stream: &mut TcpStream, mark: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(mark) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "it ended: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// What a raw request to `address` is answered with.
pub(crate) fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = open(address, request);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    String::from_utf8_lossy(&reply).into_owned()
}
