//! What else boundaries in a process of their own carry: attributes of the subject into routes, upstream credentials, and transaction
//! tokens; both programs are the real ones.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::apart::Both;
use crate::boundary::{body, claims, header, problem, status};
use crate::{corp, echo};

/// One service at `upstream` with these routes, behind a proxy.
fn front(upstream: SocketAddr, routes: &str) -> String {
    format!(
        r#"
[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "http://{upstream}"
audience = "https://tickets.internal"
[services.routes]
{routes}

[[boundaries]]
name     = "front"
client   = "edge"
services = "*"
origin   = "https://edge.example"
proxy    = "127.0.0.1:0"
"#
    )
}

fn ask(both: &Both, path: &str, token: &str) -> String {
    let line = format!("GET {path} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n");
    echo::ask(both.apart.door("proxy"), &format!("{line}authorization: Bearer {token}\r\n\r\n"))
}

#[test]
fn a_route_apart_is_filled_with_what_the_token_says() {
    let backend = echo::start();
    let mapped = "attributes = { groups = \"set\" }";
    let change = |text: String| {
        assert!(text.contains(mapped));
        let text = text.replace(mapped, "attributes = { groups = \"set\", site = \"string?\" }");
        text + &front(backend, "\"GET /site\" = \"ticket:read/{subject.site}\"")
    };
    let both = Both::of(change, |address| address, "30s");
    let token = |more: &Value| {
        let mut said = claims(&corp::token(&both.issuer, "tickets.full", "support", 600));
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        both.issuer.sign("at+jwt", &said)
    };
    for site in ["north", "south"] {
        let reply = ask(&both, "/site", &token(&json!({ "site": site, "jti": site })));
        assert_eq!(status(&reply), 200, "{reply}");
        let went_on = claims(header(body(&reply), "authorization").unwrap().strip_prefix("Bearer ").unwrap());
        assert_eq!(went_on["authorization_details"][0]["identifier"], site);
    }
    let forged = corp::issuer().sign("at+jwt", &claims(&token(&json!({ "site": "north" }))));
    for (token, expected, reason) in [
        (token(&json!({ "jti": "none" })), 403, "wider_than_subject"),
        (forged, 401, "subject_token_invalid"),
    ] {
        let reply = ask(&both, "/site", &token);
        assert_eq!((status(&reply), &problem(&reply)["reason"]), (expected, &json!(reason)), "{reply}");
    }
}
