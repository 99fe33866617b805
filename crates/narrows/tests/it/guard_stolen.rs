//! Hundreds of tokens that were made for something else, at a guard before a file server that can check nothing.

mod forged;
mod issued;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use testkit::FakeIssuer;

use crate::boundary::{body, claims, header, status};
use crate::corp;
use crate::file_server::FileServer;
use crate::guard::{Guarded, as_header, behind, get, guard, told, until};
use crate::run::narrows;
use forged::BrokersName;

/// What the honest token is for, and what it is shown with.
const DETAIL: &str = "ticket:read/42?tenant=acme";
const TEXT: &str = "all that is known of ticket 42";

/// A token that was not made for `GET /tickets/42` of Acme, here and now.
struct Stolen {
    kind: &'static str,
    token: String,
    status: u16,
    reason: &'static str,
}

impl Stolen {
    fn new(kind: &'static str, token: String, (status, reason): (u16, &'static str)) -> Self {
        Self {
            kind,
            token,
            status,
            reason,
        }
    }
}

const INVALID: (u16, &str) = (401, "subject_token_invalid");
const EXPIRED: (u16, &str) = (401, "subject_token_expired");
const REVOKED: (u16, &str) = (401, "subject_token_revoked");
const DISABLED: (u16, &str) = (401, "subject_disabled");
const ELSEWHERE: (u16, &str) = (401, "subject_token_not_for_client");
const OVERBROAD: (u16, &str) = (401, "overbroad_token");
const BOUND: (u16, &str) = (401, "invalid_dpop_proof");
const WIDER: (u16, &str) = (403, "wider_than_subject");

/// Acme's guard before a file server, a broker that serves other tenants too, and its identity provider.
struct Acme {
    files: FileServer,
    guarded: Guarded,
    issuer: FakeIssuer,
}

impl Acme {
    fn start() -> Self {
        let files = FileServer::of(&[("tickets/42", TEXT), ("healthz", "well")]);
        let issuer = corp::issuer();
        let other = "\n[[clients]]\nid = \"other\"\nauth = { method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" }\n";
        let tables = behind(&format!("http://{}", files.address)) + &guard("fixed = { tenant = \"acme\" }") + other;
        let rule =
            r#"@id("other-reads") permit (principal == Workload::"other", action == Action::"ticket:read", resource is Detail::Ticket);"#;
        let guarded = Guarded::changed(&issuer, &tables, rule, |text| {
            text.replace("exchangers = [\"edge\"]", "exchangers = [\"edge\", \"other\"]")
                .replace(
                    "actions.read   = { identifier = \"required\" }",
                    "actions.read   = { identifier = \"required\", constraints = [\"tenant\"] }",
                )
                .replace("{ fields = \"subset\" }", "{ fields = \"subset\", tenant = \"equal\" }")
        });
        Self { files, guarded, issuer }
    }

    fn door(&self) -> SocketAddr {
        self.guarded.doors[0]
    }

    /// What comes of `token` with the right request; `mark` makes it one that can be told from others.
    fn shown(&self, token: &str, mark: &str) -> String {
        get(self.door(), &format!("/tickets/42?{mark}"), &as_header(token))
    }

    fn run(&self, arguments: &[&str], told: &str) -> String {
        let ran = narrows(self.guarded.served.path(), arguments, told);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.out.trim().to_owned()
    }
}

#[test]
fn none_of_hundreds_of_stolen_tokens_gets_to_a_backend_that_checks_nothing() {
    let acme = Acme::start();
    let honest = issued::honest(&acme);
    let passes = |mark: &str| {
        let reply = acme.shown(&honest, mark);
        assert_eq!((status(&reply), body(&reply)), (200, TEXT), "{mark}: {reply}");
    };
    passes("honest=before");
    let name = BrokersName::of(acme.guarded.served.path());
    assert_eq!(
        status(&acme.shown(&name.signs(&claims(&honest)), "honest=signed")),
        200,
        "what follows is refused for what it says, and not for its signature"
    );

    let mut stolen = issued::all(&acme);
    stolen.extend(forged::all(&acme, &name, &honest));
    let different: BTreeSet<_> = stolen.iter().map(|stolen| &stolen.token).collect();
    assert!(different.len() == stolen.len() && stolen.len() >= 300, "{} tokens", stolen.len());
    assert!(!different.contains(&honest));
    let (mut wrong, mut kinds) = (Vec::new(), BTreeMap::new());
    for (at, each) in stolen.iter().enumerate() {
        let reply = acme.shown(&each.token, &format!("stolen={at}"));
        let (status, reason) = told(&reply);
        if (status, reason.as_str()) != (each.status, each.reason) {
            wrong.push(format!("{} {}: {status} {reason}", each.kind, each.token));
        }
        *kinds.entry(each.kind).or_insert(0) += 1;
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), stolen.len());
    assert_eq!(kinds.len(), 18, "{kinds:?}");

    passes("honest=after");
    let lines: Vec<_> = acme.files.seen().into_iter().map(|seen| seen.line).collect();
    assert!(!lines.iter().any(|line| line.contains("stolen")), "{lines:#?}");
    let honest: Vec<_> = lines.iter().filter(|line| line.contains("honest")).collect();
    let expected = ["before", "signed", "after"].map(|mark| format!("GET /tickets/42?honest={mark} HTTP/1.1"));
    assert_eq!(honest, expected.iter().collect::<Vec<_>>());
}

/// Whoever comes, by whatever name: the backend hears of it from the guard alone, and of nobody on a public route.
#[test]
fn a_file_server_behind_a_guard_sees_identity_headers_that_no_client_can_set() {
    let acme = Acme::start();
    let honest = as_header(&issued::honest(&acme));
    let named = [
        ("narrows-subject", "alice"),
        ("narrows-issuer", "https://login.corp.example"),
        ("narrows-actor", "edge"),
        ("narrows-task", ""),
    ];
    let spellings = |name: &str| {
        let whole = [name.to_owned(), name.to_uppercase()];
        let others = ["_", "."].map(|sign| name.replace('-', sign));
        whole.into_iter().chain(others).collect::<Vec<_>>()
    };
    let spoofed: String = named
        .iter()
        .map(|(name, _)| *name)
        .chain([
            "narrows-roles",
            "x-forwarded-for",
            "x-forwarded-user",
            "x-original-url",
            "forwarded",
            "txn-token",
        ])
        .flat_map(spellings)
        .map(|name| format!("{name}: mallory\r\n"))
        .collect();
    for (target, credential, expected) in [
        ("/tickets/42", honest.as_str(), true),
        ("/healthz?1", honest.as_str(), false),
        ("/healthz?2", "", false),
    ] {
        let reply = get(acme.door(), target, &format!("{credential}{spoofed}"));
        assert_eq!(status(&reply), 200, "{reply}");
        assert!(header(&reply, "server").is_some_and(|server| server.contains("Python")), "{reply}");
        let seen = acme.files.seen().pop().unwrap();
        assert_eq!(seen.line, format!("GET {target} HTTP/1.1"));
        let text = format!("{:?}", seen.headers);
        assert!(!text.contains("mallory") && !text.contains("eyJ"), "{text}");
        for (name, value) in named {
            let values = if expected { vec![value] } else { Vec::new() };
            assert_eq!(seen.all(name), values, "{name} at {target}: {text}");
        }
        assert!(seen.all("authorization").is_empty(), "{text}");
    }
    // Nor can a client have the guard's own taken off again.
    let before = acme.files.seen().len();
    let reply = get(acme.door(), "/tickets/42", &format!("{honest}connection: narrows-subject\r\n"));
    assert_eq!(told(&reply), (400, "malformed_request".to_owned()));
    assert_eq!(acme.files.seen().len(), before);
}
