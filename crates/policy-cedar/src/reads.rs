//! Which members of context and entities the policies in force could read. What none of them names need not be built.

use std::collections::BTreeSet;

use serde_json::Value;

/// The members that some policy names, wherever it reads them, or all where a policy takes the context as a whole.
///
/// A record can be compared and passed on whole; what an entity has can only be read by name.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    whole: bool,
    named: BTreeSet<String>,
}

impl Reads {
    /// What `policies`, in their JSON form, read.
    pub(crate) fn of<'a>(policies: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut reads = Self::default();
        for policy in policies {
            reads.walk(policy);
        }
        reads
    }

    /// As if a policy took the context as a whole: to compare with.
    #[cfg(test)]
    pub(crate) fn everything() -> Self {
        Self {
            whole: true,
            ..Self::default()
        }
    }

    /// Whether a policy could read the member `name`.
    pub(crate) fn could_read(&self, name: &str) -> bool {
        self.whole || self.named.contains(name)
    }

    fn walk(&mut self, json: &Value) {
        match json {
            Value::Object(members) => {
                for (operator, operand) in members {
                    match (operator.as_str(), operand.get("left"), operand.get("attr")) {
                        ("." | "has", Some(left), Some(Value::String(name))) => {
                            self.named.insert(name.clone());
                            if !is_context(left) {
                                self.walk(left);
                            }
                        }
                        _ => self.walk(operand),
                    }
                }
                // Anywhere else the context stands for all of its members, and those for all of theirs.
                self.whole |= is_context(json);
            }
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            _ => {}
        }
    }
}

fn is_context(json: &Value) -> bool {
    json.get("Var").is_some_and(|name| name == "context")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::str::FromStr;

    use cedar_policy::Policy;

    use super::Reads;

    fn reads(condition: &str) -> Reads {
        let policy = Policy::from_str(&format!("permit (principal, action, resource) when {{ {condition} }};")).unwrap();
        Reads::of([&policy.to_json().unwrap()])
    }

    #[test]
    fn a_member_is_named_by_access_by_has_and_however_it_is_spelled() {
        for condition in [
            "context.now > datetime(\"2026-01-01\")",
            "context has now",
            "context[\"n\\u{6f}w\"] == 1",
            "resource has x && (if context has now then true else false)",
            "[1, context.now].contains(2)",
        ] {
            let reads = reads(condition);
            assert!(reads.could_read("now"), "{condition}");
            assert!(!reads.could_read("client_ip"), "{condition}");
        }
    }

    #[test]
    fn a_context_taken_whole_is_read_whole() {
        for condition in [
            "context == resource",
            "{ a: context } == resource",
            "(if true then context else context).now == 1",
            "context has now.inner",
        ] {
            assert!(reads(condition).could_read("anything"), "{condition}");
        }
    }
}
