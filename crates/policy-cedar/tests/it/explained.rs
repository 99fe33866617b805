//! Why policy answered as it did.

use policy_cedar::QuestionExplanation;

use crate::{ALL, inquiry, load};

fn explained(text: &str, detail: &str) -> QuestionExplanation {
    let explanation = load(text).unwrap().explain(&inquiry(&[detail]));
    explanation.questions.into_iter().next().unwrap()
}

fn deciding(question: &QuestionExplanation) -> Vec<&str> {
    question.decided_by.iter().map(|rule| rule.id.as_str()).collect()
}

#[test]
fn a_near_miss_names_the_first_condition_that_was_false_and_what_it_read() {
    let text = "@id(\"short\") permit (principal == Workload::\"edge\", action == Action::\"ticket:read\", resource)\nwhen { context.subject in Group::\"corp|support\" && context.expires_in <= 60 };\n@id(\"other\") permit (principal == Workload::\"orders\", action, resource);";
    let question = explained(text, "ticket:read/1");
    assert!(!question.allowed);
    let [miss] = question.near_misses.as_slice() else {
        unreachable!("one near miss: {question:?}")
    };
    assert_eq!((miss.rule.id.as_str(), miss.rule.line), ("short", 1));
    assert_eq!(miss.condition, "context.expires_in <= 60");
    assert_eq!(miss.values, [("context.expires_in".to_owned(), "120".to_owned())]);
}

#[test]
fn values_are_those_that_the_engine_reads() {
    let rows = [
        ("context.hour < 9", "context.hour", "14"),
        ("context.weekday > 5", "context.weekday", "3"),
        ("context.risk == \"low\"", "context.risk", "\"unknown\""),
        ("resource has limit && resource.limit > 9", "resource.limit", "7"),
        ("resource has path && resource.path == \"a\"", "resource.path", "absent"),
        ("resource.unbounded.isEmpty()", "resource.unbounded", "tenant"),
        (
            "context.subject in Group::\"corp|sales\"",
            "context.subject",
            "Subject::\"corp|alice\" in Group::\"corp|support\"",
        ),
        ("principal has owner", "principal.owner", "absent"),
        (
            "resource in Audience::\"https://orders.internal\"",
            "resource",
            "Audience::\"https://tickets.internal\"",
        ),
    ];
    for (condition, path, expected) in rows {
        let text = format!("@id(\"a\") permit (principal, action == Action::\"ticket:update\", resource) when {{ {condition} }};");
        let question = explained(&text, "ticket:update/1?limit=7");
        let miss = question.near_misses.first().unwrap();
        let value = miss
            .values
            .iter()
            .find(|(name, _)| name == path)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default();
        assert!(value.contains(expected), "{condition}: {:?}", miss.values);
    }
}

#[test]
fn an_unless_that_held_is_a_near_miss_too() {
    let question = explained(
        "@id(\"a\") permit (principal, action, resource) unless { context.hour < 20 };",
        "ticket:read/1",
    );
    let miss = question.near_misses.first().unwrap();
    assert_eq!(miss.condition, "unless context.hour < 20");
}

#[test]
fn a_hold_is_not_blamed_for_what_no_permit_allows() {
    let hold = "@id(\"person\") @requires(\"approval\") forbid (principal, action, resource);";
    let question = explained(hold, "ticket:read/1");
    assert!(!question.allowed && question.decided_by.is_empty(), "{question:?}");
    let both = format!("{ALL}{hold}");
    let question = explained(&both, "ticket:read/1");
    assert_eq!((question.allowed, deciding(&question)), (false, vec!["person"]));
    assert!(question.near_misses.is_empty());
}

#[test]
fn a_rule_that_could_not_be_evaluated_is_named() {
    let text = format!("{ALL}@id(\"bad\") permit (principal, action, resource) when {{ context.expires_in + 9223372036854775807 > 0 }};");
    let question = explained(&text, "ticket:read/1");
    assert_eq!((question.allowed, deciding(&question)), (false, vec!["all", "bad"]));
}

#[test]
fn a_question_is_named_by_its_own_action_in_the_short_form() {
    let question = explained(ALL, "ticket:update,read/1?fields=a");
    assert_eq!(question.asked, "ticket:update/1?fields=a");
    assert_eq!((question.allowed, deciding(&question)), (true, vec!["all"]));
}
