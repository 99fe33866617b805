//! `report graph`: the delegation graph as text, JSON or Graphviz.

mod dot;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::super::Outcome;
use super::super::output::{say, table};
use super::super::visible;
use super::{FromBroker, since};

/// Arguments of `report graph`.
#[derive(Args, Debug)]
pub(in crate::cli) struct GraphArgs {
    /// How far back it looks, as `90s`, `24h` or `7d`.
    #[arg(long, default_value = "24h")]
    since: String,
    /// How it is told.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// As JSON; the same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    from: FromBroker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for people.
    Text,
    /// What the API says.
    Json,
    /// Graphviz: `narrows report graph --format dot | dot -Tsvg`.
    Dot,
}

pub(super) async fn run(args: &GraphArgs, paths: &[PathBuf]) -> Outcome {
    let since = since(&args.since, "24h")?;
    let graph = args.from.get(&format!("/reports/graph?since={since}"), paths).await?;
    match args.format {
        _ if args.json => say(graph),
        Format::Json => say(graph),
        Format::Dot => say(dot::drawn(&graph).trim_end()),
        Format::Text => {
            for line in told(&graph) {
                say(line);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The graph in lines for people.
pub(crate) fn told(graph: &Value) -> Vec<String> {
    // Whoever asks has a say in some names of a record.
    let graph = &visible::all(graph);
    let mut lines = vec![format!(
        "{} records, {} to {}",
        number(graph, "records"),
        time(number(graph, "since")),
        time(number(graph, "until"))
    )];
    let row = |edge: &Value| {
        vec![
            held_by(graph, edge),
            shown(edge, "client"),
            shown(edge, "audience"),
            at(edge),
            number(edge, "allowed").to_string(),
            refusals(edge),
            number(edge, "subjects").to_string(),
            number(edge, "depth").to_string(),
            time(number(edge, "last")),
        ]
    };
    let headings = ["FROM", "TO", "FOR", "AT", "ALLOWED", "REFUSED", "SUBJECTS", "DEPTH", "LAST"];
    let whole = table(&headings, list(graph, "edges").map(row).collect()).to_string();
    lines.extend(whole.lines().map(|line| line.trim_end().to_owned()));
    let counted = [
        (
            graph.pointer("/rest/allowed").and_then(Value::as_i64).unwrap_or_default(),
            "allowed on edges that found no room",
        ),
        (
            graph.pointer("/rest/refused").and_then(Value::as_i64).unwrap_or_default(),
            "refused on edges that found no room",
        ),
        (number(graph, "strangers"), "refused to whoever did not show who they are"),
        (number(graph, "passed_over"), "older records were passed over; look less far back"),
        (number(graph, "not_followed"), "tokens were too many to be followed"),
    ];
    lines.extend(counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    lines.extend(list(graph, "forwarded").map(forwarded));
    lines
}

/// One hop that forwarded a token without exchanging it.
fn forwarded(hop: &Value) -> String {
    let from: Vec<_> = list(hop, "from").filter_map(Value::as_str).collect();
    let from = if from.is_empty() { whoever(hop) } else { from.join(" or ") };
    let what = match (hop.get("audience").and_then(Value::as_str), text(hop, "token")) {
        (Some(audience), "outside") => format!("a token from {}, exchanged for {audience},", text(hop, "issuer")),
        (None, "outside") => format!("a token from {}", text(hop, "issuer")),
        (Some(audience), _) => format!("a token for {audience}"),
        (None, _) => "one of our tokens".to_owned(),
    };
    let made = hop.get("made_at").and_then(Value::as_str).map_or_else(String::new, |made| format!(" (of {made})"));
    format!(
        "forwarded unexchanged, {}: {from}{made} → {} at {}: {what} was shown itself, {} ×, last {}",
        text(hop, "how"),
        text(hop, "client"),
        at(hop),
        number(hop, "count"),
        time(number(hop, "last"))
    )
}

/// Who had the authority before: a client, or the issuer by its name.
fn held_by(graph: &Value, edge: &Value) -> String {
    if let Some(from) = edge.get("from").and_then(Value::as_str) {
        return from.to_owned();
    }
    let issuer = text(edge, "issuer");
    let mut issuers = graph.pointer("/nodes/issuers").and_then(Value::as_array).into_iter().flatten();
    let found = issuers.find(|each| text(each, "issuer") == issuer);
    let name = found.and_then(|each| each.get("name")).and_then(Value::as_str).unwrap_or(issuer);
    if name.is_empty() { "–".to_owned() } else { name.to_owned() }
}

/// Who had a token before that nobody by name is known to have had.
fn whoever(hop: &Value) -> String {
    let audience = hop.get("audience").and_then(Value::as_str);
    audience.map_or_else(|| "somebody unknown".to_owned(), |audience| format!("whoever is {audience}"))
}

fn at(edge: &Value) -> String {
    let boundary = edge.get("boundary").and_then(Value::as_str);
    boundary.unwrap_or("the token endpoint").to_owned()
}

fn refusals(edge: &Value) -> String {
    let each = |(reason, count): (&String, &Value)| format!("{count} {reason}");
    edge.get("refused")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(each)
        .collect::<Vec<_>>()
        .join(", ")
}

fn shown(edge: &Value, name: &str) -> String {
    edge.get(name).and_then(Value::as_str).unwrap_or("–").to_owned()
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}

fn time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |at| format!("{at:.0}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::dot::drawn;
    use super::told;

    #[test]
    fn the_hop_that_forwards_is_named_in_every_form() {
        let graph = json!({
            "since": 0, "until": 1000, "records": 3,
            "nodes": {
                "issuers": [{ "issuer": "https://login.corp.example", "name": "corp", "subjects": "user" }],
                "clients": ["edge", "mesh"],
                "audiences": [{ "id": "https://orders.internal", "receivers": ["mesh"] }],
                "boundaries": ["front"],
            },
            "edges": [{
                "issuer": "https://login.corp.example", "from": null, "client": "edge", "audience": "https://orders.internal",
                "boundary": "front", "allowed": 2, "refused": { "policy_denied": 1 }, "subjects": 1, "depth": 1, "first": 0, "last": 1000,
            }],
            "forwarded": [{
                "how": "seen", "token": "outside", "issuer": "https://login.corp.example", "audience": "https://orders.internal",
                "from": ["edge"], "made_at": "front", "client": "mesh", "boundary": "inner", "count": 4, "first": 0, "last": 1000,
            }],
        });
        let lines = told(&graph).join("\n");
        for part in [
            "corp",
            "1 policy_denied",
            "forwarded unexchanged, seen: edge (of front) → mesh at inner",
            "4 ×",
        ] {
            assert!(lines.contains(part), "{part}: {lines}");
        }
        let drawn = drawn(&graph);
        for part in [
            "\"issuer https://login.corp.example\" -> \"client edge\";",
            "\"client edge\" -> \"audience https://orders.internal\"",
            "\"client edge\" -> \"client mesh\" [label=\"unexchanged, seen\\nof front, shown at inner\\n4 ×\", color=red",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
    }
}
