//! What goes between the own proxy and an upstream, which here is written by hand.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;

use crate::boundary::{Edge, body, has_ended, header, problem, revoke_alice, status};
use crate::{corp, echo};

/// The next connection to `listener`; what comes over it is waited for with a bound.
fn next(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Answers the next request with the bytes of `reply`.
fn answers(listener: TcpListener, reply: &'static str) -> std::thread::JoinHandle<TcpListener> {
    std::thread::spawn(move || {
        let mut stream = next(&listener);
        echo::until(&mut stream, "\r\n\r\n");
        stream.write_all(reply.as_bytes()).unwrap();
        listener
    })
}

fn upstream() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    (listener, address)
}

#[test]
fn trailers_of_a_response_come_behind_it_and_none_of_them_in_our_name() {
    let (listener, address) = upstream();
    let edge = Edge::before(&address, &corp::issuer(), "", "");
    let reply = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: grpc-status, narrows-subject, set-cookie\r\n\r\n\
                 4\r\ndone\r\n0\r\ngrpc-status: 7\r\nnarrows-subject: eve\r\nset-cookie: a=b\r\n\r\n";
    let answering = std::thread::spawn(move || {
        let listener = answers(listener, reply).join().unwrap();
        answers(listener, reply).join().unwrap()
    });
    for (target, token) in [("/tickets/42", edge.bearer()), ("/healthz", String::new())] {
        let seen = edge.get(target, &format!("te: trailers\r\n{token}"));
        assert!(seen.ends_with("4\r\ndone\r\n0\r\ngrpc-status: 7\r\n\r\n"), "{target}: {seen}");
        assert_eq!(header(&seen, "trailer"), Some("grpc-status"), "{target}");
    }
    answering.join().unwrap();
}

/// GWY-034, of an upload.
#[test]
fn an_upload_breaks_off_when_its_token_is_revoked() {
    let (listener, address) = upstream();
    let edge = Edge::before(&address, &corp::issuer(), "\"PUT /notes\" = \"ticket:read/1\"", "");
    let head = format!(
        "PUT /notes HTTP/1.1\r\nhost: tickets.internal\r\n{}transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        edge.bearer()
    );
    let mut caller = echo::open(edge.proxy, &head);
    let mut upstream = next(&listener);
    echo::until(&mut upstream, "first");
    revoke_alice(&edge);
    let mut rest = Vec::new();
    assert!(has_ended(upstream.read_to_end(&mut rest)), "while the caller still sends");
    assert!(
        !String::from_utf8_lossy(&rest).contains("0\r\n\r\n"),
        "it was cut, and does not look whole"
    );
    let told = echo::until(&mut caller, "}");
    let reason = problem(&told)["reason"].as_str().map(str::to_owned);
    assert_eq!((status(&told), reason.as_deref()), (401, Some("subject_token_revoked")), "{told}");
}

/// GWY-034, of an answer that did not begin: it is none, and its refusal is on record beside the permission.
#[test]
fn a_request_that_is_not_answered_before_its_token_is_revoked_is_refused() {
    let (listener, address) = upstream();
    let edge = Edge::before(&address, &corp::issuer(), "", "");
    let head = format!("GET /tickets/42 HTTP/1.1\r\nhost: tickets.internal\r\n{}\r\n", edge.bearer());
    let mut caller = echo::open(edge.proxy, &head);
    let mut upstream = next(&listener);
    echo::until(&mut upstream, "\r\n\r\n");
    revoke_alice(&edge);
    let mut rest = Vec::new();
    assert!(has_ended(upstream.read_to_end(&mut rest)), "while the caller still waits");
    let told = echo::until(&mut caller, "}");
    let problem = problem(&told);
    assert_eq!(
        (status(&told), &problem["reason"]),
        (401, &json!("subject_token_revoked")),
        "{told}"
    );
    let why = edge.why(problem["decision_id"].as_str().unwrap());
    assert!(
        why.contains("subject_token_revoked") && why.contains("GET tickets.internal/tickets/42"),
        "{why}"
    );
}

/// Of a body that nobody reads, what is more than its route takes goes nowhere, and the caller learns of the record.
#[test]
fn an_upload_that_outgrows_its_route_is_cut_off_and_on_record() {
    let (listener, address) = upstream();
    let routes = "\"PUT /notes\" = { detail = \"ticket:read/1\", body_max = \"10\" }";
    let edge = Edge::before(&address, &corp::issuer(), routes, "");
    let head = format!("PUT /notes HTTP/1.1\r\nhost: tickets.internal\r\n{}", edge.bearer());
    let told = echo::ask(
        edge.proxy,
        &format!("{head}connection: close\r\ncontent-length: 11\r\n\r\n12345678901"),
    );
    assert_eq!(
        (status(&told), problem(&told)["reason"].as_str()),
        (413, Some("too_large")),
        "{told}"
    );

    let mut caller = echo::open(edge.proxy, &format!("{head}transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"));
    let mut upstream = next(&listener);
    echo::until(&mut upstream, "first");
    caller.write_all(b"6\r\nexcess\r\n").unwrap();
    let mut rest = Vec::new();
    assert!(has_ended(upstream.read_to_end(&mut rest)), "while the caller still sends");
    let rest = String::from_utf8_lossy(&rest);
    assert!(
        !rest.contains("excess") && !rest.contains("0\r\n\r\n"),
        "it was cut, and does not look whole: {rest}"
    );
    let told = echo::until(&mut caller, "}");
    assert_eq!(status(&told), 413, "{told}");
    let id = problem(&told)["decision_id"].as_str().unwrap().to_owned();
    let why = edge.why(&id);
    assert!(why.contains("too_large") && why.contains("PUT tickets.internal/notes"), "{why}");
}

/// Of a body that nobody reads, nothing goes on from where the caller's token stands in it, wherever its pieces end.
#[test]
fn the_callers_token_goes_on_in_no_body() {
    let (listener, address) = upstream();
    let edge = Edge::before(&address, &corp::issuer(), "\"PUT /notes\" = \"ticket:read/1\"", "");
    let bearer = edge.bearer();
    let secret = bearer.trim().rsplit('.').next().unwrap().to_owned();
    let head = format!("PUT /notes HTTP/1.1\r\nhost: tickets.internal\r\n{bearer}transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    let mut caller = echo::open(edge.proxy, &head);
    let mut upstream = next(&listener);
    echo::until(&mut upstream, "first");
    let (begins, ends) = secret.split_at(secret.len() / 2);
    for piece in [begins, ends] {
        write!(caller, "{:x}\r\n{piece}\r\n", piece.len()).unwrap();
        caller.flush().unwrap();
    }
    let mut rest = Vec::new();
    assert!(has_ended(upstream.read_to_end(&mut rest)), "while the caller still sends");
    let rest = String::from_utf8_lossy(&rest);
    assert!(!rest.contains(ends) && !rest.contains("0\r\n\r\n"), "{rest}");
    let told = echo::until(&mut caller, "}");
    assert_eq!(
        (status(&told), problem(&told)["reason"].as_str()),
        (400, Some("malformed_request")),
        "{told}"
    );
    assert!(edge.why(problem(&told)["decision_id"].as_str().unwrap()).contains("PUT tickets.internal/notes"));
}

/// What of cookies is looked into is what goes on: one line.
#[test]
fn cookies_go_on_in_one_line() {
    let edge = Edge::before(&format!("http://{}", echo::start()), &corp::issuer(), "", "");
    let reply = edge.get("/tickets/42", &format!("{}cookie: a=1\r\ncookie: b=2; c=3\r\n", edge.bearer()));
    assert_eq!(body(&reply).matches("cookie:").count(), 1, "{reply}");
    assert_eq!(header(body(&reply), "cookie"), Some("a=1; b=2; c=3"));
}

/// The head that goes on is the head that was decided on: no upstream is offered another version than HTTP/1.1.
#[test]
fn no_upstream_is_offered_http_2() {
    let (listener, address) = upstream();
    let edge = Edge::before(&address.replace("http:", "https:"), &corp::issuer(), "", "");
    let _caller = echo::open(edge.proxy, "GET /healthz HTTP/1.1\r\nhost: tickets.internal\r\n\r\n");
    let mut upstream = next(&listener);
    let mut hello = vec![0; 5];
    upstream.read_exact(&mut hello).unwrap();
    let [22, 3, _, high, low] = hello[..] else {
        panic!("a handshake of TLS: {hello:?}")
    };
    hello.resize(usize::from(high) << 8 | usize::from(low), 0);
    upstream.read_exact(&mut hello).unwrap();
    assert!(!hello.windows(3).any(|part| part == b"\x02h2"), "as RFC 7301 would write it");
}

/// GWY-037, GWY-038: a token goes to the upstream that the configuration names, whatever that one answers.
#[test]
fn what_an_upstream_answers_makes_nobody_go_anywhere() {
    let (listener, address) = upstream();
    let (elsewhere, other) = upstream();
    elsewhere.set_nonblocking(true).unwrap();
    let edge = Edge::before(&address, &corp::issuer(), "", "");
    let page = format!("<img src=\"{other}/a\">");
    let reply = format!(
        "HTTP/1.1 302 Found\r\nlocation: {other}/b\r\nlink: <{other}/c>; rel=preload\r\nrefresh: 0; url={other}/d\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    let answering = answers(listener, Box::leak(reply.into_boxed_str()));
    let reply = edge.get("/tickets/42", &edge.bearer());
    answering.join().unwrap();
    assert_eq!(
        (status(&reply), header(&reply, "location")),
        (302, Some(format!("{other}/b").as_str())),
        "{reply}"
    );
    assert!(
        body(&reply) == page && header(&reply, "authorization").is_none() && !reply.contains("eyJ"),
        "{reply}"
    );
    assert!(elsewhere.accept().is_err(), "nobody came");
}

/// GWY-041: the upstream was shown our token, so it has nothing to tell the caller about another one.
#[test]
fn an_upstream_does_not_tell_callers_where_to_get_a_token() {
    let (listener, address) = upstream();
    let edge = Edge::before(&address, &corp::issuer(), "", "");
    let reply = "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer resource_metadata=\"https://evil.example\"\r\ndpop-nonce: x\r\n\
                 authentication-info: y\r\nnarrows-decision: forged\r\nset-cookie: own=1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let answering = answers(listener, reply);
    let reply = edge.get("/tickets/42", &edge.bearer());
    answering.join().unwrap();
    assert_eq!((status(&reply), header(&reply, "set-cookie")), (401, Some("own=1")), "{reply}");
    for name in ["www-authenticate", "dpop-nonce", "authentication-info", "narrows-decision"] {
        assert_eq!(header(&reply, name), None, "{name}");
    }
}

/// GWY-035: what a browser sends by itself is no credential.
#[test]
fn a_cookie_opens_no_web_socket() {
    let routes = "\"GET /socket\" = { detail = \"ticket:read/2\", upgrade = \"websocket\" }";
    let edge = Edge::before(&format!("http://{}", echo::start()), &corp::issuer(), routes, "");
    let token = edge.bearer().trim_start_matches("authorization: Bearer ").to_owned();
    let asks = format!("connection: Upgrade\r\nupgrade: websocket\r\norigin: https://evil.example\r\ncookie: session={token}");
    let reply = edge.get("/socket", &asks);
    assert_eq!((status(&reply), &problem(&reply)["reason"]), (401, &json!("no_token")), "{reply}");
}
