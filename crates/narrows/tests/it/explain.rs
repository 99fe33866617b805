//! `explain` by request line: what a boundary would say to this very request, and why.

use std::path::Path;

use serde_json::{Value, json};

use crate::run::{Ran, narrows};
use crate::served::Served;
use crate::{corp, echo};

/// What `init` writes, with a boundary and routes of every kind.
fn installation() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + FRONTS).unwrap();
    folder
}

const FRONTS: &str = r#"
[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "http://127.0.0.1:9"
audience = "https://tickets.internal"
[services.routes]
"GET /healthz"       = "public"
"GET /tickets/{id}"  = "ticket:read/{id}"
"PATCH /tickets/{id}" = { name = "change", detail = "ticket:read/{body.id}", max_auth_age = "5m" }
"GET /search"        = { name = "search", detail = "ticket:read/{query.id}" }

[[boundaries]]
name     = "front"
client   = "edge"
services = "*"
origin   = "https://edge.example"
proxy    = "127.0.0.1:0"
"#;

fn ask(folder: &Path, request: &[&str]) -> Ran {
    let who = ["--subject", "corp|alice", "--group", "support"];
    narrows(folder, &[&["explain"], request, &who].concat(), "")
}

fn told(folder: &Path, request: &[&str]) -> Value {
    let ran = ask(folder, &[request, &["--json"]].concat());
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
}

#[test]
fn a_request_is_told_with_its_route_what_it_is_understood_as_and_the_rule() {
    let folder = installation();
    let ran = ask(folder.path(), &["GET", "https://tickets.internal/tickets/42"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let config = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    let at = config.lines().position(|line| line.starts_with("\"GET /tickets/{id}\"")).unwrap() + 1;
    for part in [
        "front, acting as `edge`",
        "GET /tickets/{id}",
        &format!("narrows.toml:{at}"),
        "ticket:read/42",
        "edge-reads-tickets-for-support",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let told = told(folder.path(), &["GET", "https://tickets.internal/tickets/42"]);
    assert_eq!(
        (&told["allowed"], &told["details"], &told["client"]),
        (&json!(true), &json!(["ticket:read/42"]), &json!("edge"))
    );
    let stranger = narrows(
        folder.path(),
        &[
            "explain",
            "GET",
            "https://tickets.internal/tickets/42",
            "--subject",
            "corp|alice",
            "--group",
            "sales",
        ],
        "",
    );
    assert!(stranger.code == 1 && stranger.out.contains("near miss"), "{stranger:?}");
}

/// GWY-020 GWY-022.
#[test]
fn a_request_that_a_less_strict_service_takes_for_another_route_is_told_with_both() {
    let folder = installation();
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let wide = "\"GET /healthz\"       = \"public\"\n\"GET /{path:rest}\"   = \"public\"";
    std::fs::write(&config, text.replace("\"GET /healthz\"       = \"public\"", wide)).unwrap();
    let ran = ask(folder.path(), &["GET", "https://tickets.internal/Tickets/42"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let why = "malformed_request: `GET /{path:rest}` is for it, and a less strict reader takes it for `GET /tickets/{id}`";
    for part in ["route        GET /{path:rest}  at ", why, "write a route for this very path"] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let told = told(folder.path(), &["GET", "https://tickets.internal/tickets/42/"]);
    assert_eq!((&told["allowed"], &told["reason"]), (&json!(false), &json!("malformed_request")));
    let ran = ask(folder.path(), &["GET", "https://tickets.internal/Tickets"]);
    assert!(ran.code == 0 && ran.out.contains("public"), "{ran:?}");
}

#[test]
fn without_a_subject_it_is_told_what_a_request_is_understood_as() {
    let folder = installation();
    let explain = |arguments: &[&str]| narrows(folder.path(), &[&["explain"], arguments].concat(), "");
    let ran = explain(&["GET", "https://tickets.internal/tickets/42"]);
    assert_eq!(ran.code, 2, "neither allowed nor refused: {ran:?}");
    for part in [
        "service      tickets\n",
        "GET /tickets/{id}",
        "understood   ticket:read/42\n",
        "needs --subject",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let ran = explain(&["GET", "https://tickets.internal/tickets/42", "--json"]);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&told["allowed"], &told["details"], ran.code),
        (&Value::Null, &json!(["ticket:read/42"]), 2),
        "{told}"
    );
    let public = explain(&["GET", "https://tickets.internal/healthz"]);
    assert!(public.code == 0 && public.out.contains("public"), "{public:?}");
    let nowhere = explain(&["GET", "--subject", "corp|a"]);
    assert!(nowhere.code == 2 && nowhere.err.contains("the URL is missing"), "{nowhere:?}");
    let by_hand = explain(&["--client", "edge", "--audience", "https://tickets.internal"]);
    assert!(by_hand.code == 2 && by_hand.err.contains("--subject"), "{by_hand:?}");
}

#[test]
fn a_name_that_there_is_not_is_told_with_those_that_there_are() {
    let folder = installation();
    let by_hand = |client: &str, details: &str| {
        let audience = "https://tickets.internal";
        let arguments = [
            "--client",
            client,
            "--audience",
            audience,
            "--subject",
            "corp|a",
            "--details",
            details,
        ];
        narrows(folder.path(), &[&["explain"][..], &arguments].concat(), "").err
    };
    let refused = by_hand("zz", "ticket:read/42");
    assert!(
        refused.contains("there is no client `zz`; there are: ") && refused.contains("edge"),
        "{refused}"
    );
    let refused = by_hand("edge", "ticket:read?fields=a");
    assert!(!refused.contains("needs an identifier"), "that is not what is wrong: {refused}");
    let refused = by_hand("edge", "ticket:read");
    assert!(refused.contains("`read` needs an identifier, as `ticket:read/42`"), "{refused}");
    let refused = narrows(folder.path(), &["snippet", "nginx", "--boundary", "zz"], "").err;
    assert!(refused.contains("there is no boundary `zz`; there are: front"), "{refused}");
    let help = narrows(folder.path(), &["exchange", "--help"], "").out;
    assert!(help.contains("jwt, txn_token or task"), "{help}");
}

#[test]
fn what_no_route_is_for_is_told_with_the_nearest_ones_first() {
    let folder = installation();
    let told = told(folder.path(), &["DELETE", "https://tickets.internal/tickets/42"]);
    assert_eq!((&told["allowed"], &told["reason"]), (&json!(false), &json!("no_route")));
    let nearest: Vec<_> = told["nearest"].as_array().unwrap().iter().map(|near| near["pattern"].as_str().unwrap()).collect();
    assert_eq!(nearest[..2], ["GET /tickets/{id}", "PATCH /tickets/{id}"], "{told}");
    let ran = ask(folder.path(), &["GET", "https://elsewhere.internal/"]);
    assert!(ran.code == 1 && ran.err.contains("no boundary serves the host"), "{ran:?}");
    let ran = ask(folder.path(), &["GET", "https://elsewhere.internal/", "--boundary", "front"]);
    assert!(ran.code == 1 && ran.out.contains("serves no such host"), "{ran:?}");
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_told_with_the_mend() {
    let folder = installation();
    let rows: [(&[&str], &str, &str); 5] = [
        (
            &["GET", "https://tickets.internal/tickets/../42"],
            "malformed_request",
            "dot segment",
        ),
        (&["GET", "https://tickets.internal/search?id=1&other=2"], "unread_input", "other"),
        (&["PATCH", "https://tickets.internal/tickets/42"], "malformed_details", "--body"),
        (
            &["GET", "https://tickets.internal/tickets/42?access_token=x"],
            "malformed_request",
            "Authorization alone",
        ),
        (
            &["GET", "https://tickets.internal/tickets/42", "--header", "Authorization: Basic x"],
            "malformed_request",
            "Bearer",
        ),
    ];
    for (request, reason, word) in rows {
        let told = told(folder.path(), request);
        assert_eq!(
            (&told["allowed"], &told["reason"]),
            (&json!(false), &json!(reason)),
            "{request:?}: {told}"
        );
        assert!(told.to_string().contains(word), "{request:?}: {told}");
    }
}

#[test]
fn a_body_is_read_as_the_boundary_reads_it_and_a_step_up_is_asked_for() {
    let folder = installation();
    std::fs::write(folder.path().join("body.json"), r#"{"id":"42"}"#).unwrap();
    let patch = ["PATCH", "https://tickets.internal/tickets/42", "--body", "body.json"];
    let untyped = told(folder.path(), &patch);
    assert_eq!(untyped["reason"], "malformed_request", "{untyped}");
    let typed = [&patch[..], &["--header", "Content-Type: application/json"]].concat();
    let long_ago = told(folder.path(), &typed);
    assert_eq!(
        (&long_ago["reason"], &long_ago["details"]),
        (&json!("insufficient_user_authentication"), &json!(["ticket:read/42"])),
        "{long_ago}"
    );
    let just_now = told(folder.path(), &[&typed[..], &["--auth-age", "60"]].concat());
    assert_eq!(just_now["allowed"], true, "{just_now}");
    std::fs::write(
        folder.path().join("body.json"),
        format!("{{\"id\":\"{}\"}}", "x".repeat(1024 * 1024)),
    )
    .unwrap();
    assert_eq!(told(folder.path(), &typed)["reason"], "too_large");
}

#[test]
fn a_public_route_asks_nothing_and_an_audience_that_is_closed_to_the_client_answers_before_policy() {
    let folder = installation();
    assert_eq!(told(folder.path(), &["GET", "https://tickets.internal/healthz"])["public"], true);
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let audience = "id           = \"https://tickets.internal\"";
    assert!(text.contains(audience), "{text}");
    std::fs::write(&config, text.replacen(audience, &format!("{audience}\nclients = []"), 1)).unwrap();
    let told = told(folder.path(), &["GET", "https://tickets.internal/tickets/42"]);
    assert_eq!(
        (&told["allowed"], &told["reason"]),
        (&json!(false), &json!("audience_closed")),
        "{told}"
    );
}

#[test]
fn of_several_boundaries_of_a_host_one_must_be_named() {
    let folder = installation();
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let second = "\n[[boundaries]]\nname = \"back\"\nclient = \"edge\"\nservices = \"*\"\norigin = \"https://back.example\"\nproxy = \"127.0.0.1:0\"\n";
    std::fs::write(&config, text + second).unwrap();
    let request = ["GET", "https://tickets.internal/tickets/42"];
    let ran = ask(folder.path(), &request);
    assert!(ran.code == 1 && ran.err.contains("--boundary: front, back"), "{ran:?}");
    assert_eq!(
        told(folder.path(), &[&request[..], &["--boundary", "back"]].concat())["boundary"],
        "back"
    );
    assert_eq!(ask(folder.path(), &["GET"]).code, 2, "a method needs a URL");
}

/// Method, target, and header and body where there is one.
type Sent<'r> = (&'r str, &'r str, Option<(&'r str, &'r str)>);

/// What is told is what happens: a running boundary gives the same answer to the same requests.
#[test]
fn what_is_told_is_what_the_boundary_does() {
    let (issuer, backend) = (corp::issuer(), echo::start());
    let served = Served::start(|folder| {
        corp::trust(folder, &issuer);
        let config = folder.join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text + &FRONTS.replace("127.0.0.1:9\"", &format!("{backend}\""))).unwrap();
    });
    let door = served.door("proxy");
    let json = "Content-Type: application/json";
    let requests: [Sent<'_>; 12] = [
        ("GET", "/tickets/42", None),
        ("GET", "/tickets/42?full=1", None),
        ("GET", "/healthz", None),
        ("GET", "/search?id=7", None),
        ("HEAD", "/tickets/42", None),
        ("GET", "/admin", None),
        ("GET", "/tickets//42", None),
        ("GET", "/search?id=7&id=8", None),
        ("GET", "/search?id=7&more=8", None),
        ("GET", "/tickets/42?access_token=x", None),
        ("PATCH", "/tickets/42", Some((json, r#"{"id":"42"}"#))),
        ("PATCH", "/tickets/42", Some((json, r#"{"id":"42","more":1}"#))),
    ];
    for group in ["support", "sales"] {
        let token = corp::token(&issuer, "tickets.full", group, 600);
        for (method, target, body) in requests {
            let (header, body) = body.unwrap_or_default();
            let head = if header.is_empty() {
                String::new()
            } else {
                format!("{header}\r\ncontent-length: {}\r\n", body.len())
            };
            let asked = format!(
                "{method} {target} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{head}\r\n{body}"
            );
            let reply = echo::ask(door, &asked);
            let (head, answered) = reply.split_once("\r\n\r\n").unwrap();
            let went_on = head.starts_with("HTTP/1.1 200");
            let url = format!("https://tickets.internal{target}");
            std::fs::write(served.path().join("body.json"), body).unwrap();
            let mut arguments = vec!["explain", method, &url, "--subject", "corp|alice", "--group", group, "--json"];
            if !header.is_empty() {
                arguments.extend(["--header", header, "--body", "body.json"]);
            }
            let told: Value = serde_json::from_str(&narrows(served.path(), &arguments, "").out).unwrap();
            assert_eq!(told["allowed"], json!(went_on), "{method} {target} for {group}: {told}\n{reply}");
            // A reply to HEAD has no body.
            if !went_on && method != "HEAD" {
                let problem: Value = serde_json::from_str(answered).unwrap();
                assert_eq!(told["reason"], problem["reason"], "{method} {target} for {group}: {told}");
            }
        }
    }
}
