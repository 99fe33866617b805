//! What to paste so that what is not used is not granted.
//!
//! A rule that is proposed takes something away and never gives: a `forbid` for one client, one action, one audience.

use std::collections::{BTreeMap, BTreeSet};

use delegation::details::{DetailType, IdentifierRule};
use delegation::registry::Snapshot;
use serde_json::{Value, json};

use super::super::rule_ids::{RuleId, RuleIds};
use super::super::short;
use super::asked::{Asked, Boundaries};
use super::case::{Asks, Case};
use super::minted::Granted;
use super::used::Client;

/// Lives that people give to tokens, in seconds, with their spelling.
const LIVES: [(i64, &str); 11] = [
    (10, "10s"),
    (15, "15s"),
    (30, "30s"),
    (60, "1m"),
    (120, "2m"),
    (300, "5m"),
    (600, "10m"),
    (900, "15m"),
    (1800, "30m"),
    (3600, "1h"),
    (14400, "4h"),
];

/// One client's tokens for one audience.
pub(super) struct Known<'k> {
    pub(super) client: &'k str,
    pub(super) audience: &'k str,
    pub(super) used: &'k Client,
    pub(super) granted: &'k Granted,
    pub(super) snapshot: &'k Snapshot,
    pub(super) ids: &'k RuleIds<'k>,
    pub(super) boundaries: Boundaries<'k>,
}

/// What is to be forbidden.
struct Forbidden {
    /// In words, and in the name of the rule.
    about: String,
    /// `Action::"…"`.
    action: String,
    /// What a case asks for it.
    asks: Asks,
}

/// What no request used.
pub(super) fn of_use(known: &Known<'_>) -> Vec<Value> {
    let (used, granted) = (known.used, known.granted);
    let (actions, scopes) = (used.rows(|route| &route.actions), used.rows(|route| &route.scopes));
    let requests = used.requests();
    let unused = |rows: &BTreeMap<String, (i64, i64)>, name: &str| rows.get(name).is_none_or(|(_, used)| *used == 0);
    let mut mends = Vec::new();

    let enough = known.enough(&actions);
    let names: BTreeSet<_> = granted.actions.keys().chain(actions.keys()).collect();
    for name in names.into_iter().filter(|name| unused(&actions, name)) {
        let (Some(detail), Some((declared, action, _))) = (known.detail(name), known.snapshot.types.named(name)) else {
            continue;
        };
        let seen = said(granted.actions.get(name), actions.get(name));
        let together = granted.together.get(name).copied().unwrap_or_default();
        let mut note = format!("{seen}, and none of {} used it", counted(requests, "request"));
        let mut paste = Vec::new();
        if together > 0 {
            note = format!(
                "{note}; {} {} asked for with it and something else: let `{}` leave it out first, or what it uses is \
                 refused too",
                counted(together, "token"),
                if together == 1 { "was" } else { "were" },
                known.client
            );
            if !enough.is_empty() {
                let into = format!("what `{}` asks for at {}", known.client, known.audience);
                paste.push(json!({ "into": into, "text": enough }));
            }
        }
        let asked = Asked {
            client: known.client,
            audience: known.audience,
            kind: &declared.name,
            action,
        };
        let is_used = |other: &str| !unused(&actions, &format!("{}:{other}", declared.name));
        for ((service, route), line) in known.boundaries.too_wide(asked, &known.snapshot.types, is_used) {
            match line {
                Some(text) => {
                    paste.push(json!({ "into": format!("[services.routes] of `{service}`, in place of `{route}`"), "text": text }))
                }
                None => note = format!("{note}; the route `{route}` of `{service}` asks for it: leave it out there"),
            }
        }
        let forbidden = Forbidden {
            about: name.clone(),
            action: name.clone(),
            asks: Asks::Detail(detail),
        };
        paste.extend(known.rule(&forbidden));
        mends.push(json!({ "about": name, "note": note, "paste": paste }));
    }

    let names: BTreeSet<_> = granted.scopes.keys().chain(scopes.keys()).collect();
    for name in names.into_iter().filter(|name| unused(&scopes, name) && known.has_scope(name)) {
        let note = format!(
            "{}, and no route of {} names it",
            said(granted.scopes.get(name), scopes.get(name)),
            counted(requests, "request")
        );
        let forbidden = Forbidden {
            about: format!("scope {name}"),
            action: format!("scope:{name}"),
            asks: Asks::Scope(name.clone()),
        };
        mends.push(json!({ "about": forbidden.about, "note": note, "paste": known.rule(&forbidden) }));
    }

    // No rule is proposed: what bounds one action does not bound another.
    for (name, (count, _)) in used.rows(|route| &route.wider) {
        let bound = name.split_once(' ').map_or(&*name, |(_, bound)| bound);
        let requests = counted(requests, "request");
        let note = format!(
            "{count} of {requests} came with a token that bounds `{bound}` less than they needed. No rule says that: let `{}` name it in what \
             it asks for, for each request as that needs it",
            known.client
        );
        mends.push(json!({ "about": name, "note": note, "paste": [] }));
    }
    mends
}

/// What was never exchanged on.
pub(super) fn of_onward(known: &Known<'_>) -> Vec<Value> {
    let unused = known.granted.onward.iter().filter(|(_, (granted, used))| *granted > 0 && *used == 0);
    let told = |(name, (granted, _)): (&String, &(i64, i64))| {
        let detail = known.detail(name)?;
        let forbidden = Forbidden {
            about: format!("onward {name}"),
            action: name.clone(),
            asks: Asks::Onward(detail),
        };
        let note = format!(
            "{} carried it for a later hop, and none was exchanged for it; let `{}` leave it out first",
            counted(*granted, "token"),
            known.client
        );
        Some(json!({ "about": forbidden.about, "note": note, "paste": known.rule(&forbidden) }))
    };
    unused.filter_map(told).collect()
}

/// How long tokens for `audience` could live: twice the greatest age at use, if that is at most half of what they do.
pub(super) fn of_life(audience: &str, life: i64, age: i64) -> Option<Value> {
    let (seconds, text) = LIVES.into_iter().find(|(seconds, _)| *seconds > age.saturating_mul(2))?;
    if seconds.saturating_mul(2) > life {
        return None;
    }
    let note =
        format!("tokens live up to {life} s and were at most {age} s old when they were shown; a client that keeps one asks more often");
    let paste =
        json!({ "into": format!("the [[audiences]] entry of {audience} in narrows.toml"), "text": format!("max_lifetime = \"{text}\"") });
    Some(json!({ "about": "lifetime", "note": note, "paste": [paste] }))
}

fn counted(count: i64, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

/// How often it was granted: by the log, or, where that does not know, by what was shown.
fn said(tokens: Option<&i64>, requests: Option<&(i64, i64)>) -> String {
    match (tokens, requests) {
        (Some(tokens), _) => format!("{} granted it", counted(*tokens, "token")),
        (None, Some((requests, _))) => format!("{} came with a token that granted it", counted(*requests, "request")),
        (None, None) => "it was granted".to_owned(),
    }
}

impl Known<'_> {
    /// `TYPE:ACTION` as something to ask for; `None` if it is not declared, so that no policy could speak of it: a guard says names, and
    /// has no say in what is pasted.
    fn detail(&self, name: &str) -> Option<String> {
        let (declared, action, rule) = self.snapshot.types.named(name)?;
        let short = short(&declared.name, &[action]);
        Some(match rule.identifier {
            IdentifierRule::None => short,
            IdentifierRule::Required | IdentifierRule::Optional => format!("{short}/1"),
        })
    }

    /// The actions that were used, in the short form: what it is enough to ask for.
    fn enough(&self, actions: &BTreeMap<String, (i64, i64)>) -> String {
        let mut by_type: BTreeMap<&str, (&DetailType, Vec<&str>)> = BTreeMap::new();
        let used = actions.iter().filter(|(_, (_, used))| *used > 0);
        for (declared, action, _) in used.filter_map(|(name, _)| self.snapshot.types.named(name)) {
            by_type.entry(&declared.name).or_insert((declared, Vec::new())).1.push(action);
        }
        let details: Vec<_> = by_type.values().map(|(declared, actions)| short(&declared.name, actions)).collect();
        details.join("\n")
    }

    fn has_scope(&self, name: &str) -> bool {
        let mut known = self
            .snapshot
            .audiences
            .values()
            .flat_map(|audience| &audience.scopes)
            .chain(self.snapshot.scopes.keys());
        known.any(|scope| scope.as_str() == name)
    }

    /// The rule, and the case that shows what it does.
    fn rule(&self, forbidden: &Forbidden) -> Vec<Value> {
        let of = self.audience.trim_start_matches("https://");
        let (client, audience, action) = (quoted(self.client), quoted(self.audience), quoted(&forbidden.action));
        let condition = match forbidden.asks {
            Asks::Onward(_) => "context.onward",
            Asks::Detail(_) | Asks::Scope(_) => "!context.onward",
        };
        let rule = format!(
            "forbid (principal == Workload::{client}, action == Action::{action}, resource)\n\
             when {{ context.audience == Audience::{audience} && {condition} }};"
        );
        let RuleId { id, before } = self.ids.give(&format!("unused-{}-{of}-{}", self.client, forbidden.about), &rule);
        let mut into = "a file of `policies`".to_owned();
        if let Some(before) = before {
            into = format!("{into}, if the rule `{before}` that is in force is another one");
        }
        let case = Case {
            name: format!("{} has no {} at {of}", self.client, forbidden.about),
            client: self.client,
            audience: self.audience,
            asks: &forbidden.asks,
        };
        vec![
            json!({ "into": into, "text": format!("@id(\"{id}\")\n{rule}") }),
            json!({ "into": "a NAME.cases.toml beside it", "text": case.text(&id, self.snapshot, self.ids.policy()) }),
        ]
    }
}

/// As a string of Cedar, and of TOML: what both take needs no more than this.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{of_life, said};

    #[test]
    fn a_life_is_proposed_only_if_it_is_long_enough_and_much_shorter() {
        let proposed = |life: i64, age: i64| {
            let mend = of_life("https://a.internal", life, age)?;
            mend.pointer("/paste/0/text").and_then(Value::as_str).map(str::to_owned)
        };
        assert_eq!(proposed(120, 11).as_deref(), Some("max_lifetime = \"30s\""));
        assert_eq!(proposed(120, 15).as_deref(), Some("max_lifetime = \"1m\""));
        assert_eq!(proposed(20, 0).as_deref(), Some("max_lifetime = \"10s\""));
        for (life, age) in [(119, 15), (19, 0), (120, 40), (86_400, 40_000), (0, 0)] {
            assert_eq!(proposed(life, age), None, "{life} {age}");
        }
    }

    #[test]
    fn one_is_told_as_one_and_several_as_several() {
        assert_eq!(said(Some(&1), None), "1 token granted it");
        assert_eq!(said(Some(&2), Some(&(1, 0))), "2 tokens granted it");
        assert_eq!(said(None, Some(&(1, 0))), "1 request came with a token that granted it");
        assert_eq!(said(None, Some(&(0, 0))), "0 requests came with a token that granted it");
    }
}
