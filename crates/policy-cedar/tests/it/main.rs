//! What policies may say, what is refused when they are loaded, and what they answer.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod absent;
mod explained;
mod linted;
mod schema;

use delegation::details::{Detail, Standing};
use delegation::identity::{Attributes, Subject, SubjectKind};
use delegation::oauth::{ClientId, Scope};
use delegation::registry::Snapshot;
use issuance::policy::{Answer, Because, ClientFacts, Inquiry, Policy, Question, SubjectFacts};
use policy_cedar::{CedarPolicy, PolicyFile};
use testkit::snapshot;

fn load(text: &str) -> Result<CedarPolicy, String> {
    load_with(&snapshot(), text)
}

fn load_with(snapshot: &Snapshot, text: &str) -> Result<CedarPolicy, String> {
    let files = [PolicyFile {
        name: "x.cedar".to_owned(),
        text: text.to_owned(),
    }];
    CedarPolicy::load(snapshot, &files, "Europe/Berlin", "p".to_owned()).map_err(|error| error.to_string())
}

fn inquiry(details: &[&str]) -> Inquiry {
    let snapshot = snapshot();
    let question = |text: &&str| {
        let detail = Detail::parse_short(text, &snapshot.types, Standing::Asked).unwrap();
        Question::Detail {
            action: detail.actions().first().unwrap().clone(),
            detail,
            onward: false,
        }
    };
    Inquiry {
        client: ClientFacts::from(snapshot.clients.get(&ClientId::parse("edge").unwrap()).unwrap()),
        subject: SubjectFacts {
            subject: Subject {
                issuer_name: "corp".to_owned(),
                iss: testkit::CORP.to_owned(),
                sub: "alice".to_owned(),
            },
            kind: SubjectKind::User,
            attributes: Attributes {
                groups: ["support".to_owned()].into(),
                ..Attributes::default()
            },
            risk: None,
        },
        audience: "https://tickets.internal".to_owned(),
        now_millis: 1_782_907_200_000, // 2026-07-01T12:00:00Z, a Wednesday
        expires_in: 120,
        subject_age_seconds: 0,
        requested_by: Some("web".to_owned()),
        chain: Vec::new(),
        client_ip: Some("192.0.2.7".parse().unwrap()),
        sender_constrained: false,
        auth_age_seconds: None,
        acr: None,
        task: None,
        questions: details.iter().map(question).collect(),
    }
}

fn answer(text: &str, details: &[&str]) -> (Answer, Vec<String>) {
    let verdict = load(text).unwrap().ask(&inquiry(details));
    (verdict.answer, verdict.rules)
}

const ALL: &str = "@id(\"all\") permit (principal, action, resource);\n";

#[test]
fn what_is_not_right_is_refused_when_it_is_loaded_with_place_and_mend() {
    let rows = [
        ("permit (principal, action, resource);", "@id"),
        (
            "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);",
            "x.cedar:2: ",
        ),
        (
            "@id(\"a\") permit (principal == Workload::\"edge\", action == Action::\"ticket:delete\", resource);",
            "x.cedar:1: ",
        ),
        (
            "@id(\"a\") permit (principal, action, resource) when { context.gone };",
            "x.cedar:1: ",
        ),
        (
            "@id(\"a\") permit (principal, action, resource is Detail::Ticket) when { resource.limit < 5 };",
            "x.cedar:1: ",
        ),
        ("@id(\"a\") permit (principal == ?principal, action, resource);", "template"),
        ("@id(\"a\")\npermit (", "x.cedar:2"),
        (
            "// what\n@id(\"a\") permit (principal, action, resource)\nwhen { context.expires_in <\n \"5\" };",
            "x.cedar:4",
        ),
        (
            "// @id(\"b\")\n@id(\"a\") permit (principal, action, resource);\n@id(\"b\") permit (principal, action, resource);\n@id(\"b\") forbid (principal, action, resource);",
            "x.cedar:4: `@id(\"b\")` is the name of the policy at x.cedar:3 too",
        ),
        (
            "permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource) when { context.gone };",
            "x.cedar:2: ",
        ),
        (
            "@id(\"a\") @requires(\"approval\") permit (principal, action, resource);",
            "@requires",
        ),
        ("@id(\"a\") @requires(\"luck\") forbid (principal, action, resource);", "@requires"),
        (
            "@id(\"a\") forbid (principal, action == Action::\"refund:create\", resource is Detail::Refund) when { resource has amount && resource.amount > 5 };",
            "resource.unbounded.contains(\"amount\")",
        ),
    ];
    // TEX-053: a rule that would stumble over an absent value is refused before it can decide anything.
    let stumbles = "@id(\"a\") permit (principal, action, resource) when { context.acr == \"phr\" };";
    assert!(load(stumbles).is_err());
    for (text, expected) in rows {
        let error = load(text).err().unwrap_or_default();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let guarded = "@id(\"a\") forbid (principal, action == Action::\"refund:create\", resource is Detail::Refund) when { resource.unbounded.contains(\"amount\") || (resource has amount && resource.amount > 5) };";
    assert!(load(guarded).is_ok());
}

#[test]
fn nothing_is_allowed_but_what_a_permit_allows_and_forbid_wins() {
    assert_eq!(
        answer("", &["ticket:read/1"]),
        (
            Answer::Deny {
                question: 0,
                because: Because::NoPermit
            },
            vec![]
        )
    );
    assert_eq!(answer(ALL, &["ticket:read/1"]), (Answer::Allow, vec!["all".to_owned()]));
    let forbids = format!("{ALL}@id(\"no\") forbid (principal, action == Action::\"ticket:update\", resource);");
    assert_eq!(
        answer(&forbids, &["ticket:read/1", "ticket:update/1"]),
        (
            Answer::Deny {
                question: 1,
                because: Because::Forbid
            },
            vec!["all".to_owned(), "no".to_owned()]
        )
    );
}

#[test]
fn a_detail_without_identifier_means_all_of_them() {
    let one = format!("{ALL}@id(\"not-13\") forbid (principal, action, resource == Detail::Ticket::\"13\");");
    assert_eq!(answer(&one, &["ticket:search/12"]).0, Answer::Allow);
    assert_eq!(
        answer(&one, &["ticket:search/13"]).0,
        Answer::Deny {
            question: 0,
            because: Because::Forbid
        }
    );
    assert_eq!(
        answer(&one, &["ticket:search"]),
        (
            Answer::Deny {
                question: 0,
                because: Because::Forbid
            },
            vec!["not-13".to_owned()]
        )
    );
    let unbounded = format!(
        "{ALL}@id(\"bounded\") forbid (principal, action, resource is Detail::Ticket) when {{ resource.unbounded.contains(\"limit\") }};"
    );
    assert_eq!(answer(&unbounded, &["ticket:search?limit=5"]).0, Answer::Allow);
    assert_eq!(
        answer(&unbounded, &["ticket:search"]).0,
        Answer::Deny {
            question: 0,
            because: Because::Forbid
        }
    );
}

#[test]
fn an_error_is_never_an_allow() {
    let overflows =
        format!("{ALL}@id(\"bad\") permit (principal, action, resource) when {{ context.expires_in + 9223372036854775807 > 0 }};");
    assert_eq!(
        answer(&overflows, &["ticket:read/1"]).0,
        Answer::Deny {
            question: 0,
            because: Because::Error
        }
    );
}

#[test]
fn an_error_in_a_hold_is_an_error_and_no_hold() {
    let overflows =
        "@id(\"bad\") @requires(\"approval\") forbid (principal, action, resource) when { context.expires_in + 9223372036854775807 > 0 };";
    assert_eq!(
        answer(&format!("{ALL}{overflows}"), &["ticket:read/1"]),
        (
            Answer::Deny {
                question: 0,
                because: Because::Error
            },
            vec!["all".to_owned(), "bad".to_owned()]
        )
    );
}

#[test]
fn what_is_not_declared_is_refused_without_a_panic() {
    let mut asked = inquiry(&["ticket:read/1", "refund:create/1"]);
    let mut fewer = snapshot();
    fewer.types = fewer.types.iter().filter(|declared| declared.name == "ticket").cloned().collect();
    let policy = load_with(&fewer, ALL).unwrap();
    let error = |question| Answer::Deny {
        question,
        because: Because::Error,
    };
    assert_eq!(policy.ask(&asked).answer, error(1));
    asked.now_millis = i64::MAX;
    assert_eq!(policy.ask(&asked).answer, error(0));
}

#[test]
fn an_attribute_that_only_some_subjects_have_is_read_after_asking_for_it() {
    let mut with = snapshot();
    let rule = delegation::identity::AttributeRule::parse("string").unwrap();
    with.issuers.get_mut(testkit::CORP).unwrap().attributes.insert("team".to_owned(), rule);
    let bare = "@id(\"a\") permit (principal, action, resource) when { context.subject.team == \"red\" };";
    assert!(load_with(&with, bare).is_err());
    let asks = "@id(\"a\") permit (principal, action, resource) when { context.subject has team && context.subject.team == \"red\" };";
    let policy = load_with(&with, asks).unwrap();
    let mut asked = inquiry(&["ticket:read/1"]);
    assert_ne!(policy.ask(&asked).answer, Answer::Allow);
    let team = delegation::identity::AttributeValue::Text("red".to_owned());
    asked.subject.attributes.values.insert("team".to_owned(), team);
    assert_eq!(policy.ask(&asked).answer, Answer::Allow);
    // A value of another type than declared, as an older task may hold: an error, and so a refusal.
    let wrong = delegation::identity::AttributeValue::Integer(1);
    asked.subject.attributes.values.insert("team".to_owned(), wrong);
    assert_ne!(policy.ask(&asked).answer, Answer::Allow);
}

#[test]
fn holds_are_asked_only_when_the_rules_allow() {
    let hold = "@id(\"person\") @requires(\"approval\") forbid (principal, action == Action::\"ticket:update\", resource);";
    assert_eq!(
        answer(hold, &["ticket:update/1"]).0,
        Answer::Deny {
            question: 0,
            because: Because::NoPermit
        }
    );
    let both = format!("{ALL}{hold}");
    assert_eq!(
        answer(&both, &["ticket:update/1"]),
        (
            Answer::Deny {
                question: 0,
                because: Because::Hold
            },
            vec!["all".to_owned(), "person".to_owned()]
        )
    );
    assert_eq!(answer(&both, &["ticket:read/1"]).0, Answer::Allow);
}

#[test]
fn context_says_what_the_contract_says() {
    let conditions = [
        "context.subject in Group::\"corp|support\"",
        "context.subject == Subject::\"corp|alice\" && context.subject.kind == \"user\" && context.subject.issuer == \"corp\" && context.subject.id == \"alice\"",
        "context.expires_in == 120 && context.subject_age_seconds == 0",
        "context.risk == \"unknown\"",
        "context has requested_by && context.requested_by == \"web\"",
        "context.hour == 14 && context.weekday == 3",
        "context.now == datetime(\"2026-07-01T12:00:00Z\")",
        "context has client_ip && context.client_ip.isInRange(ip(\"192.0.2.0/24\"))",
        "context.audience == Audience::\"https://tickets.internal\"",
        "!context.chain.contains(Workload::\"orders\") && !context.onward && !context.approved && !context.sender_constrained",
        "!(context has acr) && !(context has auth_age_seconds) && !(context has task) && !(context has boundary)",
        "resource in Audience::\"https://tickets.internal\"",
    ];
    for condition in conditions {
        let text =
            format!("@id(\"a\") permit (principal, action == Action::\"ticket:read\", resource is Detail::Ticket) when {{ {condition} }};");
        assert_eq!(answer(&text, &["ticket:read/1"]).0, Answer::Allow, "{condition}");
    }
}

#[test]
fn scopes_are_asked_one_by_one() {
    let mut asked = inquiry(&[]);
    asked.questions = vec![Question::Scope(Scope::parse("profile").unwrap())];
    let policy = load("@id(\"p\") permit (principal, action == Action::\"scope:profile\", resource == Scope::\"profile\");").unwrap();
    assert_eq!(policy.ask(&asked).answer, Answer::Allow);
}

#[test]
fn an_inquiry_read_back_from_its_record_is_answered_alike() {
    let asked = inquiry(&["ticket:update/1?tenant=acme&fields=a,b", "ticket:search"]);
    let again = Inquiry::from_json(&asked.to_json(), &snapshot().types).unwrap();
    assert_eq!(again.to_json(), asked.to_json());
    let policy = load(ALL).unwrap();
    assert_eq!(policy.ask(&again), policy.ask(&asked));
}
