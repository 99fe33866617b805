//! Frames of HTTP/2 written by hand: what no honest client sends, over and over, beside a client that is honest.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::installation::Installation;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The code of a peer that says: you ask too much (RFC 9113, section 7).
const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block of a request (RFC 7541): method and scheme by their place in the static table, path and authority as
/// they are.
fn request(method: u8, path: &str) -> Vec<u8> {
    let text = |name: u8, value: &str| [&[name, u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    [vec![0x80 | method, 0x86], text(4, path), text(1, "127.0.0.1")].concat()
}

const GET: u8 = 2;
const POST: u8 = 3;

/// A connection that has said hello.
async fn open(narrows: &Installation) -> TcpStream {
    let mut stream = TcpStream::connect(narrows.url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// Sends `frames` until the broker has closed the connection; the code that it said goodbye with, if it said anything.
async fn cut_off(narrows: &Installation, what: &str, frames: impl Iterator<Item = Vec<u8>>) -> Option<u32> {
    let (mut from, mut to) = open(narrows).await.into_split();
    let reading = tokio::spawn(async move {
        let mut said = Vec::new();
        let _ = from.read_to_end(&mut said).await;
        said
    });
    let mut closed = false;
    for frame in frames {
        if reading.is_finished() || to.write_all(&frame).await.is_err() {
            closed = true;
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(closed, "{what}: all of it was taken");
    // The bound is for a broker that never closes, and not for one that is slow.
    let said = tokio::time::timeout(Duration::from_secs(60), reading).await.unwrap().unwrap();
    honest(narrows).await;
    goodbye(&said)
}

/// The code of the GOAWAY frame in what a peer said.
fn goodbye(mut said: &[u8]) -> Option<u32> {
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = said {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).unwrap();
        if *kind == GOAWAY {
            return Some(u32::from_be_bytes(rest.get(4..8)?.try_into().unwrap()));
        }
        said = rest.get(length..)?;
    }
    None
}

async fn honest(narrows: &Installation) {
    assert_eq!(narrows.get("/healthz").await.0, 200);
    assert_eq!(narrows.exchange(&[]).await.status, 200);
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    // DOS-007: no END_HEADERS, whether the frames hold much or nothing at all.
    let narrows = Installation::start().await;
    let mut field = vec![0, 100];
    field.extend([b'x'; 100]);
    field.push(100);
    field.extend([b'y'; 100]);
    let begin = frame(HEADERS, END_STREAM, 1, &request(GET, "/healthz"));
    for (what, payload) in [
        ("full frames", field.repeat(80)),
        ("small frames", field),
        ("empty frames", Vec::new()),
    ] {
        let more = frame(CONTINUATION, 0, 1, &payload);
        let flood = std::iter::once(begin.clone()).chain(std::iter::repeat_n(more.repeat(16), 2_000));
        cut_off(&narrows, what, flood).await;
    }
    narrows.stop().await;
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_are_cut_off() {
    // DOS-008
    let narrows = Installation::start().await;
    let cancel = 8_u32.to_be_bytes();
    let taken_back = |number: u32| {
        let stream = 2 * number + 1;
        let head = frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(GET, "/healthz"));
        [head, frame(RST_STREAM, 0, stream, &cancel)].concat()
    };
    let flood = (0..2_000).map(|burst| (burst * 100..(burst + 1) * 100).flat_map(taken_back).collect());
    assert_eq!(cut_off(&narrows, "rapid reset", flood).await, Some(ENHANCE_YOUR_CALM));
    narrows.stop().await;
}

#[tokio::test]
async fn requests_that_make_the_broker_take_them_back_are_cut_off() {
    // DOS-008: each stream is broken in a way that the broker must answer with a reset of its own.
    let narrows = Installation::start().await;
    let breaks: [(&str, Vec<u8>); 2] = [
        ("a window that grows by nothing", 0_u32.to_be_bytes().to_vec()),
        ("a window that grows too far", 0x7fff_ffff_u32.to_be_bytes().to_vec()),
    ];
    for (what, grows) in breaks {
        let broken = |number: u32| {
            let stream = 2 * number + 1;
            let head = frame(HEADERS, END_HEADERS, stream, &request(POST, "/oauth2/token"));
            [head, frame(WINDOW_UPDATE, 0, stream, &grows)].concat()
        };
        let flood = (0..20_000).map(|burst| (burst * 10..(burst + 1) * 10).flat_map(broken).collect());
        assert!(cut_off(&narrows, what, flood).await.is_some(), "{what}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn frames_that_ask_for_an_answer_are_not_taken_faster_than_their_answers() {
    // DOS-008: the answers are not read, so they would pile up here.
    let narrows = Installation::start().await;
    for (what, each) in [
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])),
    ] {
        let stream = open(&narrows).await;
        let (many, mut sent, mut stands) = (each.repeat(1000), 0_usize, 0);
        while stands < 20 {
            match stream.try_write(&many[sent % many.len()..]) {
                Ok(more) => (sent, stands) = (sent + more, 0),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    stands += 1;
                    assert_eq!(narrows.get("/healthz").await.0, 200);
                }
                // Closed, which is as good.
                Err(_) => break,
            }
            // What fits into the buffers of two sockets is some megabytes.
            assert!(sent < 64 << 20, "{what}: {sent} bytes were taken, and no answer was read");
        }
    }
    honest(&narrows).await;
    narrows.stop().await;
}
