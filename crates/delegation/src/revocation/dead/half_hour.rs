//! When an entry may be forgotten, in as few bits as do.

use crate::time::Timestamp;

/// A half hour, counted from the beginning of 2025. The last one that can be counted, in 2054, has none after it: it never ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HalfHour(u32);

impl HalfHour {
    /// So many bits hold one.
    pub(super) const BITS: u32 = 19;
    const NEVER: u32 = (1 << Self::BITS) - 1;
    const FIRST: i64 = 1_735_689_600;
    const SECONDS: i64 = 1800;

    /// The one that `at` lies in: an entry is forgotten when it is over, so rather later than earlier.
    pub(super) fn after(at: Timestamp) -> Self {
        let number = (at.seconds() - Self::FIRST).div_euclid(Self::SECONDS);
        Self(u32::try_from(number.max(0)).unwrap_or(Self::NEVER).min(Self::NEVER))
    }

    /// From its bits; more than [`BITS`](Self::BITS) are not looked at.
    pub(super) fn from_bits(bits: u128) -> Self {
        Self((bits & u128::from(Self::NEVER)) as u32)
    }

    /// Its bits.
    pub(super) fn bits(self) -> u128 {
        u128::from(self.0)
    }

    /// Whether it is over at `now`.
    pub(super) fn is_over(self, now: Timestamp) -> bool {
        self < Self::after(now)
    }
}
