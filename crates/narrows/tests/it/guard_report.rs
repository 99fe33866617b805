//! `report observed` of a guard: what it would have refused, and what to paste.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::boundary::status;
use crate::guard::{Guarded, behind, get, guard};
use crate::run::{Ran, narrows};
use crate::{corp, echo};

/// What a report may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A guard that observes, and somebody who may look.
struct Observed {
    guarded: Guarded,
    auditor: String,
}

impl Observed {
    fn start() -> Self {
        let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap();
        let keys = format!("mode = \"observe\"\nobserve_until = \"{until}\"");
        let tables = behind(&format!("http://{}", echo::start())) + &guard(&keys);
        let guarded = Guarded::of(&corp::issuer(), &tables, "");
        let added = narrows(
            guarded.served.path(),
            &["operator", "add", "ann", "--role", "auditor", "--json"],
            "",
        );
        let added: Value = serde_json::from_str(&added.out).unwrap();
        Self {
            auditor: added["token"].as_str().unwrap().to_owned(),
            guarded,
        }
    }

    fn report(&self, more: &[&str]) -> String {
        let ran = self.asked(more);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.out
    }

    /// Why there is no report.
    fn refused(&self, more: &[&str]) -> String {
        // What is known instead is asked for too, so the token has to be there twice.
        std::fs::write(self.guarded.served.path().join("auditor.token"), &self.auditor).unwrap();
        let ran = self.asked(&[more, &["--token-file", "auditor.token"]].concat());
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.err
    }

    fn asked(&self, more: &[&str]) -> Ran {
        let url = format!("http://{}", self.guarded.served.address);
        let arguments = [&["report", "observed", "--url", &url], more].concat();
        narrows(self.guarded.served.path(), &arguments, &self.auditor)
    }

    /// The groups, once they are as `holds` wants them.
    fn until(&self, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let report: Value = serde_json::from_str(&self.report(&["--json"])).unwrap();
            let items = report["items"].as_array().unwrap().clone();
            if holds(&items) {
                return items;
            }
            assert!(began.elapsed() < PATIENCE, "{report:#}\n{}", self.guarded.served.log());
            // The condition decides, not the pause: that only keeps the asking from being a load of its own.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// How many requests are in all groups together.
fn count(items: &[Value]) -> i64 {
    items.iter().filter_map(|item| item["count"].as_i64()).sum()
}

fn find<'i>(items: &'i [Value], reason: &str, path: &str) -> &'i Value {
    let found = items.iter().find(|item| item["reason"] == reason && item["request"]["path"] == path);
    found.unwrap_or_else(|| panic!("{reason} {path}: {items:#?}"))
}

#[test]
fn what_a_guard_would_have_refused_is_grouped_with_what_to_paste() {
    let observed = Observed::start();
    let (guarded, door) = (&observed.guarded, observed.guarded.doors[0]);
    let patch = |headers: &str, sent: &str| {
        let length = sent.len();
        let head = format!("host: tickets.internal\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
        echo::ask(door, &format!("PATCH /tickets/42 HTTP/1.1\r\n{head}{headers}\r\n{sent}"))
    };
    let read = guarded.bearer(&["ticket:read/42"]);
    // Of strangers, and in the same second: each is a group of its own.
    for target in ["/orders/7/label", "/orders/8/label", "/orders/9/label", "/notes/all", "/tickets/42"] {
        assert_eq!(status(&get(door, target, "")), 200, "{target}");
    }
    assert_eq!(status(&get(door, "/tickets/43", &read)), 200);
    assert_eq!(
        status(&get(door, "/tickets/42", &guarded.bearer(&["ticket:read/42", "ticket:read/43"]))),
        200
    );
    let owner = guarded.bearer(&["ticket:update/42?fields=owner,status"]);
    assert_eq!(status(&patch(&owner, "{\"status\":1}")), 200);
    let items = observed.until(|items| count(items) == 8);
    assert!(
        items.iter().all(|item| item["service"] == "tickets" && item.get("boundary").is_none()),
        "{items:#?}"
    );

    let label = find(&items, "no_route", "/orders/{id}/label");
    assert_eq!((&label["count"], &label["covered"]), (&json!(3), &json!(false)));
    assert_eq!(label["paste"][0]["into"], "[services.routes] of the service for tickets.internal");
    assert_eq!(label["paste"][0]["text"], "\"GET /orders/{id}/label\" = \"label:read/{id}\"");
    assert_eq!(find(&items, "no_route", "/notes/all")["count"], 1);
    let nobody = find(&items, "no_token", "/tickets/{id}");
    assert!(nobody.get("client").is_none(), "{nobody}");
    assert_eq!((&nobody["paste"], &nobody["covered"]), (&json!([]), &json!(false)));
    let narrow = find(&items, "wider_than_subject", "/tickets/{id}");
    assert_eq!((&narrow["client"], &narrow["needs"]), (&json!("edge"), &json!(["ticket:read"])));
    let note = narrow["note"].as_str().unwrap();
    assert!(note.contains("`ticket:read/43`") && note.contains("`ticket:read/42`"), "{note}");
    let overbroad = |method: &str| {
        let mut found = items.iter().filter(|item| item["reason"] == "overbroad_token");
        found.find(|item| item["request"]["method"] == method).unwrap()
    };
    let another = overbroad("GET");
    assert!(
        another["note"].as_str().unwrap().contains("allows `ticket:read/43` beside"),
        "{another:#}"
    );
    assert_eq!(another["paste"], json!([]), "another resource is no constraint");
    let wider = overbroad("PATCH");
    assert_eq!(wider["paste"][0]["text"], "wider = [\"fields\"]", "{wider:#}");
    assert_eq!(
        wider["paste"][0]["into"],
        "the route for PATCH tickets.internal/tickets/{id} in [services.routes] of service tickets"
    );
    // By the service of the guard; a boundary of its name is none.
    let of_service: Value = serde_json::from_str(&observed.report(&["--service", "tickets", "--json"])).unwrap();
    assert_eq!(
        (count(of_service["items"].as_array().unwrap()), &of_service["services"]),
        (8, &json!(["tickets"]))
    );
    let err = observed.refused(&["--boundary", "tickets"]);
    assert!(
        err.contains("there is no boundary `tickets`; known are: none; guards are named by --service: tickets"),
        "{err}"
    );
    let err = observed.refused(&["--service", "ticket"]);
    assert!(err.contains("there is no guard of a service `ticket`; known are: tickets"), "{err}");
    let text = observed.report(&[]);
    assert!(text.contains("guard of tickets") && text.contains("wider = [\"fields\"]"), "{text}");

    // What was pasted is covered, and the rest is not.
    let served = &observed.guarded.served;
    let config = std::fs::read_to_string(served.path().join("narrows.toml")).unwrap();
    let health = "\"GET /healthz\"        = \"public\"\n";
    assert!(config.contains(health), "{config}");
    let pasted = format!("{health}\"GET /orders/{{id}}/label\" = \"ticket:read/{{id}}\"\n");
    served.write("narrows.toml", &config.replace(health, &pasted));
    let items = observed.until(|items| find(items, "no_route", "/orders/{id}/label")["covered"] == true);
    assert_eq!(find(&items, "no_route", "/notes/all")["covered"], false);
    assert!(!observed.report(&[]).contains("label:read"), "nothing is left to paste for it");
}

/// What no decision is asked about for, since it is told before or behind one.
#[test]
fn what_a_guard_would_have_refused_by_its_path_or_length_is_in_the_report() {
    let observed = Observed::start();
    let (guarded, door) = (&observed.guarded, observed.guarded.doors[0]);
    let sent = |line: &str, headers: &str, body: &str| {
        let head = "host: tickets.internal\r\nconnection: close\r\ncontent-type: application/json\r\n";
        let reply = echo::ask(door, &format!("{line} HTTP/1.1\r\n{head}{headers}\r\n{body}"));
        assert_eq!(status(&reply), 200, "{line} {headers}: {reply}");
    };
    let (list, update) = (guarded.bearer(&["ticket:list"]), guarded.bearer(&["ticket:update/42"]));
    let length = |length: usize| format!("content-length: {length}\r\n");
    let chunk = |length: usize| format!("{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length));
    // Refused by what they say, as they come, where they are looked into, and by their paths.
    sent("PUT /notes", &(length(1025) + &list), &"x".repeat(1025));
    sent("PUT /notes", &("transfer-encoding: chunked\r\n".to_owned() + &list), &chunk(1025));
    sent("PATCH /tickets/42", &(length(1025) + &update), &"x".repeat(1025));
    sent("GET /tickets/%2e%2e/x", &list, "");
    sent("GET /tickets//x", &list, "");
    // These fit.
    sent("PUT /notes", &(length(1024) + &list), &"x".repeat(1024));
    sent("PUT /notes", &("transfer-encoding: chunked\r\n".to_owned() + &list), &chunk(1024));
    let items = observed.until(|items| count(items) == 5);
    let of = |reason: &str| {
        let found: Vec<_> = items.iter().filter(|item| item["reason"] == reason).cloned().collect();
        count(&found)
    };
    assert_eq!((of("too_large"), of("malformed_request")), (3, 2), "{items:#?}");
    let metrics = guarded.served.get("/metrics");
    let mut lines = metrics.lines().filter(|line| line.starts_with("narrows_observed_total"));
    let line = lines.find(|line| line.contains("boundary=\"guard tickets\"") && line.contains("decision=\"deny\""));
    assert!(line.is_some_and(|line| line.ends_with(" 5")), "{metrics}");
}
