//! Absent means all: nothing passes a forbid by leaving something out.

use delegation::details::ConstraintOrder;
use issuance::policy::{Answer, Because, Policy as _};
use testkit::snapshot;

use crate::{ALL, answer, inquiry, load, load_with};

const FORBIDDEN: Answer = Answer::Deny {
    question: 0,
    because: Because::Forbid,
};

#[test]
fn every_way_of_naming_one_resource_also_meets_all_of_them() {
    for scope in [
        "resource == Detail::Ticket::\"13\"",
        "resource in Detail::Ticket::\"13\"",
        "resource is Detail::Ticket in Detail::Ticket::\"13\"",
    ] {
        let text = format!("{ALL}@id(\"no\") forbid (principal, action, {scope});");
        assert_eq!(answer(&text, &["ticket:search/12"]).0, Answer::Allow, "{scope}");
        assert_eq!(answer(&text, &["ticket:search/13"]).0, FORBIDDEN, "{scope}");
        assert_eq!(answer(&text, &["ticket:search"]), (FORBIDDEN, vec!["no".to_owned()]), "{scope}");
    }
    // Named by its audience it is not one resource.
    let audience = format!("{ALL}@id(\"no\") forbid (principal, action, resource in Audience::\"https://orders.internal\");");
    assert_eq!(answer(&audience, &["ticket:search"]).0, Answer::Allow);
}

#[test]
fn a_hold_on_one_resource_also_meets_all_of_them() {
    let text = format!("{ALL}@id(\"ask\") @requires(\"approval\") forbid (principal, action, resource == Detail::Ticket::\"13\");");
    let held = Answer::Deny {
        question: 0,
        because: Because::Hold,
    };
    assert_eq!(answer(&text, &["ticket:search"]).0, held);
    assert_eq!(answer(&text, &["ticket:search/12"]).0, Answer::Allow);
}

#[test]
fn a_permit_on_one_resource_does_not_permit_all_of_them() {
    let text = "@id(\"one\") permit (principal, action, resource == Detail::Ticket::\"13\");";
    assert_eq!(answer(text, &["ticket:search/13"]).0, Answer::Allow);
    assert_ne!(answer(text, &["ticket:search"]).0, Answer::Allow);
}

#[test]
fn what_only_looks_like_a_guard_is_refused() {
    let forbid = |condition: &str| {
        format!("@id(\"a\") forbid (principal, action == Action::\"ticket:update\", resource is Detail::Ticket) when {{ {condition} }};")
    };
    let reads = "(resource has limit && resource.limit > 5)";
    let refused = [
        reads.to_owned(),
        format!("resource.unbounded.contains(\"tenant\") || {reads}"),
        format!("resource.unbounded.containsAll([\"limit\", \"path\"]) || {reads}"),
        // Another set that holds the word says nothing of what is absent.
        format!("[\"limit\", \"path\"].contains(\"limit\") && {reads}"),
        "resource has limit && (if context.onward then resource else resource).limit > 5".to_owned(),
        "resource == Detail::Ticket::\"13\"".to_owned(),
        "[Detail::Ticket::\"13\", Detail::Ticket::\"14\"].contains(resource)".to_owned(),
        "resource has identifier && resource.identifier like \"secret-*\"".to_owned(),
    ];
    for condition in refused {
        let error = load(&forbid(&condition)).err().unwrap_or_default();
        assert!(error.contains("resource.unbounded.contains("), "{condition}: {error}");
    }
    let taken = [
        format!("resource.unbounded.contains(\"limit\") || {reads}"),
        format!("resource.unbounded.containsAny([\"limit\", \"path\"]) || {reads}"),
        "resource.unbounded.contains(\"identifier\") || resource == Detail::Ticket::\"13\"".to_owned(),
        "resource.unbounded.contains(\"locations\")".to_owned(),
    ];
    for condition in taken {
        assert_eq!(load(&forbid(&condition)).err(), None, "{condition}");
    }
}

#[test]
fn a_guard_names_the_member_itself_whatever_its_name_ends_with() {
    let mut snapshot = snapshot();
    let renamed = snapshot.types.iter().cloned().map(|mut declared| {
        if declared.name == "refund" {
            declared.constraints = [("count_integer".to_owned(), ConstraintOrder::AtMost)].into();
            declared
                .actions
                .values_mut()
                .for_each(|rule| rule.constraints = ["count_integer".to_owned()].into());
        }
        declared
    });
    snapshot.types = renamed.collect();
    let forbid = |guard: &str| {
        format!(
            "@id(\"a\") forbid (principal, action, resource is Detail::Refund) when {{ resource.unbounded.contains(\"{guard}\") || (resource has count_integer && resource.count_integer > 5) }};"
        )
    };
    assert!(load_with(&snapshot, &forbid("count")).is_err());
    assert!(load_with(&snapshot, &forbid("count_integer")).is_ok());
}

#[test]
fn an_integer_does_not_pass_a_forbid_that_reads_a_string() {
    let text = format!(
        "{ALL}@id(\"acme\") forbid (principal, action, resource is Detail::Ticket) \
         when {{ resource.unbounded.contains(\"tenant\") || (resource has tenant && resource.tenant != \"acme\") }};"
    );
    assert_eq!(answer(&text, &["ticket:read/1?tenant=acme"]).0, Answer::Allow);
    for other in [
        "ticket:read/1?tenant=evil",
        "ticket:read/1?tenant=:5",
        "ticket:read/1?tenant=:true",
        "ticket:read/1",
    ] {
        assert_eq!(answer(&text, &[other]).0, FORBIDDEN, "{other}");
    }
}

#[test]
fn a_constraint_of_another_action_does_not_bound_this_one() {
    // `fields` bounds update alone; the order between authorities leaves it out for read, and so must policy.
    let text = "@id(\"titles\") permit (principal, action, resource is Detail::Ticket) \
                when { resource has fields && [\"title\"].containsAll(resource.fields) };";
    let mut asked = inquiry(&["ticket:update,read/1?fields=title"]);
    let policy = load(text).unwrap();
    assert_eq!(policy.ask(&asked).answer, Answer::Allow);
    for question in &mut asked.questions {
        if let issuance::policy::Question::Detail { action, .. } = question {
            "read".clone_into(action);
        }
    }
    assert_ne!(policy.ask(&asked).answer, Answer::Allow);
    let open = "@id(\"open\") permit (principal, action, resource is Detail::Ticket) when { resource.unbounded.contains(\"fields\") };";
    assert_eq!(load(open).unwrap().ask(&asked).answer, Answer::Allow);
}

#[test]
fn unbounded_names_every_absent_member_and_no_other() {
    let rows = [
        (
            "ticket:list",
            "[\"fields\", \"limit\", \"locations\", \"path\", \"region\", \"tenant\", \"tenant_boolean\", \"tenant_integer\"]",
        ),
        (
            "ticket:search?limit=5",
            "[\"identifier\", \"fields\", \"locations\", \"path\", \"region\", \"tenant\", \"tenant_boolean\", \"tenant_integer\"]",
        ),
        (
            "ticket:update/1?fields=a&limit=5&locations=eu&path=a%2Fb&region=x&tenant=:true",
            "[\"tenant\", \"tenant_integer\"]",
        ),
    ];
    for (detail, absent) in rows {
        let text = format!("@id(\"a\") permit (principal, action, resource is Detail::Ticket) when {{ resource.unbounded == {absent} }};");
        assert_eq!(answer(&text, &[detail]).0, Answer::Allow, "{detail}");
    }
}
