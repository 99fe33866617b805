//! From the bytes of a reply to what goes on: the signature once, everything else each time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use delegation::time::Timestamp;
use delegation::token::{Authentic, AuthenticateError, Issued, KeySet, Unverified, sha256};
use narrows_guard::Needs;
use narrows_guard::link::Unanswered;

use super::Replies;
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

impl<S> Replies<S> {
    /// `token` as what may go on with the request that needs `needs` and whose caller has shown `shown`: the one place where that is made of a reply.
    pub(super) async fn granted(&self, token: &str, shown: &str, needs: &Needs, now: Timestamp) -> Result<Granted, Unanswered> {
        let digest = sha256(token.as_bytes());
        let known = self.verified.find(&digest);
        let known = known.filter(|token| self.link.held_keys().any(|keys| token.holds_under(&keys)));
        let authentic = match known {
            Some(known) => known,
            None => Arc::new(self.authenticated(token).await?),
        };
        let asked = Asked {
            client: &self.link.place().client,
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
        let at_hand = self.link.keys_at_hand().await;
        let mut settled = by_any(&unverified, &at_hand);
        if matches!(settled, Err(AuthenticateError::UnknownKey)) {
            settled = by_any(&unverified, &self.link.keys_again().await);
        }
        settled.map_err(|_| Unanswered::Unbelievable("the broker did not sign it"))
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
