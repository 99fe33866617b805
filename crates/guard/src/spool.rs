//! What waits to be put on record, wherever the broker is: refusals, and tokens that were seen from two places.
//!
//! No request waits for its record, so what waits is bounded, and what finds no room is counted. Whoever shows no token of the broker's
//! has room apart: a flood of those takes none from callers who are known, and is told behind them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::broker::{Refused, SeenTwice};

/// So many bytes of refusals wait whose token was the broker's.
pub const MOST_OF_KNOWN: usize = 12 * 1024 * 1024;
/// So many bytes of all others.
pub const MOST_OF_STRANGERS: usize = 4 * 1024 * 1024;
/// So many sightings wait; one that is not sent will be seen again.
const SIGHTINGS: usize = 1024;

/// Refusals and sightings in line, until the one who delivers them says that they are on record. `R` is a refusal as it is delivered.
#[derive(Debug)]
pub struct Spool<R> {
    waiting: Mutex<Waiting<R>>,
    /// Told when something comes.
    pub news: Notify,
    /// Held by whoever delivers: one does at a time.
    pub turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Waiting<R> {
    known: Line<R>,
    strangers: Line<R>,
    lost: u64,
    sightings: VecDeque<SeenTwice>,
}

/// Refusals with their sizes, and so many bytes of them at most.
#[derive(Debug)]
struct Line<R> {
    refusals: VecDeque<(R, usize)>,
    bytes: usize,
    most: usize,
}

/// The next refusals, which stay in line until they are [delivered](Spool::delivered).
#[derive(Debug)]
pub struct Batch<R> {
    /// Those of callers who are known, and behind them others, both in the order in which they came.
    pub refusals: Vec<R>,
    /// How many found no room.
    pub lost: u64,
    known: usize,
}

impl<R> Default for Spool<R> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                known: Line::of(MOST_OF_KNOWN),
                strangers: Line::of(MOST_OF_STRANGERS),
                lost: 0,
                sightings: VecDeque::new(),
            }),
            news: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        }
    }
}

impl<R: Clone> Spool<R> {
    /// Puts `refusal`, which is `refused` as it will be delivered and takes so many `bytes`, in line; if there is no room, it is counted.
    pub fn put(&self, refused: &Refused, refusal: R, bytes: usize) {
        let mut waiting = self.waiting();
        let line = match refused.claims {
            Some(_) => &mut waiting.known,
            None => &mut waiting.strangers,
        };
        if !line.put(refusal, bytes) {
            waiting.lost += 1;
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// Puts a sighting in line.
    pub fn put_sighting(&self, seen: SeenTwice) {
        let mut waiting = self.waiting();
        if waiting.sightings.len() < SIGHTINGS {
            waiting.sightings.push_back(seen);
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// The refusals that are next: `many` at most, and no more than `bytes` of them, but one in any case. `None` if nothing is to be said.
    pub fn batch(&self, many: usize, bytes: usize) -> Option<Batch<R>> {
        let waiting = self.waiting();
        let mut room = bytes;
        let every = waiting.known.refusals.iter().chain(&waiting.strangers.refusals).take(many).enumerate();
        let next = every.map_while(|(at, (refusal, size))| {
            let has_room = *size <= room || at == 0;
            room = room.saturating_sub(*size);
            has_room.then(|| refusal.clone())
        });
        let refusals: Vec<_> = next.collect();
        if refusals.is_empty() && waiting.lost == 0 {
            return None;
        }
        Some(Batch {
            known: refusals.len().min(waiting.known.refusals.len()),
            refusals,
            lost: waiting.lost,
        })
    }

    /// Lets go of what is on record.
    pub fn delivered(&self, batch: &Batch<R>) {
        let mut waiting = self.waiting();
        waiting.forget(batch);
        waiting.lost = waiting.lost.saturating_sub(batch.lost);
    }

    /// Counts the refusals of `batch`, which are not taken, among the lost.
    pub fn give_up(&self, batch: &Batch<R>) {
        let mut waiting = self.waiting();
        waiting.forget(batch);
        waiting.lost += batch.refusals.len() as u64;
    }

    /// The next sighting, taken out.
    pub fn sighting(&self) -> Option<SeenTwice> {
        self.waiting().sightings.pop_front()
    }

    /// How many refusals wait, and how many were lost since that was last said.
    pub fn count(&self) -> (usize, u64) {
        let waiting = self.waiting();
        (waiting.known.refusals.len() + waiting.strangers.refusals.len(), waiting.lost)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting<R>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Waiting<R> {
    /// Takes the refusals of `batch` out. Others have come behind them, and none before.
    fn forget(&mut self, batch: &Batch<R>) {
        self.known.forget(batch.known);
        self.strangers.forget(batch.refusals.len() - batch.known);
    }
}

impl<R> Line<R> {
    fn of(most: usize) -> Self {
        Self {
            refusals: VecDeque::new(),
            bytes: 0,
            most,
        }
    }

    /// Whether there was room.
    fn put(&mut self, refusal: R, bytes: usize) -> bool {
        let has_room = self.bytes + bytes <= self.most;
        if has_room {
            self.bytes += bytes;
            self.refusals.push_back((refusal, bytes));
        }
        has_room
    }

    fn forget(&mut self, many: usize) {
        let many = many.min(self.refusals.len());
        self.bytes -= self.refusals.drain(..many).map(|(_, bytes)| bytes).sum::<usize>();
    }
}
