//! From observing to enforcing, by what the report prints.

use std::time::Duration;

use serde_json::Value;

use super::{CLOSE, Edge, lines, observe};

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
        let read = || std::fs::read_to_string(self.served.path().join(file)).unwrap_or_default();
        self.served.write(file, &change(read()));
        let after = self.served.until("the change is in force", |ready| {
            version(ready) != before || ready["refused_change"].is_string()
        });
        assert_eq!(after["refused_change"], Value::Null, "{}", read());
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
