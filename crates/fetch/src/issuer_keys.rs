//! The keys of every issuer, each kept for itself: one that is down touches nobody else.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use delegation::token::{Algorithm, KeySet};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use url::Url;

use crate::discovery;
use crate::fetcher::Fetcher;

/// An unknown `kid` makes us look again at most this often.
const REFETCH_AFTER: Duration = Duration::from_secs(30);
/// A good set is looked at again after this.
const REFRESH_AFTER: Duration = Duration::from_secs(300);
/// While there is no good set, we try again after this.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// A set serves no longer than this after its last successful fetch.
const LAST_GOOD_FOR: Duration = Duration::from_secs(3600);
/// So many callers wait for a fetch of one issuer's keys, and no more: a key server that hangs must not hold up those who
/// ask about other keys, and with it all that the process can work on at a time.
const WAITING: usize = 128;
/// Files are looked at this often.
const FILE_CHECK_AFTER: Duration = Duration::from_secs(1);

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Uri(Url),
    /// At the address that the issuer's metadata names.
    Discovery,
}

/// One issuer, or one client with keys of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerEntry {
    /// The name under which its keys are asked for.
    pub name: String,
    /// The `iss` that its tokens carry.
    pub issuer: String,
    /// Where its keys are.
    pub source: KeySource,
    /// What it may sign with.
    pub algorithms: Vec<Algorithm>,
}

/// The keys of an issuer are not to be had: it is down, and the last good set is too old.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keys of issuer `{0}` are not available")]
pub struct IssuerUnavailable(pub String);

/// How it stands with the keys of one issuer.
#[derive(Clone, Debug)]
pub struct IssuerStatus {
    /// Its name.
    pub name: String,
    /// Usable keys.
    pub keys: usize,
    /// How long ago they were fetched.
    pub last_success_age: Option<Duration>,
    /// Why the last fetch failed.
    pub last_error: Option<String>,
}

/// The keys of many issuers, by name.
#[derive(Debug)]
pub struct IssuerKeys {
    fetcher: Arc<Fetcher>,
    issuers: BTreeMap<String, Arc<Issuer>>,
}

#[derive(Debug)]
struct Issuer {
    entry: IssuerEntry,
    state: ArcSwap<State>,
    /// Held while fetching, by one caller at a time; nobody else's fetch waits for it.
    fetching: Mutex<()>,
    /// Places of those who wait for a fetch.
    waiting: Arc<Semaphore>,
}

#[derive(Clone, Debug, Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    refetched: Option<Instant>,
    file: Option<(SystemTime, u64)>,
    error: Option<String>,
}

/// Why keys are fetched.
#[derive(Clone, Copy, Debug)]
enum Attempt {
    /// There are none, or they are getting old.
    Refresh,
    /// A token names a key that is not among them.
    UnknownKey,
}

impl IssuerKeys {
    /// Keys for `entries`; nothing is fetched before it is asked for.
    pub fn new(fetcher: Arc<Fetcher>, entries: Vec<IssuerEntry>) -> Self {
        let new = |entry: IssuerEntry| (entry.name.clone(), Arc::new(Issuer::new(entry)));
        Self {
            fetcher,
            issuers: entries.into_iter().map(new).collect(),
        }
    }

    /// Keys for other `entries`; those that did not change keep what they have, and files are looked at again at once.
    #[must_use]
    pub fn with_entries(&self, entries: Vec<IssuerEntry>) -> Self {
        let carry = |entry: IssuerEntry| match self.issuers.get(&entry.name) {
            Some(issuer) if issuer.entry == entry => (entry.name, issuer.carried()),
            _ => (entry.name.clone(), Arc::new(Issuer::new(entry))),
        };
        Self {
            fetcher: Arc::clone(&self.fetcher),
            issuers: entries.into_iter().map(carry).collect(),
        }
    }

    /// The keys of `name`: fetched at first use, refreshed beside the request when they are five minutes old.
    pub async fn keys(&self, name: &str) -> Result<Arc<KeySet>, IssuerUnavailable> {
        let issuer = self.issuers.get(name).ok_or_else(|| IssuerUnavailable(name.to_owned()))?;
        let state = issuer.state.load_full();
        let file = matches!(issuer.entry.source, KeySource::File(_));
        let due = |after: Duration| state.tried.is_none_or(|tried| tried.elapsed() >= after);
        if state.keys.is_none() {
            if due(RETRY_AFTER) {
                done(issuer.fetch(&self.fetcher, Attempt::Refresh, state.tried)).await;
            }
        } else if file && due(FILE_CHECK_AFTER) {
            done(issuer.fetch(&self.fetcher, Attempt::Refresh, state.tried)).await;
        } else if !file && due(REFRESH_AFTER) {
            drop(issuer.fetch(&self.fetcher, Attempt::Refresh, state.tried));
        }
        issuer.current()
    }

    /// The keys of `name` for a token whose key is not among them: fetched anew, at most once in 30 seconds.
    ///
    /// Past so many that wait for the same fetch, the keys are given as they are.
    pub async fn refetch(&self, name: &str) -> Result<Arc<KeySet>, IssuerUnavailable> {
        let issuer = self.issuers.get(name).ok_or_else(|| IssuerUnavailable(name.to_owned()))?;
        let state = issuer.state.load_full();
        if state.refetched.is_none_or(|at| at.elapsed() >= REFETCH_AFTER) {
            done(issuer.fetch(&self.fetcher, Attempt::UnknownKey, state.refetched)).await;
        }
        issuer.current()
    }

    /// The keys of `name` as they are, without any wait.
    pub fn held(&self, name: &str) -> Result<Arc<KeySet>, IssuerUnavailable> {
        self.issuers.get(name).ok_or_else(|| IssuerUnavailable(name.to_owned()))?.current()
    }

    /// How it stands with each issuer.
    pub fn status(&self) -> Vec<IssuerStatus> {
        let status = |(name, issuer): (&String, &Arc<Issuer>)| {
            let state = issuer.state.load();
            IssuerStatus {
                name: name.clone(),
                keys: state.keys.as_ref().map_or(0, |keys| keys.len()),
                last_success_age: state.fetched.map(|at| at.elapsed()),
                last_error: state.error.clone(),
            }
        };
        self.issuers.iter().map(status).collect()
    }
}

impl Issuer {
    fn new(entry: IssuerEntry) -> Self {
        Self {
            entry,
            state: ArcSwap::default(),
            fetching: Mutex::new(()),
            waiting: Arc::new(Semaphore::new(WAITING)),
        }
    }

    /// This issuer for the next configuration. A file may be what changed, so it does not wait for its turn.
    fn carried(self: &Arc<Self>) -> Arc<Self> {
        if !matches!(self.entry.source, KeySource::File(_)) {
            return Arc::clone(self);
        }
        let state = State {
            tried: None,
            ..(*self.state.load_full()).clone()
        };
        Arc::new(Self {
            state: ArcSwap::from_pointee(state),
            ..Self::new(self.entry.clone())
        })
    }

    fn current(&self) -> Result<Arc<KeySet>, IssuerUnavailable> {
        let state = self.state.load();
        let fresh = state.fetched.is_some_and(|at| at.elapsed() < LAST_GOOD_FOR);
        match &state.keys {
            Some(keys) if fresh => Ok(Arc::clone(keys)),
            _ => Err(IssuerUnavailable(self.entry.name.clone())),
        }
    }

    /// Begins to fetch, unless somebody did since the caller looked; `None` where too many wait for that already.
    ///
    /// It goes on when the caller goes away: whoever shows an unknown key and hangs up must not take the note of the
    /// attempt along, or the next one would make another.
    fn fetch(self: &Arc<Self>, fetcher: &Arc<Fetcher>, why: Attempt, seen: Option<Instant>) -> Option<JoinHandle<()>> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().ok()?;
        let (issuer, fetcher) = (Arc::clone(self), Arc::clone(fetcher));
        Some(tokio::spawn(async move {
            let _turn = issuer.fetching.lock().await;
            let state = issuer.state.load_full();
            match why {
                Attempt::Refresh if state.tried == seen => issuer.load(&fetcher, None).await,
                Attempt::UnknownKey if state.refetched == seen => issuer.load(&fetcher, Some(Instant::now())).await,
                Attempt::Refresh | Attempt::UnknownKey => {}
            }
            drop(place);
        }))
    }

    /// One attempt. Whatever goes wrong, the last good set stays.
    async fn load(&self, fetcher: &Fetcher, refetched: Option<Instant>) {
        let before = self.state.load_full();
        let mut state = State {
            tried: Some(Instant::now()),
            refetched: refetched.or(before.refetched),
            ..(*before).clone()
        };
        let loaded = match &self.entry.source {
            KeySource::File(path) => match stamp(path).await {
                Some(stamp) if before.file == Some(stamp) && before.error.is_none() => {
                    state.fetched = Some(Instant::now());
                    self.state.store(Arc::new(state));
                    return;
                }
                stamp => {
                    state.file = stamp;
                    tokio::fs::read(path).await.map_err(|error| format!("`{}`: {error}", path.display()))
                }
            },
            KeySource::Uri(url) => fetcher.get(url).await.map_err(|error| error.to_string()),
            KeySource::Discovery => match discovery::jwks_uri(fetcher, &self.entry.issuer).await {
                Ok(url) => fetcher.get(&url).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            },
        };
        let parsed =
            loaded.and_then(|bytes| KeySet::parse(&self.entry.issuer, &bytes, &self.entry.algorithms).map_err(|error| error.to_string()));
        match parsed {
            Ok(keys) => {
                state.keys = Some(Arc::new(keys));
                state.fetched = Some(Instant::now());
                state.error = None;
            }
            Err(error) => {
                tracing::warn!(issuer = self.entry.name, %error, "keys could not be loaded; keeping the last good set");
                state.error = Some(error);
            }
        }
        self.state.store(Arc::new(state));
    }
}

/// Waits for what was begun.
async fn done(begun: Option<JoinHandle<()>>) {
    if let Some(begun) = begun {
        let _ = begun.await;
    }
}

async fn stamp(path: &std::path::Path) -> Option<(SystemTime, u64)> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
