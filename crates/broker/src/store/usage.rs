//! What guards report, added up by day.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use delegation::oauth::ClientId;
use delegation::time::Timestamp;

use super::{Purpose, Statement, Store, StoreUnavailable, Value, sql};
use crate::usage::{Batch, Fact, What};

/// A day, in milliseconds.
pub(crate) const DAY: i64 = 24 * 60 * 60 * 1000;
/// So many days are kept, besides the one that is not over: `journal.rs` forgets what is older.
pub(crate) const KEPT: i64 = 90;
/// A batch is known again for so long, in milliseconds.
const KNOWN: i64 = 2 * DAY;
/// So many facts of one audience and day are told apart; more become one.
const MOST: i64 = 20_000;
/// So many facts are read for one report.
const MOST_READ: i64 = 50_000;
/// The word under which batches that were kept lie among what may be used once.
const ONCE: &str = "usage";

/// What is known of some time.
#[derive(Debug, Default)]
pub(crate) struct Used {
    /// With the service, granted and used.
    pub(crate) facts: Vec<(String, Fact, (i64, i64))>,
    /// Whether these are all.
    pub(crate) complete: bool,
}

impl Store {
    /// Adds `batch`, which `client` reported, to the day on which it ended; of one that was added before, nothing.
    pub(crate) async fn keep_usage(&self, client: &ClientId, batch: &Batch, now: Timestamp) -> Result<(), StoreUnavailable> {
        let now = now.millis();
        // What is older could be known no more from what was added before.
        let until = batch.until.clamp(now.saturating_sub(KNOWN).max(0), now);
        let (day, from) = (until / DAY, batch.from.min(until));
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin(Purpose::Write).await?;

        // 1. Once. Found by what the insert did: whoever sends it a second time waits here for the first.
        let once = sql("INSERT INTO uses (kind, issuer, id, forget_at)").row([
            ONCE.into(),
            client.as_str().into(),
            (&batch.id).into(),
            (now + KNOWN).into(),
        ]);
        if transaction.execute(once.then(" ON CONFLICT DO NOTHING")).await? == 0 {
            return Ok(());
        }

        // 2. No day grows without end, whatever a guard calls its routes; and whoever fills it fills that of its own audience.
        let mut has_room = true;
        for audience in batch.audiences().collect::<BTreeSet<_>>() {
            let counted = sql("SELECT COUNT(*) AS facts FROM usage_days WHERE day = $1 AND audience = $2");
            let rows = transaction.fetch(counted.bind(day).bind(audience)).await?;
            let there: i64 = rows.first().map_or(Ok(0), |row| row.get("facts"))?;
            has_room &= there + i64::try_from(batch.facts.len()).unwrap_or(i64::MAX) <= MOST;
        }
        let service = if has_room { batch.service.as_str() } else { "" };

        // 3. All of it, in one global order, so that two nodes never wait for each other in a circle.
        let mut facts: BTreeMap<Fact, (i64, i64)> = BTreeMap::new();
        for (fact, numbers) in &batch.facts {
            let reported = Fact {
                client: String::new(),
                route: String::new(),
                what: What::Reported,
                name: client.as_str().to_owned(),
                ..fact.clone()
            };
            facts.insert(reported, (from, until));
            if has_room {
                facts.insert(fact.clone(), *numbers);
            } else if fact.what == What::Request {
                let others = Fact {
                    client: String::new(),
                    route: String::new(),
                    what: What::Others,
                    ..fact.clone()
                };
                facts.entry(others).or_default().1 += numbers.1.max(1);
            }
        }
        let facts: Vec<_> = facts.into_iter().collect();
        for chunk in facts.chunks(64) {
            transaction.execute(added(day, service, chunk)).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// What was reported on these days, of one client or audience where they are named.
    pub(crate) async fn usage(
        &self,
        days: &RangeInclusive<i64>,
        client: Option<&str>,
        audience: Option<&str>,
    ) -> Result<Used, StoreUnavailable> {
        // What is true of all clients belongs to each.
        let asked = "SELECT audience, service, client, route, what, name, \
             CAST(CASE what WHEN 'life' THEN MAX(granted) WHEN 'reported' THEN MIN(granted) ELSE SUM(granted) END AS BIGINT) AS granted, \
             CAST(CASE what WHEN 'life' THEN MAX(used) WHEN 'reported' THEN MAX(used) ELSE SUM(used) END AS BIGINT) AS used \
             FROM usage_days WHERE day >= $1 AND day <= $2 AND ($3 = '' OR client = $3 OR client = '') AND ($4 = '' OR audience = $4) \
             GROUP BY audience, service, client, route, what, name ORDER BY audience, client, service, route, what, name LIMIT $5";
        let asked = sql(asked)
            .bind(*days.start())
            .bind(*days.end())
            .bind(client.unwrap_or_default())
            .bind(audience.unwrap_or_default())
            .bind(MOST_READ);
        let rows = self.fetch(asked).await?;
        let mut used = Used {
            complete: i64::try_from(rows.len()).is_ok_and(|rows| rows < MOST_READ),
            ..Used::default()
        };
        for row in &rows {
            let word: String = row.get("what")?;
            // A word of a later version is not understood, and says nothing.
            let Some(what) = What::parse(&word) else { continue };
            let fact = Fact {
                audience: row.get("audience")?,
                client: row.get("client")?,
                route: row.get("route")?,
                what,
                name: row.get("name")?,
            };
            used.facts.push((row.get("service")?, fact, (row.get("granted")?, row.get("used")?)));
        }
        Ok(used)
    }
}

/// The statement that adds `facts` to those of the day.
fn added<'v>(day: i64, service: &'v str, facts: &'v [(Fact, (i64, i64))]) -> Statement<'v> {
    let mut statement = sql("INSERT INTO usage_days (day, audience, service, client, route, what, name, granted, used)");
    for (fact, (granted, used)) in facts {
        let row: [Value<'v>; 9] = [
            day.into(),
            (&fact.audience).into(),
            service.into(),
            (&fact.client).into(),
            (&fact.route).into(),
            fact.what.as_str().into(),
            (&fact.name).into(),
            (*granted).into(),
            (*used).into(),
        ];
        statement = statement.row(row);
    }
    statement.then(
        " ON CONFLICT (day, audience, service, client, route, what, name) DO UPDATE SET \
         granted = CASE excluded.what \
         WHEN 'life' THEN CASE WHEN excluded.granted > usage_days.granted THEN excluded.granted ELSE usage_days.granted END \
         WHEN 'reported' THEN CASE WHEN excluded.granted < usage_days.granted THEN excluded.granted ELSE usage_days.granted END \
         ELSE usage_days.granted + excluded.granted END, \
         used = CASE WHEN excluded.what = 'life' OR excluded.what = 'reported' \
         THEN CASE WHEN excluded.used > usage_days.used THEN excluded.used ELSE usage_days.used END \
         ELSE usage_days.used + excluded.used END",
    )
}
