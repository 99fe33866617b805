//! Whether what was refused then would still be refused for the same reason: by the configuration and the policies of today.

use std::collections::BTreeSet;

use delegation::authority::Authority;
use delegation::details::{Detail, DetailTypes, Standing};
use delegation::oauth::Scope;
use delegation::registry::Snapshot;
use http::HeaderMap;
use issuance::policy::{Answer, Inquiry, Policy as _};
use narrows_guard::route::Rule;
use narrows_guard::{Body, Call};
use policy_cedar::CedarPolicy;
use serde_json::Value;

use super::guards;
use crate::api::reports::rule_ids::RuleIds;
use crate::routed::Routed;

/// What is in force now.
pub(super) struct Today<'t> {
    pub(super) snapshot: &'t Snapshot,
    pub(super) policy: &'t CedarPolicy,
    /// The routes of boundaries and services.
    pub(super) routes: &'t Routed,
    /// Names of rules that are proposed.
    pub(super) ids: RuleIds<'t>,
}

impl Today<'_> {
    /// Whether the reason of `record` holds no more; nothing where a record alone does not tell. What was refused for one reason may
    /// lack something else, which is then another group.
    pub(super) fn covers(&self, record: &Value) -> Option<bool> {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("reason") {
            "no_route" => self.routed(record).map(|rule| rule.is_some()),
            "no_token" => self.routed(record).map(|rule| matches!(rule, Some(Rule::Public))),
            "policy_denied" => {
                let inquiry = Inquiry::from_json(record.get("inputs")?, &self.snapshot.types)?;
                Some(self.policy.ask(&inquiry).answer == Answer::Allow)
            }
            // At a guard the token was made already.
            "scope_not_mapped" | "wider_than_subject" if guards::service(record).is_empty() => self.within_scopes(record),
            _ => None,
        }
    }

    /// What the route of the request asks for, if it has one now.
    fn routed(&self, record: &Value) -> Option<Option<&Rule>> {
        let line = record.get("request")?;
        let part = |name: &str| line.get(name).and_then(Value::as_str);
        let table = match guards::service(record) {
            "" => self.routes.boundaries.get(record.get("boundary")?.as_str()?)?,
            service => self.routes.services.get(service)?,
        };
        let (host, path) = (part("host")?.as_bytes(), part("path")?.as_bytes());
        // What no request could have has no route either.
        let call = Call::parse(part("method")?, host, path, &HeaderMap::new(), Body::Absent).ok();
        Some(call.and_then(|call| table.find(&call)).map(|matched| matched.route().rule()))
    }

    /// Whether the scopes of the outside token that came amount to what was asked. Of a token of ours they are not the ceiling.
    fn within_scopes(&self, record: &Value) -> Option<bool> {
        let shown = record.get("chain").and_then(Value::as_array).and_then(|chain| chain.last()?.as_str());
        if !shown.is_some_and(|shown| shown.starts_with("o_")) {
            return None;
        }
        let types = &self.snapshot.types;
        let carried = ["/inputs/ceiling/scopes", "/inputs/unmapped_scopes"].map(|place| scopes(record.pointer(place)));
        let mut ceiling = Authority::default();
        for scope in carried.into_iter().flatten() {
            if let Some(details) = self.snapshot.scopes.get(&scope) {
                ceiling.details.extend(details.iter().cloned());
                ceiling.scopes.insert(scope);
            }
        }
        let wanted = record.get("scope").and_then(Value::as_str).unwrap_or_default();
        let asked = Authority {
            details: details(record.get("authorization_details"), types)?,
            scopes: wanted.split_whitespace().map(|scope| Scope::parse(scope).ok()).collect::<Option<_>>()?,
        };
        let onward = Authority {
            details: details(record.get("onward"), types)?,
            ..Authority::default()
        };
        Some(asked.is_within(&ceiling, types).is_ok() && onward.is_within(&ceiling, types).is_ok())
    }
}

fn scopes(listed: Option<&Value>) -> BTreeSet<Scope> {
    let listed = listed.and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(|scope| Scope::parse(scope.as_str()?).ok()).collect()
}

/// Nothing, if one of them is of a type that is not known any more.
fn details(listed: Option<&Value>, types: &DetailTypes) -> Option<Vec<Detail>> {
    let listed = listed.and_then(Value::as_array).into_iter().flatten();
    listed.map(|detail| Detail::from_json(detail, types, Standing::Asked).ok()).collect()
}
