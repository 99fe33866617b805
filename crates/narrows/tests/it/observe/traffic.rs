//! What goes on while it is observed, as it came.

use std::io::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::{CLOSE, Edge, lines, observe};
use crate::echo;

/// Every header and its own token go on, whatever would be decided, and so does what has no route or could be read in two ways.
#[test]
fn what_is_observed_reaches_the_upstream_byte_for_byte() {
    let routes = "\"POST /tickets\" = { detail = \"ticket:read/{body.id}\", body_max = \"1KiB\" }\n";
    let edge = Edge::start("", routes, &observe());
    let spoofed = "X-Forwarded-For: 6.6.6.6\r\nNarrows-Subject: eve\r\nnarrows_subject: eve\r\nForwarded: for=6.6.6.6\r\nDPoP: x\r\n\
                   Cookie: a=b\r\nCookie: c=d\r\nAccept: text/html\r\n";
    let (token, other) = (&edge.token, &edge.other);
    let long = "x".repeat(300_000);
    let requests = [
        format!("GET /tickets/42?full=1&a=%2f HTTP/1.1\r\n{CLOSE}Authorization: Bearer {token}\r\n{spoofed}\r\n"),
        format!("GET /tickets/42 HTTP/1.1\r\n{CLOSE}Authorization: Bearer {other}\r\n\r\n"),
        format!("GET /tickets/42 HTTP/1.1\r\n{CLOSE}Authorization: Basic eDp5\r\nAuthorization: Bearer x\r\n\r\n"),
        format!("GET /healthz HTTP/1.1\r\n{CLOSE}Authorization: Bearer session-of-before\r\n\r\n"),
        format!("GET /nowhere/../here//there;a=b?access_token={token} HTTP/1.1\r\n{CLOSE}\r\n"),
        format!("DELETE /reports/2026 HTTP/1.1\r\n{CLOSE}X-HTTP-Method-Override: GET\r\n\r\n"),
        format!("GET /.well-known/oauth-protected-resource HTTP/1.1\r\n{CLOSE}\r\n"),
        format!(
            "POST /tickets HTTP/1.1\r\n{CLOSE}Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{{\"id\": \"42\"}} "
        ),
        format!(
            "POST /tickets HTTP/1.1\r\n{CLOSE}Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 300000\r\n\r\n{long}"
        ),
        format!(
            "POST /nowhere HTTP/1.1\r\n{CLOSE}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 14\r\n\r\naccess_token=a"
        ),
    ];
    for request in &requests {
        let (status, seen) = edge.sent(request.as_bytes());
        assert_eq!(status, 200, "{request}: {seen}");
        assert_eq!(lines(&seen), lines(request));
    }
    let observed = edge.until("each is decided on", |observed| observed.len() >= 9);
    let reason = |path: &str, reason: &str| {
        let found = observed.iter().find(|record| record["request"]["path"] == path && record["reason"] == reason);
        assert!(found.is_some(), "{path} {reason}: {observed:?}");
        found.unwrap().clone()
    };
    let allowed = reason("/tickets/42", "permitted");
    assert_eq!(
        (&allowed["decision"], &allowed["jti"]),
        (&Value::from("allow"), &Value::Null),
        "nothing is minted"
    );
    for (path, why) in [
        ("/tickets/42", "policy_denied"),
        ("/tickets/42", "malformed_request"),
        ("/reports/2026", "no_route"),
        ("/tickets", "too_large"),
        ("/tickets", "permitted"),
        ("/nowhere", "no_route"),
    ] {
        reason(path, why);
    }
    let told = observed.iter().map(Value::to_string).collect::<String>();
    assert!(!told.contains(token.rsplit('.').next().unwrap()), "no token gets into a record");
    let ready = edge.served.ready();
    assert_eq!(ready["observing"][0]["boundary"], "front", "{ready}");
    let metrics = edge.served.get("/metrics");
    assert!(metrics.contains("narrows_observing{boundary=\"front\"} 1"), "{metrics}");
    assert!(
        metrics.contains("narrows_observed_total{boundary=\"front\",decision=\"deny\"}"),
        "{metrics}"
    );
    assert!(!metrics.contains("narrows_issued_total 1"), "{metrics}");
}

/// A stream and a WebSocket open without a route that names them, and stay open.
#[test]
fn streams_and_web_sockets_go_on_as_they_did() {
    let edge = Edge::start("", "", &observe());
    let mut stream = echo::open(edge.proxy, &format!("GET /stream HTTP/1.1\r\n{CLOSE}\r\n"));
    echo::until(&mut stream, "first");
    let upgrade = "GET /socket HTTP/1.1\r\nhost: tickets.internal\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut socket = echo::open(edge.proxy, upgrade);
    echo::until(&mut socket, "101 Switching");
    socket.write_all(b"ping").unwrap();
    echo::until(&mut socket, "ping");
}

#[test]
fn an_answer_to_another_proxy_lets_it_keep_what_came() {
    let edge = Edge::start("", "", &observe());
    let asked = "GET / HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\nx-original-method: GET\r\nx-original-uri: /nowhere\r\n\
                 authorization: Bearer session\r\n\r\n";
    let reply = echo::ask(edge.door, asked);
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    assert!(reply.contains("authorization: Bearer session\r\n"), "{reply}");
    assert!(!reply.to_ascii_lowercase().contains("\r\nnarrows-"), "{reply}");
}

/// Where nobody could say whose a request is, or where its body ends, it could not go on as it came.
#[test]
fn what_could_be_for_two_goes_nowhere() {
    let other = "\n[[services]]\nname = \"other\"\nhosts = [\"tickets.internal\"]\nupstream = \"http://127.0.0.1:9\"\n\
                 audience = \"https://tickets.internal\"\n[services.routes]\n\"GET /other\" = \"ticket:list\"";
    let edge = Edge::start("", other, &observe());
    assert_eq!(edge.get("/tickets/42", ""), 200);
    assert_eq!(edge.get("/nowhere", ""), 403);
    let edge = Edge::start("", "", &observe());
    for (headers, status) in [
        ("host: tickets.internal\r\nhost: other.internal\r\n", 400),
        ("host: other.internal\r\n", 403),
        (
            "host: tickets.internal\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            400,
        ),
    ] {
        let request = format!("POST /tickets HTTP/1.1\r\nconnection: close\r\n{headers}\r\n0\r\n\r\n");
        assert_eq!(edge.sent(request.as_bytes()).0, status, "{request}");
    }
}

/// HTTP/2 names the host and the cookies in another way than the HTTP/1.1 of the upstream.
#[test]
fn what_comes_by_http_2_goes_on_with_its_host_and_its_cookies_in_one_line() {
    let edge = Edge::start("", "", &observe());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seen = runtime.block_on(async {
        let client = reqwest::Client::builder()
            .http2_prior_knowledge()
            .resolve("tickets.internal", edge.proxy)
            .build()
            .unwrap();
        let request = client
            .post(format!("http://tickets.internal:{}/nowhere?a=b", edge.proxy.port()))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("content-length", "4")
            .body("body");
        let reply = tokio::time::timeout(Duration::from_secs(20), request.send()).await.unwrap().unwrap();
        assert_eq!(
            (reply.version(), reply.status()),
            (reqwest::Version::HTTP_2, reqwest::StatusCode::OK)
        );
        reply.text().await.unwrap()
    });
    let (first, headers, body) = lines(&seen);
    assert_eq!((first.as_str(), body.as_str()), ("POST /nowhere?a=b HTTP/1.1", "body"));
    for line in [
        "cookie: a=1; b=2",
        &format!("host: tickets.internal:{}", edge.proxy.port()),
        "content-length: 4",
    ] {
        assert!(headers.iter().any(|header| header == line), "{line}: {headers:?}");
    }
    let observed = edge.until("it is decided on", |records| !records.is_empty());
    let told = crate::run::narrows(edge.served.path(), &["why", observed[0]["id"].as_str().unwrap()], "");
    assert!(told.out.contains("it went on as it came"), "{told:?}");
}
