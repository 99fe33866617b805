//! `why`: decisions of a running broker, as stories that end with what to mend.

use std::path::Path;

use broker::StoreJournal;
use broker::store::{Store, StoreAddress};
use delegation::oauth::Reason;
use delegation::time::Timestamp;
use issuance::audit::{Entry, Journal, Kind, Record};
use serde_json::{Value, json};
use testkit::FakeIssuer;

use crate::corp;
use crate::run::{Ran, narrows};
use crate::served::Served;

/// A broker that trusts `corp` by a file of keys.
fn served(issuer: &FakeIssuer) -> Served {
    Served::start(|folder| corp::trust(folder, issuer))
}

fn exchange(folder: &Path, token: &str, details: &str) -> Ran {
    let arguments = [
        "exchange",
        "--client",
        "edge",
        "--key",
        "edge.key",
        "--audience",
        "https://tickets.internal",
        "--details",
        details,
        "--json",
    ];
    narrows(folder, &arguments, token)
}

fn member(reply: &str, name: &str) -> String {
    let reply: Value = serde_json::from_str(reply).unwrap();
    reply.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The story of the decision that refused.
fn why(folder: &Path, refused: &Ran) -> String {
    let ran = narrows(folder, &["why", &member(&refused.out, "decision_id")], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out
}

#[test]
fn a_scope_that_nothing_maps_is_named_with_the_lines_that_map_it() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let caller = corp::token(&issuer, "helpdesk", "support", 3600);
    let refused = exchange(served.path(), &caller, "ticket:read/42");
    assert_eq!(member(&refused.out, "reason"), "scope_not_mapped", "{}", refused.out);
    let story = why(served.path(), &refused);
    assert!(
        story.contains("understood   ticket:read/42\nceiling      details nothing; scopes nothing\nnot covered  ticket:read/42\n"),
        "{story}"
    );
    assert!(story.contains("carries scope helpdesk, which nothing maps"), "{story}");
    let lines = story.split_once("add to the configuration:\n").map(|(_, lines)| lines.trim()).unwrap();
    assert_eq!(lines, "[[scopes]]\nname    = \"helpdesk\"\ndetails = [\"ticket:read\"]");

    // Pasted, they are the mend.
    let config = served.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let before = served.ready();
    std::fs::write(&config, format!("{text}\n{lines}\n")).unwrap();
    served.until("the mapping is in force", |ready| {
        ready.get("config_version") != before.get("config_version")
    });
    let allowed = exchange(served.path(), &caller, "ticket:read/42");
    assert_eq!(allowed.code, 0, "{}{}\n{}", allowed.out, allowed.err, served.log());
}

#[test]
fn a_story_that_policy_ends_has_the_ceiling_before_the_rules() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let refused = exchange(
        served.path(),
        &corp::token(&issuer, "tickets.full", "sales", 3600),
        "ticket:read/42",
    );
    assert_eq!(member(&refused.out, "reason"), "policy_denied", "{}", refused.out);
    let absolute = served.path().join("narrows.toml").display().to_string();
    let story = narrows(
        served.path(),
        &["--config", &absolute, "why", &member(&refused.out, "decision_id")],
        "",
    )
    .out;
    let parts = [
        "understood   ticket:read/42\n",
        "ceiling      details ticket:list, ticket:read,update; scopes tickets.full\n",
        "refused  ticket:read/42\n",
        "near miss: permit `edge-reads-tickets-for-support` at policies/first.cedar:3,",
        "mend         meet `",
    ];
    let mut rest = story.as_str();
    for part in parts {
        assert!(rest.contains(part), "`{part}` comes next\n{story}");
        rest = rest.split_once(part).unwrap().1;
    }

    let allowed = exchange(
        served.path(),
        &corp::token(&issuer, "tickets.full", "support", 3600),
        "ticket:read/42",
    );
    assert_eq!(allowed.code, 0, "{}", allowed.out);
}

/// What a guard puts on record is told like any decision: what was needed, what came, and what was too much.
#[test]
fn what_a_guard_refused_is_told_with_what_was_surplus() {
    let served = Served::start(|_| ());
    let id = uuid::Uuid::now_v7().to_string();
    let mut record = Record::new(id.clone(), Timestamp::from_seconds(1_780_000_000), Kind::Guard).denied(Reason::OverbroadToken);
    record.inputs = json!({
        "service": "tickets", "guard": "tickets-guard", "required": ["ticket:read/42"],
        "presented": ["ticket:read/42", "ticket:read/43"], "surplus": ["ticket:read/43"],
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&StoreAddress::sqlite(served.path().join("narrows.db"))).await.unwrap();
        let journal = StoreJournal::start(&store);
        journal.commit(Entry::of(record)).await.unwrap();
        journal.close().await;
    });
    let ran = narrows(served.path(), &["why", &id], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let parts = [
        "deny overbroad_token",
        "guard        tickets-guard of tickets\n",
        "required     ticket:read/42\n",
        "presented    ticket:read/42, ticket:read/43\n",
        "surplus      ticket:read/43\n",
        "mend         ask for a token for this request alone",
    ];
    let mut rest = ran.out.as_str();
    for part in parts {
        assert!(rest.contains(part), "`{part}` comes next\n{}", ran.out);
        rest = rest.split_once(part).unwrap().1;
    }
}
