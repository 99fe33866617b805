//! `why`: a decision as a story, and the smallest mend.

mod mend;

use std::path::PathBuf;
use std::process::ExitCode;

use broker::store::Store;
use clap::Args;
use issuance::policy::Inquiry;
use serde_json::Value;

use self::mend::mend;
use super::Outcome;
use super::explain::story;
use super::output::say;
use super::visible;
use crate::config::{self, Loaded};
use crate::serving;

/// Arguments of `why`.
#[derive(Args, Debug)]
pub(super) struct WhyArgs {
    /// The `decision_id` of the answer, or a unique beginning of it.
    decision_id: String,
    /// The record as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &WhyArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let store = Store::open(&loaded.settings.store).await?;
    let found = store.decisions(&args.decision_id).await?;
    let record: Value = match found.as_slice() {
        [only] => serde_json::from_str(only)?,
        [] => return Err(format!("no decision `{}` is on record here", args.decision_id).into()),
        _ => return Err(format!("`{}` begins more than one decision; give more of it", args.decision_id).into()),
    };
    if args.json {
        say(serde_json::to_string_pretty(&record)?);
        return Ok(ExitCode::SUCCESS);
    }
    for line in tell(&record, &loaded) {
        say(line);
    }
    Ok(ExitCode::SUCCESS)
}

/// The story: asked, understood as, ceiling, rules, near misses, mend.
pub(crate) fn tell(record: &Value, loaded: &Loaded) -> Vec<String> {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let part = |name: &str, inner: &str| {
        record
            .get(name)
            .and_then(|part| part.get(inner))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let time = record.get("time").and_then(Value::as_i64).and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    let mut lines = vec![format!(
        "{}  {} {} at {}",
        text("id"),
        text("decision"),
        text("reason"),
        time.map(|at| at.to_string()).unwrap_or_default()
    )];
    let mut line = |label: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("{label:<12} {}", visible::line(&value)));
        }
    };
    if text("effect") == "observed" {
        line(
            "observed",
            if text("kind") == "guard" {
                "it went on as it came: the guard does not enforce".to_owned()
            } else {
                "it went on as it came, and nothing was minted: the boundary does not enforce".to_owned()
            },
        );
    }
    line("boundary", text("boundary"));
    if text("kind") == "guard" {
        line(
            "guard",
            [part("inputs", "guard"), part("inputs", "service")]
                .join(" of ")
                .trim_start_matches(" of ")
                .to_owned(),
        );
    }
    let (method, host, path) = (part("request", "method"), part("request", "host"), part("request", "path"));
    line("request", format!("{method} {host}{path}").trim().to_owned());
    line("asked by", text("client"));
    line(
        "on behalf",
        format!(
            "{} {}",
            part("subject", "sub"),
            if part("subject", "iss").is_empty() {
                String::new()
            } else {
                format!("of {}", part("subject", "iss"))
            }
        )
        .trim()
        .to_owned(),
    );
    line("task", text("task"));
    line("for", text("audience"));
    // Of a token at a guard it is what that allows; beside what the request needed it follows below.
    let is_guards = text("kind") == "guard";
    let is_below = is_guards && record.pointer("/inputs/presented").is_some();
    let understood = if is_guards { "presented" } else { "understood" };
    for (label, name) in [(understood, "authorization_details"), ("onward", "onward")] {
        for detail in record.get(name).filter(|_| !is_below).and_then(Value::as_array).into_iter().flatten() {
            line(label, short(detail, loaded));
        }
    }
    if !is_below {
        line("scope", text("scope"));
    }
    let inputs = record.get("inputs").unwrap_or(&Value::Null);
    let list = |value: Option<&Value>| {
        let items: Vec<_> = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
    };
    match inputs.get("ceiling") {
        Some(Value::String(_)) => line("ceiling", "policy alone".to_owned()),
        Some(ceiling) => line(
            "ceiling",
            format!("details {}; scopes {}", list(ceiling.get("details")), list(ceiling.get("scopes"))),
        ),
        None => {}
    }
    // What a guard saw of a token beside the request that it came with.
    for (label, name) in [("required", "required"), ("presented", "presented"), ("surplus", "surplus")] {
        if let Some(pieces) = inputs.get(name).filter(|pieces| pieces.is_array()) {
            line(label, list(Some(pieces)));
        }
    }
    let noted = |name: &str| inputs.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    line("cause", noted("cause"));
    line("connection", noted("connection"));
    line("not sent on", noted("credential"));
    if let Some(uncovered) = inputs.get("uncovered").and_then(Value::as_str) {
        line("not covered", uncovered.to_owned());
        if text("reason") == "scope_not_mapped" {
            let carried = list(inputs.get("unmapped_scopes"));
            line(
                "mend",
                format!("the subject token carries scope {carried}, which nothing maps; add to the configuration:"),
            );
            lines.push(format!("\n{}", mapping(record, loaded)));
        } else {
            line(
                "mend",
                "ask for less, or have the scope in the subject token mapped to this in [[scopes]]".to_owned(),
            );
        }
        return lines;
    }
    // A task may be for several audiences, and policy was asked for each.
    let also = inputs.get("also").and_then(Value::as_array).into_iter().flatten();
    let inquiries = [inputs].into_iter().chain(also).map(|inputs| Inquiry::from_json(inputs, &loaded.snapshot.types));
    match (inquiries.collect::<Option<Vec<_>>>(), serving::in_force(loaded)) {
        (Some(inquiries), Ok(in_force)) => {
            if text("policy_version") != loaded.policy_version {
                line(
                    "note",
                    format!(
                        "decided by {}; what follows is by {}, which is in force now",
                        text("policy_version"),
                        loaded.policy_version
                    ),
                );
            }
            let explanations: Vec<_> = inquiries.iter().map(|inquiry| in_force.policy.explain(inquiry)).collect();
            lines.extend(explanations.iter().flat_map(story));
            // Policy may have allowed what was refused after it, such as an assertion that was shown before.
            if text("decision") == "deny" && text("reason") != "policy_denied" {
                lines.extend(mend(record, loaded));
            } else if text("decision") == "deny" {
                lines.extend(mend::policy::mend(&explanations, &visible::line(&text("client"))));
            }
        }
        _ if text("decision") == "deny" => lines.extend(mend(record, loaded)),
        _ => {}
    }
    lines
}

/// The lines that map a scope of the token to what was asked for: to the actions, since a scope names no single resource.
fn mapping(record: &Value, loaded: &Loaded) -> String {
    let asked = ["authorization_details", "onward"].into_iter().filter_map(|name| record.get(name)?.as_array());
    let mut details = Vec::new();
    for short in asked.flatten().map(|detail| short(detail, loaded)) {
        // Parts are percent-encoded, so the first of these ends the actions.
        let actions = short.split(['/', '?']).next().unwrap_or_default().to_owned();
        if !details.contains(&actions) {
            details.push(actions);
        }
    }
    let carried = record.pointer("/inputs/unmapped_scopes").and_then(Value::as_array).into_iter().flatten();
    let carried: Vec<_> = carried.filter_map(Value::as_str).collect();
    let wanted = record.get("scope").and_then(Value::as_str).unwrap_or_default();
    // A scope passes as itself; only where none was asked for, any that is there will do.
    let named: Vec<_> = wanted.split(' ').filter(|name| carried.contains(name)).collect();
    let names = if named.is_empty() {
        carried.get(..1).unwrap_or_default()
    } else {
        named.as_slice()
    };
    let entry = |(at, name): (usize, &&str)| {
        let details = if at == 0 { details.clone() } else { Vec::new() };
        format!(
            "[[scopes]]\nname    = {}\ndetails = {}",
            toml::Value::from(*name),
            toml::Value::from(details)
        )
    };
    names.iter().enumerate().map(entry).collect::<Vec<_>>().join("\n\n")
}

fn short(detail: &Value, loaded: &Loaded) -> String {
    let parsed = delegation::details::Detail::from_json(detail, &loaded.snapshot.types, delegation::details::Standing::Ceiling);
    parsed.map_or_else(|_| detail.to_string(), |detail| detail.to_string())
}
