//! AuthZEN's certification scenario, over HTTP and the real program, on the installation of `vectors/authzen`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::run::{narrows, root};
use crate::served::Served;

/// The installation, with a party that asks.
struct Pdp {
    served: Served,
    /// What that party shows.
    credential: String,
}

struct Answer {
    status: u16,
    head: String,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let of_that_name = |line: &&str| line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name));
        self.head
            .lines()
            .find(of_that_name)
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim())
    }
}

impl Pdp {
    fn start() -> Self {
        let mut secret = String::new();
        let served = Served::start(|folder| {
            let vectors = root().join("vectors/authzen");
            std::fs::remove_dir_all(folder.join("policies")).unwrap();
            std::fs::create_dir(folder.join("policies")).unwrap();
            for name in ["narrows.toml", "policies/records.cedar"] {
                std::fs::copy(vectors.join(name), folder.join(name)).unwrap();
            }
            let added = narrows(folder, &["client", "add", "pep", "--method", "client-secret-basic"], "").out;
            added.lines().next().and_then(|line| line.rsplit_once(": ")).unwrap().1.clone_into(&mut secret);
            let config = folder.join("narrows.toml");
            let text = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, format!("{text}\n{added}")).unwrap();
        });
        let credential = format!("Basic {}", STANDARD.encode(format!("pep:{secret}")));
        Self { served, credential }
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.served.address).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_owned(),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
            self.served.address,
            body.len()
        ))
    }
}

/// Whether `answer` is a decision that was expected; null expects either.
fn is(answer: &Value, expected: &Value) -> bool {
    answer["decision"].is_boolean() && (expected.is_null() || answer["decision"] == *expected) && answer["context"].is_object()
}

#[test]
fn the_certification_scenario_holds_for_basic_and_batch() {
    let pdp = Pdp::start();
    let cases = std::fs::read_to_string(root().join("vectors/authzen/cases.json")).unwrap();
    let cases: Value = serde_json::from_str(&cases).unwrap();
    let mut seen = 0;
    for case in cases["cases"].as_array().unwrap() {
        let body = case["text"].as_str().map_or_else(|| case["body"].to_string(), str::to_owned);
        let mut headers = vec![("authorization", pdp.credential.as_str())];
        let own = case["headers"].as_object();
        headers.extend(own.into_iter().flatten().map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json"));
        }
        let answer = pdp.post(case["path"].as_str().unwrap(), &headers, &body);
        let (expect, told) = (&case["expect"], format!("{case}\n{}\n{}", answer.head, answer.body));
        assert_eq!(u64::from(answer.status), expect["status"].as_u64().unwrap(), "{told}");
        if answer.status == 200 {
            assert_eq!(answer.header("content-type"), Some("application/json"), "{told}");
        }
        if let Some(decisions) = expect["decisions"].as_array() {
            let all = answer.body["evaluations"].as_array().unwrap();
            assert_eq!(all.len(), decisions.len(), "{told}");
            assert!(all.iter().zip(decisions).all(|(one, expected)| is(one, expected)), "{told}");
            assert!(answer.body.get("decision").is_none(), "{told}");
        } else if answer.status == 200 {
            assert!(is(&answer.body, &expect["decision"]), "{told}");
        }
        for (name, value) in expect["headers"].as_object().into_iter().flatten() {
            assert_eq!(answer.header(name), value.as_str(), "{told}");
        }
        seen += 1;
    }
    assert!(seen >= 38, "{seen}");
}

#[test]
fn the_certification_scenario_holds_for_discovery() {
    let pdp = Pdp::start();
    let at = format!("http://{}", pdp.served.address);
    let request = format!(
        "GET /.well-known/authzen-configuration HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        pdp.served.address
    );
    let answer = pdp.send(&request);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(
        answer.body,
        json!({
            "policy_decision_point": at,
            "access_evaluation_endpoint": format!("{at}/access/v1/evaluation"),
            "access_evaluations_endpoint": format!("{at}/access/v1/evaluations"),
        }),
        "what is served, and no search"
    );
}

#[test]
fn an_operators_question_is_told_by_why() {
    let pdp = Pdp::start();
    let added = narrows(pdp.served.path(), &["operator", "add", "ann", "--role", "auditor", "--json"], "").out;
    let added: Value = serde_json::from_str(&added).unwrap();
    let credential = format!("Bearer {}", added["token"].as_str().unwrap());
    let ask = |client: &str| {
        let question = json!({
            "subject": { "type": "user", "id": "bob" }, "action": { "name": "write" },
            "resource": { "type": "record", "id": "record-1" }, "context": { "client": client },
        });
        let headers = [("authorization", credential.as_str()), ("content-type", "application/json")];
        pdp.post("/access/v1/evaluation", &headers, &question.to_string())
    };
    let answer = ask("pep");
    assert_eq!(
        (answer.status, &answer.body["decision"]),
        (200, &json!(false)),
        "{} {}",
        answer.head,
        answer.body
    );
    let id = answer.body["context"]["decision_id"].as_str().unwrap();
    let why = narrows(pdp.served.path(), &["why", id], "");
    assert!(
        why.code == 0 && why.out.contains("policy_denied") && why.out.contains("record-1"),
        "{why:?}"
    );
    let gone = ask("gone");
    assert_eq!(gone.body["context"]["reason"], "client_authentication_failed", "{}", gone.body);
}
