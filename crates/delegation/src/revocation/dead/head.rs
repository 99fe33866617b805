//! What is kept of a key.

use super::half_hour::HalfHour;
use crate::revocation::mark::{Key, MarkKind};

const SHARD_BITS: u32 = 6;
const BUCKET_BITS: u32 = HalfHour::BITS - SHARD_BITS;

/// How many parts there are.
pub(super) const SHARDS: usize = 1 << SHARD_BITS;
/// How many buckets there are in a part.
pub(super) const BUCKETS: usize = 1 << BUCKET_BITS;

/// The first 128 bits of a key, its kind mixed in.
///
/// All of them are compared. Who can have tokens revoked whose ids they choose would need some 2¹²⁸ digests for one that has
/// the head of a stranger's, and would end a token too many with it, never one too few. Two of their own choice with one head
/// are found after 2⁶⁴, and gain nothing: both are theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Head(u128);

impl Head {
    pub(super) fn of(kind: MarkKind, key: &Key) -> Self {
        Self(key.first_half() ^ kind as u128)
    }

    /// The part that it lies in, by its first bits.
    pub(super) fn shard(self) -> usize {
        (self.0 >> (u128::BITS - SHARD_BITS)) as usize
    }

    /// The bucket that it lies in, by the next ones.
    pub(super) fn bucket(self) -> usize {
        (self.0 >> (u128::BITS - SHARD_BITS - BUCKET_BITS)) as usize % BUCKETS
    }

    /// The bits that part and bucket do not tell, with as many below them free for a half hour.
    pub(super) fn rest(self) -> u128 {
        self.0 << HalfHour::BITS
    }
}
