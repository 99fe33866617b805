//! Rules that are right and still no good.

use std::collections::BTreeSet;

use cedar_policy::Effect;
use serde_json::Value;

use crate::engine::CedarPolicy;
use crate::explain::{RuleRef, reference};

impl CedarPolicy {
    /// What is questionable about each rule: a principal that is no client of `clients`, and permits whose scope
    /// names neither an action nor a resource.
    pub fn lint(&self, clients: &[String]) -> Vec<(RuleRef, String)> {
        let clients: BTreeSet<_> = clients.iter().map(String::as_str).collect();
        let mut findings = Vec::new();
        for each in self.loaded.iter().filter(|each| !each.twin) {
            let scope = |part: &str, name: &str| each.json.get(part).and_then(|scope| scope.get(name)).cloned().unwrap_or_default();
            let principal = scope("principal", "entity");
            let id = principal.get("id").and_then(Value::as_str).unwrap_or_default();
            if scope("principal", "op") == "==" && !clients.contains(id) {
                findings.push((reference(each), format!("can never fire: there is no client `{id}`")));
            }
            if each.effect == Effect::Permit && scope("action", "op") == "All" && scope("resource", "op") == "All" {
                findings.push((
                    reference(each),
                    "permits every action on everything; name an audience, a type or actions in its scope".to_owned(),
                ));
            }
        }
        findings
    }
}
