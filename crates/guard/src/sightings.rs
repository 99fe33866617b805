//! Where tokens were shown first: one that comes from another place too may be somebody else's by now.
//!
//! A place is an IPv4 address, or a /64 of IPv6, within which a machine changes its address by itself. So whoever shares an address
//! with the first is not told apart from it, and a caller that moves looks like two.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::time::Duration;

use delegation::time::Timestamp;

use crate::broker::FirstSeen;

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
    /// How many came before those.
    gone: u64,
    /// How many of all that came the broker was told of.
    told: u64,
}

/// Tokens of which the broker was not told yet, in the order in which they came.
#[derive(Debug)]
pub struct News {
    /// Where each was shown first.
    pub seen: Vec<FirstSeen>,
    /// How many had come with the last of them.
    until: u64,
}

/// The first time that a token was shown.
#[derive(Debug)]
struct First {
    from: IpAddr,
    life: Range<Timestamp>,
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
    /// Takes note that the token `jti`, which lives from `iat` to `exp`, was shown from `from`. The token must have been verified before.
    pub fn see(&mut self, jti: &str, from: IpAddr, life: Range<Timestamp>, now: Timestamp) -> Sighting {
        self.forget(now);
        let from = from.to_canonical();
        if let Some(first) = self.seen.get_mut(jti) {
            let is_told = first.told.is_some_and(|told| now < told.plus(AGAIN));
            if is_one_place(first.from, from) || is_told {
                return Sighting::Again;
            }
            first.told = Some(now);
            return Sighting::Elsewhere { first: first.from };
        }
        self.seen.insert(jti.to_owned(), First { from, life, told: None });
        self.order.push_back(jti.to_owned());
        Sighting::First
    }

    /// The next tokens, `most` of them, of which the broker was not [told](Self::told).
    pub fn news(&self, most: usize) -> News {
        let begin = self.told.max(self.gone);
        let skipped = usize::try_from(begin - self.gone).unwrap_or(usize::MAX);
        let seen = self.order.iter().skip(skipped).take(most).filter_map(|jti| {
            let first = self.seen.get(jti)?;
            Some(FirstSeen {
                jti: jti.clone(),
                iat: first.life.start,
                exp: first.life.end,
                from: first.from,
            })
        });
        let seen: Vec<_> = seen.collect();
        News {
            until: begin + seen.len() as u64,
            seen,
        }
    }

    /// The broker was told of these.
    pub fn told(&mut self, news: &News) {
        self.told = self.told.max(news.until);
    }

    /// Makes room for one more: what has expired goes, and the oldest where there are too many.
    fn forget(&mut self, now: Timestamp) {
        while let Some(oldest) = self.order.front() {
            let has_expired = self.seen.get(oldest).is_none_or(|first| first.life.end <= now);
            if !has_expired && self.order.len() < MOST {
                return;
            }
            self.seen.remove(oldest);
            self.order.pop_front();
            self.gone += 1;
        }
    }
}

/// Whether two addresses are one place.
pub fn is_one_place(one: IpAddr, other: IpAddr) -> bool {
    place(one) == place(other)
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
#[expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
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
        let mut see = |from: &str, now| sightings.see("j", address(from), at(0)..at(100), at(now));
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
        let mut see = |from: &str| sightings.see("j", address(from), at(0)..at(100), at(1));
        assert_eq!(see("2001:db8:1:2::a"), Sighting::First);
        assert_eq!(see("2001:db8:1:2:ffff::b"), Sighting::Again);
        assert!(matches!(see("2001:db8:1:3::a"), Sighting::Elsewhere { .. }));
    }

    #[test]
    fn tokens_are_told_apart_and_what_has_expired_is_forgotten() {
        let mut sightings = Sightings::default();
        assert_eq!(sightings.see("a", address("192.0.2.1"), at(0)..at(10), at(1)), Sighting::First);
        assert_eq!(sightings.see("b", address("192.0.2.2"), at(0)..at(10), at(1)), Sighting::First);
        assert_eq!(sightings.seen.len(), 2);
        assert_eq!(sightings.see("c", address("192.0.2.2"), at(0)..at(20), at(10)), Sighting::First);
        assert_eq!((sightings.seen.len(), sightings.order.len()), (1, 1));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut sightings = Sightings::default();
        for jti in 0..MOST + 10 {
            sightings.see(&jti.to_string(), address("192.0.2.1"), at(0)..at(100), at(1));
        }
        assert_eq!((sightings.seen.len(), sightings.order.len()), (MOST, MOST));
        assert_eq!(
            sightings.see("0", address("192.0.2.2"), at(0)..at(100), at(1)),
            Sighting::First,
            "forgotten"
        );
        let last = (MOST + 9).to_string();
        let known = sightings.see(&last, address("192.0.2.2"), at(0)..at(100), at(1));
        assert!(matches!(known, Sighting::Elsewhere { .. }));
    }

    #[test]
    fn the_broker_is_told_of_each_token_once_and_of_none_that_is_forgotten() {
        let mut sightings = Sightings::default();
        let see = |sightings: &mut Sightings, jti: &str, exp| {
            sightings.see(jti, address("192.0.2.1"), at(0)..at(exp), at(exp - 1));
        };
        for (jti, exp) in [("a", 10), ("b", 10), ("c", 10)] {
            see(&mut sightings, jti, exp);
        }
        let named = |news: &super::News| news.seen.iter().map(|seen| seen.jti.clone()).collect::<String>();
        let news = sightings.news(2);
        assert_eq!(named(&news), "ab");
        assert_eq!(named(&sightings.news(2)), "ab", "until it was told");
        assert_eq!(
            (news.seen[0].iat, news.seen[0].exp, news.seen[0].from),
            (at(0), at(10), address("192.0.2.1"))
        );
        // What comes and goes meanwhile takes nothing from the others.
        see(&mut sightings, "d", 20);
        see(&mut sightings, "e", 20);
        sightings.told(&news);
        assert_eq!(named(&sightings.news(9)), "de", "c has expired");
        sightings.told(&sightings.news(1));
        assert_eq!(named(&sightings.news(9)), "e");
        sightings.told(&sightings.news(9));
        assert!(sightings.news(9).seen.is_empty());
    }
}
