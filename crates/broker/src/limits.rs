//! How many requests in a second: of a client that authenticated, and of strangers from one network.
//!
//! A client counts by itself, wherever it comes from. Whoever did not authenticate counts for the network that the
//! request came from: an IPv4 address, or the /56 of an IPv6 one, since that is what one customer is given.
//! One second's worth may come at once.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use delegation::oauth::ClientId;

/// No more parties than this are counted one by one; all others share one allowance until some fall silent.
const MOST: usize = 65_536;
/// What may come at once: what a second allows.
const BURST: Duration = Duration::from_secs(1);

/// What the configuration allows: `[limits] requests_per_second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests of one authenticated client.
    pub per_client: NonZeroU32,
    /// Requests of strangers from one network.
    pub per_address: NonZeroU32,
}

impl Default for Rates {
    fn default() -> Self {
        let (client, address) = (NonZeroU32::MIN.saturating_add(499), NonZeroU32::MIN.saturating_add(199));
        Self {
            per_client: client,
            per_address: address,
        }
    }
}

/// Over the limit: to be answered 429, without a look at anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverLimit;

/// Reports of leaks that ended nothing and have a record of their own, in a second.
const UNKNOWN_LEAKS: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);

/// The allowances of everybody. Rates are arguments, so a change of them is in force with the next request.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    clients: Allowances<ClientId>,
    strangers: Allowances<Network>,
    /// Signed claims to be a client, from networks whose strangers are over their limit.
    claims: Allowances<(Network, String)>,
    /// Reports of leaks that ended nothing, from everywhere.
    unknown_leaks: Allowances<()>,
}

/// Whom a request claims to come from, before anything was checked.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The client, or the issuer of the workload's token, if the configuration knows it.
    pub(crate) known: Option<String>,
    /// What it takes to check it.
    pub(crate) proof: Proof,
}

/// What a claim would be checked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A digest, cheaper than the refusal.
    Secret,
    /// A signature.
    Signature,
}

impl Limits {
    /// Whether a request is worth the look at its credential. Counts nothing against the network.
    ///
    /// Below the limit everything is. Past it, only what claims to be somebody in the configuration: an honest client
    /// behind the address of a flood must still get through. A secret costs a digest; signatures of one claimed party
    /// are looked at as often as one client may ask.
    pub(crate) fn before_check(&self, from: IpAddr, claim: &Claim, rates: &Rates, now: Instant) -> Result<(), OverLimit> {
        let network = Network::of(from);
        if self.strangers.has_room(&network, rates.per_address, now) {
            return Ok(());
        }
        match (&claim.known, claim.proof) {
            (None, _) => Err(OverLimit),
            (Some(_), Proof::Secret) => Ok(()),
            (Some(known), Proof::Signature) => self.claims.take((network, known.clone()), rates.per_client, now),
        }
    }

    /// Counts a request that did not authenticate.
    pub(crate) fn stranger(&self, from: IpAddr, rates: &Rates, now: Instant) -> Result<(), OverLimit> {
        self.strangers.take(Network::of(from), rates.per_address, now)
    }

    /// Counts a report of a leak that ended nothing: past the limit its record is shared.
    pub(crate) fn unknown_leak(&self, now: Instant) -> Result<(), OverLimit> {
        self.unknown_leaks.take((), UNKNOWN_LEAKS, now)
    }

    /// Counts a request of `client`, which authenticated.
    pub(crate) fn client(&self, client: &ClientId, rates: &Rates, now: Instant) -> Result<(), OverLimit> {
        self.clients.take(client.clone(), rates.per_client, now)
    }
}

/// Where a stranger is: an IPv4 address, or a /56.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(IpAddr::V6((u128::from(address) >> 72 << 72).into())),
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }
}

/// For each party the time up to which its allowance is spent (the generic cell rate algorithm).
#[derive(Debug)]
struct Allowances<K> {
    spent: Mutex<Spent<K>>,
}

#[derive(Debug)]
struct Spent<K> {
    until: HashMap<K, Instant>,
    others: Option<Instant>,
}

impl<K> Default for Allowances<K> {
    fn default() -> Self {
        Self {
            spent: Mutex::new(Spent {
                until: HashMap::new(),
                others: None,
            }),
        }
    }
}

impl<K: Eq + Hash> Allowances<K> {
    /// Takes one request out of the allowance of `key`.
    fn take(&self, key: K, rate: NonZeroU32, now: Instant) -> Result<(), OverLimit> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.until.len() >= MOST && !spent.until.contains_key(&key) {
            // Whoever has the whole allowance again is as good as never seen.
            spent.until.retain(|_, until| *until > now);
        }
        if spent.until.len() >= MOST && !spent.until.contains_key(&key) {
            let next = after_one_more(spent.others, rate, now)?;
            spent.others = Some(next);
            return Ok(());
        }
        let next = after_one_more(spent.until.get(&key).copied(), rate, now)?;
        spent.until.insert(key, next);
        Ok(())
    }

    /// Whether one request more would be within the allowance of `key`; takes nothing.
    fn has_room(&self, key: &K, rate: NonZeroU32, now: Instant) -> bool {
        let spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let until = match spent.until.get(key) {
            None if spent.until.len() >= MOST => spent.others,
            until => until.copied(),
        };
        after_one_more(until, rate, now).is_ok()
    }
}

fn after_one_more(until: Option<Instant>, rate: NonZeroU32, now: Instant) -> Result<Instant, OverLimit> {
    let next = until.map_or(now, |until| until.max(now)) + BURST / rate.get();
    if next > now + BURST { Err(OverLimit) } else { Ok(next) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::net::IpAddr;
    use std::num::NonZeroU32;
    use std::time::{Duration, Instant};

    use delegation::oauth::ClientId;

    use super::{Allowances, Claim, Limits, MOST, OverLimit, Proof, Rates};

    fn rates(per_client: u32, per_address: u32) -> Rates {
        Rates {
            per_client: NonZeroU32::new(per_client).unwrap(),
            per_address: NonZeroU32::new(per_address).unwrap(),
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn claim(known: Option<&str>, proof: Proof) -> Claim {
        Claim {
            known: known.map(str::to_owned),
            proof,
        }
    }

    #[test]
    fn of_leaks_that_were_nothing_so_many_have_records_of_their_own() {
        let (limits, now) = (Limits::default(), Instant::now());
        let own = (0..100).filter(|_| limits.unknown_leak(now).is_ok()).count();
        assert_eq!(own, 50);
        assert!(limits.unknown_leak(now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_second_allows_its_worth_at_once_and_then_as_it_passes() {
        let (limits, rates, now) = (Limits::default(), rates(5, 5), Instant::now());
        let edge = ClientId::parse("edge").unwrap();
        let at = |millis| limits.client(&edge, &rates, now + Duration::from_millis(millis)).is_ok();
        assert_eq!((0..9).filter(|_| at(0)).count(), 5);
        assert!(!at(199));
        assert!(at(200) && !at(399), "one more each fifth of a second");
        assert_eq!((0..9).filter(|_| at(9000)).count(), 5, "no more than a second's worth is saved up");
    }

    #[test]
    fn one_client_over_its_limit_leaves_the_others_alone() {
        // DOS-017: a client at twenty times its limit, and one that is steady.
        let (limits, rates, now) = (Limits::default(), rates(10, 1), Instant::now());
        let (loud, steady) = (ClientId::parse("loud").unwrap(), ClientId::parse("steady").unwrap());
        let allowed = (0..200).filter(|_| limits.client(&loud, &rates, now).is_ok()).count();
        assert_eq!(allowed, 10);
        assert!((0..10).all(|_| limits.client(&steady, &rates, now).is_ok()));
    }

    #[test]
    fn strangers_count_by_address_or_by_network_of_version_six() {
        let (limits, rates, now) = (Limits::default(), rates(1, 1), Instant::now());
        let stranger = |text| limits.stranger(address(text), &rates, now);
        assert_eq!(stranger("192.0.2.1"), Ok(()));
        assert_eq!(stranger("192.0.2.1"), Err(OverLimit));
        assert_eq!(
            stranger("::ffff:192.0.2.1"),
            Err(OverLimit),
            "the same address, written as version six"
        );
        assert_eq!(stranger("192.0.2.2"), Ok(()));
        assert_eq!(stranger("2001:db8:0:1200::1"), Ok(()));
        assert_eq!(stranger("2001:db8:0:12ff::9"), Err(OverLimit));
        assert_eq!(stranger("2001:db8:0:1300::1"), Ok(()));
    }

    #[test]
    fn past_the_limit_of_strangers_only_somebody_in_the_configuration_is_looked_at() {
        let (limits, rates, now) = (Limits::default(), rates(3, 1), Instant::now());
        let from = address("192.0.2.1");
        let nobody = claim(None, Proof::Signature);
        assert_eq!(limits.before_check(from, &nobody, &rates, now), Ok(()), "nothing counted yet");
        limits.stranger(from, &rates, now).unwrap();
        assert_eq!(limits.before_check(from, &nobody, &rates, now), Err(OverLimit));
        let secret = claim(Some("edge"), Proof::Secret);
        assert!((0..99).all(|_| limits.before_check(from, &secret, &rates, now).is_ok()));
        let signed = claim(Some("edge"), Proof::Signature);
        assert_eq!(
            (0..99).filter(|_| limits.before_check(from, &signed, &rates, now).is_ok()).count(),
            3
        );
        assert_eq!(limits.before_check(address("192.0.2.2"), &nobody, &rates, now), Ok(()), "elsewhere");
    }

    #[test]
    fn memory_is_bounded_and_whoever_is_silent_is_forgotten() {
        // DOS-022: as many names as one likes.
        let (allowances, rate, now) = (Allowances::default(), NonZeroU32::new(2).unwrap(), Instant::now());
        let kept = |allowances: &Allowances<usize>| allowances.spent.lock().unwrap().until.len();
        let allowed = (0..MOST + 100).filter(|at| allowances.take(*at, rate, now).is_ok()).count();
        assert_eq!((allowed, kept(&allowances)), (MOST + 2, MOST), "the others share one allowance");
        let later = now + Duration::from_secs(2);
        assert_eq!(allowances.take(MOST, rate, later), Ok(()));
        assert_eq!(kept(&allowances), 1);
    }
}
