//! `why`: decisions of a running broker, as stories that end with what to mend.

use std::path::Path;

use broker::StoreJournal;
use broker::store::{Store, StoreAddress};
use delegation::oauth::{AudienceId, Reason};
use delegation::time::Timestamp;
use issuance::audit::{Entry, Journal, Kind, Record, RequestLine};
use serde_json::{Value, json};
use testkit::FakeIssuer;

use crate::corp;
use crate::guard::{behind, guard};
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

/// No permit helps against a forbid, so none is asked for; also where it waits for a person, and where a guard asked policy again.
#[test]
fn a_forbid_that_refused_is_what_is_to_be_changed() {
    let issuer = corp::issuer();
    let served = Served::start(|folder| {
        corp::trust(folder, &issuer);
        let rules = "@id(\"shut\")\nforbid (principal, action == Action::\"ticket:read\", resource);\n\n\
                     @id(\"two-people\") @requires(\"approval\")\nforbid (principal, action == Action::\"ticket:list\", resource);\n";
        std::fs::write(folder.join("policies/second.cedar"), rules).unwrap();
    });
    let token = corp::token(&issuer, "tickets.full", "support", 3600);
    let rows = [
        ("ticket:read/42", "forbid `shut` at policies/second.cedar:1"),
        ("ticket:list", "forbid `two-people` at policies/second.cedar:4"),
    ];
    for (at, (details, forbid)) in rows.into_iter().enumerate() {
        let refused = exchange(served.path(), &token, details);
        assert_eq!(member(&refused.out, "reason"), "policy_denied", "{}", refused.out);
        let record = narrows(served.path(), &["why", &member(&refused.out, "decision_id"), "--json"], "").out;
        let record: Value = serde_json::from_str(&record).unwrap();
        let again = format!("recheck-{at}");
        let mut of_guard = Record::new(again.clone(), Timestamp::from_seconds(1_780_000_000), Kind::Guard).denied(Reason::PolicyDenied);
        of_guard.inputs = record["inputs"].clone();
        put_on_record(served.path(), vec![of_guard]);
        for story in [why(served.path(), &refused), narrows(served.path(), &["why", &again], "").out] {
            let mend = format!("mend         change or narrow {forbid}: no permit helps against it\n");
            assert!(story.ends_with(&mend), "{story}");
            assert_eq!(story.matches("\nmend ").count(), 1, "{story}");
        }
    }

    std::fs::remove_file(served.path().join("policies/second.cedar")).unwrap();
    let story = narrows(served.path(), &["why", "recheck-0"], "").out;
    assert!(
        story.ends_with("mend         none is needed any more: what is in force now allows it\n"),
        "{story}"
    );
}

fn put_on_record(folder: &Path, records: Vec<Record>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(&StoreAddress::sqlite(folder.join("narrows.db"))).await.unwrap();
        let journal = StoreJournal::start(&store);
        for record in records {
            journal.commit(Entry::of(record)).await.unwrap();
        }
        journal.close().await;
    });
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
    put_on_record(served.path(), vec![record]);
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

/// A route's `wider` is named where it would help, and nowhere else.
#[test]
fn what_a_token_allows_too_much_is_mended_by_the_route_only_where_it_is_wider_in_constraints() {
    let tables = |keys: &str| behind("http://127.0.0.1:9001") + &guard(keys);
    let served = Served::start(|folder| {
        let config = folder.join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text + &tables("")).unwrap();
    });
    let rows = [
        (vec!["ticket:update/42?fields=a,b"], true),
        (vec!["ticket:update/42"], true),
        (vec!["ticket:update/42", "ticket:update/43"], false),
        (vec!["ticket:update/42", "scope profile"], false),
        (vec!["scope profile"], false),
    ];
    let record = |(at, (surplus, _)): (usize, &(Vec<&str>, bool))| {
        let mut record =
            Record::new(format!("surplus-{at}"), Timestamp::from_seconds(1_780_000_000), Kind::Guard).denied(Reason::OverbroadToken);
        record.inputs = json!({ "service": "tickets", "required": ["ticket:update/42?fields=a"], "surplus": surplus });
        record
    };
    put_on_record(served.path(), rows.iter().enumerate().map(record).collect());
    let names_it = |at: usize| {
        let story = narrows(served.path(), &["why", &format!("surplus-{at}")], "").out;
        assert!(story.contains("mend         ask for a token for this request alone"), "{story}");
        story.contains("list `fields` in `wider` of the route")
    };
    for (at, (surplus, helps)) in rows.iter().enumerate() {
        assert_eq!(names_it(at), *helps, "{surplus:?}");
    }
    let text = std::fs::read_to_string(served.path().join("narrows.toml")).unwrap();
    served.write("narrows.toml", &text.replace(&tables(""), &tables("excess = \"none\"")));
    assert!(!names_it(0), "a guard that lets nothing be more goes by no `wider`");
}

/// A guard takes the broker's tokens alone and makes none, so other things help there than at a boundary.
#[test]
fn what_a_guard_refused_is_mended_as_a_guard_is() {
    let served = Served::start(|folder| {
        let config = folder.join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text + &behind("http://127.0.0.1:9001") + &guard("")).unwrap();
    });
    let compared = |required: &str| json!({ "required": [required], "presented": ["ticket:read,update/42", "scope profile"] });
    let (none, ours) = (json!({}), json!({ "jti": "t-1" }));
    let rows = [
        (
            (Reason::WiderThanSubject, "/tickets/43", compared("ticket:read/43")),
            "mend         ask for a token that allows this request: the one that came with it does not allow `ticket:read/43`\n",
        ),
        (
            (Reason::WiderThanSubject, "/tickets/42", compared("scope tickets.full")),
            "does not allow `scope tickets.full`\n",
        ),
        (
            (Reason::WiderThanSubject, "/tickets/42", compared("ticket:read/42")),
            "names another value than the guard has `fixed`",
        ),
        (
            (Reason::WiderThanSubject, "/tickets/42", none.clone()),
            "mend         ask for a token that allows this request\n",
        ),
        (
            (Reason::SubjectTokenNotForClient, "/tickets/42", ours.clone()),
            "mend         ask for a token for https://tickets.internal; this one is for https://notes.internal",
        ),
        (
            (Reason::SubjectTokenInvalid, "/tickets/42", none.clone()),
            "an identity provider's own is none",
        ),
        (
            (Reason::SubjectTokenInvalid, "/tickets/42", ours),
            "`max_lifetime` of https://tickets.internal",
        ),
        (
            (Reason::RevocationViewStale, "/tickets/42", none.clone()),
            "mend         the guard had not heard from its broker",
        ),
        (
            (Reason::ClientAuthenticationFailed, "/tickets/42", none.clone()),
            "mend         the client of the guard is not known",
        ),
        (
            (Reason::StoreUnavailable, "/tickets/42", none.clone()),
            "mend         the guard had to ask its broker",
        ),
        (
            (Reason::NoRoute, "/ticket/42", none.clone()),
            "near it      GET /tickets/{id}  at narrows.toml:",
        ),
        (
            (Reason::NoRoute, "/ticket/42", none.clone()),
            "mend         ask for a route that there is",
        ),
        (
            (Reason::NoRoute, "/tickets/42", none),
            "`GET /tickets/{id}` is for it, and was added since",
        ),
    ];
    let record = |at: usize, (reason, path, told): &(Reason, &str, Value)| {
        let mut record = Record::new(format!("guard-{at:02}"), Timestamp::from_seconds(1_780_000_000), Kind::Guard).denied(*reason);
        record.request = Some(RequestLine {
            method: "GET".to_owned(),
            host: "tickets.internal".to_owned(),
            path: (*path).to_owned(),
        });
        record.audience = AudienceId::parse("https://notes.internal").ok();
        record.jti = told["jti"].as_str().map(str::to_owned);
        record.inputs = told.clone();
        record.inputs["service"] = json!("tickets");
        record
    };
    let records = rows.iter().enumerate().map(|(at, (told, _))| record(at, told)).collect();
    put_on_record(served.path(), records);
    for (at, (_, expected)) in rows.iter().enumerate() {
        let ran = narrows(served.path(), &["why", &format!("guard-{at:02}")], "");
        assert!(ran.out.contains(expected), "`{expected}`\n{}{}", ran.out, ran.err);
        assert!(!ran.out.contains("`receives`") && !ran.out.contains("boundary"), "{}", ran.out);
    }
}
