//! Whose bodies a boundary of the running program waits for, and who has room for them.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;

use crate::apart::Both;
use crate::boundary::{Edge, body, problem, status};
use crate::{corp, echo};

const ROUTES: &str = r#""PATCH /tickets/{id}" = { detail = "ticket:update/{id}?fields={body:keys}" }"#;
/// The most of a body that is read at a time.
const LARGEST: usize = 1024 * 1024;

/// The head of a request whose body has `length` bytes.
fn head(said: &str, token: &str, length: usize) -> String {
    let json = "content-type: application/json\r\n";
    format!(
        "PATCH /tickets/42 HTTP/1.1\r\nhost: tickets.internal\r\n{said}{json}authorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n"
    )
}

#[test]
fn whose_token_does_not_hold_is_told_before_the_body_has_come() {
    let issuer = corp::issuer();
    let edge = Edge::of(&issuer, ROUTES);
    let forged = corp::token(&corp::issuer(), "tickets.full", "support", 600);
    let expired = corp::token(&issuer, "tickets.full", "support", -600);
    let forwarded = "x-forwarded-method: PATCH\r\nx-forwarded-uri: /tickets/42\r\nx-forwarded-host: tickets.internal\r\n";
    for (door, said) in [(edge.proxy, ""), (edge.door, forwarded)] {
        for (token, reason) in [
            ("junk", "subject_token_invalid"),
            (&forged, "subject_token_invalid"),
            (&expired, "subject_token_expired"),
        ] {
            let mut stream = echo::open(door, &(head(said, token, 1000) + "{"));
            let reply = echo::until(&mut stream, "}");
            assert!(reply.starts_with("HTTP/1.1 401") && reply.contains(reason), "{reply}");
            // What anybody could have sent is counted together.
            if reason == "subject_token_expired" {
                let told = edge.why(problem(&reply)["decision_id"].as_str().unwrap());
                assert!(told.contains(reason) && told.contains("PATCH"), "{told}");
            }
        }
    }
}

/// The boundary has no keys of issuers: its broker says whose token it is.
#[test]
fn so_apart_from_its_broker() {
    let both = Both::start();
    let forged = corp::token(&corp::issuer(), "tickets.full", "support", 600);
    let expired = corp::token(&both.issuer, "tickets.full", "support", -600);
    for (token, reason) in [(&forged, "subject_token_invalid"), (&expired, "subject_token_expired")] {
        let mut stream = echo::open(both.apart.door("proxy"), &(head("", token, 1000) + "{"));
        let reply = echo::until(&mut stream, "}");
        assert!(reply.starts_with("HTTP/1.1 401") && reply.contains(reason), "{reply}");
    }
}

/// Any number of addresses, each with less than its share of the room, and together more than there is.
#[test]
fn strangers_from_many_addresses_leave_the_room_to_those_whose_tokens_hold() {
    let issuer = corp::issuer();
    let edge = Edge::with(&issuer, ROUTES, "trusted_proxies = [\"127.0.0.1/32\"]");
    let forged = corp::token(&corp::issuer(), "tickets.full", "support", 600);
    let piece = vec![b' '; LARGEST - 1];
    let strangers: Vec<TcpStream> = (0..72)
        .map(|stranger| {
            let from = format!("x-forwarded-for: 192.0.2.{stranger}\r\n");
            let mut stream = echo::open(edge.proxy, &head(&from, &forged, LARGEST));
            // Whoever was refused may be told so by a connection that is closed.
            let _ = stream.write_all(&piece);
            stream
        })
        .collect();
    let sent = r#"{"state":"open"}"#;
    let from = "x-forwarded-for: 198.51.100.1\r\nconnection: close\r\n";
    // For as long as any of them may be waited for.
    loop {
        let are_told = strangers.iter().all(is_told);
        let reply = echo::ask(edge.proxy, &(head(from, edge.token(), sent.len()) + sent));
        assert_eq!(status(&reply), 200, "{reply}");
        assert!(body(&reply).contains("PATCH /tickets/42"), "{reply}");
        if are_told {
            break;
        }
    }
}

/// Whether an answer has come, be it that the connection is closed.
fn is_told(stranger: &TcpStream) -> bool {
    stranger.set_nonblocking(true).unwrap();
    let looked = stranger.peek(&mut [0]);
    looked.err().is_none_or(|error| error.kind() != ErrorKind::WouldBlock)
}
