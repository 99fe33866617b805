//! What boundaries would have refused, read from the log.

use std::ops::RangeInclusive;

use super::decisions::APART;
use super::{Store, StoreUnavailable, sql};

/// So many places of the log are looked through by one statement.
const STRETCH: i64 = 10_000;
/// And in all, the newest: a report does not read a log of years.
const MOST: i64 = 1_000_000;

/// Part of the log, as far as it is about requests that were only observed.
#[derive(Debug)]
pub(crate) struct Stretch {
    /// The first place that is to be looked through.
    next: i64,
    end: i64,
    /// Whether all is looked through from the time on that was asked for.
    pub(crate) complete: bool,
}

impl Store {
    /// Begins to look at what was observed in a time, in milliseconds since 1970; requests that overlapped may stand in the log out
    /// of the order of their times, so some before and behind it are looked at too.
    pub(crate) async fn observed_in(&self, window: &RangeInclusive<i64>) -> Result<Stretch, StoreUnavailable> {
        let first = self.place(window.start().saturating_sub(APART)).await?;
        let end = self.place(window.end().saturating_add(APART)).await?.max(first);
        Ok(Stretch {
            next: first.max(end - MOST),
            end,
            complete: first >= end - MOST,
        })
    }

    /// The records of the next stretch; `None` at its end.
    pub(crate) async fn observed(&self, stretch: &mut Stretch) -> Result<Option<Vec<String>>, StoreUnavailable> {
        if stretch.next >= stretch.end {
            return Ok(None);
        }
        let (first, end) = (stretch.next, stretch.end.min(stretch.next + STRETCH));
        stretch.next = end;
        // A quotation mark inside of a text is escaped, so that no text of a client looks like this member.
        let page = "SELECT body FROM records WHERE idx >= $1 AND idx < $2 AND body LIKE $3 ORDER BY idx";
        let found = sql(page).bind(first).bind(end).bind("%\"decision\":\"deny\",\"effect\":\"observed\"%");
        let rows = self.fetch(found).await?;
        Ok(Some(rows.iter().map(|row| row.get("body")).collect::<Result<_, _>>()?))
    }
}
