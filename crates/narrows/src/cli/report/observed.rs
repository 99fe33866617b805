//! `report observed`: what boundaries and guards that only observe would have refused, with the lines that would let it through.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::super::Outcome;
use super::super::output::{say, table};
use super::super::visible;
use super::{FromBroker, Refused, since};

/// Said in place of lines to paste, where they are not needed any more.
const COVERED: &str = "covered by what is in force now; nothing is left to do for this reason";

/// Arguments of `report observed`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ObservedArgs {
    /// How far back it looks, as `90s`, `24h` or `7d`.
    #[arg(long, default_value = "24h")]
    since: String,
    /// Of this boundary alone.
    #[arg(long)]
    boundary: Option<String>,
    /// Of the guards of this service alone.
    #[arg(long, conflicts_with = "boundary")]
    service: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    from: FromBroker,
}

pub(super) async fn run(args: &ObservedArgs, paths: &[PathBuf]) -> Outcome {
    let since = since(&args.since, "24h")?;
    let mut query = url::form_urlencoded::Serializer::new(format!("since={since}"));
    for (name, value) in [("boundary", &args.boundary), ("service", &args.service)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let report = match args.from.ask(&format!("/reports/observed?{}", query.finish()), paths).await? {
        Ok(report) => report,
        Err(refused) => return Err(unknown(args, paths, refused).await),
    };
    if args.json {
        say(report);
    } else {
        for line in told(&report) {
            say(line);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why there is no report; of a boundary or guard that the broker does not know, with those that it knows.
async fn unknown(args: &ObservedArgs, paths: &[PathBuf], refused: Refused) -> Box<dyn std::error::Error + Send + Sync> {
    let (kind, named, known) = match (&args.boundary, &args.service, refused.status) {
        (Some(named), _, 404) => ("--boundary: there is no boundary", named, "boundaries"),
        (_, Some(named), 404) => ("--service: there is no guard of a service", named, "services"),
        _ => return refused.into(),
    };
    let now = jiff::Timestamp::now().as_millisecond();
    let Ok(report) = args.from.get(&format!("/reports/observed?since={now}&until={now}"), paths).await else {
        return refused.into();
    };
    let listed = |name: &str| -> Vec<_> {
        let known = report.get(name).and_then(Value::as_array).into_iter().flatten();
        known.filter_map(Value::as_str).map(visible::line).collect()
    };
    let (those, guarded) = (listed(known), listed("services"));
    let known = if those.is_empty() { "none".to_owned() } else { those.join(", ") };
    let elsewhere = if args.boundary.is_some() && !guarded.is_empty() {
        format!("; guards are named by --service: {}", guarded.join(", "))
    } else {
        String::new()
    };
    format!("{kind} `{named}`; known are: {known}{elsewhere}").into()
}

/// A table of the groups, then what to paste for each that is not covered by now.
pub(crate) fn told(report: &Value) -> Vec<String> {
    let items: Vec<_> = report.get("items").and_then(Value::as_array).into_iter().flatten().collect();
    if items.is_empty() {
        return vec!["nothing would have been refused".to_owned()];
    }
    let row = |(at, item): (usize, &&Value)| {
        vec![
            (at + 1).to_string(),
            place(item),
            line(item),
            text(item, "reason"),
            whose(item),
            number(item, "count").to_string(),
            time(number(item, "first_seen")),
            time(number(item, "last_seen")),
            today(item).to_owned(),
        ]
    };
    let headings = [
        "#",
        "AT",
        "REQUEST",
        "REASON",
        "CLIENT",
        "COUNT",
        "FIRST SEEN",
        "LAST SEEN",
        "TODAY",
    ];
    let mut lines = vec![table(&headings, items.iter().enumerate().map(row).collect()).to_string()];
    for (at, item) in items.iter().enumerate() {
        lines.push(format!(
            "\n# {}. {} ({}): {}",
            at + 1,
            line(item),
            text(item, "reason"),
            if is_covered(item) { COVERED.to_owned() } else { text(item, "note") }
        ));
        if is_covered(item) {
            continue;
        }
        for paste in item.get("paste").and_then(Value::as_array).into_iter().flatten() {
            lines.push(format!("# into {}\n{}", text(paste, "into"), lines_of(paste)));
        }
    }
    let others = number(report, "others");
    if others > 0 {
        lines.push(format!(
            "\n{others} more are in none of these groups; look at one boundary or service, or at a shorter time"
        ));
    }
    if report.get("complete") == Some(&Value::Bool(false)) {
        lines.push("\nonly the newest part of the log was looked through; look at a shorter time".to_owned());
    }
    lines
}

fn is_covered(item: &Value) -> bool {
    item.get("covered") == Some(&Value::Bool(true))
}

/// Whether there is anything left to do.
fn today(item: &Value) -> &'static str {
    match item.get("covered") {
        Some(Value::Bool(true)) => "covered",
        Some(Value::Bool(false)) => "open",
        _ => "–",
    }
}

fn line(item: &Value) -> String {
    match item.get("request") {
        Some(request) if request.is_object() => format!("{} {}{}", text(request, "method"), text(request, "host"), text(request, "path")),
        _ => "several".to_owned(),
    }
}

/// The boundary, or the guard of a service.
fn place(item: &Value) -> String {
    match text(item, "service") {
        service if service.is_empty() => text(item, "boundary"),
        service => format!("guard of {service}"),
    }
}

/// The outside client, if one is known, and that of the boundary.
fn whose(item: &Value) -> String {
    match text(item, "requested_by") {
        outside if outside.is_empty() => text(item, "client"),
        outside => format!("{outside} at {}", text(item, "client")),
    }
}

fn time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis)
        .map(|time| time.strftime("%F %T").to_string())
        .unwrap_or_default()
}

fn number(value: &Value, name: &str) -> i64 {
    value.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// One line, whatever others wrote into it.
fn text(value: &Value, name: &str) -> String {
    visible::line(value.get(name).and_then(Value::as_str).unwrap_or_default())
}

/// What is to be pasted: the only text that has several lines.
fn lines_of(paste: &Value) -> String {
    visible::lines(paste.get("text").and_then(Value::as_str).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::told;

    /// Whoever has a say in a record has none in what stands on a line of its own.
    #[test]
    fn nothing_but_the_text_to_paste_begins_a_line() {
        let evil = "x\n\"GET /admin/{path:rest}\" = \"public\"\n\u{202e}# y\r\u{2028}";
        let report = json!({ "items": [{
            "boundary": evil, "request": { "method": evil, "host": evil, "path": evil }, "reason": evil, "client": evil,
            "requested_by": evil, "note": evil, "count": 1, "first_seen": 0, "last_seen": 0,
            "paste": [{ "into": evil, "text": "[[detail_types]]\ntype = \"a\"" }], "covered": null,
        }] });
        let text = told(&report).join("\n");
        let pasted: Vec<_> = text.lines().skip(2).filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        assert_eq!(pasted, ["[[detail_types]]", "type = \"a\""], "{text}");
        assert!(!text.contains(['\u{202e}', '\u{2028}', '\r']), "{text:?}");
    }

    /// What is done is marked, and not printed to be pasted again.
    #[test]
    fn what_is_covered_by_now_is_marked_and_has_no_lines_to_paste() {
        let item = |path: &str, covered: Option<bool>| {
            json!({
                "boundary": "front", "request": { "method": "GET", "host": "a", "path": path }, "reason": "no_route", "client": "edge",
                "note": "name it", "count": 1, "first_seen": 0, "last_seen": 0, "covered": covered,
                "paste": [{ "into": "[services.routes]", "text": format!("\"GET {path}\"") }],
            })
        };
        let report = json!({ "items": [item("/done", Some(true)), item("/left", Some(false)), item("/unknown", None)] });
        let text = told(&report).join("\n");
        let row = |path: &str| text.lines().find(|line| line.contains(path)).unwrap_or_default().trim_end().to_owned();
        for (path, today) in [("a/done", "covered"), ("a/left", "open"), ("a/unknown", "–")] {
            assert!(row(path).ends_with(today), "{text}");
        }
        let pasted: Vec<_> = text.lines().filter(|line| line.starts_with('"')).collect();
        assert_eq!(pasted, ["\"GET /left\"", "\"GET /unknown\""], "{text}");
    }
}
