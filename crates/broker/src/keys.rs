//! Keys to verify with, wherever they come from: our own, the trusted issuers' and the clients'.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use arc_swap::ArcSwap;
use delegation::token::{Authentic, AuthenticateError, KeySet, TokenKind, Unverified};
use fetch::{IssuerKeys, IssuerUnavailable};
use tokio::sync::Semaphore;

/// The name under which our own keys are found; no issuer in the configuration may have it.
pub(crate) const OURS: &str = "narrows";

/// So many requests that have not authenticated wait for keys, whichever those are: a quarter of what is worked on at a time.
const STRANGERS: usize = 128;

/// Every key set that a token may be checked with, by name.
#[derive(Debug)]
pub(crate) struct VerificationKeys {
    outside: ArcSwap<IssuerKeys>,
    ours: ArcSwap<Option<Arc<KeySet>>>,
    /// Places of those who have not authenticated and wait for keys.
    strangers: Semaphore,
}

impl VerificationKeys {
    pub(crate) fn new(outside: IssuerKeys, ours: Option<KeySet>) -> Self {
        Self {
            outside: ArcSwap::from_pointee(outside),
            ours: ArcSwap::from_pointee(ours.map(Arc::new)),
            strangers: Semaphore::new(STRANGERS),
        }
    }

    /// Puts another set of issuers in force.
    pub(crate) fn swap_outside(&self, outside: IssuerKeys) {
        self.outside.store(Arc::new(outside));
    }

    /// Puts another set of our own keys in force.
    pub(crate) fn swap_ours(&self, ours: Option<KeySet>) {
        self.ours.store(Arc::new(ours.map(Arc::new)));
    }

    /// Our own.
    pub(crate) fn ours(&self) -> Option<Arc<KeySet>> {
        self.ours.load().as_ref().clone()
    }

    /// The issuers' keys.
    pub(crate) fn outside(&self) -> Arc<IssuerKeys> {
        self.outside.load_full()
    }

    /// The set under `name` as it is now.
    pub(crate) async fn current(&self, name: &str) -> Result<Arc<KeySet>, IssuerUnavailable> {
        if name == OURS {
            return self.ours.load().as_ref().clone().ok_or_else(|| IssuerUnavailable(name.to_owned()));
        }
        self.outside.load_full().keys(name).await
    }

    /// Checks `token` with the keys held under `name`; a key unknown there is looked for once more at its source.
    pub(crate) async fn authenticate<K: TokenKind>(
        &self,
        name: &str,
        token: &Unverified<K>,
    ) -> Result<Result<Authentic<K>, AuthenticateError>, IssuerUnavailable> {
        if name == OURS {
            let ours = self.ours.load();
            return Ok(ours.as_ref().as_ref().map_or(Err(AuthenticateError::UnknownKey), |keys| token.authenticate(keys)));
        }
        let outside = self.outside.load_full();
        match token.authenticate(&*outside.keys(name).await?) {
            Err(AuthenticateError::UnknownKey) => Ok(token.authenticate(&*outside.refetch(name).await?)),
            settled => Ok(settled),
        }
    }

    /// The same for a request that has not authenticated: past so many that wait, it is judged by the keys that are here.
    ///
    /// Each key set bounds who waits for it, but whoever knows the names of several clients whose key servers hang could
    /// fill all that is worked on at a time, and show no credential for it.
    pub(crate) async fn authenticate_stranger<K: TokenKind>(
        &self,
        name: &str,
        token: &Unverified<K>,
    ) -> Result<Result<Authentic<K>, AuthenticateError>, IssuerUnavailable> {
        let mut settled = pin!(self.authenticate(name, token));
        // Only what waits needs a place: keys that are here serve however many wait for others.
        match poll_fn(|context| Poll::Ready(settled.as_mut().poll(context))).await {
            Poll::Ready(settled) => settled,
            Poll::Pending => {
                let Ok(_place) = self.strangers.try_acquire() else {
                    return Ok(token.authenticate(&*self.outside.load_full().held(name)?));
                };
                settled.await
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use delegation::token::{Algorithm, ClientAssertion, Unverified};
    use fetch::{FetchSettings, Fetcher, IssuerEntry, IssuerKeys, KeySource};
    use serde_json::json;
    use testkit::FakeIssuer;
    use tokio::task::JoinSet;

    use super::{STRANGERS, VerificationKeys};

    const SETS: usize = 4;
    const FOR_EACH: usize = 100;

    #[tokio::test]
    async fn strangers_wait_for_so_many_key_sets_and_no_more_in_all() {
        // It takes connections, and never says a word.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let edge = FakeIssuer::es256("edge");
        let file = folder.path().join("edge.json");
        std::fs::write(&file, edge.jwks().to_string()).unwrap();
        let entry = |name: &str, source| IssuerEntry {
            name: name.to_owned(),
            issuer: "edge".to_owned(),
            source,
            algorithms: vec![Algorithm::Es256],
        };
        let hanging = |number| format!("http://{}/{number}", silent.local_addr().unwrap()).parse().unwrap();
        let mut entries: Vec<_> = (0..SETS).map(|set| entry(&set.to_string(), KeySource::Uri(hanging(set)))).collect();
        entries.push(entry("edge", KeySource::File(file)));
        let fetcher = Arc::new(Fetcher::new(FetchSettings::default()).unwrap());
        let keys = Arc::new(VerificationKeys::new(IssuerKeys::new(fetcher, entries), None));
        let claims = json!({ "iss": "edge", "sub": "edge", "aud": "a", "iat": 1, "exp": 100, "jti": "j" });
        let token = Arc::new(Unverified::<ClientAssertion>::parse(&edge.sign("JWT", &claims)).unwrap());
        assert!(keys.authenticate_stranger("edge", &token).await.unwrap().is_ok());
        let mut asking = JoinSet::new();
        for number in 0..SETS * FOR_EACH {
            let (keys, token) = (Arc::clone(&keys), Arc::clone(&token));
            asking.spawn(async move { keys.authenticate_stranger(&(number % SETS).to_string(), &token).await.is_err() });
        }
        let refused_at_once = async {
            for _ in 0..SETS * FOR_EACH - STRANGERS {
                assert!(asking.join_next().await.unwrap().unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(4), refused_at_once).await.unwrap();
        assert_eq!(
            (asking.len(), keys.strangers.available_permits()),
            (STRANGERS, 0),
            "the others wait"
        );
        assert!(
            keys.authenticate_stranger("edge", &token).await.unwrap().is_ok(),
            "keys that are here are waited for by nobody"
        );
        asking.shutdown().await;
        assert_eq!(keys.strangers.available_permits(), STRANGERS, "whoever leaves makes room");
    }
}
