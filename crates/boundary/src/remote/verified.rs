//! From the bytes of a reply to what goes on: the signature once, everything else each time.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use delegation::time::Timestamp;
use delegation::token::{Authentic, AuthenticateError, Issued, KeySet, Unverified, sha256};
use narrows_guard::Needs;

use super::Link;
use super::ask::Unanswered;
use super::reply::{Asked, check};
use crate::exchanger::Granted;

/// So many tokens are remembered.
const MOST: usize = 4096;

/// Tokens that were given before, by the SHA-256 of all of their bytes; the oldest go first.
///
/// What is remembered is who signed them, and only for as long as the key set is the same.
#[derive(Default)]
pub(super) struct Verified {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    tokens: HashMap<[u8; 32], Arc<Authentic<Issued>>>,
    order: VecDeque<[u8; 32]>,
}

impl Verified {
    fn find(&self, digest: &[u8; 32]) -> Option<Arc<Authentic<Issued>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).tokens.get(digest).cloned()
    }

    fn keep(&self, digest: [u8; 32], token: Arc<Authentic<Issued>>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.tokens.insert(digest, token).is_none() {
            kept.order.push_back(digest);
        }
        while kept.tokens.len() > MOST {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.tokens.remove(&oldest);
        }
    }
}

impl<S> Link<S> {
    /// `token` as what may go on with the request that needs `needs` and whose caller has shown `shown`: the one place where that is made of a reply.
    pub(super) async fn granted(&self, token: &str, shown: &str, needs: &Needs, now: Timestamp) -> Result<Granted, Unanswered> {
        let digest = sha256(token.as_bytes());
        let known = self.verified.find(&digest);
        let known = known.filter(|token| self.held_keys().any(|keys| token.holds_under(&keys)));
        let authentic = match known {
            Some(known) => known,
            None => Arc::new(self.authenticated(token).await?),
        };
        let asked = Asked {
            client: &self.place.client,
            shown,
            needs,
            snapshot: &self.snapshot.load(),
        };
        let (kind, exp) = check(&authentic, &asked, now).map_err(Unanswered::Unbelievable)?;
        self.verified.keep(digest, authentic);
        Ok(Granted {
            token: token.to_owned(),
            kind,
            expires_in: exp.since(now),
            credential: None,
        })
    }

    /// The proof that the broker signed `token`, by the keys that it publishes.
    async fn authenticated(&self, token: &str) -> Result<Authentic<Issued>, Unanswered> {
        let unverified = Unverified::<Issued>::parse(token).map_err(|_| Unanswered::Unbelievable("it is no signed token"))?;
        let at_hand = self.keys_at_hand().await;
        let mut settled = by_any(&unverified, &at_hand);
        if matches!(settled, Err(AuthenticateError::UnknownKey)) {
            let mut fresh = Vec::new();
            for name in self.names().filter(|name| self.keys.held(name).is_ok()) {
                fresh.extend(self.keys.refetch(&name).await);
            }
            settled = by_any(&unverified, &fresh);
        }
        settled.map_err(|_| Unanswered::Unbelievable("the broker did not sign it"))
    }

    /// The keys that are here, which are refreshed beside this; if there are none, those of the first address that gives any. All
    /// have the same, and an ask does not wait for one that is away.
    pub(super) async fn keys_at_hand(&self) -> Vec<Arc<KeySet>> {
        let mut found = Vec::new();
        for name in self.names().filter(|name| self.keys.held(name).is_ok()) {
            found.extend(self.keys.keys(&name).await);
        }
        let (count, first) = (self.place.urls.len(), self.first.load(Ordering::Relaxed));
        for name in self.names().cycle().skip(first % count.max(1)).take(count) {
            if !found.is_empty() {
                break;
            }
            found.extend(self.keys.keys(&name).await);
        }
        found
    }

    /// The keys that are here, without any wait.
    pub(super) fn held_keys(&self) -> impl Iterator<Item = Arc<KeySet>> {
        self.names().filter_map(|name| self.keys.held(&name).ok())
    }

    fn names(&self) -> impl Iterator<Item = String> + Clone + use<S> {
        (0..self.place.urls.len()).map(|at| at.to_string())
    }
}

/// The proof by the first of these sets that has the key; all of them are one broker's.
fn by_any(token: &Unverified<Issued>, sets: &[Arc<KeySet>]) -> Result<Authentic<Issued>, AuthenticateError> {
    let mut settled = Err(AuthenticateError::UnknownKey);
    for keys in sets {
        settled = token.authenticate(keys);
        if !matches!(settled, Err(AuthenticateError::UnknownKey)) {
            break;
        }
    }
    settled
}
