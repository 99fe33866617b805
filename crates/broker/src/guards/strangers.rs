//! Refusals of callers whom nobody knows, counted together: a flood of requests at guards is not one of records.

use issuance::audit::{CommitError, Entry};

use super::Guard;
use super::refusals::{RefusedCall, Told, id_of, record};
use crate::broker::{Broker, InForce};
use crate::refusals::{Counted, Refusals};
use crate::store::StoreUnavailable;

/// Those of `refusals` that are not counted yet. `Err` if too many are counted that are not on record: they are to be said later.
pub(super) fn uncounted<'r>(
    broker: &Broker,
    guard: &Guard<'_>,
    mut refusals: Vec<&'r RefusedCall>,
) -> Result<Vec<&'r RefusedCall>, StoreUnavailable> {
    refusals.retain(|each| !counter(broker, each).has(guard.client.as_str(), &each.decision_id));
    let has_room = refusals.iter().all(|each| counter(broker, each).has_room());
    has_room.then_some(refusals).ok_or_else(StoreUnavailable::busy)
}

/// Counts `refusals` with those of every other door, and gives how many were not counted before.
///
/// It does not fail: what cannot be written now is counted, and written with the others.
pub(super) async fn count(broker: &Broker, in_force: &InForce, guard: &Guard<'_>, refusals: &[&RefusedCall], told: Told) -> usize {
    // 1. Each at its place, and the firsts on their way into one commit: whoever goes away then disturbs nothing.
    let mut counted = 0;
    let mut firsts = Vec::new();
    for each in refusals {
        let id = id_of(broker, guard, each);
        let may_come_again = (told == Told::FromElsewhere).then(|| id.clone());
        match counter(broker, each).count(record(guard.record(broker, in_force), each), may_come_again) {
            Counted::First(first) => {
                // Whether a commit happened may be unknown: by its id it does so once.
                let first = Entry { uses: vec![id], ..*first };
                firsts.push((broker.journal().submit(first.clone()), first, *each));
            }
            Counted::Behind(_) => {}
            Counted::Before => continue,
        }
        broker.telemetry().guard_refused(guard.service, each.reason.as_str(), each.observed, 1);
        counted += 1;
    }

    // 2. What becomes of those.
    for (submitted, first, each) in firsts {
        let written = match submitted {
            Ok(answered) => answered.await.unwrap_or(Err(CommitError::Unavailable)),
            Err(why) => Err(why),
        };
        // Used: another node had it meanwhile.
        if !matches!(written, Ok(_) | Err(CommitError::AlreadyUsed)) {
            counter(broker, each).put_back_first(first);
        }
    }
    counted
}

/// What was only observed is counted apart.
fn counter<'b>(broker: &'b Broker, refused: &RefusedCall) -> &'b Refusals {
    broker.counted(refused.observed)
}
