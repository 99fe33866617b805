//! What is dead for ever, in little memory: 16 bytes each.

mod half_hour;
mod head;
mod sorted;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use super::mark::{Key, MarkKind};
use crate::time::Timestamp;
use half_hour::HalfHour;
use head::{Head, SHARDS as PARTS};
use sorted::Sorted;

/// How many parts the set has, each with a lock of its own.
pub(super) const SHARDS: usize = PARTS;
/// A part's new entries are sorted in when they are more than so many: what a table of 512 places takes without growing.
const UNSORTED: usize = 448;

/// A set of keys, each to be forgotten at some time.
#[derive(Debug)]
pub(super) struct Dead {
    shards: Vec<RwLock<Shard>>,
    len: AtomicUsize,
    /// The part whose turn to forget is next.
    forgets: AtomicUsize,
}

/// New entries lie in a table; many are sorted into a list, which takes less than half the room.
#[derive(Debug, Default)]
struct Shard {
    sorted: Sorted,
    new: HashMap<Head, HalfHour>,
}

impl Default for Dead {
    fn default() -> Self {
        Self {
            shards: std::iter::repeat_with(RwLock::default).take(SHARDS).collect(),
            len: AtomicUsize::new(0),
            forgets: AtomicUsize::new(0),
        }
    }
}

impl Dead {
    pub(super) fn add(&self, kind: MarkKind, key: &Key, forget_at: Timestamp) {
        let head = Head::of(kind, key);
        let Some(shard) = self.shards.get(head.shard()) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.add(head, HalfHour::after(forget_at)) {
            self.len.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn holds(&self, kind: MarkKind, key: &Key) -> bool {
        let head = Head::of(kind, key);
        let Some(shard) = self.shards.get(head.shard()) else { return false };
        let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
        shard.new.contains_key(&head) || shard.sorted.holds(head)
    }

    /// Drops what is to be forgotten before `now` from the next part, with the room that it took.
    pub(super) fn forget(&self, now: Timestamp) {
        let turn = self.forgets.fetch_add(1, Ordering::AcqRel);
        let Some(shard) = self.shards.get(turn % SHARDS) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let before = shard.len();
        shard.sorted.forget(now);
        shard.new.retain(|_, forget_at| !forget_at.is_over(now));
        self.len.fetch_sub(before - shard.len(), Ordering::AcqRel);
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shard {
    fn len(&self) -> usize {
        self.sorted.len() + self.new.len()
    }

    /// Whether it was not there before. The later of two times to forget counts.
    fn add(&mut self, head: Head, forget_at: HalfHour) -> bool {
        if self.sorted.put_off(head, forget_at) {
            return false;
        }
        let fresh = !self.new.contains_key(&head);
        let known = self.new.entry(head).or_insert(forget_at);
        *known = (*known).max(forget_at);
        if self.new.len() > UNSORTED {
            self.sorted.merge(std::mem::take(&mut self.new));
        }
        fresh
    }
}
