//! Entries in buckets that lie one behind the other, with no room between them.

use std::collections::HashMap;

use super::half_hour::HalfHour;
use super::head::{BUCKETS, Head};
use crate::time::Timestamp;

/// The list grows by room for so many: little that is not used, and not a new place for it each time.
const ROOM: usize = 1024;

/// A list of entries, and where in it each bucket ends: a look goes straight to the few that may be the one.
///
/// An entry is what its bucket does not tell of a head, and in the bits below it when it may be forgotten.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    entries: Vec<u128>,
    /// None, as long as there are no entries.
    ends: Vec<u32>,
}

impl Sorted {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn holds(&self, head: Head) -> bool {
        let (begin, end) = self.range(head.bucket());
        let bucket = self.entries.get(begin..end).unwrap_or_default();
        bucket.iter().any(|entry| is_of(*entry, head))
    }

    /// Whether `head` is here; it is then forgotten no earlier than `forget_at`.
    pub(super) fn put_off(&mut self, head: Head, forget_at: HalfHour) -> bool {
        let (begin, end) = self.range(head.bucket());
        let bucket = self.entries.get_mut(begin..end).unwrap_or_default();
        let Some(known) = bucket.iter_mut().find(|entry| is_of(**entry, head)) else {
            return false;
        };
        *known = entry(head, HalfHour::from_bits(*known).max(forget_at));
        true
    }

    /// Adds `new`, of which nothing is here.
    pub(super) fn merge(&mut self, new: HashMap<Head, HalfHour>) {
        let mut new: Vec<_> = new.into_iter().collect();
        new.sort_unstable();
        let old = self.entries.len();
        let mut free = old + new.len();
        self.entries.reserve_exact(free.next_multiple_of(ROOM) - old);
        self.entries.resize(free, 0);
        self.ends.resize(BUCKETS, 0);
        // From behind, each bucket moves up by as much as comes before its end.
        for bucket in (0..BUCKETS).rev() {
            let (begin, end) = self.range(bucket);
            if let Some(moved) = self.ends.get_mut(bucket) {
                *moved = free as u32;
            }
            while let Some((head, forget_at)) = new.pop_if(|(head, _)| head.bucket() == bucket) {
                free -= 1;
                if let Some(place) = self.entries.get_mut(free) {
                    *place = entry(head, forget_at);
                }
            }
            free -= end - begin;
            self.entries.copy_within(begin..end, free);
        }
    }

    /// Drops what is to be forgotten before `now`, with the room that it took.
    pub(super) fn forget(&mut self, now: Timestamp) {
        let (mut begin, mut kept) = (0, 0);
        for bucket in 0..self.ends.len() {
            let end = self.range(bucket).1;
            for at in begin..end {
                let stays = self.entries.get(at).is_some_and(|entry| !HalfHour::from_bits(*entry).is_over(now));
                if stays {
                    self.entries.swap(kept, at);
                    kept += 1;
                }
            }
            begin = end;
            if let Some(moved) = self.ends.get_mut(bucket) {
                *moved = kept as u32;
            }
        }
        self.entries.truncate(kept);
        self.entries.shrink_to(kept.next_multiple_of(ROOM));
    }

    fn range(&self, bucket: usize) -> (usize, usize) {
        let end = |bucket: usize| self.ends.get(bucket).map_or(0, |end| *end as usize);
        (bucket.checked_sub(1).map_or(0, end), end(bucket))
    }
}

fn entry(head: Head, forget_at: HalfHour) -> u128 {
    head.rest() | forget_at.bits()
}

fn is_of(entry: u128, head: Head) -> bool {
    (entry ^ head.rest()) >> HalfHour::BITS == 0
}
