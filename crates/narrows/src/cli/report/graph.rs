//! `report graph`: the delegation graph as text, JSON or Graphviz.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::super::Outcome;
use super::super::output::{say, table};
use super::FromBroker;
use crate::config::duration;

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
    #[arg(long)]
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
    let back = duration::parse(&args.since).ok_or_else(|| format!("--since: expected a duration such as `24h`, found `{}`", args.since))?;
    let now = jiff::Timestamp::now().as_millisecond();
    let since = now.saturating_sub(i64::try_from(back.as_millis()).unwrap_or(i64::MAX)).max(0);
    let graph = args.from.get(&format!("/reports/graph?since={since}"), paths).await?;
    match args.format {
        _ if args.json => say(graph),
        Format::Json => say(graph),
        Format::Dot => say(dot(&graph).trim_end()),
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
    let from = match (from.as_slice(), hop.get("audience").and_then(Value::as_str)) {
        ([], Some(audience)) => format!("whoever is {audience}"),
        ([], None) => "somebody unknown".to_owned(),
        (from, _) => from.join(" or "),
    };
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

/// The graph for Graphviz.
fn dot(graph: &Value) -> String {
    let mut drawn =
        String::from("digraph narrows {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n");
    let mut line = |text: String| {
        // Writing into a string cannot fail.
        let _ = writeln!(drawn, "  {text}");
    };
    for issuer in graph.pointer("/nodes/issuers").and_then(Value::as_array).into_iter().flatten() {
        let name = issuer.get("name").and_then(Value::as_str).unwrap_or_else(|| text(issuer, "issuer"));
        let label = format!("{name}\n{}", text(issuer, "subjects"));
        line(format!(
            "{} [label={}, shape=house];",
            node("issuer", text(issuer, "issuer")),
            quoted(&label)
        ));
    }
    for client in graph
        .pointer("/nodes/clients")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        line(format!("{} [label={}, shape=box];", node("client", client), quoted(client)));
    }
    for audience in graph.pointer("/nodes/audiences").and_then(Value::as_array).into_iter().flatten() {
        let id = text(audience, "id");
        line(format!("{} [label={}, shape=ellipse];", node("audience", id), quoted(id)));
        for receiver in list(audience, "receivers").filter_map(Value::as_str) {
            line(format!(
                "{} -> {} [style=dotted, label=\"received by\"];",
                node("audience", id),
                node("client", receiver)
            ));
        }
    }
    let mut came = BTreeSet::new();
    for edge in list(graph, "edges") {
        let client = edge.get("client").and_then(Value::as_str).unwrap_or("somebody unknown");
        let before = match (edge.get("from").and_then(Value::as_str), edge.get("issuer").and_then(Value::as_str)) {
            (Some(from), _) => Some(node("client", from)),
            (None, Some(issuer)) => Some(node("issuer", issuer)),
            (None, None) => None,
        };
        if let Some(before) = before.filter(|before| came.insert((before.clone(), client.to_owned()))) {
            line(format!("{before} -> {};", node("client", client)));
        }
        let target = match edge.get("audience").and_then(Value::as_str) {
            Some(audience) => node("audience", audience),
            None => node("audience", "–"),
        };
        let refused = refusals(edge);
        let label = format!("{}\n{} allowed\n{refused}", at(edge), number(edge, "allowed"));
        let colour = if number(edge, "allowed") > 0 { "" } else { ", color=red" };
        line(format!(
            "{} -> {target} [label={}{colour}];",
            node("client", client),
            quoted(label.trim_end())
        ));
    }
    for hop in list(graph, "forwarded") {
        let to = node("client", text(hop, "client"));
        for from in list(hop, "from").filter_map(Value::as_str) {
            let label = format!("unexchanged, {}\n{} ×", text(hop, "how"), number(hop, "count"));
            line(format!(
                "{} -> {to} [label={}, color=red, penwidth=2];",
                node("client", from),
                quoted(&label)
            ));
        }
    }
    drawn + "}\n"
}

/// The name of a node: one and the same name may be that of an audience and a client.
fn node(kind: &str, name: &str) -> String {
    quoted(&format!("{kind} {name}"))
}

/// A quoted string of Graphviz; whatever else is in it, it ends where it should.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for each in text.chars() {
        match each {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            each if each.is_control() => quoted.push('\u{fffd}'),
            each => quoted.push(each),
        }
    }
    quoted + "\""
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

    use super::{dot, quoted, told};

    #[test]
    fn whatever_a_name_holds_it_ends_where_it_should() {
        assert_eq!(quoted("a\" -> \"b\\"), r#""a\" -> \"b\\""#);
        assert_eq!(quoted("a\nb\u{7}"), "\"a\\nb\u{fffd}\"");
    }

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
        let drawn = dot(&graph);
        for part in [
            "\"issuer https://login.corp.example\" -> \"client edge\";",
            "\"client edge\" -> \"audience https://orders.internal\"",
            "\"client edge\" -> \"client mesh\" [label=\"unexchanged, seen\\n4 ×\", color=red",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
    }
}
