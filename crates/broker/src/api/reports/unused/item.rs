//! One client's tokens for one audience: granted beside used.

use std::collections::{BTreeMap, BTreeSet};

use delegation::registry::Snapshot;
use serde_json::{Value, json};

use super::super::rule_ids::RuleIds;
use super::super::short;
use super::asked::Boundaries;
use super::mend::{self, Known};
use super::minted::{Granted, Minted};
use super::used::{Client, Route, Rows, Usage};

/// Of fewer requests nothing is concluded.
const FEWEST: i64 = 20;

/// Every pair of client and audience that was granted anything, or used it. `is_whole` says that all of the log's time was looked at.
pub(super) fn all(
    usage: &Usage,
    minted: &Minted,
    snapshot: &Snapshot,
    beside: (&RuleIds<'_>, Boundaries<'_>),
    is_whole: bool,
) -> Vec<Value> {
    let pairs: BTreeSet<_> = usage.by_client.keys().chain(minted.pairs.keys()).collect();
    let (nothing_used, nothing_granted) = (Client::default(), Granted::default());
    let told = |of: &(String, String)| {
        let (client, audience) = of;
        let used = usage.by_client.get(of).unwrap_or(&nothing_used);
        let granted = minted.pairs.get(of).unwrap_or(&nothing_granted);
        let is_reported = usage.span(audience).is_some();
        let is_concluded = is_reported && usage.is_told(audience) && used.is_told() && used.requests() >= FEWEST;
        let known = Known {
            client,
            audience,
            used,
            granted,
            snapshot,
            ids: beside.0,
            boundaries: beside.1,
        };
        let mut mends = Vec::new();
        if is_concluded {
            mends.extend(mend::of_use(&known));
        }
        if is_whole && granted.tokens >= FEWEST {
            mends.extend(mend::of_onward(&known));
        }
        json!({
            "client": client, "audience": audience, "reported": is_reported,
            "requests": is_reported.then(|| used.requests()),
            "tokens": tokens(used, granted, is_reported && is_whole),
            "actions": rows(&granted.actions, &used.rows(|route| &route.actions), is_reported),
            "scopes": rows(&granted.scopes, &used.rows(|route| &route.scopes), is_reported),
            "onward": granted.onward.iter().map(|(name, (granted, used))| row(name, *granted, Some(*used))).collect::<Vec<_>>(),
            "routes": used.routes.iter().map(|((service, name), route)| told_route(service, name, route, snapshot)).collect::<Vec<_>>(),
            "mend": mends,
            "note": note(usage, audience, used, is_reported),
        })
    };
    pairs.into_iter().map(told).collect()
}

/// How long tokens are to live, beside how old they are when they are used. What they could live is said where all clients are known.
pub(super) fn lifetimes(usage: &Usage, is_of_all: bool) -> Vec<Value> {
    let mut audiences: BTreeMap<&str, Vec<&Route>> = BTreeMap::new();
    for ((_, audience), client) in &usage.by_client {
        audiences.entry(audience).or_default().extend(client.routes.values());
    }
    let told = |(audience, routes): (&str, Vec<&Route>)| {
        let most = |of: fn(&Route) -> i64| routes.iter().map(|route| of(route)).max().unwrap_or_default();
        let (life, age) = (most(|route| route.life), most(|route| route.age));
        let mut ages = BTreeMap::<i64, i64>::new();
        for (most, count) in routes.iter().flat_map(|route| &route.ages) {
            *ages.entry(*most).or_default() += count;
        }
        let requests: i64 = ages.values().sum();
        let is_concluded = is_of_all && usage.is_told(audience) && requests >= FEWEST;
        let mend = is_concluded.then(|| mend::of_life(audience, life, age)).flatten();
        let ages: Vec<_> = ages
            .iter()
            .map(|(most, count)| json!({ "most": Some(*most).filter(|most| *most < i64::MAX), "count": count }))
            .collect();
        json!({
            "audience": audience, "requests": requests, "life": life, "age": age, "ages": ages,
            "mend": mend.into_iter().collect::<Vec<_>>(),
        })
    };
    audiences.into_iter().map(told).collect()
}

/// Tokens that ended unseen while guards reported are at least those that are missing among all that were shown.
fn tokens(used: &Client, granted: &Granted, is_known: bool) -> Value {
    let shown = used.shown().filter(|_| is_known);
    let never_shown = shown.map(|shown| (granted.settled - shown).max(0));
    json!({ "minted": granted.tokens, "shown": shown, "never_shown": never_shown })
}

/// What was granted, by the log or by what guards saw, with how often it was used.
fn rows(granted: &BTreeMap<String, i64>, used: &Rows, is_reported: bool) -> Vec<Value> {
    let names: BTreeSet<_> = granted.keys().chain(used.keys()).collect();
    let told = |name: &String| {
        let requests = used.get(name).map_or(0, |(_, used)| *used);
        row(
            name,
            granted.get(name).copied().unwrap_or_default(),
            is_reported.then_some(requests),
        )
    };
    names.into_iter().map(told).collect()
}

fn row(name: &str, granted: i64, used: Option<i64>) -> Value {
    json!({ "name": name, "granted": granted, "used": used })
}

fn told_route(service: &str, name: &str, route: &Route, snapshot: &Snapshot) -> Value {
    // Beside its name in policy, an action as it is asked for.
    let action = |(name, (granted, used)): (&String, &(i64, i64))| {
        let mut row = json!({ "name": name, "granted": granted, "used": used });
        if let (Some((declared, action, _)), Some(members)) = (snapshot.types.named(name), row.as_object_mut()) {
            members.insert("short".to_owned(), Value::from(short(&declared.name, &[action])));
        }
        row
    };
    let actions: Vec<_> = route.actions.iter().map(action).collect();
    let rows = |rows: &Rows| -> Vec<Value> {
        let told = |(name, (granted, used)): (&String, &(i64, i64))| json!({ "name": name, "granted": granted, "used": used });
        rows.iter().map(told).collect()
    };
    let counted = |rows: &Rows| -> Vec<Value> {
        let told = |(name, (count, _)): (&String, &(i64, i64))| json!({ "name": name, "count": count });
        rows.iter().map(told).collect()
    };
    json!({
        "service": service, "route": name, "requests": route.requests, "refused": route.refused,
        "actions": actions, "scopes": rows(&route.scopes),
        "wider": counted(&route.wider), "surplus": counted(&route.surplus), "life": route.life, "age": route.age,
    })
}

/// How far what is said here can be relied on.
fn note(usage: &Usage, audience: &str, used: &Client, is_reported: bool) -> String {
    if !is_reported {
        return "no guard of this audience reports, so what is used is not known".to_owned();
    }
    if !usage.is_told(audience) || !used.is_told() {
        return "there was more than could be told apart, so nothing is said to be unused; look at a shorter time".to_owned();
    }
    if used.requests() < FEWEST {
        return format!("of fewer than {FEWEST} requests nothing is concluded");
    }
    "what a backend without a guard that reports is asked is not among it".to_owned()
}
