//! `report unused`: a wide installation, what a guard saw there, and what is pasted so that it is wide no more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delegation::oauth::AudienceId;
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::{Algorithm, KeySet};
use http::{HeaderMap, HeaderValue, header};
use narrows_guard::check::{At, Verdict};
use narrows_guard::route::hosts::HostPattern;
use narrows_guard::route::pattern::Pattern;
use narrows_guard::route::template::Template;
use narrows_guard::route::values::Reads;
use narrows_guard::route::{Demand, Route, Rule, Service};
use narrows_guard::surplus::Excess;
use narrows_guard::usage::Usage;
use narrows_guard::{Body, Call, Guard, Sender, Settings};
use serde_json::{Value, json};
use testkit::{FakeIssuer, snapshot};

use crate::boundary::{problem, status};
use crate::run::{Ran, narrows};
use crate::served::Served;
use crate::{corp, echo};

const TICKETS: &str = "https://tickets.internal";
/// The sample: whoever may read may update, and all that anybody needs is to read.
const WIDE: &str = r#"
@id("support-does-all")
permit (principal == Workload::"edge", action in [Action::"ticket:list", Action::"ticket:read", Action::"ticket:update"], resource)
when { context.subject in Group::"corp|support" };

@id("updates-are-for-support")
forbid (principal, action == Action::"ticket:update", resource)
unless { context.subject in Group::"corp|support" };

@id("guards-report")
permit (principal == Workload::"tickets", action == Action::"scope:narrows.data_plane", resource);
"#;
const USED: &str = r#"
[[case]]
name     = "support reads"
client   = "edge"
subject  = "corp|alice"
groups   = ["support"]
audience = "https://tickets.internal"
details  = ["ticket:read/42"]
expect   = "allow"
"#;
const GUARD: &str = r#"
receives   = ["https://tickets.internal"]
grants     = ["client_credentials"]
data_plane = true

[[audiences]]
id     = "http://127.0.0.1:8420"
scopes = ["narrows.data_plane"]

[[scopes]]
name    = "narrows.data_plane"
details = []
"#;

/// The wide installation, with the secret of its guard.
fn wide(issuer: &FakeIssuer) -> (Served, String) {
    let mut secret = String::new();
    let served = Served::start(|folder| {
        corp::trust(folder, issuer);
        let added = narrows(folder, &["client", "add", "tickets", "--method", "client-secret-post"], "").out;
        let (told, entry) = added.split_once("\n\n").unwrap();
        secret = told.rsplit(' ').next().unwrap().to_owned();
        let config = folder.join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n{entry}{GUARD}")).unwrap();
        std::fs::write(folder.join("policies/first.cedar"), WIDE).unwrap();
        std::fs::write(folder.join("policies/first.cases.toml"), USED).unwrap();
    });
    (served, secret)
}

/// What edge gets for `details`.
fn exchange(served: &Served, token: &str, details: &str) -> Value {
    let asks = [
        "exchange",
        "--client",
        "edge",
        "--key",
        "edge.key",
        "--audience",
        TICKETS,
        "--details",
        details,
        "--json",
    ];
    serde_json::from_str(&narrows(served.path(), &asks, token).out).unwrap()
}

fn post(served: &Served, path: &str, kind: &str, more: &str, body: &str) -> String {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: {kind}\r\n{more}content-length: {}\r\n\r\n{body}",
        served.address,
        body.len()
    );
    echo::ask(served.address, &request)
}

/// A guard of the tickets, which are read.
fn guard(served: &Served) -> Guard {
    let issuer = format!("http://{}", served.address);
    let keys = KeySet::parse(
        &issuer,
        served.get("/oauth2/jwks").as_bytes(),
        &[Algorithm::Es256, Algorithm::EdDsa],
    )
    .unwrap();
    let (key, types) = ("GET /tickets/{id}", snapshot().types);
    let pattern = Pattern::parse(key).unwrap();
    let detail = Template::parse("ticket:read/{id}", &types, &Reads::Request(pattern.variables())).unwrap();
    let demand = Demand {
        detail: Some(detail),
        ..Demand::default()
    };
    let audience = AudienceId::parse(TICKETS).unwrap();
    let settings = Settings {
        service: Service {
            name: "tickets".to_owned(),
            hosts: vec![HostPattern::parse("tickets.internal").unwrap()],
            audience: Some(audience.clone()),
            routes: vec![Route::new(key.to_owned(), pattern, Rule::Needs(Box::new(demand)))],
        },
        types,
        issuer,
        audience,
        max_lifetime: Duration::from_secs(120),
        max_chain: 8,
        max_age: Duration::from_secs(5),
        sender: Sender::None,
        single_use: false,
        excess: Excess::SameResource,
        fixed: BTreeMap::new(),
    };
    Guard::build(settings, Arc::new(keys)).unwrap()
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// Lets requests with `token` through, and adds up what they used.
fn used(guard: &Guard, token: &str, requests: usize) -> Value {
    let (mut usage, none) = (Usage::default(), HeaderMap::new());
    let shown = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap())]);
    for _ in 0..requests {
        let call = Call::parse("GET", b"tickets.internal", b"/tickets/42", &none, Body::Absent).unwrap();
        let at = At {
            now: now(),
            view: Arc::new(View::default()),
            view_age: Duration::ZERO,
        };
        match guard.check(&call, &shown, &at) {
            Verdict::Allowed(allowed) => usage.allowed(&allowed, at.now),
            other => panic!("{other:?}"),
        }
    }
    usage.take().unwrap()
}

/// The report, once the broker has heard of the operator.
fn report(served: &Served, operator: &str, more: &[&str]) -> Ran {
    let url = format!("http://{}", served.address);
    let arguments = [&["report", "unused", "--url", &url], more].concat();
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

fn append(served: &Served, file: &str, text: &str) {
    let before = std::fs::read_to_string(served.path().join(file)).unwrap();
    served.write(file, &format!("{before}\n{text}\n"));
}

/// S17.
#[test]
fn what_is_pasted_from_the_report_takes_away_what_is_not_used_and_nothing_else() {
    let corp = corp::issuer();
    let (served, secret) = wide(&corp);
    let alice = corp::token(&corp, "tickets.full", "support", 600);
    let added = narrows(served.path(), &["operator", "add", "ann", "--role", "auditor", "--json"], "").out;
    let auditor: Value = serde_json::from_str(&added).unwrap();
    let auditor = auditor["token"].as_str().unwrap();

    // 1. Edge asks for more than it needs, and the guard sees what it needs.
    let both = exchange(&served, &alice, "ticket:read,update/42");
    let token = both["access_token"].as_str().unwrap_or_else(|| panic!("{both}"));
    let before: Value = serde_json::from_str(&report(&served, auditor, &["--json"]).out).unwrap();
    assert_eq!(before["items"][0]["mend"], json!([]), "nobody has reported: {before}");
    let mut batch = used(&guard(&served), token, 25);
    let own = format!(
        "grant_type=client_credentials&client_id=tickets&client_secret={secret}&audience=http://{}&scope=narrows.data_plane",
        served.address
    );
    let own = post(&served, "/oauth2/token", "application/x-www-form-urlencoded", "", &own);
    let own = problem(&own)["access_token"].as_str().unwrap_or_else(|| panic!("{own}")).to_owned();
    let more = json!({ "batch": "1", "service": "tickets", "from": now().millis() - 60_000, "until": now().millis() });
    batch.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let kept = post(
        &served,
        "/v1/usage",
        "application/json",
        &format!("authorization: Bearer {own}\r\n"),
        &batch.to_string(),
    );
    assert_eq!(status(&kept), 200, "{kept}");

    // 2. The report says so, and what to paste.
    let text = report(&served, auditor, &[]).out;
    for part in [
        "ticket:update",
        "ticket:read is enough; ticket:update came along",
        "max_lifetime = \"10s\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let told: Value = serde_json::from_str(&report(&served, auditor, &["--json", "--client", "edge", "--audience", TICKETS]).out).unwrap();
    let mend = &told["items"][0]["mend"][0];
    let paste = |at: usize| mend["paste"][at]["text"].as_str().unwrap_or_else(|| panic!("{told}"));
    assert_eq!((&mend["about"], paste(0)), (&json!("ticket:update"), "ticket:read"));

    // 3. It is pasted: the cases of before pass as they did, and the new one too, for which another forbid fires besides.
    let rules = "rules    = [\"unused-edge-tickets-internal-ticket-update\", \"updates-are-for-support\"]";
    assert!(paste(2).ends_with(rules), "{told}");
    let version = |ready: &Value| ready.get("policy_version").cloned();
    let old = version(&served.ready());
    append(&served, "policies/first.cases.toml", paste(2));
    let failing = narrows(served.path(), &["policy", "test"], "");
    assert!(failing.code == 1 && failing.out.contains("1 passed, 1 failed"), "{failing:?}");
    append(&served, "policies/first.cedar", paste(1));
    let tested = narrows(served.path(), &["policy", "test"], "");
    assert!(tested.code == 0 && tested.out.contains("2 passed, 0 failed"), "{tested:?}");
    assert_eq!(narrows(served.path(), &["policy", "lint"], "").code, 0);

    // 4. What is used is given as before; what is not used is refused.
    served.until("the rule is in force", |ready| version(ready) != old);
    let narrow = exchange(&served, &alice, paste(0).replace("read", "read/42").as_str());
    let token = narrow["access_token"].as_str().unwrap_or_else(|| panic!("{narrow}"));
    assert_eq!(
        used(&guard(&served), token, 1)["sums"][0]["actions"],
        json!([{ "name": "ticket:read", "granted": 1, "used": 1 }])
    );
    for more in ["ticket:update/42", "ticket:read,update/42"] {
        assert_eq!(exchange(&served, &alice, more)["reason"], json!("policy_denied"), "{more}");
    }

    let admin = narrows(served.path(), &["operator", "add", "bob", "--role", "admin", "--json"], "").out;
    let admin: Value = serde_json::from_str(&admin).unwrap();
    let refused = report(&served, admin["token"].as_str().unwrap(), &[]);
    assert!(refused.code == 1 && refused.err.contains("--role auditor"), "{refused:?}");
    assert!(report(&served, auditor, &["--since", "ever"]).err.contains("expected a duration"));
    let far = report(&served, auditor, &["--since", "91d"]);
    assert!(
        far.code == 1 && far.err.contains("--since: expected at most `90d`") && far.err.contains("`91d`"),
        "{far:?}"
    );
    assert_eq!(report(&served, auditor, &["--since", "90d"]).code, 0);
}
