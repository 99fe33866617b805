//! What is told of a request: in lines for people, or as JSON.

use std::process::ExitCode;

use delegation::details::Detail;
use delegation::oauth::Scope;
use narrows_guard::Needs;
use serde_json::{Map, Value, json};

use super::super::super::output::say;
use super::super::super::visible;
use super::super::ExplainArgs;
use super::door::Door;
use super::unfit::Unfit;
use crate::config::Front;

/// Service, name, pattern and place of a route.
pub(super) type Found = (String, String, String, String);

pub(super) fn refused(args: &ExplainArgs, door: &Door<'_>, found: Option<&Found>, unfit: &Unfit) -> ExitCode {
    if args.json {
        let nearest: Vec<_> = unfit.nearest.iter().map(|(route, place)| json!({ "pattern": route, "place": place })).collect();
        let mut told = json!({
            "allowed": false, "reason": unfit.reason, "what": unfit.what, "mend": unfit.mend, "nearest": nearest,
        });
        if let Some(members) = told.as_object_mut() {
            members.extend(place_json(door, found, None));
        }
        say(told);
        return ExitCode::FAILURE;
    }
    match found {
        Some(found) => tell(args, door, found, None),
        None => tell_door(door),
    }
    line("refused", format!("{}: {}", unfit.reason, unfit.what));
    for (route, place) in &unfit.nearest {
        line("near it", format!("{route}  at {place}"));
    }
    line("mend", &unfit.mend);
    ExitCode::FAILURE
}

/// What is understood, where nobody has asked policy and why: `word` says so in a line, `member` in JSON.
pub(super) fn undecided(args: &ExplainArgs, door: &Door<'_>, found: &Found, needs: &Needs, (word, member): (&str, &str), why: &str) {
    tell(args, door, found, Some(needs));
    if !args.json {
        return line(word, why);
    }
    let mut told = understood_json(door, found, needs);
    if let Some(members) = told.as_object_mut() {
        members.insert("allowed".to_owned(), Value::Null);
        members.insert(member.to_owned(), why.into());
    }
    say(told);
}

/// Where the request came to, and what it is understood as.
pub(super) fn tell(args: &ExplainArgs, door: &Door<'_>, (service, name, key, place): &Found, needs: Option<&Needs>) {
    if args.json {
        return;
    }
    // What guards need is told behind what they all go by.
    if needs.is_none() || matches!(door, Door::Boundary(_)) {
        tell_door(door);
    }
    line("service", service);
    let named = if name == key { String::new() } else { format!("  named `{name}`") };
    line("route", format!("{key}{named}  at {place}"));
    let Some(needs) = needs else { return };
    line("audience", &needs.audience);
    if let Door::Boundary(_) = door {
        needs.details.iter().for_each(|detail| line("understood", detail));
    }
    for scope in &needs.scopes {
        line("scope", scope.as_str());
    }
    if let Door::Boundary(_) = door {
        needs.onward.iter().for_each(|detail| line("onward", detail));
    }
    if let Some(connection) = &needs.connection {
        line(
            "connection",
            format!("{connection}: through `proxy` alone; the doors of other proxies answer no_route"),
        );
    }
    if let Some(age) = needs.max_auth_age {
        line("step-up", format!("signed in at most {} s ago", age.as_secs()));
    }
    if let Some(acr) = &needs.acr {
        line("step-up", format!("signed in with `acr` = `{acr}`"));
    }
    if let Door::Guards(guards) = door {
        guards.tell(Some(needs));
    }
}

fn tell_door(door: &Door<'_>) {
    match door {
        Door::Boundary(front) => line("boundary", boundary_of(front)),
        Door::Guards(guards) => guards.tell(None),
    }
}

pub(super) fn understood_json(door: &Door<'_>, found: &Found, needs: &Needs) -> Value {
    let details = |details: &[Detail]| Value::from_iter(details.iter().map(ToString::to_string));
    let mut told = place_json(door, Some(found), Some(needs));
    let understood = [
        ("audience", needs.audience.as_str().into()),
        ("details", details(&needs.details)),
        ("onward", details(&needs.onward)),
        ("scopes", needs.scopes.iter().map(Scope::as_str).collect()),
        ("max_auth_age", needs.max_auth_age.map(|age| age.as_secs()).into()),
        ("acr", needs.acr.clone().into()),
        ("connection", needs.connection.clone().into()),
    ];
    told.extend(understood.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(told)
}

/// A request that goes on without a token.
pub(super) fn public_json(door: &Door<'_>, found: &Found) -> Value {
    let mut told = place_json(door, Some(found), None);
    told.extend(["allowed", "public"].map(|name| (name.to_owned(), Value::Bool(true))));
    Value::Object(told)
}

/// Who decides, and by which route; of guards also what each of them needs.
fn place_json(door: &Door<'_>, found: Option<&Found>, needs: Option<&Needs>) -> Map<String, Value> {
    let mut told = Map::new();
    let mut put = |name: &str, value: Value| told.insert(name.to_owned(), value);
    match door {
        Door::Boundary(front) => {
            put("boundary", front.settings.name.as_str().into());
            put("client", front.client.as_str().into());
        }
        Door::Guards(guards) => {
            put("service", guards.service().into());
            put("guards", guards.to_json(needs));
        }
    }
    if let Some(found) = found {
        put("service", found.0.as_str().into());
        put("route", route_of(found));
    }
    told
}

fn route_of((_, name, key, place): &Found) -> Value {
    json!({ "name": name, "pattern": key, "place": place })
}

fn boundary_of(front: &Front) -> String {
    format!("{}, acting as `{}`", front.settings.name, front.client)
}

pub(super) fn line(label: &str, value: impl std::fmt::Display) {
    say(format!("{label:<12} {}", visible::line(&value.to_string())));
}
