//! What is told of a request: in lines for people, or as JSON.

use std::process::ExitCode;

use delegation::details::Detail;
use delegation::oauth::Scope;
use narrows_guard::Needs;
use serde_json::{Value, json};

use super::super::super::output::say;
use super::super::super::visible;
use super::super::ExplainArgs;
use super::unfit::Unfit;
use crate::config::Front;

/// Service, name, pattern and place of a route.
pub(super) type Found = (String, String, String, String);

pub(super) fn refused(args: &ExplainArgs, front: &Front, found: Option<&Found>, unfit: &Unfit) -> ExitCode {
    if args.json {
        let nearest: Vec<_> = unfit.nearest.iter().map(|(route, place)| json!({ "pattern": route, "place": place })).collect();
        let mut told = json!({
            "allowed": false, "reason": unfit.reason, "what": unfit.what, "mend": unfit.mend, "nearest": nearest,
            "boundary": front.settings.name, "client": front.client.as_str(),
        });
        if let (Some(found), Some(members)) = (found, told.as_object_mut()) {
            members.insert("service".to_owned(), found.0.as_str().into());
            members.insert("route".to_owned(), route_of(found));
        }
        say(told);
        return ExitCode::FAILURE;
    }
    match found {
        Some(found) => tell(args, front, found, None),
        None => line("boundary", boundary_of(front)),
    }
    line("refused", format!("{}: {}", unfit.reason, unfit.what));
    for (route, place) in &unfit.nearest {
        line("near it", format!("{route}  at {place}"));
    }
    line("mend", &unfit.mend);
    ExitCode::FAILURE
}

/// What is understood, where nobody has asked policy and why: `word` says so in a line, `member` in JSON.
pub(super) fn undecided(args: &ExplainArgs, front: &Front, found: &Found, needs: &Needs, (word, member): (&str, &str), why: &str) {
    tell(args, front, found, Some(needs));
    if !args.json {
        return line(word, why);
    }
    let mut told = understood_json(front, found, needs);
    if let Some(members) = told.as_object_mut() {
        members.insert("allowed".to_owned(), Value::Null);
        members.insert(member.to_owned(), why.into());
    }
    say(told);
}

/// Where the request came to, and what it is understood as.
pub(super) fn tell(args: &ExplainArgs, front: &Front, (service, name, key, place): &Found, needs: Option<&Needs>) {
    if args.json {
        return;
    }
    line("boundary", boundary_of(front));
    line("service", service);
    let named = if name == key { String::new() } else { format!("  named `{name}`") };
    line("route", format!("{key}{named}  at {place}"));
    let Some(needs) = needs else { return };
    line("audience", &needs.audience);
    for detail in &needs.details {
        line("understood", detail);
    }
    for scope in &needs.scopes {
        line("scope", scope.as_str());
    }
    for detail in &needs.onward {
        line("onward", detail);
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
}

pub(super) fn understood_json(front: &Front, found: &Found, needs: &Needs) -> Value {
    let details = |details: &[Detail]| Value::from_iter(details.iter().map(ToString::to_string));
    json!({
        "boundary": front.settings.name, "client": front.client.as_str(), "service": found.0, "route": route_of(found),
        "audience": needs.audience.as_str(), "details": details(&needs.details), "onward": details(&needs.onward),
        "scopes": needs.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "max_auth_age": needs.max_auth_age.map(|age| age.as_secs()), "acr": needs.acr, "connection": needs.connection,
    })
}

pub(super) fn route_of((_, name, key, place): &Found) -> Value {
    json!({ "name": name, "pattern": key, "place": place })
}

fn boundary_of(front: &Front) -> String {
    format!("{}, acting as `{}`", front.settings.name, front.client)
}

fn line(label: &str, value: impl std::fmt::Display) {
    say(format!("{label:<12} {}", visible::line(&value.to_string())));
}
