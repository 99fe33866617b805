//! What is dead for ever, in little memory: 16 bytes each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock};

use super::mark::{Key, MarkKind};
use crate::time::Timestamp;

/// How many parts the set has, each with a lock of its own.
pub(super) const SHARDS: usize = 256;
/// A part's new entries are sorted in when they are more than so many, and more than one in so many of it.
const UNSORTED: usize = 64;

/// The head of a key, its kind mixed in. Two with the same 96 bits would only end a token too many.
type Head = [u8; 12];

/// A set of keys, each to be forgotten at some minute.
#[derive(Debug)]
pub(super) struct Dead {
    shards: Vec<RwLock<Shard>>,
    len: AtomicUsize,
    /// The part whose turn to forget is next.
    forgets: AtomicUsize,
}

/// New entries lie in a table; many are sorted into a list, which takes half the room.
#[derive(Debug, Default)]
struct Shard {
    sorted: Vec<(Head, u32)>,
    new: HashMap<Head, u32>,
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
        let Some(shard) = self.shard(key) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        // A minute later rather than one earlier.
        let minute = u32::try_from(forget_at.seconds() / 60 + 1).unwrap_or(u32::MAX);
        if shard.add(head(kind, key), minute) {
            self.len.fetch_add(1, Ordering::AcqRel);
        }
    }

    pub(super) fn holds(&self, kind: MarkKind, key: &Key) -> bool {
        let Some(shard) = self.shard(key) else { return false };
        shard.read().unwrap_or_else(PoisonError::into_inner).find(&head(kind, key)).is_some()
    }

    /// Drops what is to be forgotten before `now` from the next part, with the room that it took.
    pub(super) fn forget(&self, now: Timestamp) {
        let minute = u32::try_from(now.seconds() / 60).unwrap_or(0);
        let turn = self.forgets.fetch_add(1, Ordering::AcqRel);
        let Some(shard) = self.shards.get(turn % SHARDS) else { return };
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let before = shard.len();
        shard.sorted.retain(|(_, forget_at)| *forget_at > minute);
        shard.sorted.shrink_to_fit();
        shard.new.retain(|_, forget_at| *forget_at > minute);
        self.len.fetch_sub(before - shard.len(), Ordering::AcqRel);
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The part that a key lies in, by its last byte, which is not in its head.
    fn shard(&self, key: &Key) -> Option<&RwLock<Shard>> {
        let [.., last] = *key.as_bytes();
        self.shards.get(usize::from(last) % SHARDS)
    }
}

impl Shard {
    fn len(&self) -> usize {
        self.sorted.len() + self.new.len()
    }

    fn find(&self, head: &Head) -> Option<u32> {
        let sorted = || self.sorted.binary_search_by(|(each, _)| each.cmp(head)).ok();
        self.new.get(head).copied().or_else(|| Some(self.sorted.get(sorted()?)?.1))
    }

    /// Whether it was not there before. The later of two times to forget counts.
    fn add(&mut self, head: Head, minute: u32) -> bool {
        if let Ok(at) = self.sorted.binary_search_by(|(each, _)| each.cmp(&head)) {
            if let Some((_, known)) = self.sorted.get_mut(at) {
                *known = (*known).max(minute);
            }
            return false;
        }
        let fresh = !self.new.contains_key(&head);
        let known = self.new.entry(head).or_insert(minute);
        *known = (*known).max(minute);
        if self.new.len() > UNSORTED.max(self.sorted.len() / UNSORTED) {
            self.sorted.reserve_exact(self.new.len());
            let mut new: Vec<_> = std::mem::take(&mut self.new).into_iter().collect();
            new.sort_unstable();
            self.sorted.append(&mut new);
            // Two runs: the stable sort merges them.
            self.sorted.sort();
        }
        fresh
    }
}

fn head(kind: MarkKind, key: &Key) -> Head {
    let mut head = Head::default();
    for (to, from) in head.iter_mut().zip(key.as_bytes()) {
        *to = *from;
    }
    if let Some(first) = head.first_mut() {
        *first ^= kind as u8;
    }
    head
}
