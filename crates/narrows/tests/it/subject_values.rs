//! Routes whose detail is made of what the caller's token says of its subject, before the running program.

use serde_json::{Value, json};
use testkit::FakeIssuer;

use crate::boundary::claims;
use crate::front::Front;
use crate::guard::on_record;
use crate::run::narrows;
use crate::served::Served;
use crate::{corp, echo};

struct Edge {
    served: Served,
    issuer: FakeIssuer,
}

impl Edge {
    fn start() -> Self {
        let (issuer, backend) = (corp::issuer(), echo::start());
        let served = Served::start(|folder| {
            corp::trust(folder, &issuer);
            let routes = r#"
"GET /site"       = "ticket:read/{subject.site}"
"GET /sites/{id}" = "ticket:read/{subject.site}%3A{id}"
"GET /grade"      = "ticket:read/{subject.grade}"
"GET /groups"     = "ticket:read/{subject.groups}"
"GET /plain"      = "ticket:read/42"
"#;
            let mapped = "attributes = { groups = \"set\" }";
            Front::before(&format!("http://{backend}")).routes(routes).add_changed(folder, |text| {
                assert!(text.contains(mapped));
                text.replace(mapped, "attributes = { groups = \"set\", site = \"string?\", grade = \"long?\" }")
            });
        });
        Self { served, issuer }
    }

    /// A token of alice with these claims too.
    fn token(&self, more: &Value) -> String {
        let mut said = claims(&corp::token(&self.issuer, "tickets.full", "support", 600));
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.issuer.sign("at+jwt", &said)
    }

    fn ask(&self, path: &str, token: &str) -> (u16, String) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\nauthorization: Bearer {token}\r\nx-site: south\r\n\r\n"
        );
        let reply = echo::ask(self.served.door("proxy"), &head);
        let status = reply.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        (
            status,
            reply.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()),
        )
    }

    /// What the token that went on is for.
    fn went_on(&self, path: &str, token: &str) -> Value {
        let (status, seen) = self.ask(path, token);
        assert_eq!(status, 200, "{seen}");
        let header = seen.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap();
        claims(header)["authorization_details"][0]["identifier"].clone()
    }

    /// The status, the reason, and the id of the record.
    fn told(&self, path: &str, token: &str) -> (u16, String, String) {
        let (status, body) = self.ask(path, token);
        let problem: Value = serde_json::from_str(&body).unwrap_or_default();
        let reason = problem["reason"].as_str().unwrap_or_default().to_owned();
        (status, reason, problem["decision_id"].as_str().unwrap_or_default().to_owned())
    }

    fn refused(&self, path: &str, token: &str) -> (u16, String) {
        let (status, reason, _) = self.told(path, token);
        (status, reason)
    }
}

#[test]
fn a_route_is_filled_with_what_the_token_says_and_nothing_that_the_request_says() {
    let edge = Edge::start();
    let token = edge.token(&json!({ "site": "north" }));
    // Twice: the second time the token is remembered.
    for _ in 0..2 {
        assert_eq!(edge.went_on("/site", &token), "north");
        assert_eq!(edge.went_on("/sites/7", &token), "north:7");
    }
    let other = edge.token(&json!({ "site": "south", "jti": "two" }));
    assert_eq!(edge.went_on("/site", &other), "south", "one caller's are not another's");
    let (status, reason, id) = edge.told("/site?site=north", &edge.token(&json!({ "jti": "three" })));
    assert_eq!((status, reason.as_str()), (403, "wider_than_subject"));
    let why = narrows(edge.served.path(), &["why", &id, "--json"], "");
    assert!(why.out.contains("wider_than_subject"), "{why:?}");
}

#[test]
fn an_attribute_that_does_not_fit_is_as_good_as_none() {
    let edge = Edge::start();
    for (path, more) in [
        ("/site", json!({})),
        ("/site", json!({ "site": "" })),
        // A number is no text, and nobody says which of two groups is meant.
        ("/grade", json!({ "grade": 7 })),
        ("/groups", json!({ "groups": ["a", "b"] })),
        ("/groups", json!({ "groups": ["a"] })),
        // It would end where the next value begins.
        ("/sites/7", json!({ "site": "north:7" })),
    ] {
        let (status, reason) = edge.refused(path, &edge.token(&more));
        assert_eq!((status, reason.as_str()), (403, "wider_than_subject"), "{path} {more}");
    }
    let (status, reason) = edge.refused("/site", &edge.token(&json!({ "site": "no\u{1}rth" })));
    assert_eq!((status, reason.as_str()), (400, "malformed_details"));
}

#[test]
fn nothing_is_read_of_a_token_that_does_not_hold() {
    let edge = Edge::start();
    let site = json!({ "site": "north" });
    let good = edge.token(&site);
    let forged = {
        let other = corp::issuer();
        other.sign("at+jwt", &claims(&good))
    };
    let now = claims(&good)["exp"].as_i64().unwrap() - 600;
    let expired = edge.token(&json!({ "site": "north", "exp": now - 120 }));
    for (token, reason) in [
        (forged, "subject_token_invalid"),
        (expired, "subject_token_expired"),
        (edge.token(&json!({ "site": 7 })), "subject_token_invalid"),
    ] {
        assert_eq!(edge.refused("/site", &token), (401, reason.to_owned()));
    }
    // Right in all but whom it is for: the exchange says so, and nothing goes on.
    let elsewhere = edge.token(&json!({ "site": "north", "aud": "api://other" }));
    assert_eq!(edge.refused("/site", &elsewhere), (401, "subject_token_not_for_client".to_owned()));

    let revoked = narrows(edge.served.path(), &["revoke", "--token-stdin"], &good);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    for _ in 0..300 {
        if edge.ask("/plain", &good).0 == 401 {
            let (status, reason, id) = edge.told("/site", &good);
            assert_eq!((status, reason.as_str()), (401, "subject_token_revoked"));
            let record = on_record(edge.served.path(), &id);
            assert!(record.contains("subject_token_revoked"), "{record}");
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("the revocation was never followed");
}
