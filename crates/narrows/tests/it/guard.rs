//! Guards of the running program, in front of a backend that can check nothing itself.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::FakeIssuer;

use crate::boundary::{body, has_ended, header, problem, status};
use crate::run::narrows;
use crate::served::{Served, doors_of};
use crate::{corp, echo};

pub(crate) const TICKETS: &str = "https://tickets.internal";
/// Of somebody else.
const NOTES: &str = "https://notes.internal";
/// What anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is behind the guards, and who may ask for it.
pub(crate) fn behind(upstream: &str) -> String {
    format!(
        r#"
[[clients]]
id       = "tickets-guard"
receives = ["{TICKETS}"]
auth     = {{ method = "private_key_jwt", jwks_file = "edge.jwks.json" }}

[[audiences]]
id           = "{NOTES}"
details      = ["ticket"]
max_lifetime = "2m"

[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "{upstream}"
audience = "{TICKETS}"
[services.routes]
"GET /healthz"        = "public"
"GET /tickets"        = "ticket:list"
"GET /tickets/{{id}}"   = "ticket:read/{{id}}"
"PATCH /tickets/{{id}}" = {{ detail = "ticket:update/{{id}}?fields={{body:keys}}", body_max = "1KiB" }}
"PUT /notes"          = {{ detail = "ticket:list", body_max = "1KiB" }}
"GET /stream"         = {{ detail = "ticket:list", stream = true }}
"GET /socket"         = {{ detail = "ticket:list", upgrade = "websocket" }}
"#
    )
}

/// A guard with these keys.
pub(crate) fn guard(keys: &str) -> String {
    format!("\n[[guards]]\nservice = \"tickets\"\nclient  = \"tickets-guard\"\nlisten  = \"127.0.0.1:0\"\n{keys}\n")
}

/// A broker with guards in its process.
pub(crate) struct Guarded {
    pub(crate) served: Served,
    /// Where they listen, in their order.
    pub(crate) doors: Vec<SocketAddr>,
    pub(crate) alice: String,
}

impl Guarded {
    /// With one guard for each of these keys.
    fn with(guards: &[&str]) -> Self {
        Self::before(&format!("http://{}", echo::start()), guards)
    }

    fn before(upstream: &str, guards: &[&str]) -> Self {
        let text: String = guards.iter().map(|keys| guard(keys)).collect();
        Self::of(&corp::issuer(), &(behind(upstream) + &text), "")
    }

    /// With these tables and this rule beside those that are usual.
    pub(crate) fn of(issuer: &FakeIssuer, tables: &str, rule: &str) -> Self {
        Self::changed(issuer, tables, rule, |text| text)
    }

    /// The same, after `change` had a look at what `init` writes.
    pub(crate) fn changed(issuer: &FakeIssuer, tables: &str, rule: &str, change: impl Fn(String) -> String) -> Self {
        let served = Served::start(|folder| {
            corp::trust(folder, issuer);
            let config = folder.join("narrows.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, change(text) + tables).unwrap();
            let rules = r#"
@id("edge-updates") permit (principal == Workload::"edge", action == Action::"ticket:update", resource is Detail::Ticket);
@id("tasks") permit (principal == Workload::"edge", action == Action::"task", resource is Audience);
"#;
            std::fs::write(folder.join("policies/second.cedar"), rules.to_owned() + rule).unwrap();
        });
        Self {
            doors: doors_of(&served.log(), "guard"),
            served,
            alice: corp::token(issuer, "tickets.full", "support", 600),
        }
    }

    fn door(&self) -> SocketAddr {
        self.doors[0]
    }

    /// A token of alice for the tickets, as a header.
    pub(crate) fn bearer(&self, details: &[&str]) -> String {
        as_header(&exchanged(self.served.path(), &self.alice, TICKETS, details, &[]))
    }
}

/// What the edge gets for `token`.
pub(crate) fn exchanged(folder: &Path, token: &str, audience: &str, details: &[&str], more: &[&str]) -> String {
    let mut asked = vec!["exchange", "--client", "edge", "--key", "edge.key", "--audience", audience];
    asked.extend(details.iter().flat_map(|detail| ["--details", detail]));
    asked.extend(more);
    let ran = narrows(folder, &asked, token);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.out.trim().to_owned()
}

pub(crate) fn as_header(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

pub(crate) fn get(door: SocketAddr, target: &str, headers: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n{headers}\r\n");
    echo::ask(door, &request)
}

/// Status and reason.
pub(crate) fn told(reply: &str) -> (u16, String) {
    let reason = problem(reply)["reason"].as_str().unwrap_or_default().to_owned();
    (status(reply), reason)
}

/// Asks until the answer has this status, and gives its reason.
pub(crate) fn until(what: &str, expected: u16, ask: impl Fn() -> String) -> String {
    let mut reason = String::new();
    poll(what, || {
        let reply = ask();
        reason = told(&reply).1;
        (status(&reply) == expected).then_some(()).ok_or(reply)
    });
    reason
}

/// The record of this decision, as `why` has it, once it is there.
pub(crate) fn on_record(folder: &Path, id: &str) -> String {
    let mut record = String::new();
    poll("it is on record", || {
        let why = narrows(folder, &["why", id, "--json"], "");
        record.clone_from(&why.out);
        if why.code == 0 { Ok(()) } else { Err(why.err) }
    });
    record
}

/// Tries until it holds.
fn poll(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while let Err(why) = holds() {
        assert!(began.elapsed() < PATIENCE, "{what}: {why}");
        // The condition decides, not the pause: that only keeps the asking from being a load of its own.
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn revoke_alice(folder: &Path) {
    let revoked = narrows(folder, &["revoke", "--subject", "corp|alice"], "");
    assert_eq!(revoked.code, 0, "{revoked:?}");
}

fn set(folder: &Path, kind: &str, verb: &str, name: &str) {
    let ran = narrows(folder, &[kind, verb, name], "");
    assert_eq!(ran.code, 0, "{ran:?}");
}

/// At this door whoever is disabled is refused, with what they have open; once they are enabled, the same tokens pass again.
pub(crate) fn disabled_and_enabled(guarded: &Guarded, door: SocketAddr) {
    let folder = guarded.served.path();
    let (good, lists) = (guarded.bearer(&["ticket:read/42"]), guarded.bearer(&["ticket:list"]));
    let ask = || get(door, "/tickets/42", &good);
    for (kind, name, reason) in [
        ("subject", "corp|alice", "subject_disabled"),
        ("client", "edge", "subject_token_revoked"),
    ] {
        until("it is let through", 200, ask);
        let mut stream = echo::open(door, &format!("GET /stream HTTP/1.1\r\nhost: tickets.internal\r\n{lists}\r\n"));
        assert!(echo::until(&mut stream, "first").starts_with("HTTP/1.1 200"));
        set(folder, kind, "disable", name);
        assert_eq!(until("it is refused", 401, ask), reason);
        let mut rest = Vec::new();
        assert!(has_ended(std::io::Read::read_to_end(&mut stream, &mut rest)));
        set(folder, kind, "enable", name);
    }
    until("it is let through again", 200, ask);
    // What a token was made of is good for another, too: nothing was revoked.
    exchanged(folder, &guarded.alice, TICKETS, &["ticket:read/42"], &[]);
}

#[test]
fn whoever_is_disabled_is_refused_with_all_that_is_open_until_enabled() {
    let guarded = Guarded::with(&["forward = \"identity\""]);
    disabled_and_enabled(&guarded, guarded.door());
}

#[test]
fn a_token_is_good_for_its_own_request_and_for_no_other() {
    let guarded = Guarded::with(&["forward = \"identity\""]);
    let folder = guarded.served.path();
    let good = guarded.bearer(&["ticket:read/42"]);
    let both = guarded.bearer(&["ticket:read/42", "ticket:read/43"]);
    let more_actions = guarded.bearer(&["ticket:read,update/42"]);
    let elsewhere = as_header(&exchanged(folder, &guarded.alice, NOTES, &["ticket:read/42"], &[]));
    let rows = [
        ("/tickets/42", good.clone(), 200, ""),
        ("/tickets/42?full=1", good.clone(), 200, ""),
        ("/tickets/42", more_actions, 200, ""),
        ("/healthz", good.clone(), 200, ""),
        ("/healthz", String::new(), 200, ""),
        ("/tickets/42", String::new(), 401, "no_token"),
        ("/tickets/42", as_header("x.y.z"), 401, "subject_token_invalid"),
        ("/tickets/42", as_header(&guarded.alice), 401, "subject_token_invalid"),
        ("/tickets/42", elsewhere, 401, "subject_token_not_for_client"),
        ("/tickets/43", good.clone(), 403, "wider_than_subject"),
        ("/tickets", good.clone(), 403, "wider_than_subject"),
        ("/tickets/42", both, 401, "overbroad_token"),
        ("/admin", good.clone(), 403, "no_route"),
        ("/tickets/42", good.replace("Bearer", "DPoP"), 401, "invalid_dpop_proof"),
        ("/tickets/42", "authorization: Basic YTpi\r\n".to_owned(), 400, "malformed_request"),
        ("/tickets/42", good.clone() + &good, 400, "malformed_request"),
        ("/tickets/42?access_token=x", good.clone(), 400, "malformed_request"),
        ("/tickets/%2e%2e", good.clone(), 400, "malformed_request"),
        ("//tickets/42", good.clone(), 400, "malformed_request"),
        ("/tickets/42", format!("{good}host: other.internal\r\n"), 400, "malformed_request"),
    ];
    for (target, headers, expected, reason) in rows {
        let reply = get(guarded.door(), target, &headers);
        assert_eq!(told(&reply), (expected, reason.to_owned()), "{target} {headers}: {reply}");
        let challenge = header(&reply, "www-authenticate");
        let error = match (expected, reason) {
            (401, "no_token") => Some("Bearer"),
            (401, _) => Some("Bearer error=\"invalid_token\""),
            (403, "wider_than_subject") => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        };
        assert_eq!(challenge.is_some(), error.is_some(), "{target} {headers}: {reply}");
        assert!(
            challenge.zip(error).is_none_or(|(challenge, error)| challenge.starts_with(error)),
            "{reply}"
        );
        if expected != 200 {
            let problem = problem(&reply);
            let id = problem["decision_id"].as_str().unwrap();
            assert!(
                problem["help"].as_str().unwrap().ends_with(&format!("narrows why {id}")),
                "{problem}"
            );
            assert_eq!(header(&reply, "cache-control"), Some("no-store"));
            let is_of_proofs = problem["detail"].as_str().unwrap().starts_with("proofs of keys are not taken");
            assert_eq!(is_of_proofs, reason == "invalid_dpop_proof", "{problem}");
            assert!(!reply.contains("eyJ"), "no word of a token: {reply}");
        }
    }
    let page = get(guarded.door(), "/tickets/42", "accept: text/html\r\n");
    assert_eq!(header(&page, "content-type"), Some("text/html; charset=utf-8"), "{page}");
}

#[test]
fn a_token_that_is_over_or_revoked_or_whose_task_has_ended_opens_nothing() {
    let guarded = Guarded::with(&["forward = \"identity\""]);
    let (door, folder) = (guarded.door(), guarded.served.path());
    let ask = |headers: &str| get(door, "/tickets/42", headers);
    let short = as_header(&exchanged(
        folder,
        &guarded.alice,
        TICKETS,
        &["ticket:read/42"],
        &["--expires-in", "3"],
    ));
    assert_eq!(status(&ask(&short)), 200);
    assert_eq!(until("it ends", 401, || ask(&short)), "subject_token_expired");

    // Of a task: good while it is open, and for what it was redeemed for.
    let started = [
        "task",
        "start",
        "--client",
        "edge",
        "--key",
        "edge.key",
        "--audience",
        TICKETS,
        "--details",
        "ticket:read/7",
        "--details",
        "ticket:read/42",
        "--json",
    ];
    let started = narrows(folder, &started, &guarded.alice);
    let task: Value = serde_json::from_str(&started.out).unwrap_or_else(|_| panic!("{started:?}"));
    let (token, id) = (task["access_token"].as_str().unwrap(), task["task_id"].as_str().unwrap());
    let redeemed = |details: &str| as_header(&exchanged(folder, token, TICKETS, &[details], &["--subject-token-type", "task"]));
    let (own, other) = (redeemed("ticket:read/42"), redeemed("ticket:read/7"));
    let reply = ask(&own);
    assert_eq!(header(body(&reply), "narrows-task"), Some(id), "{reply}");
    assert_eq!(told(&ask(&other)), (403, "wider_than_subject".to_owned()));
    let ended = narrows(folder, &["task", "complete", id], token);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(until("the task ends", 401, || ask(&own)), "subject_token_revoked");

    let good = guarded.bearer(&["ticket:read/42"]);
    assert_eq!(status(&ask(&good)), 200);
    revoke_alice(folder);
    assert_eq!(until("it is revoked", 401, || ask(&good)), "subject_token_revoked");
}

/// What was used is handed over before the process ends, and its report knows of it afterwards.
#[test]
fn what_a_guard_lets_through_is_in_the_report_of_what_is_unused() {
    let mut guarded = Guarded::with(&["forward = \"identity\""]);
    let auditor = narrows(
        guarded.served.path(),
        &["operator", "add", "ann", "--role", "auditor", "--json"],
        "",
    )
    .out;
    let auditor: Value = serde_json::from_str(&auditor).unwrap();
    let good = guarded.bearer(&["ticket:read,update/42"]);
    for _ in 0..20 {
        assert_eq!(status(&get(guarded.door(), "/tickets/42", &good)), 200);
    }
    guarded.served.restart();
    let url = format!("http://{}", guarded.served.address);
    let report = narrows(
        guarded.served.path(),
        &["report", "unused", "--url", &url, "--json"],
        auditor["token"].as_str().unwrap(),
    );
    let report: Value = serde_json::from_str(&report.out).unwrap_or_else(|_| panic!("{report:?}"));
    let item = &report["items"][0];
    assert_eq!((&item["client"], &item["requests"]), (&"edge".into(), &20.into()), "{report:#}");
    assert_eq!(item["routes"][0]["route"], "GET /tickets/{id}");
    let unused = json!({ "name": "ticket:update", "granted": 1, "used": 0 });
    assert!(item["actions"].as_array().unwrap().contains(&unused), "{report:#}");
}

/// What is refused is on record at once, with the token beside the request.
#[test]
fn what_a_guard_refuses_is_on_record_as_its_own() {
    let guarded = Guarded::with(&["forward = \"identity\""]);
    let (door, folder) = (guarded.door(), guarded.served.path());
    let both = guarded.bearer(&["ticket:read/42", "ticket:read/43"]);
    for (headers, reason) in [(both, "overbroad_token"), (String::new(), "no_token")] {
        let reply = get(door, "/tickets/42", &headers);
        assert_eq!(told(&reply), (401, reason.to_owned()));
        let id = problem(&reply)["decision_id"].as_str().unwrap().to_owned();
        let why = on_record(folder, &id);
        for part in ["\"guard\"", "tickets-guard", "\"/tickets/42\"", reason] {
            assert!(why.contains(part), "{part}: {why}");
        }
        let said = ["ticket:read/43", "alice", "\"actor\"", "\"chain\"", "\"authorization_details\""];
        let compared = said.iter().all(|part| why.contains(part));
        assert_eq!(compared, reason == "overbroad_token", "{why}");
    }
}

/// What is wrong with a request that could not be read is on record in words of the program, and nothing of the request.
#[test]
fn a_malformed_request_is_on_record_with_its_cause_and_without_a_word_of_it() {
    let guarded = Guarded::with(&[""]);
    let (door, folder) = (guarded.door(), guarded.served.path());
    let twice = "authorization: Bearer a-first-secret\r\nauthorization: Bearer another-secret\r\n";
    let rows = [
        ("/tickets//a-first-secret", "", "the path holds an empty segment"),
        ("/tickets/42", twice, "there is more than one credential"),
        (
            "/tickets/42?access_token=a-first-secret",
            "",
            "a token stands in Authorization alone",
        ),
        ("/healthz?_method=another-secret", "", "the query names another method"),
    ];
    for (target, headers, cause) in rows {
        let reply = get(door, target, headers);
        assert_eq!(told(&reply), (400, "malformed_request".to_owned()), "{target}");
        let id = problem(&reply)["decision_id"].as_str().unwrap().to_owned();
        let record: Value = serde_json::from_str(&on_record(folder, &id)).unwrap();
        assert!(record["inputs"]["cause"].as_str().unwrap().contains(cause), "{record}");
        assert!(!record.to_string().contains("secret"), "{record}");
        let story = narrows(folder, &["why", &id], "").out;
        assert!(
            story.contains("\ncause        ") && story.contains("narrows explain METHOD URL"),
            "{story}"
        );
    }
}

#[test]
fn a_token_for_one_request_is_taken_once_and_a_refused_request_does_not_use_it_up() {
    let tables = behind(&format!("http://{}", echo::start())) + &guard("forward = \"identity\"") + &guard("forward = \"nothing\"");
    let guarded = Guarded::changed(&corp::issuer(), &tables, "", |text| {
        text.replace("max_lifetime = \"2m\"", "max_lifetime = \"2m\"\nsingle_use = true")
    });
    let good = guarded.bearer(&["ticket:read/42"]);
    let ask = |door: usize, target: &str| told(&get(guarded.doors[door], target, &good));
    assert_eq!(ask(0, "/tickets/43"), (403, "wider_than_subject".to_owned()));
    assert_eq!(ask(1, "/tickets/42"), (200, String::new()));
    assert_eq!(ask(0, "/tickets/42"), (401, "token_used".to_owned()), "at another guard too");
    assert_eq!(ask(1, "/tickets/42"), (401, "token_used".to_owned()));
    // Its record is the broker's, and says which request that was.
    let reply = get(guarded.doors[0], "/tickets/42", &good);
    let why = on_record(guarded.served.path(), problem(&reply)["decision_id"].as_str().unwrap());
    for part in ["token_used", "POST /v1/uses", "/tickets/42", "127.0.0.1", "alice"] {
        assert!(why.contains(part), "{part}: {why}");
    }
}

/// What the audience asks for from now on holds for tokens from before, at a guard that is told of it with a file of its own too.
#[test]
fn a_token_from_before_is_for_one_request_once_its_audience_says_so() {
    let guarded = Guarded::with(&[""]);
    let config = guarded.served.path().join("narrows.toml");
    let good = guarded.bearer(&["ticket:read/42"]);
    let ask = || told(&get(guarded.door(), "/tickets/42", &good));
    assert_eq!([ask(), ask()], [(200, String::new()), (200, String::new())]);
    let before = guarded.served.ready()["config_version"].clone();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("max_lifetime = \"2m\"", "max_lifetime = \"2m\"\nsingle_use = true"),
    )
    .unwrap();
    guarded.served.until("it is read", |ready| ready["config_version"] != before);
    assert_eq!([ask(), ask()], [(200, String::new()), (401, "token_used".to_owned())]);
}

#[test]
fn an_opaque_token_is_asked_about_and_ends_as_others_do() {
    let tables = behind(&format!("http://{}", echo::start())) + &guard("forward = \"identity\"");
    let guarded = Guarded::changed(&corp::issuer(), &tables, "", |text| {
        text.replace("max_lifetime = \"2m\"", "max_lifetime = \"2m\"\ntoken = \"opaque\"")
    });
    let (door, folder) = (guarded.door(), guarded.served.path());
    let good = guarded.bearer(&["ticket:read/42"]);
    assert!(good.contains("nrwa_"), "{good}");
    let reply = get(door, "/tickets/42", &good);
    assert_eq!(
        (status(&reply), header(body(&reply), "narrows-subject")),
        (200, Some("alice")),
        "{reply}"
    );
    assert_eq!(told(&get(door, "/tickets/43", &good)), (403, "wider_than_subject".to_owned()));
    revoke_alice(folder);
    until("it is revoked", 401, || get(door, "/tickets/42", &good));
}

/// The broker is asked what policy says now.
#[test]
fn with_recheck_each_policy_is_asked_again() {
    let guarded = Guarded::with(&["recheck = \"each\"", ""]);
    let good = guarded.bearer(&["ticket:read/42"]);
    let ask = |door: usize| get(guarded.doors[door], "/tickets/42", &good);
    assert_eq!((status(&ask(0)), status(&ask(1))), (200, 200));
    let rules = guarded.served.path().join("policies/first.cedar");
    std::fs::write(&rules, "@id(\"nothing\") forbid (principal, action, resource);").unwrap();
    until("policy is read", 403, || ask(0));
    let reply = ask(0);
    assert_eq!(told(&reply).1, "policy_denied", "{reply}");
    assert!(on_record(guarded.served.path(), problem(&reply)["decision_id"].as_str().unwrap()).contains("\"guard\""));
    assert_eq!(status(&ask(1)), 200, "who does not ask is not told");
}

/// S6: what the backend knows of the caller, the guard alone says.
#[test]
fn a_backend_gets_to_know_what_it_is_to_know_and_nothing_that_a_client_says() {
    let guarded = Guarded::with(&["forward = \"identity\"", "forward = \"token\"", "forward = \"nothing\"", ""]);
    let spoofed = "narrows-subject: eve\r\nnarrows-subject: eve\r\nnarrows_subject: eve\r\nnarrows.actor: eve\r\nNarrows-Task: eve\r\n\
                   narrows-roles: eve\r\nx-forwarded-for: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\nx-real-ip: 6.6.6.6\r\ntxn-token: eve\r\n\
                   dpop: eve\r\nx-http-method-override: DELETE\r\nx-own: stays\r\n";
    let good = guarded.bearer(&["ticket:read/42"]);
    let token = good.trim_start_matches("authorization: Bearer ").trim();
    let named = ["narrows-subject", "narrows-issuer", "narrows-actor", "narrows-task"];
    let lines = |seen: &str, name: &str| seen.lines().filter(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:"))).count();
    for (at, door) in guarded.doors.iter().enumerate() {
        let reply = get(*door, "/tickets/42", &(good.clone() + spoofed));
        assert_eq!(status(&reply), 200, "{reply}");
        let seen = body(&reply);
        assert!(
            !seen.contains("eve") && !seen.contains("6.6.6.6") && !seen.contains("DELETE"),
            "{seen}"
        );
        assert_eq!(
            (header(seen, "x-own"), header(seen, "host")),
            (Some("stays"), Some("tickets.internal"))
        );
        assert_eq!(
            (
                header(seen, "x-forwarded-for"),
                header(seen, "x-forwarded-proto"),
                header(seen, "x-forwarded-host")
            ),
            (Some("127.0.0.1"), Some("http"), Some("tickets.internal"))
        );
        assert_eq!(header(&reply, "narrows-subject"), None, "the backend says nothing in our name");
        let said = named.map(|name| (lines(seen, name), header(seen, name).map(str::to_owned)));
        let shown = header(seen, "authorization");
        match at {
            0 | 3 => {
                let expected = ["alice", "https://login.corp.example", "edge", ""];
                assert_eq!(said, expected.map(|value| (1, Some(value.to_owned()))), "{seen}");
                assert_eq!(shown, None, "{seen}");
            }
            1 => {
                assert_eq!(shown, Some(format!("Bearer {token}").as_str()), "{seen}");
                assert_eq!((lines(seen, "authorization"), lines(seen, "narrows-")), (1, 0), "{seen}");
            }
            _ => {
                assert_eq!(
                    (shown, seen.contains("narrows-"), seen.contains(token)),
                    (None, false, false),
                    "{seen}"
                );
            }
        }
        // Where no token is needed nobody is named, whoever came.
        let public = get(*door, "/healthz", &(good.clone() + spoofed));
        let seen = body(&public);
        assert_eq!(status(&public), 200, "{public}");
        assert!(
            !seen.to_ascii_lowercase().contains("narrows-") && header(seen, "authorization").is_none(),
            "{seen}"
        );
    }
}

#[test]
fn what_a_route_reads_of_a_body_is_what_is_checked_and_what_goes_on() {
    let guarded = Guarded::with(&["excess = \"none\""]);
    let patch = |body: &str, headers: &str| {
        let head = format!(
            "host: tickets.internal\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        );
        echo::ask(guarded.door(), &format!("PATCH /tickets/42 HTTP/1.1\r\n{head}{headers}\r\n{body}"))
    };
    let closes = guarded.bearer(&["ticket:update/42?fields=status"]);
    let reply = patch(r#"{ "status":"closed" }"#, &closes);
    assert!(
        status(&reply) == 200 && reply.ends_with("\r\n\r\n{ \"status\":\"closed\" }"),
        "byte for byte: {reply}"
    );
    let anything = guarded.bearer(&["ticket:update/42?fields=owner,status"]);
    for (sent, headers, expected, reason) in [
        (r#"{"owner":1}"#.to_owned(), &closes, 403, "wider_than_subject"),
        (r#"{"owner":1,"status":2}"#.to_owned(), &closes, 403, "wider_than_subject"),
        (r#"{"status":1}"#.to_owned(), &anything, 401, "overbroad_token"),
        ("{".to_owned(), &closes, 400, "malformed_request"),
        (format!(r#"{{"a":"{}"}}"#, "x".repeat(2000)), &closes, 413, "too_large"),
        (r#"{"status":1}"#.to_owned(), &String::new(), 401, "no_token"),
    ] {
        assert_eq!(told(&patch(&sent, headers)), (expected, reason.to_owned()), "{sent} {headers}");
    }
    // A form may hold another token, whether a route reads it or not.
    let read = guarded.bearer(&["ticket:read/42"]);
    let form = |sent: &str| posted(guarded.door(), "/tickets/42", &read, sent);
    assert_eq!(told(&form("access_token=x")), (400, "malformed_request".to_owned()));
    assert_eq!(status(&form("note=x")), 200);
}

/// A form to `target`.
fn posted(door: SocketAddr, target: &str, headers: &str, sent: &str) -> String {
    let length = format!("content-length: {}\r\n", sent.len());
    let head = format!("host: tickets.internal\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n{length}");
    echo::ask(door, &format!("GET {target} HTTP/1.1\r\n{head}{headers}\r\n{sent}"))
}

/// At a route that needs no token as at every other, whoever comes.
#[test]
fn a_form_to_a_public_route_holds_no_token() {
    let guarded = Guarded::with(&[""]);
    let good = guarded.bearer(&["ticket:read/42"]);
    let secret = good.trim().rsplit('.').next().unwrap();
    let (first, rest) = secret.split_at(1);
    let coded = format!("%{:02x}{rest}", first.as_bytes()[0]);
    for (headers, sent, expected) in [
        ("", "access_token=x", 400),
        (&good, "access_token=x", 400),
        (&good, &format!("a={secret}"), 400),
        (&good, &format!("a={coded}"), 400),
        (&good, "a=x", 200),
        ("", "a=x", 200),
    ] {
        let reply = posted(guarded.door(), "/healthz", headers, sent);
        assert_eq!(status(&reply), expected, "{sent} {headers}");
        if expected == 400 {
            assert_eq!(told(&reply).1, "malformed_request");
        } else {
            assert!(reply.ends_with(sent), "byte for byte: {reply}");
        }
    }
    let large = posted(guarded.door(), "/healthz", "", &format!("a={}", "x".repeat(1 << 20)));
    assert_eq!(told(&large), (413, "too_large".to_owned()));
}

#[test]
fn of_a_body_that_nobody_reads_no_more_goes_on_than_its_route_says() {
    let guarded = Guarded::with(&[""]);
    let good = guarded.bearer(&["ticket:list"]);
    for (length, expected, reason) in [(1024, 200, ""), (1025, 413, "too_large")] {
        let head = format!("PUT /notes HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\ncontent-length: {length}\r\n{good}\r\n");
        let reply = echo::ask(guarded.door(), &(head + &"x".repeat(length)));
        assert_eq!(told(&reply), (expected, reason.to_owned()), "{length}: {reply}");
    }
}

/// What may go on as `Authorization` may stand nowhere else, whatever a backend gets to know.
#[test]
fn the_callers_token_goes_to_no_backend_in_a_body() {
    let guarded = Guarded::with(&["forward = \"identity\"", "forward = \"token\""]);
    let good = guarded.bearer(&["ticket:list"]);
    let secret = good.trim().rsplit('.').next().unwrap();
    for door in &guarded.doors {
        let put = |sent: &str| {
            let length = sent.len();
            let head =
                format!("PUT /notes HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\ncontent-length: {length}\r\n{good}\r\n");
            told(&echo::ask(*door, &(head + sent)))
        };
        assert_eq!(put(&format!("{{\"t\":\"{secret}\"}}")), (400, "malformed_request".to_owned()));
        assert_eq!(put(secret.split_at(1).1).0, 200, "no token is in that");
    }
}

/// GWY-016: unlike a header, what a query or a form says cannot be taken off. Also where no token is needed.
#[test]
fn a_request_that_names_another_method_in_its_query_or_form_goes_nowhere() {
    let guarded = Guarded::with(&[""]);
    let list = guarded.bearer(&["ticket:list"]);
    let (fields, parts) = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x");
    let named = "--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--x--\r\n";
    let page = named.replace("_method", "page");
    for (line, headers) in [("GET /healthz", ""), ("PUT /notes", list.as_str())] {
        for (query, kind, sent, expected) in [
            ("?_method=DELETE", "text/plain", "", 400),
            ("?method=DELETE", "text/plain", "", 200),
            ("", fields, "a=b&_method=DELETE", 400),
            ("", fields, "a=b&method=DELETE", 200),
            ("", parts, named, 400),
            ("", parts, page.as_str(), 200),
        ] {
            let length = sent.len();
            let head = format!("host: tickets.internal\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n");
            let reply = echo::ask(guarded.door(), &format!("{line}{query} HTTP/1.1\r\n{head}{headers}\r\n{sent}"));
            assert_eq!(status(&reply), expected, "{line} {query} {sent}: {reply}");
            if expected == 400 {
                assert_eq!(told(&reply).1, "malformed_request");
            }
        }
    }
}

/// Whoever shows nothing is told so before anything of the body has come.
#[test]
fn nobodys_body_is_waited_for_who_shows_no_token() {
    let guarded = Guarded::with(&[""]);
    let head = "PATCH /tickets/42 HTTP/1.1\r\nhost: tickets.internal\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    let mut stream = echo::open(guarded.door(), head);
    let reply = echo::until(&mut stream, "decision_id");
    assert!(status(&reply) == 401 && reply.contains("no_token"), "{reply}");
}

/// Strangers take none of the room for bodies, however many come at a time.
#[test]
fn nobodys_body_is_waited_for_whose_token_is_none_of_ours_for_here() {
    let guarded = Guarded::with(&[""]);
    let elsewhere = as_header(&exchanged(guarded.served.path(), &guarded.alice, NOTES, &["ticket:update/42"], &[]));
    for (shown, reason) in [
        ("authorization: Bearer junk\r\n", "subject_token_invalid"),
        (&elsewhere, "subject_token_not_for_client"),
    ] {
        let length = "content-type: application/json\r\ncontent-length: 900\r\n";
        let mut stream = echo::open(
            guarded.door(),
            &format!("PATCH /tickets/42 HTTP/1.1\r\nhost: tickets.internal\r\n{length}{shown}\r\n{{"),
        );
        let reply = echo::until(&mut stream, reason);
        assert_eq!(status(&reply), 401, "{reply}");
    }
}

#[test]
fn streams_and_sockets_end_when_their_token_does() {
    let guarded = Guarded::with(&["forward = \"token\""]);
    let (door, folder) = (guarded.door(), guarded.served.path());
    let open = |line: &str, headers: &str| echo::open(door, &format!("{line} HTTP/1.1\r\nhost: tickets.internal\r\n{headers}\r\n"));
    let short = as_header(&exchanged(
        folder,
        &guarded.alice,
        TICKETS,
        &["ticket:list"],
        &["--expires-in", "5"],
    ));
    let good = guarded.bearer(&["ticket:list"]);
    let mut ends = open("GET /stream", &short);
    let mut stream = open("GET /stream", &good);
    let mut socket = open("GET /socket", &format!("connection: Upgrade\r\nupgrade: websocket\r\n{good}"));
    for stream in [&mut ends, &mut stream] {
        assert!(echo::until(stream, "first").starts_with("HTTP/1.1 200"));
    }
    assert!(echo::until(&mut socket, "\r\n\r\n").starts_with("HTTP/1.1 101"));
    socket.write_all(b"to and fro").unwrap();
    assert!(echo::until(&mut socket, "to and fro").ends_with("to and fro"));
    let cut = |stream: &mut std::net::TcpStream| {
        let mut rest = Vec::new();
        assert!(has_ended(stream.read_to_end(&mut rest)));
        assert!(
            !String::from_utf8_lossy(&rest).contains("0\r\n\r\n"),
            "it was cut, and does not look whole"
        );
    };
    cut(&mut ends);
    revoke_alice(folder);
    cut(&mut stream);
    cut(&mut socket);
}

/// GWY-034, of an answer that did not begin: whatever the backend says later is for nobody.
#[test]
fn a_request_that_is_not_answered_before_its_token_ends_is_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let guarded = Guarded::before(&format!("http://{}", listener.local_addr().unwrap()), &["forward = \"identity\""]);
    let folder = guarded.served.path();
    let details = ["ticket:read/42"];
    let short = as_header(&exchanged(folder, &guarded.alice, TICKETS, &details, &["--expires-in", "5"]));
    for (headers, is_revoked, reason) in [
        (short, false, "subject_token_expired"),
        (guarded.bearer(&details), true, "subject_token_revoked"),
    ] {
        let head = format!("GET /tickets/42 HTTP/1.1\r\nhost: tickets.internal\r\n{headers}\r\n");
        let mut caller = echo::open(guarded.door(), &head);
        let (mut backend, _) = listener.accept().unwrap();
        backend.set_read_timeout(Some(PATIENCE)).unwrap();
        echo::until(&mut backend, "\r\n\r\n");
        if is_revoked {
            revoke_alice(folder);
        }
        assert!(has_ended(backend.read_to_end(&mut Vec::new())), "while the caller still waits");
        let reply = echo::until(&mut caller, "}");
        assert_eq!(told(&reply), (401, reason.to_owned()));
        let record = on_record(folder, problem(&reply)["decision_id"].as_str().unwrap());
        let says = ["\"guard\"", "\"/tickets/42\"", "alice", reason];
        assert!(says.iter().all(|part| record.contains(part)), "{record}");
    }
}

/// A socket of this machine is as near as loopback, and what its door lets in comes from the guard.
#[test]
fn a_backend_may_be_a_socket_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("a b.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let guarded = Guarded::before(&format!("unix:{}", socket.display()), &["forward = \"identity\""]);
    let backend = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        while !seen.ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
        String::from_utf8(seen).unwrap()
    });
    let reply = get(guarded.door(), "/tickets/42", &guarded.bearer(&["ticket:read/42"]));
    assert_eq!(status(&reply), 204, "{reply}");
    let seen = backend.join().unwrap();
    assert_eq!(
        (header(&seen, "host"), header(&seen, "narrows-subject")),
        (Some("tickets.internal"), Some("alice")),
        "{seen}"
    );
}

/// Until its day a guard lets everything through as it came.
#[test]
fn what_a_guard_observes_goes_on_exactly_as_it_came() {
    let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap().to_string();
    let guarded = Guarded::with(&[&format!("mode = \"observe\"\nobserve_until = \"{until}\"")]);
    let door = guarded.door();
    let good = guarded.bearer(&["ticket:read/42"]);
    for (target, headers) in [
        ("/tickets/42", good.clone()),
        ("/tickets/42", String::new()),
        ("/tickets/43", good.clone()),
        ("/tickets/42", as_header("x.y.z")),
        ("/admin", "authorization: Basic YTpi\r\n".to_owned()),
        (
            "/tickets/42",
            good.clone() + "narrows-subject: bob\r\nx-http-method-override: PUT\r\n",
        ),
        ("//tickets/%2e%2e", good),
    ] {
        let reply = get(door, target, &headers);
        assert_eq!(status(&reply), 200, "{target} {headers}: {reply}");
        let seen = body(&reply);
        assert!(seen.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{seen}");
        assert!(
            seen.ends_with(&format!("{headers}\r\n")) || headers.lines().all(|line| seen.contains(line)),
            "{headers}: {seen}"
        );
        assert!(!seen.contains("x-forwarded-for"), "{seen}");
    }
    let ready = guarded.served.ready();
    assert_eq!(ready["observing"][0]["boundary"], json!("guard tickets"), "{ready}");
}

#[test]
fn guards_of_one_service_are_told_apart_where_they_observe() {
    let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap().to_string();
    let observes = guard(&format!("mode = \"observe\"\nobserve_until = \"{until}\""));
    let tables = behind("http://127.0.0.1:9001") + &observes + &observes.replace("127.0.0.1:0", "127.0.0.2:0");
    let guarded = Guarded::of(&corp::issuer(), &tables, "");
    let (ready, metrics) = (guarded.served.ready(), guarded.served.get("/metrics"));
    for (at, listen) in ["127.0.0.1:0", "127.0.0.2:0"].iter().enumerate() {
        let part = &ready["observing"][at];
        assert_eq!(
            (&part["boundary"], &part["listen"]),
            (&json!("guard tickets"), &json!(listen)),
            "{ready}"
        );
        let line = format!("narrows_observing{{boundary=\"guard tickets\",listen=\"{listen}\"}} 1\n");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[test]
fn what_policy_would_refuse_of_what_is_observed_is_on_record_as_such() {
    let until_then = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap().to_string();
    let observes = format!("recheck = \"each\"\nmode = \"observe\"\nobserve_until = \"{until_then}\"");
    let guarded = Guarded::with(&["recheck = \"each\"", &observes]);
    let folder = guarded.served.path();
    let good = guarded.bearer(&["ticket:read/42"]);
    let ask = |door: usize| get(guarded.doors[door], "/tickets/42", &good);
    std::fs::write(
        folder.join("policies/first.cedar"),
        "@id(\"nothing\") forbid (principal, action, resource);",
    )
    .unwrap();
    until("policy is read", 403, || ask(0));
    assert_eq!(status(&ask(1)), 200);
    let auditor = narrows(folder, &["operator", "add", "ann", "--role", "auditor", "--json"], "").out;
    let auditor: Value = serde_json::from_str(&auditor).unwrap();
    let url = format!("http://{}", guarded.served.address);
    poll("it is in the report", || {
        let report = narrows(
            folder,
            &["report", "observed", "--url", &url, "--json"],
            auditor["token"].as_str().unwrap(),
        );
        let is_there = report.out.contains("policy_denied") && report.out.contains("tickets.internal");
        if is_there { Ok(()) } else { Err(report.out + &report.err) }
    });
}

/// Beside a route that enforces, nothing goes on that says another thing than its line.
#[test]
fn beside_what_enforces_a_request_that_may_mean_it_is_not_observed() {
    let until = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap().to_string();
    let tables = behind(&format!("http://{}", echo::start())).replace(
        "\"GET /tickets\"        = \"ticket:list\"",
        "\"GET /tickets\"        = { detail = \"ticket:list\", mode = \"observe\" }",
    );
    let guarded = Guarded::of(&corp::issuer(), &(tables + &guard(&format!("observe_until = \"{until}\""))), "");
    for (target, headers, expected) in [
        ("/tickets", "", 200),
        ("/tickets/42", "", 401),
        ("/tickets", "x-http-method-override: PATCH\r\n", 401),
        ("/tickets", "narrows-subject: bob\r\n", 401),
        ("/tickets?_method=PATCH", "", 401),
        ("/admin", "", 403),
    ] {
        assert_eq!(status(&get(guarded.door(), target, headers)), expected, "{target} {headers}");
    }
    for (kind, form, expected) in [
        ("application/x-www-form-urlencoded", "a=b", 200),
        ("application/x-www-form-urlencoded", "a=b&_method=PATCH", 400),
        (
            "multipart/form-data; boundary=b",
            "--b\r\ncontent-disposition: form-data; name=\"_method\"\r\n\r\nPATCH\r\n--b--\r\n",
            400,
        ),
    ] {
        let typed = format!("content-type: {kind}\r\ncontent-length: {}\r\n\r\n{form}", form.len());
        let request = format!("GET /tickets HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n{typed}");
        let reply = echo::ask(guarded.door(), &request);
        assert_eq!(status(&reply), expected, "{form}: {reply}");
    }
}

/// Whoever asked is told where to look, of no boundary, and of no decision: there is none.
#[test]
fn a_backend_that_is_away_is_told_apart_from_a_refusal() {
    // Nobody listens there.
    let guarded = Guarded::before("http://127.0.0.1:9", &[""]);
    let reply = get(guarded.door(), "/healthz", "");
    assert_eq!(told(&reply), (502, "upstream_unavailable".to_owned()), "{reply}");
    let problem = problem(&reply);
    assert_eq!(problem["detail"], json!("the service did not answer"));
    assert!(
        problem["help"].as_str().unwrap().contains("the log of the boundary or guard"),
        "{problem}"
    );
    assert!(problem.get("decision_id").is_none(), "{problem}");
}

#[test]
fn a_guard_that_would_hand_on_a_used_token_or_observe_for_ever_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let once = text.replace("max_lifetime = \"2m\"", "max_lifetime = \"2m\"\nsingle_use = true");
    let tables = behind("http://127.0.0.1:9001");
    let observes = tables.replacen("= \"ticket:list\"", "= { detail = \"ticket:list\", mode = \"observe\" }", 1);
    for (text, expected) in [
        (
            once + &tables + &guard("forward = \"token\""),
            "guards[0].forward: a token for `https://tickets.internal` is good for one request",
        ),
        (
            text + &observes + &guard(""),
            "services[0].routes.GET /tickets.mode: observes until the `observe_until`",
        ),
    ] {
        std::fs::write(&config, text).unwrap();
        let ran = narrows(folder.path(), &["check"], "");
        assert!(ran.code == 1 && ran.out.contains(expected), "{expected}: {ran:?}");
    }
}

#[test]
fn a_changed_guard_is_in_force_without_a_restart_and_its_address_cannot_change() {
    let guarded = Guarded::with(&["forward = \"nothing\""]);
    let (door, config) = (guarded.door(), guarded.served.path().join("narrows.toml"));
    let both = guarded.bearer(&["ticket:read/42", "ticket:read/43"]);
    let ask = || get(door, "/tickets/42", &both);
    assert_eq!(told(&ask()), (401, "overbroad_token".to_owned()));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("forward = \"nothing\"", "forward = \"identity\"\nexcess = \"any\""),
    )
    .unwrap();
    until("it is read", 200, ask);
    let reply = ask();
    assert_eq!(header(body(&reply), "narrows-subject"), Some("alice"), "{reply}");
    std::fs::write(&config, text.replace("127.0.0.1:0", "127.0.0.2:0")).unwrap();
    let refused = guarded.served.until("it is refused", |ready| ready["refused_change"].is_string());
    assert!(refused["refused_change"].as_str().unwrap().starts_with("guards: "), "{refused}");
}
