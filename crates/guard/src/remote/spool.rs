//! What waits to be put on record at the broker.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::said_of;
use crate::broker::{Refused, SeenTwice};

/// So many bytes of refusals wait.
const MOST: usize = 16 * 1024 * 1024;
/// So many of them of those who showed no token of the broker's: whoever sends a flood does not drive out what matters.
const MOST_OF_STRANGERS: usize = MOST / 4;
/// So many sightings wait; one that is not sent will be seen again.
const SIGHTINGS: usize = 1024;
/// So many bytes of refusals are sent at a time; the first is sent whatever its size.
const BATCH: usize = 128 * 1024;
/// So many refusals are sent at a time.
pub(super) const MANY: usize = 100;

/// Refusals in line, as they will be sent.
#[derive(Debug, Default)]
pub(super) struct Spool {
    line: Mutex<Waiting>,
    /// Told when something comes.
    pub(super) news: Notify,
    /// Held by whoever sends.
    pub(super) turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    refusals: VecDeque<Entry>,
    bytes: usize,
    of_strangers: usize,
    lost: u64,
    sightings: VecDeque<Value>,
}

/// One refusal, as it will be sent.
#[derive(Clone, Debug)]
struct Entry {
    json: String,
    is_strangers: bool,
}

/// The next refusals, in their order, and how many were lost.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) body: String,
    pub(super) count: usize,
    lost: u64,
}

impl Spool {
    /// Puts a refusal in line; if there is no room, it is counted.
    pub(super) fn put(&self, refused: &Refused) {
        let entry = Entry {
            json: said(refused).to_string(),
            is_strangers: refused.claims.is_none(),
        };
        let size = entry.json.len();
        let mut line = self.line();
        let is_full = line.bytes + size > MOST || (entry.is_strangers && line.of_strangers + size > MOST_OF_STRANGERS);
        if is_full {
            line.lost += 1;
        } else {
            line.bytes += size;
            line.of_strangers += if entry.is_strangers { size } else { 0 };
            line.refusals.push_back(entry);
        }
        drop(line);
        self.news.notify_one();
    }

    /// Puts a sighting in line.
    pub(super) fn put_sighting(&self, seen: &SeenTwice) {
        let said = json!({
            "jti": seen.jti, "iat": seen.iat.seconds(), "exp": seen.exp.seconds(),
            "first": seen.first.to_string(), "second": seen.second.to_string(),
        });
        let mut line = self.line();
        if line.sightings.len() < SIGHTINGS {
            line.sightings.push_back(said);
        }
        drop(line);
        self.news.notify_one();
    }

    /// The refusals that are next, `most` of them, which stay in line until they are [sent](Self::sent).
    pub(super) fn batch(&self, most: usize) -> Option<Batch> {
        let line = self.line();
        let mut bytes = 0;
        let next = line.refusals.iter().take(most).take_while(|entry| {
            let is_first = bytes == 0;
            bytes += entry.json.len();
            is_first || bytes <= BATCH
        });
        let next: Vec<_> = next.map(|entry| entry.json.as_str()).collect();
        if next.is_empty() && line.lost == 0 {
            return None;
        }
        Some(Batch {
            body: format!("{{\"refusals\":[{}],\"lost\":{}}}", next.join(","), line.lost),
            count: next.len(),
            lost: line.lost,
        })
    }

    /// Lets go of what the broker has on record.
    pub(super) fn sent(&self, batch: &Batch) {
        let mut line = self.line();
        for _ in 0..batch.count {
            line.next();
        }
        line.lost -= batch.lost;
    }

    /// Counts the next refusal, which the broker does not take, among the lost.
    pub(super) fn give_up(&self) {
        let mut line = self.line();
        line.next();
        line.lost += 1;
    }

    /// The next sighting, taken out.
    pub(super) fn sighting(&self) -> Option<Value> {
        self.line().sightings.pop_front()
    }

    /// How many refusals wait, and how many were lost since the broker was told.
    pub(super) fn waiting(&self) -> (usize, u64) {
        let line = self.line();
        (line.refusals.len(), line.lost)
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Takes the next refusal out.
    fn next(&mut self) {
        let Some(entry) = self.refusals.pop_front() else { return };
        self.bytes -= entry.json.len();
        self.of_strangers -= if entry.is_strangers { entry.json.len() } else { 0 };
    }
}

/// A refusal as it is sent: every word of it but a token.
fn said(refused: &Refused) -> Value {
    let mut said = Map::new();
    let mut put = |name: &str, value: Value| said.insert(name.to_owned(), value);
    put("decision_id", refused.decision_id.clone().into());
    put("at", refused.at.millis().into());
    put("reason", refused.reason.as_str().into());
    put("client_ip", refused.from.to_string().into());
    if let Some(line) = &refused.request {
        put("request", said_of(line));
    }
    if let Some(claims) = &refused.claims {
        let mut about = json!({
            "jti": claims.jti, "sub": claims.sub, "client_id": claims.client.as_str(), "aud": claims.audiences.first(),
            "exp": claims.exp.seconds(), "iat": claims.iat.seconds(), "txn": claims.txn,
            "sub_id": { "format": "iss_sub", "iss": claims.subject.iss, "sub": claims.subject.sub },
        });
        if let (Some(task), Some(about)) = (&claims.task, about.as_object_mut()) {
            about.insert("task".to_owned(), task.clone().into());
        }
        put("claims", about);
    }
    if let Some(compared) = &refused.compared {
        let all = compared.to_json();
        let parts = ["required", "presented", "surplus"].map(|name| (name.to_owned(), all.get(name).cloned().unwrap_or_default()));
        put("compared", Value::from_iter(parts));
    }
    if refused.observed {
        put("observed", true.into());
    }
    Value::Object(said)
}
