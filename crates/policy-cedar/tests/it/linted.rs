//! Rules that are right and still no good.

use crate::load;

fn findings(text: &str) -> Vec<(String, usize, String)> {
    let clients = ["edge", "orders"].map(str::to_owned);
    let findings = load(text).unwrap().lint(&clients);
    findings.into_iter().map(|(rule, finding)| (rule.id, rule.line, finding)).collect()
}

#[test]
fn a_rule_that_can_never_fire_is_found() {
    let rows = [
        (
            "permit (principal == Workload::\"egde\", action == Action::\"ticket:read\", resource)",
            "no client `egde`",
        ),
        (
            "permit (principal in Workload::\"egde\", action == Action::\"ticket:read\", resource)",
            "no client `egde`",
        ),
        (
            "forbid (principal, action, resource in Audience::\"https://tikets.internal\")",
            "no audience",
        ),
        (
            "permit (principal, action, resource is Detail::Ticket in Audience::\"https://t\")",
            "no audience",
        ),
        (
            "permit (principal, action == Action::\"ticket:read\", resource is Detail::Refund)",
            "",
        ),
    ];
    for (rule, expected) in rows {
        let found = findings(&format!("\n@id(\"a\") {rule};"));
        let [(id, 2, finding)] = found.as_slice() else {
            unreachable!("one finding for {rule}: {found:?}")
        };
        assert!(id == "a" && finding.contains(expected), "{rule}: {finding}");
    }
}

#[test]
fn a_permit_without_action_type_or_audience_is_found() {
    let found = findings("@id(\"all\") permit (principal, action, resource) when { context.expires_in < 60 };");
    assert!(
        matches!(found.as_slice(), [(_, 1, finding)] if finding.contains("every action")),
        "{found:?}"
    );
    let bounded = [
        "permit (principal, action in Action::\"ticket:any\", resource)",
        "permit (principal, action, resource is Detail::Ticket)",
        "permit (principal == Workload::\"edge\", action, resource in Audience::\"https://tickets.internal\")",
        "forbid (principal, action, resource)",
    ];
    for rule in bounded {
        assert_eq!(findings(&format!("@id(\"a\") {rule};")), [], "{rule}");
    }
}
