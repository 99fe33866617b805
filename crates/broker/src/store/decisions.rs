//! A decision found by the beginning of its id, without an index: every one would be paid for on the path of each token.
//!
//! An id begins with its time (RFC 9562 §5.7), and the log lies in the order of time but for requests that overlapped,
//! so an id says where in the log to look.

use std::ops::{Range, RangeInclusive};

use serde_json::{Map, Value};

use super::{Store, StoreUnavailable, sql};

/// How many records are looked through at a time.
const PAGE: i64 = 256;
/// How far apart, in milliseconds, an id and its place in the log may lie: more than the longest that a request may take.
pub(super) const APART: i64 = 60_000;
/// The same where anybody may ask: the longest that a body may take to come, and its record to be written.
const APART_AT_MOST: i64 = 20_000;

/// The length of a whole id.
const WHOLE: usize = 36;

/// At which end of the log a look begins.
#[derive(Clone, Copy)]
enum From {
    Oldest,
    Newest,
}

impl Store {
    /// The records whose decision id begins with `prefix`, newest first, at most two: enough to see a prefix that is
    /// not unique. Of a whole id it is the one that was on record first: a guard says the ids of what it refuses itself, and nobody knows
    /// an id before it is on record, or on its way there. Where the time in the id leads to none, the clock was set meanwhile, and the whole log is looked through.
    pub async fn decisions(&self, prefix: &str) -> Result<Vec<String>, StoreUnavailable> {
        let prefix: String = prefix.chars().filter(|each| each.is_ascii_alphanumeric() || *each == '-').collect();
        let prefix = prefix.to_ascii_lowercase();
        if let Some((earliest, latest)) = times(&prefix) {
            let (first, end) = (self.place(earliest - APART).await?, self.place(latest + APART).await?);
            let found = self.beginning_with(&prefix, first..end).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        self.beginning_with(&prefix, 0..i64::MAX).await
    }

    async fn beginning_with(&self, prefix: &str, places: Range<i64>) -> Result<Vec<String>, StoreUnavailable> {
        if prefix.len() == WHOLE {
            self.look_through(prefix, places, From::Oldest, 1).await
        } else {
            self.look_through(prefix, places, From::Newest, 2).await
        }
    }

    /// The record whose decision id is `id`, where its time says that it must lie: whoever may ask for any id must not make
    /// us look through the whole log.
    pub(crate) async fn decision(&self, id: &str) -> Result<Option<Map<String, Value>>, StoreUnavailable> {
        let Some((earliest, latest)) = times(id) else { return Ok(None) };
        let (first, end) = (
            self.place(earliest - APART_AT_MOST).await?,
            self.place(latest + APART_AT_MOST).await?,
        );
        let found = self.look_through(id, first..end, From::Oldest, 1).await?;
        Ok(found.first().and_then(|body| serde_json::from_str(body).ok()))
    }

    /// The record under which the token with this `jti` was issued, if it was between these times, in milliseconds since 1970.
    pub(crate) async fn issued(&self, jti: &str, times: RangeInclusive<i64>) -> Result<Option<Map<String, Value>>, StoreUnavailable> {
        // What could mean something in a pattern, or in JSON, is in no `jti` of ours.
        if !jti.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return Ok(None);
        }
        let first = self.place(times.start().saturating_sub(APART_AT_MOST)).await?;
        let end = self.place(times.end().saturating_add(APART_AT_MOST)).await?;
        // `_` stands for any character there: what is found is looked at.
        let pattern = format!("%\"jti\":\"{jti}\"%");
        let page = "SELECT body FROM records WHERE idx >= $1 AND idx < $2 AND body LIKE $3 ORDER BY idx LIMIT $4";
        let rows = self.fetch(sql(page).bind(first).bind(end).bind(&pattern).bind(PAGE)).await?;
        let is_issue = |record: &Map<String, Value>| {
            let is = |name: &str, value: &str| record.get(name).and_then(Value::as_str) == Some(value);
            is("jti", jti) && is("kind", "exchange") && is("decision", "allow")
        };
        for row in &rows {
            let body: String = row.get("body")?;
            if let Some(record) = serde_json::from_str(&body).ok().filter(is_issue) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Where in the log the records from `since` to `until` lie, in milliseconds since 1970, with some before and behind them:
    /// requests that overlapped may stand out of the order of their times.
    pub(crate) async fn places(&self, since: i64, until: i64) -> Result<Range<i64>, StoreUnavailable> {
        let first = self.place(since.saturating_sub(APART)).await?;
        Ok(first..self.place(until.saturating_add(APART)).await?.max(first))
    }

    /// The index of the first record from the time `at` on, by halving the log.
    pub(super) async fn place(&self, at: i64) -> Result<i64, StoreUnavailable> {
        let head = self.fetch(sql("SELECT size FROM log_head")).await?;
        let mut range = 0..head.first().map(|row| row.get("size")).transpose()?.unwrap_or(0);
        while range.start < range.end {
            let middle = range.start + (range.end - range.start) / 2;
            let body = self.records(middle, 1).await?;
            let record: Value = body.first().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default();
            if record.get("time").and_then(Value::as_i64).is_some_and(|time| time < at) {
                range.start = middle + 1;
            } else {
                range.end = middle;
            }
        }
        Ok(range.start)
    }

    async fn look_through(&self, prefix: &str, places: Range<i64>, from: From, most: usize) -> Result<Vec<String>, StoreUnavailable> {
        let pattern = format!("%\"id\":\"{prefix}%");
        let page = match from {
            From::Oldest => "SELECT idx, body FROM records WHERE idx >= $1 AND idx < $2 AND body LIKE $3 ORDER BY idx LIMIT $4",
            From::Newest => "SELECT idx, body FROM records WHERE idx >= $1 AND idx < $2 AND body LIKE $3 ORDER BY idx DESC LIMIT $4",
        };
        let (mut found, mut left) = (Vec::new(), places);
        loop {
            let rows = self.fetch(sql(page).bind(left.start).bind(left.end).bind(&pattern).bind(PAGE)).await?;
            for row in &rows {
                let at: i64 = row.get("idx")?;
                match from {
                    From::Oldest => left.start = at + 1,
                    From::Newest => left.end = at,
                }
                let body: String = row.get("body")?;
                // The pattern also finds ids further inside; only the record's own counts.
                let record: Value = serde_json::from_str(&body).unwrap_or_default();
                if record.get("id").and_then(Value::as_str).is_some_and(|id| id.starts_with(prefix)) {
                    found.push(body);
                }
                if found.len() == most {
                    return Ok(found);
                }
            }
            if rows.is_empty() {
                return Ok(found);
            }
        }
    }
}

/// The earliest and the latest time, in milliseconds since the epoch, of an id of version 7 that begins with `prefix`.
fn times(prefix: &str) -> Option<(i64, i64)> {
    let digits: String = prefix.chars().filter(|each| *each != '-').take(12).collect();
    let filled = |with: &str| i64::from_str_radix(&format!("{digits}{}", with.repeat(12 - digits.len())), 16).ok();
    Some((filled("0")?, filled("f")?))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::string_slice, reason = "a test may panic")]
mod tests {
    #[test]
    fn an_id_lies_between_the_times_of_each_of_its_beginnings() {
        let id = uuid::Uuid::now_v7();
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        let at = i64::try_from(seconds).unwrap() * 1000 + i64::from(nanos / 1_000_000);
        let id = id.to_string();
        for length in 0..=id.len() {
            let (earliest, latest) = super::times(&id[..length]).unwrap();
            assert!((earliest..=latest).contains(&at), "{}", &id[..length]);
        }
        assert_eq!(super::times(&id), Some((at, at)));
        assert_eq!(super::times("not-hex"), None);
    }
}
