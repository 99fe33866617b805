//! Tokens that were verified before: a repeated one needs no second signature verification.
//!
//! Remembered is the first proof alone, who made the token: times, revocation, standing and policy are asked every time.
//! An entry is good only under the very key set that verified it, so a key that was retired, rotated out or replaced
//! verifies nothing from memory, and neither does one of an issuer whose entry or algorithms changed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use delegation::time::Timestamp;
use delegation::token::{Authentic, KeySet, TokenKind, sha256};

use crate::check::Known;

/// So many callers can look at once without waiting for each other.
const SHARDS: usize = 16;
/// The most bytes of tokens, or of what is kept of them, that one shard stands for. What is kept of a token is a few times its size.
const MOST_BYTES: usize = 1024 * 1024;

/// What may be remembered of a token.
pub trait Proof {
    /// Whether it may be relied on again under `keys`.
    fn holds_under(&self, keys: &KeySet) -> bool;

    /// The bytes that it was read from.
    fn size(&self) -> usize;
}

impl<K: TokenKind> Proof for Authentic<K> {
    fn holds_under(&self, keys: &KeySet) -> bool {
        self.holds_under(keys)
    }

    fn size(&self) -> usize {
        self.size()
    }
}

impl Proof for Known {
    fn holds_under(&self, keys: &KeySet) -> bool {
        self.holds_under(keys)
    }

    fn size(&self) -> usize {
        self.size()
    }
}

/// The SHA-256 of all of a token's bytes: no two tokens share it, whatever claims they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// That of `token`.
    pub fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    fn shard(&self) -> usize {
        let [first, ..] = self.0;
        usize::from(first) % SHARDS
    }
}

/// The tokens of one kind, bounded in bytes; the oldest go first.
pub struct Memory<P> {
    shards: [Mutex<Shard<P>>; SHARDS],
}

struct Shard<P> {
    entries: HashMap<Digest, Entry<P>>,
    order: VecDeque<Digest>,
    bytes: usize,
}

struct Entry<P> {
    proof: Arc<P>,
    exp: Timestamp,
    bytes: usize,
}

/// A token that was authentic once: to be asked whether it still is.
pub struct Recalled<P>(Arc<P>);

impl<P: Proof> Recalled<P> {
    /// The proof, if `keys` are the set that it was made with.
    pub fn under(self, keys: &KeySet) -> Option<Arc<P>> {
        self.0.holds_under(keys).then_some(self.0)
    }
}

impl<K: TokenKind> Recalled<Authentic<K>> {
    /// Whose keys to ask with.
    pub fn issuer(&self) -> &str {
        self.0.issuer()
    }
}

impl<P: Proof> Memory<P> {
    /// The token with these bytes, if it was kept and has not expired at `now`.
    pub fn find(&self, token: &Digest, now: Timestamp) -> Option<Recalled<P>> {
        let shard = self.shards.get(token.shard())?.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.entries.get(token).filter(|entry| now < entry.exp)?;
        Some(Recalled(Arc::clone(&entry.proof)))
    }

    /// Keeps `proof` until `exp`. Called for tokens that held, so nobody
    /// without a good token can push others out.
    pub fn keep(&self, token: Digest, proof: &Arc<P>, exp: Timestamp) {
        let Some(shard) = self.shards.get(token.shard()) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, proof) = (proof.size(), Arc::clone(proof));
        match shard.entries.insert(token, Entry { proof, exp, bytes }) {
            // The same bytes under another key set: the place in the order is the old one's.
            Some(_) => {}
            None => {
                shard.order.push_back(token);
                shard.bytes += bytes;
            }
        }
        while shard.bytes > MOST_BYTES {
            let Some(oldest) = shard.order.pop_front() else { break };
            if let Some(gone) = shard.entries.remove(&oldest) {
                shard.bytes -= gone.bytes;
            }
        }
    }

    /// How many are kept.
    fn len(&self) -> usize {
        let entries = |shard: &Mutex<Shard<P>>| shard.lock().unwrap_or_else(PoisonError::into_inner).entries.len();
        self.shards.iter().map(entries).sum()
    }
}

impl<P> Default for Memory<P> {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| {
                Mutex::new(Shard {
                    entries: HashMap::new(),
                    order: VecDeque::new(),
                    bytes: 0,
                })
            }),
        }
    }
}

impl<P: Proof> std::fmt::Debug for Memory<P> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // How many, and nothing of them: they are tokens.
        write!(out, "Memory({})", self.len())
    }
}

impl<P> std::fmt::Debug for Recalled<P> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Recalled").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::Arc;

    use delegation::time::Timestamp;
    use delegation::token::{Algorithm, Authentic, KeySet, SubjectToken, Unverified};
    use serde_json::json;
    use testkit::FakeIssuer;

    use super::{Digest, MOST_BYTES, Memory, SHARDS};

    fn keys(issuer: &FakeIssuer) -> KeySet {
        KeySet::parse("https://idp.example", issuer.jwks().to_string().as_bytes(), &[Algorithm::Es256]).unwrap()
    }

    fn token(issuer: &FakeIssuer, sub: &str) -> String {
        let claims = json!({ "iss": "https://idp.example", "sub": sub, "aud": "a", "iat": 1, "exp": 100, "jti": "the same" });
        issuer.sign("at+jwt", &claims)
    }

    fn authentic(token: &str, keys: &KeySet) -> Arc<Authentic<SubjectToken>> {
        Arc::new(Unverified::parse(token).unwrap().authenticate(keys).unwrap())
    }

    #[test]
    fn a_token_is_known_by_all_of_its_bytes() {
        // JWS-017: the same `jti`, the same beginning, the same payload under another signature.
        let issuer = FakeIssuer::es256("https://idp.example");
        let (keys, memory) = (keys(&issuer), Memory::<Authentic<SubjectToken>>::default());
        let (alice, bob) = (token(&issuer, "alice"), token(&issuer, "bob"));
        let again = token(&issuer, "alice");
        memory.keep(Digest::of(&alice), &authentic(&alice, &keys), Timestamp::from_seconds(100));
        let now = Timestamp::from_seconds(50);
        assert!(memory.find(&Digest::of(&alice), now).unwrap().under(&keys).is_some());
        assert!(memory.find(&Digest::of(&bob), now).is_none());
        assert!(
            alice == again || memory.find(&Digest::of(&again), now).is_none(),
            "another signature"
        );
        let forged = format!("{}x", alice);
        assert!(memory.find(&Digest::of(&forged), now).is_none());
    }

    #[test]
    fn nothing_is_known_past_its_expiry_or_under_other_keys() {
        let issuer = FakeIssuer::es256("https://idp.example");
        let (before, after) = (keys(&issuer), keys(&FakeIssuer::es256("https://idp.example")));
        let memory = Memory::<Authentic<SubjectToken>>::default();
        let alice = token(&issuer, "alice");
        memory.keep(Digest::of(&alice), &authentic(&alice, &before), Timestamp::from_seconds(100));
        let find = |second| memory.find(&Digest::of(&alice), Timestamp::from_seconds(second));
        assert!(find(99).unwrap().under(&before).is_some());
        assert!(find(99).unwrap().under(&after).is_none(), "the key was rotated out");
        assert!(find(100).is_none(), "expired");
    }

    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let issuer = FakeIssuer::es256("https://idp.example");
        let (keys, memory) = (keys(&issuer), Memory::<Authentic<SubjectToken>>::default());
        let alice = token(&issuer, "alice");
        let proof = authentic(&alice, &keys);
        let size = proof.size();
        let many = 2 * SHARDS * MOST_BYTES / size;
        for at in 0..many {
            memory.keep(Digest::of(&at.to_string()), &proof, Timestamp::from_seconds(100));
        }
        assert!(memory.len() <= SHARDS * MOST_BYTES / size, "{}", memory.len());
        assert!(memory.find(&Digest::of(&(many - 1).to_string()), Timestamp::from_seconds(1)).is_some());
    }
}
