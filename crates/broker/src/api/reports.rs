//! `/v1/reports`: sums over the log, for auditors.

pub(crate) mod graph;
pub(crate) mod observed;
mod rule_ids;
pub(crate) mod unused;

use std::ops::RangeInclusive;

use delegation::details::ShortForm;

use super::page;
use super::problem::Problem;

/// How far back a report looks where nothing is said, in milliseconds.
const USUAL: i64 = 24 * 60 * 60 * 1000;

/// The time that a report is about: `since` and `until` of the query, in milliseconds since 1970; the last day by default. Nothing
/// lies in one that ends before it begins, and the report says both.
fn window(query: &[(String, String)], now: i64) -> Result<RangeInclusive<i64>, Problem> {
    let until = page::value(query, "until").map(page::place).transpose()?.unwrap_or(now);
    let since = page::value(query, "since").map(page::place).transpose()?;
    let since = since.unwrap_or_else(|| until.saturating_sub(USUAL));
    Ok(since..=until)
}

/// Actions of a type in the short form, where the name of a type may be a URI.
fn short(kind: &str, actions: &[&str]) -> String {
    let actions: Vec<_> = actions.iter().map(|action| ShortForm::encode(action)).collect();
    format!("{}:{}", ShortForm::encode(kind), actions.join(","))
}
