//! Rules that are right and still no good.

use std::collections::BTreeSet;

use cedar_policy::Effect;
use serde_json::Value;

use crate::engine::CedarPolicy;
use crate::explain::{RuleRef, reference};
use crate::load::Loaded;

impl CedarPolicy {
    /// What is questionable about each rule: it can never fire, or it permits without naming an action, a type or an
    /// audience. `clients` are the clients that there are.
    pub fn lint(&self, clients: &[String]) -> Vec<(RuleRef, String)> {
        let clients: BTreeSet<_> = clients.iter().map(String::as_str).collect();
        let mut findings = Vec::new();
        for each in self.loaded.iter().filter(|each| !each.twin) {
            let strangers = named(each).filter(|(kind, _)| *kind == "Workload").filter(|(_, id)| !clients.contains(id));
            let strangers = strangers.map(|(_, id)| format!("can never fire: there is no client `{id}`"));
            let nowhere = named(each).filter(|(kind, id)| *kind == "Audience" && !self.audiences.contains(*id));
            let nowhere = nowhere.map(|(_, id)| format!("can never fire: there is no audience `{id}`"));
            let odd = self.oddities.get(&each.id).cloned();
            let wide =
                is_wide(each).then(|| "permits every action on everything; name an audience, a type or actions in its scope".to_owned());
            findings.extend(strangers.chain(nowhere).chain(odd).chain(wide).map(|finding| (reference(each), finding)));
        }
        findings
    }
}

/// The entities that the scope of a policy names for principal and resource: type and id.
fn named(each: &Loaded) -> impl Iterator<Item = (&str, &str)> {
    let scopes = ["principal", "resource"].into_iter().filter_map(|part| each.json.get(part));
    scopes.filter_map(|scope| {
        let entity = scope.get("entity").or_else(|| scope.get("in").and_then(|inner| inner.get("entity")))?;
        let part = |name: &str| entity.get(name).and_then(Value::as_str);
        Some((part("type")?, part("id")?))
    })
}

/// Whether a permit bounds neither what is done nor what it is done to.
fn is_wide(each: &Loaded) -> bool {
    let all = |part: &str| each.json.get(part).and_then(|scope| scope.get("op")).and_then(Value::as_str) == Some("All");
    each.effect == Effect::Permit && all("action") && all("resource")
}
