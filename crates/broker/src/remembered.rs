//! Tokens that were verified before: a repeated one needs no second signature verification.
//!
//! Remembered is the first proof alone, [`Authentic`]: times, revocation, standing and policy are asked every time.
//! An entry is good only under the very key set that verified it, so a key that was retired, rotated out or replaced
//! verifies nothing from memory, and neither does one of an issuer whose entry or algorithms changed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use delegation::time::Timestamp;
use delegation::token::{ActorToken, Authentic, KeySet, SubjectToken, TokenKind, TxnToken, sha256};

/// So many callers can look at once without waiting for each other.
const SHARDS: usize = 16;
/// The most bytes of tokens, or of what is kept of them, that one shard stands for. What is kept of a token is a few times its size.
const MOST_BYTES: usize = 1024 * 1024;

/// The SHA-256 of all of a token's bytes: no two tokens share it, whatever claims they share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(token: &str) -> Self {
        Self(sha256(token.as_bytes()))
    }

    fn shard(&self) -> usize {
        let [first, ..] = self.0;
        usize::from(first) % SHARDS
    }
}

/// The tokens of each kind that held when they were last looked at. A token of one kind is never one of another.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) subjects: Memory<SubjectToken>,
    pub(crate) transactions: Memory<TxnToken>,
    pub(crate) actors: Memory<ActorToken>,
}

/// The tokens of one kind, bounded in bytes; the oldest go first.
pub(crate) struct Memory<K: TokenKind> {
    shards: [Mutex<Shard<K>>; SHARDS],
}

struct Shard<K: TokenKind> {
    entries: HashMap<Digest, Entry<K>>,
    order: VecDeque<Digest>,
    bytes: usize,
}

struct Entry<K: TokenKind> {
    authentic: Arc<Authentic<K>>,
    exp: Timestamp,
    bytes: usize,
}

/// A token that was authentic once: to be asked whether it still is.
pub(crate) struct Known<K: TokenKind>(Arc<Authentic<K>>);

impl<K: TokenKind> Known<K> {
    /// Whose keys to ask with.
    pub(crate) fn issuer(&self) -> &str {
        self.0.issuer()
    }

    /// The proof, if `keys` are the set that it was made with.
    pub(crate) fn under(self, keys: &KeySet) -> Option<Arc<Authentic<K>>> {
        self.0.holds_under(keys).then_some(self.0)
    }
}

impl<K: TokenKind> Memory<K> {
    /// The token with these bytes, if it was kept and has not expired at `now`.
    pub(crate) fn find(&self, token: &Digest, now: Timestamp) -> Option<Known<K>> {
        let shard = self.shards.get(token.shard())?.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.entries.get(token).filter(|entry| now < entry.exp)?;
        Some(Known(Arc::clone(&entry.authentic)))
    }

    /// Keeps `authentic` until `exp`. Called for tokens that held, so nobody
    /// without a good token can push others out.
    pub(crate) fn keep(&self, token: Digest, authentic: &Arc<Authentic<K>>, exp: Timestamp) {
        let Some(shard) = self.shards.get(token.shard()) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, authentic) = (authentic.size(), Arc::clone(authentic));
        match shard.entries.insert(token, Entry { authentic, exp, bytes }) {
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
        let entries = |shard: &Mutex<Shard<K>>| shard.lock().unwrap_or_else(PoisonError::into_inner).entries.len();
        self.shards.iter().map(entries).sum()
    }
}

impl<K: TokenKind> Default for Memory<K> {
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

impl<K: TokenKind> std::fmt::Debug for Memory<K> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // How many, and nothing of them: they are tokens.
        write!(out, "Memory({})", self.len())
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
        let (keys, memory) = (keys(&issuer), Memory::<SubjectToken>::default());
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
        let memory = Memory::<SubjectToken>::default();
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
        let (keys, memory) = (keys(&issuer), Memory::<SubjectToken>::default());
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
