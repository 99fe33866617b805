//! How much of the room for bodies one caller may take.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use narrows_guard::live::Guest;
use tokio::sync::Semaphore;

use crate::settings::Caller;

/// Whose a share is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// Whoever has this address; in IPv6 any of its network of 64 bits.
    Address(IpAddr),
    /// The subject of a token that holds, by a digest.
    Subject([u8; 32]),
}

impl Owner {
    /// Whose share the body of `guest` takes, who comes `from` there. Many may come from one address, behind a boundary, a mesh or a load
    /// balancer, so those who are known have one each.
    pub(crate) fn of(guest: Guest, from: impl Into<Option<Self>>) -> Option<Self> {
        match guest {
            Guest::Holder(subject) => Some(Self::Subject(subject)),
            Guest::Anybody => from.into(),
        }
    }

    /// The same for all that one caller can be.
    fn one(self) -> Self {
        match self {
            Self::Address(address) => Self::Address(match address.to_canonical() {
                IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
                address => address,
            }),
            Self::Subject(_) => self,
        }
    }
}

/// A caller whose address may be many callers' has no share, and takes what there is.
impl From<Caller> for Option<Owner> {
    fn from(caller: Caller) -> Self {
        caller.is_own.then_some(Owner::Address(caller.address))
    }
}

/// The shares that are in use, by whose they are.
#[derive(Debug)]
pub(super) struct Shares {
    /// How many bytes each has.
    each: usize,
    taken: Mutex<HashMap<Owner, Weak<Share>>>,
}

/// What one caller has of the room. It is forgotten when nothing of it is taken any more.
#[derive(Debug)]
pub(super) struct Share {
    of: Owner,
    room: Arc<Semaphore>,
    all: Arc<Shares>,
}

impl Shares {
    pub(super) fn of(each: usize) -> Arc<Self> {
        Arc::new(Self {
            each: each.min(Semaphore::MAX_PERMITS),
            taken: Mutex::default(),
        })
    }

    /// The share of `owner`.
    pub(super) fn share(self: &Arc<Self>, owner: Owner) -> Arc<Share> {
        let of = owner.one();
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = taken.get(&of).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Share {
            of,
            room: Arc::new(Semaphore::new(self.each)),
            all: Arc::clone(self),
        });
        taken.insert(of, Arc::downgrade(&share));
        share
    }
}

impl Share {
    pub(super) fn room(&self) -> &Arc<Semaphore> {
        &self.room
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.all.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody may have begun another meanwhile.
        if taken.get(&self.of).is_some_and(|share| share.strong_count() == 0) {
            taken.remove(&self.of);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::Arc;

    use super::{Owner, Shares};

    fn address(text: &str) -> Owner {
        Owner::Address(text.parse().unwrap())
    }

    #[test]
    fn a_share_is_of_one_network_and_is_forgotten_with_its_last_use() {
        let shares = Shares::of(10);
        let is_one = |one: &str, other: &str| Arc::ptr_eq(&shares.share(address(one)), &shares.share(address(other)));
        let held = shares.share(address("192.0.2.1"));
        assert!(is_one("192.0.2.1", "::ffff:192.0.2.1") && !is_one("192.0.2.1", "192.0.2.2"));
        let other = shares.share(address("2001:db8::1"));
        assert!(is_one("2001:db8::1", "2001:db8::ffff:1:2:3") && !is_one("2001:db8::1", "2001:db8:0:1::1"));
        assert_eq!(shares.taken.lock().unwrap().len(), 2);
        drop((held, other));
        assert!(shares.taken.lock().unwrap().is_empty());
    }
}
