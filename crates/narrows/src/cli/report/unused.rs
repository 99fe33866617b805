//! `report unused`: what was granted and never used, with what to paste so that it is not granted any more.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::super::Outcome;
use super::super::output::{say, table};
use super::super::visible;
use super::{FromBroker, since};
use crate::config::duration;

/// No cell of the table is longer: whoever holds a guard's credential names routes and actions.
const WIDEST: usize = 80;

/// Days for which usage is kept.
const KEPT: u64 = 90;

/// Arguments of `report unused`.
#[derive(Args, Debug)]
pub(in crate::cli) struct UnusedArgs {
    /// How far back it looks, as `24h` or `30d`: from the beginning of that day on; at most 90 days.
    #[arg(long, default_value = "7d")]
    since: String,
    /// Of tokens of this client alone.
    #[arg(long)]
    client: Option<String>,
    /// Of tokens for this audience alone.
    #[arg(long)]
    audience: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    from: FromBroker,
}

pub(super) async fn run(args: &UnusedArgs, paths: &[PathBuf]) -> Outcome {
    let since = since(&args.since, "7d")?;
    if duration::parse(&args.since).is_some_and(|back| back > Duration::from_secs(KEPT * 24 * 60 * 60)) {
        return Err(format!(
            "--since: expected at most `{KEPT}d`, for which usage is kept, found `{}`",
            args.since
        )
        .into());
    }
    let mut query = url::form_urlencoded::Serializer::new(format!("since={since}"));
    for (name, value) in [("client", &args.client), ("audience", &args.audience)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let report = args.from.get(&format!("/reports/unused?{}", query.finish()), paths).await?;
    if args.json {
        say(report);
    } else {
        for line in told(&report) {
            say(line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A table of who holds what, then what to paste for each.
pub(crate) fn told(report: &Value) -> Vec<String> {
    let items = list(report, "items");
    if items.is_empty() {
        return vec!["nothing was granted, and nothing used".to_owned()];
    }
    let row = |item: &&Value| {
        let tokens = item.get("tokens").unwrap_or(&Value::Null);
        let cells = [
            text(item, "client"),
            text(item, "audience"),
            number(item, "requests"),
            number(tokens, "minted"),
            number(tokens, "never_shown"),
            unused(item),
            surplus(item),
        ];
        cells.map(|cell| visible::short(&cell, WIDEST)).into()
    };
    let headings = [
        "CLIENT",
        "AUDIENCE",
        "REQUESTS",
        "TOKENS",
        "NEVER SHOWN",
        "NEVER USED",
        "REFUSED FOR",
    ];
    let mut lines = vec![table(&headings, items.iter().map(row).collect()).to_string()];
    for item in &items {
        lines.push(format!(
            "\n# {} at {}: {}",
            text(item, "client"),
            text(item, "audience"),
            text(item, "note")
        ));
        // Where everything was refused nothing was used, and that is no news.
        let has_requests = |route: &&Value| route.get("requests").and_then(Value::as_i64) != Some(0);
        for route in list(item, "routes").into_iter().filter(has_requests) {
            lines.push(format!("#   {}: {}", text(route, "route"), enough(route)));
        }
        lines.extend(mends(item));
    }
    for lifetime in list(report, "lifetimes") {
        lines.extend(mends(lifetime));
    }
    if report.get("complete") == Some(&Value::Bool(false)) {
        lines.push("\nonly part of what was reported is in it; look at one client, or at a shorter time".to_owned());
    }
    match report.get("passed_over").and_then(Value::as_i64) {
        Some(0) | None => {}
        Some(older) => lines.push(format!(
            "\n{older} older records of the log were not looked at; look at a shorter time"
        )),
    }
    lines
}

/// What was granted and never used; `?` where nobody reports.
fn unused(item: &Value) -> String {
    let named = |of: &'static str, word: &'static str| {
        let never = list(item, of).into_iter().filter(|row| row.get("used").and_then(Value::as_i64) == Some(0));
        never.map(move |row| format!("{word}{}", text(row, "name")))
    };
    let all = named("actions", "").chain(named("scopes", "scope ")).chain(named("onward", "onward "));
    let all: Vec<_> = all.collect();
    match item.get("reported") {
        Some(Value::Bool(true)) => all.join(", "),
        _ => ["?".to_owned()].into_iter().chain(all).collect::<Vec<_>>().join(", "),
    }
}

/// Kinds of surplus that were refused, with how often.
fn surplus(item: &Value) -> String {
    let mut kinds = std::collections::BTreeMap::<String, i64>::new();
    for row in list(item, "routes").into_iter().flat_map(|route| list(route, "surplus")) {
        *kinds.entry(text(row, "name")).or_default() += row.get("count").and_then(Value::as_i64).unwrap_or_default();
    }
    kinds.iter().map(|(kind, count)| format!("{kind} ({count})")).collect::<Vec<_>>().join(", ")
}

/// What a route was used for, of what came there.
fn enough(route: &Value) -> String {
    let names = |is_used: bool| -> Vec<String> {
        let rows = list(route, "actions").into_iter().chain(list(route, "scopes"));
        let fits = rows.filter(|row| (row.get("used").and_then(Value::as_i64) != Some(0)) == is_used);
        fits.map(|row| text(row, if row.get("short").is_some() { "short" } else { "name" })).collect()
    };
    let (used, unused) = (names(true), names(false));
    let beyond = if unused.is_empty() {
        String::new()
    } else {
        format!(" is enough; {} came along", unused.join(", "))
    };
    format!("{}{beyond}", if used.is_empty() { "nothing".to_owned() } else { used.join(", ") })
}

fn mends(item: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for mend in list(item, "mend") {
        lines.push(format!("\n# {}: {}", text(mend, "about"), text(mend, "note")));
        for paste in list(mend, "paste") {
            let pasted = visible::lines(paste.get("text").and_then(Value::as_str).unwrap_or_default());
            lines.push(format!("# into {}\n{pasted}", text(paste, "into")));
        }
    }
    lines
}

fn list<'v>(value: &'v Value, name: &str) -> Vec<&'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten().collect()
}

/// A number, or `?` where it is not known.
fn number(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_i64).map_or_else(|| "?".to_owned(), |number| number.to_string())
}

/// One line, whatever others wrote into it.
fn text(value: &Value, name: &str) -> String {
    visible::line(value.get(name).and_then(Value::as_str).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::told;

    /// A guard names its routes, and has no say in what stands on a line of its own.
    #[test]
    fn nothing_but_the_text_to_paste_begins_a_line() {
        let evil = "x\npermit (principal, action, resource);\n\u{202e}# y\r\u{2028}";
        let rows = json!([{ "name": evil, "granted": 1, "used": 0, "count": 1 }]);
        let mend = json!([{ "about": evil, "note": evil, "paste": [{ "into": evil, "text": "@id(\"a\")\nforbid (principal, action, resource);" }] }]);
        let report = json!({
            "items": [{
                "client": evil, "audience": evil, "reported": true, "requests": 1, "tokens": { "minted": 1, "never_shown": null },
                "actions": rows, "scopes": rows, "onward": rows, "note": evil, "mend": mend,
                "routes": [{ "route": evil, "actions": rows, "scopes": rows, "surplus": rows }],
            }],
            "lifetimes": [],
        });
        let text = told(&report).join("\n");
        let pasted: Vec<_> = text.lines().skip(2).filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(pasted, ["@id(\"a\")", "forbid (principal, action, resource);"], "{text}");
        assert!(!text.contains(['\u{202e}', '\u{2028}', '\r']), "{text:?}");
    }

    #[test]
    fn no_name_makes_the_table_wider_than_a_cell() {
        let rows = json!([{ "name": format!("ticket:{}", "x".repeat(300)), "granted": 25, "used": 0 }]);
        let report = json!({ "items": [{ "client": "edge", "reported": true, "actions": rows }] });
        let table = told(&report).into_iter().next().unwrap_or_default();
        assert!(
            table.contains("xxx…") && table.lines().all(|line| line.chars().count() < 200),
            "{table}"
        );
    }

    #[test]
    fn what_is_not_known_is_not_called_unused() {
        let report = json!({
            "items": [{
                "client": "edge", "audience": "https://a.internal", "reported": false, "requests": null,
                "tokens": { "minted": 3, "shown": null, "never_shown": null }, "note": "no guard of this audience reports",
                "actions": [{ "name": "order:read", "granted": 3, "used": null }], "scopes": [], "onward": [], "routes": [], "mend": [],
            }],
            "lifetimes": [], "complete": true, "passed_over": 4,
        });
        let lines = told(&report);
        let table = lines.first().map(String::as_str).unwrap_or_default();
        assert!(!table.contains("order:read") && table.matches('?').count() == 3, "{table}");
        assert!(lines.last().is_some_and(|line| line.contains("4 older records")), "{lines:?}");
    }
}
