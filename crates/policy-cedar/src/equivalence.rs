//! The index answers as the full set does, and four ways of getting it wrong are noticed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::net::IpAddr;

use cedar_policy::{Authorizer, PolicyId, PolicySet};
use delegation::details::{Detail, Standing};
use delegation::identity::{Attributes, Subject, SubjectKind};
use delegation::oauth::ClientId;
use issuance::policy::{ClientFacts, Inquiry, Question, SubjectFacts};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

use crate::engine::CedarPolicy;
use crate::index::{Index, Response};
use crate::load::{PolicyFile, rule_id};
use crate::reads::Reads;
use crate::scope::{self, Key, Position};
use crate::terms::Terms;

/// One random policy, without its name.
fn a_policy() -> impl Strategy<Value = String> {
    let one_of = |items: &'static [&'static str]| prop::sample::select(items);
    let principal = one_of(&[
        "principal",
        "principal == Workload::\"edge\"",
        "principal == Workload::\"orders\"",
        "principal in Workload::\"edge\"",
        "principal is Workload",
    ]);
    let action = one_of(&[
        "action",
        "action == Action::\"ticket:read\"",
        "action in Action::\"ticket:any\"",
        "action in [Action::\"ticket:read\", Action::\"ticket:update\"]",
        "action in Action::\"ticket:update\"",
    ]);
    let resource = one_of(&[
        "resource",
        "resource == Detail::Ticket::\"1\"",
        "resource == Detail::Ticket::\"2\"",
        "resource in Audience::\"https://tickets.internal\"",
        "resource in Detail::Ticket::\"1\"",
        "resource is Detail::Ticket in Detail::Ticket::\"2\"",
        "resource is Detail::Ticket",
    ]);
    let condition = one_of(&[
        "",
        "when { context.subject == Subject::\"corp|alice\" }",
        "when { context.subject in Subject::\"corp|alice\" }",
        "when { context.subject in Group::\"corp|support\" && context.expires_in <= 60 }",
        "when { context.subject in Group::\"corp|sales\" }",
        "when { context.expires_in + 9223372036854775807 > 0 && context.subject == Subject::\"corp|bob\" }",
        "when { context.expires_in <= 60 && context.subject in Group::\"corp|sales\" }",
        "unless { context.subject in Group::\"corp|support\" }",
        "when { context.onward }",
        "when { context.now < datetime(\"2026-05-28T20:26:41Z\") }",
        "unless { context has client_ip && context.client_ip.isLoopback() }",
    ]);
    (one_of(&["permit", "permit", "forbid"]), principal, action, resource, condition)
        .prop_map(|(effect, principal, action, resource, condition)| format!("{effect} ({principal}, {action}, {resource}) {condition};"))
}

fn policies() -> impl Strategy<Value = String> {
    prop::collection::vec(a_policy(), 1..12)
        .prop_map(|list| list.into_iter().enumerate().map(|(at, text)| format!("@id(\"p{at}\") {text}\n")).collect())
}

fn an_inquiry() -> impl Strategy<Value = Inquiry> {
    let one_of = |items: &'static [&'static str]| prop::sample::select(items);
    let details = one_of(&[
        "ticket:read/1",
        "ticket:read/2",
        "ticket:update/1",
        "ticket:search",
        "ticket:search/1",
        "ticket:list",
    ]);
    let groups = prop::sample::subsequence(vec!["support", "sales"], 0..=2);
    (
        one_of(&["edge", "orders"]),
        one_of(&["alice", "bob"]),
        groups,
        details,
        prop::sample::select(vec![30_i64, 90]),
        any::<bool>(),
        prop::sample::select(vec![None, Some([127, 0, 0, 1]), Some([192, 0, 2, 1])]),
    )
        .prop_map(|(client, sub, groups, detail, expires_in, onward, address)| {
            let snapshot = testkit::snapshot();
            let detail = Detail::parse_short(detail, &snapshot.types, Standing::Asked).unwrap();
            let action = detail.actions().first().unwrap().clone();
            let subject = Subject {
                issuer_name: "corp".to_owned(),
                iss: testkit::CORP.to_owned(),
                sub: sub.to_owned(),
            };
            let attributes = Attributes {
                groups: groups.into_iter().map(str::to_owned).collect(),
                ..Attributes::default()
            };
            Inquiry {
                client: ClientFacts::from(snapshot.clients.get(&ClientId::parse(client).unwrap()).unwrap()),
                subject: SubjectFacts {
                    subject,
                    kind: SubjectKind::User,
                    attributes,
                    risk: None,
                },
                audience: "https://tickets.internal".to_owned(),
                now_millis: 1_780_000_000_000,
                expires_in,
                subject_age_seconds: 0,
                requested_by: None,
                chain: Vec::new(),
                client_ip: address.map(IpAddr::from),
                sender_constrained: false,
                auth_age_seconds: None,
                acr: None,
                task: None,
                questions: vec![Question::Detail { detail, action, onward }],
            }
        })
}

fn loaded(text: &str) -> CedarPolicy {
    let files = [PolicyFile {
        name: "random.cedar".to_owned(),
        text: text.to_owned(),
    }];
    CedarPolicy::load(&testkit::snapshot(), &files, "UTC", "p".to_owned()).unwrap_or_else(|error| panic_with(&error.to_string()))
}

fn panic_with(text: &str) -> CedarPolicy {
    assert_eq!(text, "", "random policies are right");
    unreachable!("the assertion failed")
}

/// What the full set says to the whole context, by the names that people gave the rules.
fn full(policy: &CedarPolicy, inquiry: &Inquiry) -> (bool, BTreeSet<String>, BTreeSet<String>) {
    let terms = Terms::new(&testkit::snapshot(), TimeZone::UTC, Reads::everything()).unwrap();
    let asked = terms.ask(&terms.circumstances(inquiry).unwrap(), inquiry.questions.first().unwrap()).unwrap();
    let set = PolicySet::from_policies(policy.loaded.iter().map(|each| each.policy.clone())).unwrap();
    let response = Authorizer::new().is_authorized(&asked.request, &set, &asked.entities);
    let errors = response.diagnostics().errors().map(|error| match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => rule_id(error.policy_id()),
    });
    let allowed = response.decision() == cedar_policy::Decision::Allow;
    (allowed, response.diagnostics().reason().map(rule_id).collect(), errors.collect())
}

/// What an index says that is built with `key`, asked for what `keep` leaves of the keys, with or without twins.
fn indexed(
    policy: &CedarPolicy,
    inquiry: &Inquiry,
    key: fn(&Value) -> Key,
    keep: impl Fn(&(Position, String)) -> bool,
    twins: bool,
) -> (bool, BTreeSet<String>, BTreeSet<String>) {
    let asked = policy.put(&policy.circumstances(inquiry).unwrap(), inquiry.questions.first().unwrap()).unwrap();
    let all = policy.loaded.iter().filter(|each| twins || !each.twin);
    let index = Index::new(all.map(|each| (each.policy.clone(), key(&each.json)))).unwrap();
    let keys: Vec<_> = asked.keys().filter(|each| keep(each)).cloned().collect();
    let Response { allowed, reasons, errors } = index.decide(keys.iter(), &Authorizer::new(), &asked.request, &asked.entities);
    let names = |ids: BTreeSet<PolicyId>| ids.iter().map(rule_id).collect();
    (allowed, names(reasons), names(errors))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_index_answers_as_the_full_set_does(text in policies(), inquiry in an_inquiry()) {
        let policy = loaded(&text);
        prop_assert_eq!(indexed(&policy, &inquiry, scope::key, |_| true, true), full(&policy, &inquiry));
    }
}

/// Whether some random case tells a wrong index from the full set.
fn is_caught(wrong: impl Fn(&CedarPolicy, &Inquiry) -> (bool, BTreeSet<String>, BTreeSet<String>)) -> bool {
    let mut runner = TestRunner::deterministic();
    (0..4000).any(|_| {
        let text = policies().new_tree(&mut runner).unwrap().current();
        let inquiry = an_inquiry().new_tree(&mut runner).unwrap().current();
        let policy = loaded(&text);
        wrong(&policy, &inquiry) != full(&policy, &inquiry)
    })
}

#[test]
fn leaving_out_the_groups_of_an_action_is_caught() {
    let group = |(position, name): &(Position, String)| *position == Position::Action && name.ends_with(":any");
    assert!(is_caught(|policy, inquiry| indexed(
        policy,
        inquiry,
        scope::key,
        |key| !group(key),
        true
    )));
}

#[test]
fn forgetting_that_in_is_reflexive_is_caught() {
    let itself = |(position, name): &(Position, String)| *position == Position::Subject && name.starts_with("Subject\n");
    assert!(is_caught(|policy, inquiry| indexed(
        policy,
        inquiry,
        scope::key,
        |key| !itself(key),
        true
    )));
}

#[test]
fn indexing_by_a_later_conjunct_is_caught() {
    fn any_conjunct(policy: &Value) -> Key {
        let body = policy
            .get("conditions")
            .and_then(|conditions| conditions.get(0))
            .and_then(|first| first.get("body"));
        let second = body.and_then(|body| body.get("&&")).and_then(|and| and.get("right")).and_then(scope::subject);
        second.map(|name| (Position::Subject, name)).or_else(|| scope::key(policy))
    }
    assert!(is_caught(|policy, inquiry| indexed(policy, inquiry, any_conjunct, |_| true, true)));
}

#[test]
fn leaving_out_the_twin_of_a_forbid_is_caught() {
    assert!(is_caught(|policy, inquiry| indexed(policy, inquiry, scope::key, |_| true, false)));
}
