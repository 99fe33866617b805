//! What else boundaries in a process of their own carry: attributes of the subject into routes, upstream credentials, and transaction
//! tokens; both programs are the real ones.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::apart::Both;
use crate::boundary::{body, claims, has_ended, header, problem, status};
use crate::connections::records;
use crate::keyed::Keyed;
use crate::run::narrows;
use crate::{corp, echo};

const KEY: &str = "sk-live-0123456789abcdef";

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

#[test]
fn a_key_is_put_on_apart_and_its_echo_is_cut_and_on_record_at_the_broker() {
    let upstream = Keyed::start();
    let at = upstream.address;
    let connection = format!(
        r#"
[[connections]]
name = "tickets-key"
kind = "key"
send = {{ origin = "http://{at}", header = "X-Api-Key", as = "{{}}" }}
"#
    );
    let routes = r#"
"GET /open/{how}" = "ticket:read/1"
"GET /tickets/{id}/{how}" = { detail = "ticket:read/{id}", connection = "tickets-key" }
"#;
    let both = Both::of(|text| text + &front(at, routes) + &connection, |address| address, "30s");
    let token = corp::token(&both.issuer, "tickets.full", "support", 600);
    let reply = ask(&both, "/tickets/42/plain", &token);
    assert_eq!(
        (status(&reply), &problem(&reply)["reason"]),
        (503, &json!("store_unavailable")),
        "none is kept"
    );
    assert!(upstream.seen().is_empty());

    let added = narrows(both.served.path(), &["connection", "add", "tickets-key"], KEY);
    assert_eq!(added.code, 0, "{added:?}");
    let reply = ask(&both, "/tickets/42/plain", &token);
    assert_eq!(status(&reply), 200, "{reply}");
    assert_eq!(upstream.last("x-api-key"), [KEY]);
    let beside = upstream.last("authorization").pop().unwrap();
    assert_eq!(claims(beside.strip_prefix("Bearer ").unwrap())["aud"], "https://tickets.internal");
    assert_eq!(status(&ask(&both, "/open/plain", &token)), 200);
    assert!(
        !upstream.seen().pop().unwrap().contains(KEY),
        "another route of the same upstream gets none"
    );

    let reply = ask(&both, "/tickets/42/body", &token);
    let stars = "*".repeat(KEY.len());
    assert!(
        status(&reply) == 200 && reply.contains(&format!("you sent {stars}, and {stars}!")),
        "{reply}"
    );
    let records = records(both.served.path());
    let told = records.iter().find(|record| record["reason"] == "echo_cut").unwrap();
    assert_eq!(
        (&told["boundary"], &told["request"]["path"], &told["inputs"]["connection"]),
        (&json!("front"), &json!("/tickets/42/body"), &json!("tickets-key"))
    );
    assert!(records.iter().all(|record| !record.to_string().contains(KEY)));
    assert!(!both.apart.log().contains(KEY), "it is in no log");
}

#[test]
fn a_transaction_token_goes_on_apart_in_its_own_header_and_ends_with_its_revocation() {
    let backend = echo::start();
    let life = "max_lifetime = \"2m\"";
    let change = |text: String| {
        assert!(text.contains(life));
        let text = text.replace(life, &format!("{life}\ntoken = \"txn\""));
        let routes = "\"GET /tickets/{id}\" = \"ticket:read/{id}\"\n\"GET /stream\" = { detail = \"ticket:list\", stream = true }";
        text + &front(backend, routes)
    };
    let both = Both::of(change, |address| address, "30s");
    let token = corp::token(&both.issuer, "tickets.full", "support", 600);
    let reply = ask(&both, "/tickets/42", &token);
    assert_eq!(status(&reply), 200, "{reply}");
    let seen = body(&reply);
    assert_eq!(header(seen, "authorization"), None, "{seen}");
    let went_on = claims(header(seen, "txn-token").unwrap());
    assert_eq!(
        (&went_on["aud"], &went_on["scope"], &went_on["req_wl"]),
        (&json!("https://tickets.internal"), &json!("ticket:read/42"), &json!("edge"))
    );
    // Tokens of people who may not are refused as ever.
    let other = ask(&both, "/tickets/42", &corp::token(&both.issuer, "tickets.full", "sales", 600));
    assert_eq!(
        (status(&other), &problem(&other)["reason"]),
        (403, &json!("policy_denied")),
        "{other}"
    );

    let line = "GET /stream HTTP/1.1\r\nhost: tickets.internal\r\n";
    let request = format!("{line}authorization: Bearer {token}\r\n\r\n");
    let mut stream = echo::open(both.apart.door("proxy"), &request);
    echo::until(&mut stream, "first");
    let revoked = narrows(both.served.path(), &["revoke", "--subject", "corp|alice"], "");
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let ended = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    assert!(has_ended(ended), "it goes on");
}
