//! Whoever shows opaque tokens that are none, by address: nobody makes us ask the broker as often as they like.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many tokens that are none may come from one address in a second.
const MOST: u32 = 16;
/// So many addresses are counted at a time. If there are more, nobody else's unknown token is asked about.
const ADDRESSES: usize = 4096;
/// How long one is counted.
const WINDOW: Duration = Duration::from_secs(1);

/// How many tokens that are none came from where.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    counted: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Strangers {
    /// Whether one more question may be asked for `from`.
    pub(super) fn may_ask(&self, from: IpAddr) -> bool {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.len() >= ADDRESSES {
            counted.retain(|_, (since, _)| since.elapsed() < WINDOW);
        }
        match counted.get(&network(from)) {
            Some((since, count)) => since.elapsed() >= WINDOW || *count < MOST,
            None => counted.len() < ADDRESSES,
        }
    }

    /// Counts a question whose answer was that there is no such token.
    pub(super) fn count(&self, from: IpAddr) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = counted.entry(network(from)).or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() >= WINDOW {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
    }
}

/// What one party is given: an address, or the first half of one of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::time::advance;

    use super::{ADDRESSES, MOST, Strangers, WINDOW};

    fn from(at: usize) -> IpAddr {
        let at = u32::try_from(at).unwrap_or_default();
        (0xC000_0000 + at).to_be_bytes().into()
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_addresses_are_counted_as_there_is_room_for() {
        let strangers = Strangers::default();
        for at in 0..ADDRESSES {
            assert!(strangers.may_ask(from(at)));
            strangers.count(from(at));
        }
        assert!(!strangers.may_ask(from(ADDRESSES)), "nobody knows how often it asked");
        assert!(strangers.may_ask(from(0)), "known, and not often");
        advance(WINDOW).await;
        assert!(strangers.may_ask(from(ADDRESSES)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_is_a_second_of_its_own() {
        let strangers = Strangers::default();
        for _ in 0..MOST {
            assert!(strangers.may_ask(from(1)));
            strangers.count(from(1));
        }
        assert!(!strangers.may_ask(from(1)));
        advance(WINDOW).await;
        assert!(strangers.may_ask(from(1)));
        strangers.count(from(1));
        assert!(strangers.may_ask(from(1)), "what was before is forgotten");
    }
}
