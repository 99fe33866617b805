//! What was used since it was last handed over, and what is on its way.

use std::sync::{Mutex, PoisonError};

use delegation::time::Timestamp;
use serde_json::Value;

use crate::broker::{Broker, Used};
use crate::check::{Allowed, Refusal};
use crate::usage::Usage;

/// Sums of a live guard.
#[derive(Debug)]
pub(super) struct Tally {
    sums: Mutex<Sums>,
    /// A batch that the broker has not kept yet; it goes as it is until it has, and whoever sends it holds this.
    leaving: tokio::sync::Mutex<Option<Used>>,
}

#[derive(Debug)]
struct Sums {
    usage: Usage,
    since: Timestamp,
}

impl Tally {
    /// Nothing was used before `now`.
    pub(super) fn since(now: Timestamp) -> Self {
        let usage = Usage::default();
        Self {
            sums: Mutex::new(Sums { usage, since: now }),
            leaving: tokio::sync::Mutex::default(),
        }
    }

    /// Adds a request that goes on.
    pub(super) fn allowed(&self, allowed: &Allowed<'_>, now: Timestamp) {
        self.sums().usage.allowed(allowed, now);
    }

    /// Adds one at `route` that does not, whose token is for this guard's audience.
    pub(super) fn refused(&self, refusal: &Refusal, route: &str, now: Timestamp) {
        self.sums().usage.refused(refusal, route, now);
    }

    /// Hands over all that was used until `now`, or as much of it as the broker takes, and whether that is all. Nothing is forgotten that it
    /// has not kept.
    pub(super) async fn hand_over<B: Broker>(&self, broker: &B, now: Timestamp) -> bool {
        let mut leaving = self.leaving.lock().await;
        loop {
            if leaving.is_none() {
                *leaving = self.next(now);
            }
            let Some(used) = leaving.as_ref() else { return true };
            if !broker.used(used).await {
                return false;
            }
            *leaving = None;
        }
    }

    fn next(&self, now: Timestamp) -> Option<Used> {
        let mut sums = self.sums();
        let from = sums.since;
        match sums.usage.take() {
            Some(Value::Object(taken)) => Some(Used {
                batch: uuid::Uuid::now_v7().to_string(),
                from,
                until: now.max(from),
                sums: taken,
            }),
            _ => {
                sums.since = now.max(from);
                None
            }
        }
    }

    fn sums(&self) -> std::sync::MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
