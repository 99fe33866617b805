//! `report`: what a running broker tells an auditor of its log.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::run::{Ran, narrows};
use crate::served::Served;
use crate::{corp, echo};

/// A broker with one boundary, `front`, and a token of alice's.
fn served() -> (Served, String) {
    let (issuer, backend) = (corp::issuer(), echo::start());
    let served = Served::start(|folder| {
        corp::trust(folder, &issuer);
        let config = folder.join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let front = format!(
            r#"
[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "http://{backend}"
audience = "https://tickets.internal"
[services.routes]
"GET /tickets/{{id}}" = "ticket:read/{{id}}"

[[boundaries]]
name     = "front"
client   = "edge"
services = "*"
origin   = "https://edge.example"
proxy    = "127.0.0.1:0"
"#
        );
        std::fs::write(&config, text + &front).unwrap();
    });
    let token = corp::token(&issuer, "tickets.full", "support", 600);
    (served, token)
}

/// The report, once the broker has heard of the operator.
fn graph(served: &Served, operator: &str, more: &[&str]) -> Ran {
    let url = format!("http://{}", served.address);
    let arguments = [&["report", "graph", "--url", &url], more].concat();
    let began = Instant::now();
    loop {
        let ran = narrows(served.path(), &arguments, operator);
        if ran.code == 0 || !ran.err.contains("401") || began.elapsed() > Duration::from_secs(20) {
            return ran;
        }
        // The condition decides, not the pause: that only keeps the asking from being a load of its own.
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

#[test]
fn the_graph_is_told_to_an_auditor_as_text_as_json_and_for_graphviz() {
    let (served, token) = served();
    let door = served.door("proxy");
    for path in ["/tickets/42", "/tickets/43", "/admin"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n");
        echo::ask(door, &request);
    }
    let operator = |name: &str, role: &str| {
        let added = narrows(served.path(), &["operator", "add", name, "--role", role, "--json"], "").out;
        let added: Value = serde_json::from_str(&added).unwrap();
        added["token"].as_str().unwrap().to_owned()
    };
    let auditor = operator("ann", "auditor");

    let told: Value = serde_json::from_str(&graph(&served, &auditor, &["--json"]).out).unwrap();
    let edges = told["edges"].as_array().unwrap();
    let edge = edges.iter().find(|edge| edge["allowed"] == json!(2)).unwrap_or_else(|| panic!("{told}"));
    assert_eq!(
        (&edge["client"], &edge["audience"], &edge["boundary"]),
        (&json!("edge"), &json!("https://tickets.internal"), &json!("front"))
    );
    assert!(edges.iter().any(|edge| edge["refused"] == json!({ "no_route": 1 })), "{told}");
    let format = graph(&served, &auditor, &["--format", "json", "--since", "1h"]);
    assert_eq!(serde_json::from_str::<Value>(&format.out).unwrap()["edges"], told["edges"]);

    let text = graph(&served, &auditor, &[]).out;
    for part in ["corp", "https://tickets.internal", "front", "1 no_route"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let dot = graph(&served, &auditor, &["--format", "dot"]).out;
    assert!(dot.starts_with("digraph narrows {") && dot.trim_end().ends_with('}'), "{dot}");
    assert!(dot.contains("\"client edge\" -> \"audience https://tickets.internal\""), "{dot}");

    let admin = graph(&served, &operator("bob", "admin"), &[]);
    assert!(admin.code == 1 && admin.err.contains("--role auditor"), "{admin:?}");
    assert!(graph(&served, &auditor, &["--since", "yesterday"]).err.contains("expected a duration"));
}

/// One form is asked for, and not two: that is a mistake in the use, found before anything is read or asked.
#[test]
fn json_and_another_form_of_the_graph_contradict_each_other() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["dot", "text", "json"] {
        let ran = narrows(folder.path(), &["report", "graph", "--json", "--format", format], "");
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{format}: {ran:?}");
        assert!(
            ran.err.contains("'--json' cannot be used with '--format <FORMAT>'"),
            "{format}: {ran:?}"
        );
    }
}
