//! Lists: `{items, next}`, a page at a time.

use serde_json::Value;

use super::call::Call;
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

/// What a list is asked for: the place `after` which it goes on, as `read` finds it in what `next` held, and how many items at most.
/// Without `after` it begins at the beginning.
pub(crate) fn asked<P: Default>(call: &Call, read: impl FnOnce(&str) -> Option<P>) -> Result<(P, u16), Problem> {
    let query = call.query(&["after", "limit"])?;
    let after = match value(&query, "after") {
        None => P::default(),
        Some(after) => read(after).ok_or(Problem::Malformed("`after` must be what `next` held"))?,
    };
    Ok((after, limit(&query)?))
}

/// Whether a name out of a query can be one that is kept: none holds a control character, and PostgreSQL would not look for U+0000.
pub(crate) fn is_plain(name: &str) -> bool {
    !name.chars().any(|each| matches!(each, '\u{0}'..='\u{1f}' | '\u{7f}'))
}

/// The parameter `name` of a query.
pub(crate) fn value<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// The body of a list: each of what was `found`, of `limit` that were asked for, as `said`; `next` goes into `after` for the
/// next page: the `place` of the last one, or null where there is no more.
pub(crate) fn page<T, P: Into<Value>>(found: &[T], limit: u16, place: impl FnOnce(&T) -> P, said: impl FnMut(&T) -> Value) -> Value {
    let last = found.last().filter(|_| found.len() == usize::from(limit));
    let next = last.map_or(Value::Null, |last| place(last).into());
    Value::from_iter([("items", found.iter().map(said).collect()), ("next", next)])
}

/// Only digits: `parse` alone would take a sign.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}
