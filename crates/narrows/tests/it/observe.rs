//! A boundary that only observes, before a service that runs: nothing changes, what would be refused is on record, and what is
//! pasted from the report lets the honest through when it enforces.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::FakeIssuer;

use crate::served::Served;
use crate::{corp, echo};

/// A broker with a boundary before a backend that answers with the request as it came.
struct Edge {
    served: Served,
    proxy: SocketAddr,
    door: SocketAddr,
    token: String,
    other: String,
}

/// The day so many days from now.
fn day(ahead: i64) -> String {
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    today.saturating_add(jiff::Span::new().days(ahead)).to_string()
}

/// What the configuration says to observe for a month.
fn observe() -> String {
    format!("mode = \"observe\"\nobserve_until = \"{}\"\n", day(30))
}

impl Edge {
    /// With these keys of the service and of the boundary, and these routes beside the usual ones.
    fn start(service: &str, routes: &str, boundary: &str) -> Self {
        Self::of(&corp::issuer(), service, routes, boundary)
    }

    fn of(issuer: &FakeIssuer, service: &str, routes: &str, boundary: &str) -> Self {
        let backend = echo::start();
        let served = Served::start(|folder| {
            corp::trust(folder, issuer);
            let config = folder.join("narrows.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            let fronts = format!(
                r#"
[[services]]
name     = "tickets"
hosts    = ["tickets.internal"]
upstream = "http://{backend}"
audience = "https://tickets.internal"
{service}
[services.routes]
"GET /healthz"      = "public"
"GET /tickets/{{id}}" = "ticket:read/{{id}}"
{routes}

[[boundaries]]
name         = "front"
client       = "edge"
services     = "*"
origin       = "https://edge.example"
proxy        = "127.0.0.1:0"
forward_auth = "127.0.0.1:0"
login        = ["corp"]
{boundary}
"#
            );
            std::fs::write(&config, text + &fronts).unwrap();
        });
        Self {
            proxy: served.door("proxy"),
            door: served.door("forward_auth"),
            served,
            token: corp::token(issuer, "tickets.full", "support", 600),
            other: corp::token(issuer, "tickets.full", "sales", 600),
        }
    }

    /// What the backend saw of a raw request, and the status.
    fn sent(&self, request: &[u8]) -> (u16, String) {
        let mut stream = echo::open(self.proxy, "");
        stream.write_all(request).unwrap();
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        (status, reply.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
    }

    fn get(&self, target: &str, token: &str) -> u16 {
        let bearer = if token.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {token}\r\n")
        };
        self.sent(format!("GET {target} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n{bearer}\r\n").as_bytes())
            .0
    }

    /// The records of what was observed.
    fn observed(&self) -> Vec<Value> {
        let store = format!("sqlite:{}", self.served.path().join("narrows.db").display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let records = runtime.block_on(async {
            let store = broker::store::Store::open(&store.parse().unwrap()).await.unwrap();
            store.records(0, 10_000).await.unwrap()
        });
        let records = records.iter().map(|record| serde_json::from_str::<Value>(record).unwrap());
        records.filter(|record| record["effect"] == "observed").collect()
    }

    /// Looks at what was observed until it `holds`.
    fn until(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let observed = self.observed();
            if holds(&observed) {
                return observed;
            }
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{what}: {observed:?}\n{}",
                self.served.log()
            );
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}

/// A request as its lines, in the order of their names; those of headers in lower case, as HTTP/2 has them.
fn lines(request: &str) -> (String, Vec<String>, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
    let mut lines = head.split("\r\n").map(str::to_owned);
    let first = lines.next().unwrap_or_default();
    let lower = |line: String| line.split_once(':').map(|(name, value)| format!("{}:{value}", name.to_ascii_lowercase()));
    let mut headers: Vec<_> = lines.filter_map(lower).filter(|line| line != "connection: close").collect();
    headers.sort();
    (first, headers, body.to_owned())
}

const CLOSE: &str = "Host: tickets.internal\r\nConnection: close\r\n";

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

/// An enforcing service stays one behind a boundary that observes, however a request to it is written.
#[test]
fn the_most_specific_word_holds_and_nothing_slips_by_it() {
    let edge = Edge::start("mode = \"enforce\"", "", &observe());
    for target in ["/tickets/42", "//tickets/42", "/nowhere", "/tickets/42;x"] {
        assert_ne!(edge.get(target, ""), 200, "{target}");
    }
    assert_eq!(edge.get("/tickets/42", &edge.token), 200);
    assert!(edge.observed().is_empty());
    // What is nobody's has nowhere to go.
    let request = b"GET / HTTP/1.1\r\nhost: other.internal\r\nconnection: close\r\n\r\n";
    assert_eq!(edge.sent(request).0, 403);
}

#[test]
fn a_route_that_observes_does_so_alone_and_a_day_that_has_come_enforces() {
    let routes = "\"GET /exports/{id}\" = { detail = \"ticket:read/{id}\", mode = \"observe\" }";
    let edge = Edge::start(&format!("observe_until = \"{}\"", day(1)), routes, "");
    assert_eq!(edge.get("/exports/7", ""), 200);
    assert_eq!(edge.get("/tickets/42", ""), 401);
    assert_eq!(edge.get("/nowhere", ""), 403);
    let parts = edge.served.ready()["observing"].clone();
    assert_eq!(parts[0]["part"], "route GET /exports/{id} of tickets", "{parts}");

    let edge = Edge::start("", "", &format!("mode = \"observe\"\nobserve_until = \"{}\"", day(0)));
    assert_eq!(edge.get("/tickets/42", ""), 401);
    assert_eq!(edge.served.ready()["observing"], Value::Array(Vec::new()));
    let checked = crate::run::narrows(edge.served.path(), &["check", "--offline"], "");
    let told = checked.out + &checked.err;
    assert_eq!(checked.code, 0, "{told}");
    assert!(told.contains("has come, so it enforces"), "{told}");
}

/// What one message asks for, no other refuses.
#[test]
fn the_day_of_a_boundary_that_enforces_is_that_of_its_routes() {
    let routes = "\"GET /exports/{id}\" = { detail = \"ticket:read/{id}\", mode = \"observe\" }";
    let edge = Edge::start("", routes, &format!("observe_until = \"{}\"", day(1)));
    assert_eq!(edge.get("/exports/7", ""), 200);
    assert_eq!(edge.get("/tickets/42", ""), 401);
    let ready = edge.served.ready();
    assert_eq!(ready["observing"][0]["part"], "route GET /exports/{id} of tickets", "{ready}");
    let config = edge.served.path().join("narrows.toml");
    let check = |change: &dyn Fn(String) -> String| {
        let before = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, change(before.clone())).unwrap();
        let checked = crate::run::narrows(edge.served.path(), &["check", "--offline"], "");
        std::fs::write(&config, before).unwrap();
        (checked.code, checked.out + &checked.err)
    };
    let (code, told) = check(&|text| text.replace(&day(1), "2999-01-01"));
    assert!(code != 0 && told.contains("expected a day at most 90 days ahead"), "{told}");
    let (code, told) = check(&|text| text.replace(", mode = \"observe\"", ""));
    assert!(code != 0 && told.contains("says nothing without `mode = \"observe\"`"), "{told}");
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

impl Edge {
    /// The beginning of the next second, when it has come: what is alike in one second is counted together, and told with the time
    /// of the first.
    fn next_second() -> i64 {
        let now = || jiff::Timestamp::now().as_second();
        let before = now();
        while now() == before {
            std::thread::park_timeout(Duration::from_millis(10));
        }
        now() * 1000
    }

    /// The report, as somebody who may read it gets it.
    fn report(&self) -> Vec<Value> {
        let token = self.served.path().join("auditor.token");
        if !token.exists() {
            let added = crate::run::narrows(self.served.path(), &["operator", "add", "ann", "--role", "auditor", "--json"], "");
            let told: Value = serde_json::from_str(&added.out).unwrap();
            std::fs::write(&token, told["token"].as_str().unwrap()).unwrap();
        }
        let ran = crate::run::narrows(
            self.served.path(),
            &[
                "report",
                "observed",
                "--json",
                "--boundary",
                "front",
                "--token-file",
                "auditor.token",
            ],
            "",
        );
        assert_eq!(ran.code, 0, "{ran:?}");
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&report["complete"], &report["others"]), (&Value::from(true), &Value::from(0)));
        report["items"].as_array().unwrap().clone()
    }

    /// Changes a file of the installation, and waits until that is in force.
    fn change(&self, file: &str, change: impl FnOnce(String) -> String) {
        let version = |ready: &Value| (ready["policy_version"].clone(), ready["config_version"].clone());
        let before = version(&self.served.ready());
        let path = self.served.path().join(file);
        // Whole at once: one that is read while it is written is refused as half of one.
        let whole = path.with_extension("new");
        std::fs::write(&whole, change(std::fs::read_to_string(&path).unwrap_or_default())).unwrap();
        std::fs::rename(&whole, &path).unwrap();
        let after = self.served.until("the change is in force", |ready| {
            version(ready) != before || ready["refused_change"].is_string()
        });
        assert_eq!(after["refused_change"], Value::Null, "{}", std::fs::read_to_string(&path).unwrap());
        // The boundaries follow the broker; then the program says so.
        let (policy, config) = (after["policy_version"].as_str().unwrap(), after["config_version"].as_str().unwrap());
        let is_in_force = |line: &str| line.contains("\"in force\"") && line.contains(policy) && line.contains(config);
        self.served.until("the boundaries follow", |_| self.served.log().lines().any(is_in_force));
    }
}

/// The show: traffic that was recorded goes through unchanged while it is observed; what the report prints is pasted; enforced, all of
/// it passes with a token of its own, and nothing else does.
#[test]
fn a_service_is_taken_from_observe_to_enforce_by_what_the_report_prints() {
    let edge = Edge::start("", "", &observe());
    let (token, other) = (&edge.token, &edge.other);
    let with = |token: &str, line: &str, more: &str| format!("{line} HTTP/1.1\r\n{CLOSE}Authorization: Bearer {token}\r\n{more}");
    let update = "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"status\": \"closed\"}";
    let honest = [
        with(token, "GET /tickets?page=2", "\r\n"),
        with(token, "GET /tickets/42", "\r\n"),
        with(token, "GET /v2/tickets/7", "Accept: */*\r\n\r\n"),
        with(token, "PATCH /tickets/42", update),
    ];
    let hostile = [
        with(other, "GET /tickets/42", "\r\n"),
        with(token, "DELETE /tickets/42", "\r\n"),
        with(token, "GET /v2//tickets/7", "\r\n"),
        with(token, "GET /%61dmin", "\r\n"),
        format!("GET /tickets HTTP/1.1\r\n{CLOSE}\r\n"),
        format!("GET /tickets?access_token={token} HTTP/1.1\r\n{CLOSE}\r\n"),
    ];
    // 1. Nothing changes, for the honest or the others.
    for request in honest.iter().chain(&hostile) {
        let (status, seen) = edge.sent(request.as_bytes());
        assert_eq!((status, lines(&seen)), (200, lines(request)));
    }

    // 2. What was recorded is replayed until nothing of it would be refused; each time, what the report prints is pasted.
    let mut rounds = 0;
    loop {
        let began = Edge::next_second();
        for request in &honest {
            assert_eq!(edge.sent(request.as_bytes()).0, 200);
        }
        let news = |records: &[Value]| records.iter().filter(|record| record["time"].as_i64().unwrap() >= began).count();
        edge.until("the replay is decided on", |records| news(records) >= honest.len());
        let refused: Vec<_> = edge.report().into_iter().filter(|item| item["last_seen"].as_i64().unwrap() >= began).collect();
        if refused.is_empty() {
            break;
        }
        rounds += 1;
        assert!(rounds < 6, "{refused:?}");
        for item in refused {
            for paste in item["paste"].as_array().unwrap() {
                let (into, text) = (paste["into"].as_str().unwrap(), paste["text"].as_str().unwrap());
                if into.starts_with("[services.routes]") {
                    let table = "[services.routes]\n";
                    edge.change("narrows.toml", |config| config.replacen(table, &format!("{table}{text}\n"), 1));
                } else if into.starts_with("a file of") {
                    edge.change("policies/observed.cedar", |rules| format!("{rules}\n{text}\n"));
                } else {
                    edge.change("narrows.toml", |config| format!("{config}\n{text}\n"));
                }
            }
        }
    }
    assert!(rounds >= 2, "routes first, then permits for them");

    // 3. It enforces: the honest pass with a token for this very request, and nobody else.
    edge.change("narrows.toml", |config| config.replace(&observe(), ""));
    assert_eq!(edge.served.ready()["observing"], Value::Array(Vec::new()));
    for request in &honest {
        let (status, seen) = edge.sent(request.as_bytes());
        assert_eq!(status, 200, "{request}: {seen}");
        let (first, headers, body) = lines(&seen);
        let (sent, _, sent_body) = lines(request);
        assert_eq!((first, body), (sent, sent_body));
        let bearer = headers.iter().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
        let claims = crate::boundary::claims(bearer);
        assert_eq!(
            (&claims["aud"], &claims["act"]["sub"]),
            (&"https://tickets.internal".into(), &"edge".into())
        );
        assert_eq!(claims["authorization_details"].as_array().unwrap().len(), 1);
    }
    for request in &hostile {
        assert!([400, 401, 403].contains(&edge.sent(request.as_bytes()).0), "{request}");
    }
}

/// Of what a token is too narrow for, the entry says what the scope is to amount to, and names nothing that was asked about.
#[test]
fn for_a_token_that_carries_too_little_the_scope_is_widened_by_types_and_actions() {
    let edge = Edge::start("", "", &observe());
    edge.change("narrows.toml", |config| {
        let update = "actions.update = {";
        let table = "[services.routes]\n";
        config
            .replacen(update, &format!("actions.delete = {{ identifier = \"required\" }}\n{update}"), 1)
            .replacen(table, &format!("{table}\"DELETE /tickets/{{id}}\" = \"ticket:delete/{{id}}\"\n"), 1)
    });
    let request = format!(
        "DELETE /tickets/4711 HTTP/1.1\r\n{CLOSE}Authorization: Bearer {}\r\n\r\n",
        edge.token
    );
    assert_eq!(edge.sent(request.as_bytes()).0, 200);
    edge.until("it is on record", |records| !records.is_empty());
    let item = edge.report().into_iter().find(|item| item["reason"] == "wider_than_subject").unwrap();
    assert_eq!(
        item["paste"][0]["text"],
        "[[scopes]]\nname    = \"tickets.full\"\ndetails = [\"ticket:list\",\"ticket:read,update\",\"ticket:delete\"]"
    );
    assert_eq!(
        item["paste"][0]["into"],
        "narrows.toml, in place of the [[scopes]] entry of tickets.full"
    );
    let told = item["note"].as_str().unwrap().to_owned() + &item["paste"].to_string();
    assert!(!told.contains("4711"), "{item}");
    assert_eq!(item["covered"], false);
    edge.change("narrows.toml", |config| {
        let before = "details = [\"ticket:list\", \"ticket:read,update\"]";
        assert!(config.contains(before), "{config}");
        config.replacen(before, "details = [\"ticket:list\", \"ticket:read,update\", \"ticket:delete\"]", 1)
    });
    let item = edge.report().into_iter().find(|item| item["reason"] == "wider_than_subject").unwrap();
    assert_eq!(item["covered"], true);
}

/// Without the role, or without a token, there is no report.
#[test]
fn the_report_is_for_auditors_and_a_table_for_people() {
    let edge = Edge::start("", "", &observe());
    let mut asked = 0;
    for path in ["/reports/7", "/reports/8", "/reports/7"] {
        assert_eq!(edge.get(path, ""), 200);
        asked += 1;
    }
    edge.get("/tickets/42", &edge.other);
    let counted = |records: &[Value]| records.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum::<u64>();
    edge.until("all are on record", |records| counted(records) > asked);
    let item = edge.report().into_iter().find(|item| item["reason"] == "no_route").unwrap();
    assert_eq!((&item["count"], &item["request"]["path"]), (&asked.into(), &"/reports/{id}".into()));
    assert_eq!(item["paste"][0]["text"], "\"GET /reports/{id}\" = \"report:read/{id}\"");
    assert_eq!(
        item["paste"][1]["text"],
        "[[detail_types]]\ntype = \"report\"\nactions.read = { identifier = \"required\" }"
    );
    let denied = edge.report().into_iter().find(|item| item["reason"] == "policy_denied").unwrap();
    let permit = denied["paste"][0]["text"].as_str().unwrap();
    assert!(permit.contains("context.subject in Group::\"corp|sales\""), "{permit}");

    // What is mended meanwhile is marked: nothing is left to do for it.
    assert_eq!((&item["covered"], &denied["covered"]), (&false.into(), &false.into()));
    edge.get("/tickets/42", "");
    edge.until("that no token came is on record", |records| {
        records.iter().any(|record| record["reason"] == "no_token")
    });
    edge.change("policies/observed.cedar", |rules| rules + permit);
    edge.change("narrows.toml", |config| {
        let public = "[services.routes]\n\"GET /reports/{id}\" = \"public\"\n";
        config.replacen("[services.routes]\n", public, 1)
    });
    let covered = |reason: &str| {
        let found = edge.report().into_iter().find(|item| item["reason"] == reason);
        found.unwrap()["covered"].clone()
    };
    assert_eq!(covered("no_route"), true);
    assert_eq!(covered("policy_denied"), true);
    assert_eq!(covered("no_token"), false, "its route needs one as before");

    let ran = crate::run::narrows(edge.served.path(), &["report", "observed", "--token-file", "auditor.token"], "");
    assert!(
        ran.out.contains("GET tickets.internal/reports/{id}") && ran.out.contains("  TODAY"),
        "{ran:?}"
    );
    assert!(!ran.out.contains("# into [services.routes]"), "{ran:?}");
    let misspelt = ["report", "observed", "--boundary", "frnt", "--token-file", "auditor.token"];
    let ran = crate::run::narrows(edge.served.path(), &misspelt, "");
    assert!(
        ran.code == 1 && ran.err.contains("there is no boundary `frnt`; known are: front"),
        "{ran:?}"
    );
    std::fs::write(edge.served.path().join("other.token"), "nrwo_wrong").unwrap();
    let ran = crate::run::narrows(edge.served.path(), &["report", "observed", "--token-file", "other.token"], "");
    assert_eq!(ran.code, 1, "{ran:?}");
    let added = crate::run::narrows(edge.served.path(), &["operator", "add", "bob", "--role", "approver", "--json"], "");
    let told: Value = serde_json::from_str(&added.out).unwrap();
    std::fs::write(edge.served.path().join("other.token"), told["token"].as_str().unwrap()).unwrap();
    let ran = crate::run::narrows(edge.served.path(), &["report", "observed", "--token-file", "other.token"], "");
    assert!(ran.code == 1 && ran.err.contains("not_permitted"), "{ran:?}");
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

/// Whoever writes a route for the rest is told what it stands beside.
#[test]
fn check_warns_of_a_route_that_observes_beside_one_that_enforces() {
    let rest = "\"GET /{path:rest}\" = { detail = \"ticket:read/{path}\", mode = \"observe\" }";
    let day = format!("observe_until = \"{}\"", day(1));
    let edge = Edge::start(&day, rest, "");
    let told = crate::run::narrows(edge.served.path(), &["check"], "");
    let told = told.out + &told.err;
    assert!(told.contains("`GET /{path:rest}` observes beside `GET /tickets/{id}`"), "{told}");
    for target in ["/tickets/42/", "/TICKETS/42"] {
        assert_eq!(edge.get(target, ""), 401, "{target}");
    }
    assert_eq!(edge.get("/pages/42", ""), 200);
    let apart = Edge::start(&day, &rest.replace("{path:rest}", "pages/{path}"), "");
    let told = crate::run::narrows(apart.served.path(), &["check"], "");
    let told = told.out + &told.err;
    assert!(!told.contains("observes beside"), "{told}");
}

/// GWY-016: beside what enforces, what says another method, path or identity is decided on, and no service speaks for the boundary.
#[test]
fn beside_what_enforces_nothing_goes_on_that_says_another_thing_than_its_line() {
    let routes = "\"GET /{path:rest}\" = { detail = \"ticket:read/{path}\", mode = \"observe\" }";
    let day = format!("observe_until = \"{}\"", day(1));
    let edge = Edge::start(&day, routes, "");
    let sent = |target: &str, header: &str| edge.sent(format!("GET {target} HTTP/1.1\r\n{CLOSE}{header}\r\n").as_bytes());
    assert_eq!(sent("/pages", "accept: text/html\r\n").0, 200);
    for header in [
        "X-HTTP-Method-Override: DELETE\r\n",
        "X-Original-URL: /tickets/42\r\n",
        "narrows_subject: root\r\n",
        "X-Forwarded-For: 192.0.2.1\r\n",
    ] {
        assert_eq!(sent("/pages", header).0, 401, "{header}");
    }
    assert_eq!(sent("/pages?_method=DELETE", "").0, 401);
    let (status, said) = sent("/.well-known/oauth-protected-resource", "");
    assert!(status == 200 && said.contains("https://edge.example"), "{status} {said}");

    let trusted = Edge::start(&day, routes, "trusted_proxies = [\"127.0.0.1/32\"]");
    let forwarded = format!("GET /pages HTTP/1.1\r\n{CLOSE}X-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_eq!(trusted.sent(forwarded.as_bytes()).0, 200, "a proxy that is believed says so");
    let all = Edge::start("", "", &observe());
    let (_, said) = all.sent(format!("GET /.well-known/oauth-protected-resource HTTP/1.1\r\n{CLOSE}\r\n").as_bytes());
    assert!(said.starts_with("GET /.well-known/"), "{said}");
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
