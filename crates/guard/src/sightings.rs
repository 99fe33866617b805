//! Where tokens were shown first: one that comes from another place too may be somebody else's by now.
//!
//! A place is an IPv4 address, or a /64 of IPv6, within which a machine changes its address by itself. So whoever shares an address
//! with the first is not told apart from it, and a caller that moves looks like two.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use delegation::time::Timestamp;

/// So many tokens are remembered; of more the oldest are forgotten, and count as never seen.
const MOST: usize = 100_000;
/// A token that goes on coming from two places is told about again after so long.
const AGAIN: Duration = Duration::from_secs(10);

/// What a guard remembers of where tokens came from. Bounded; what has expired is forgotten.
#[derive(Debug, Default)]
pub struct Sightings {
    seen: HashMap<String, First>,
    /// In the order in which they came.
    order: VecDeque<String>,
}

/// The first time that a token was shown.
#[derive(Debug)]
struct First {
    from: IpAddr,
    exp: Timestamp,
    told: Option<Timestamp>,
}

/// What one showing of a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It was not shown before.
    First,
    /// It comes from the place that it came from before, or was told about just now.
    Again,
    /// It comes from another place.
    Elsewhere {
        /// Where it was shown first.
        first: IpAddr,
    },
}

impl Sightings {
    /// Takes note that the token `jti`, which ends at `exp`, was shown from `from`. The token must have been verified before.
    pub fn see(&mut self, jti: &str, from: IpAddr, exp: Timestamp, now: Timestamp) -> Sighting {
        self.forget(now);
        let from = from.to_canonical();
        if let Some(first) = self.seen.get_mut(jti) {
            let is_told = first.told.is_some_and(|told| now < told.plus(AGAIN));
            if place(first.from) == place(from) || is_told {
                return Sighting::Again;
            }
            first.told = Some(now);
            return Sighting::Elsewhere { first: first.from };
        }
        self.seen.insert(jti.to_owned(), First { from, exp, told: None });
        self.order.push_back(jti.to_owned());
        Sighting::First
    }

    /// Makes room for one more: what has expired goes, and the oldest where there are too many.
    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.order.front() {
            let has_expired = self.seen.get(oldest).is_none_or(|first| first.exp <= now);
            if !has_expired && self.order.len() < MOST {
                return;
            }
            self.seen.remove(oldest);
            self.order.pop_front();
        }
    }
}

/// What an address is told apart by.
fn place(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::net::IpAddr;

    use delegation::time::Timestamp;

    use super::{MOST, Sighting, Sightings};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(second)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_from_another_place_is_told_with_the_first_and_then_not_for_a_while() {
        let mut sightings = Sightings::default();
        let mut see = |from: &str, now| sightings.see("j", address(from), at(100), at(now));
        let elsewhere = Sighting::Elsewhere {
            first: address("192.0.2.1"),
        };
        assert_eq!(see("192.0.2.1", 1), Sighting::First);
        assert_eq!(see("192.0.2.1", 2), Sighting::Again);
        assert_eq!(
            see("::ffff:192.0.2.1", 2),
            Sighting::Again,
            "the same address, as a socket for both versions shows it"
        );
        assert_eq!(see("192.0.2.2", 3), elsewhere);
        assert_eq!(see("192.0.2.2", 4), Sighting::Again, "told just now");
        assert_eq!(see("192.0.2.1", 20), Sighting::Again, "the first place stays the first");
        assert_eq!(see("198.51.100.7", 20), elsewhere);
    }

    #[test]
    fn a_place_of_ipv6_is_the_network_in_which_a_machine_changes_its_address() {
        let mut sightings = Sightings::default();
        let mut see = |from: &str| sightings.see("j", address(from), at(100), at(1));
        assert_eq!(see("2001:db8:1:2::a"), Sighting::First);
        assert_eq!(see("2001:db8:1:2:ffff::b"), Sighting::Again);
        assert!(matches!(see("2001:db8:1:3::a"), Sighting::Elsewhere { .. }));
    }

    #[test]
    fn tokens_are_told_apart_and_what_has_expired_is_forgotten() {
        let mut sightings = Sightings::default();
        assert_eq!(sightings.see("a", address("192.0.2.1"), at(10), at(1)), Sighting::First);
        assert_eq!(sightings.see("b", address("192.0.2.2"), at(10), at(1)), Sighting::First);
        assert_eq!(sightings.seen.len(), 2);
        assert_eq!(sightings.see("c", address("192.0.2.2"), at(20), at(10)), Sighting::First);
        assert_eq!((sightings.seen.len(), sightings.order.len()), (1, 1));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut sightings = Sightings::default();
        for jti in 0..MOST + 10 {
            sightings.see(&jti.to_string(), address("192.0.2.1"), at(100), at(1));
        }
        assert_eq!((sightings.seen.len(), sightings.order.len()), (MOST, MOST));
        assert_eq!(
            sightings.see("0", address("192.0.2.2"), at(100), at(1)),
            Sighting::First,
            "forgotten"
        );
        let last = (MOST + 9).to_string();
        let known = sightings.see(&last, address("192.0.2.2"), at(100), at(1));
        assert!(matches!(known, Sighting::Elsewhere { .. }));
    }
}
