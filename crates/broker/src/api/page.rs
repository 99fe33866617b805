//! Lists: `{items, next}`, a page at a time.

use serde_json::Value;

use super::problem::Problem;

/// Items of a page, unless `limit` says otherwise.
const USUAL: u16 = 100;
/// And at most.
const MOST: u16 = 1_000;

/// How many items are asked for: `limit` of the query.
pub(crate) fn limit(query: &[(String, String)]) -> Result<u16, Problem> {
    let Some(text) = value(query, "limit") else { return Ok(USUAL) };
    let limit = digits(text).and_then(|text| text.parse().ok()).filter(|limit| (1..=MOST).contains(limit));
    limit.ok_or(Problem::Malformed("`limit` must be a number from 1 to 1000"))
}

/// A place in the log: `after` of the query, or what stands for it elsewhere.
pub(crate) fn place(text: &str) -> Result<i64, Problem> {
    let place = digits(text).and_then(|text| text.parse().ok());
    place.ok_or(Problem::Malformed("a place must be a number as it was given here"))
}

/// The parameter `name` of a query.
pub(crate) fn value<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The body of a list; `next` goes into `after` for the next page, and is null on the last one.
pub(crate) fn page(items: Vec<Value>, next: Option<Value>) -> Value {
    Value::from_iter([("items", Value::from(items)), ("next", Value::from(next))])
}

/// Only digits: `parse` alone would take a sign.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}
