//! The way to a broker in another process: who asks, with which token, at which addresses, and for how long.
//!
//! All boundaries and guards of a process share one.

mod ask;
mod keys;
mod session;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use delegation::oauth::ClientId;
use delegation::token::Algorithm;
use fetch::{FetchError, Fetcher, IssuerEntry, IssuerKeys, KeySource};
use tokio::time::{Instant, MissedTickBehavior, interval};
use url::Url;

pub(crate) use ask::decision_id;
pub use ask::{Again, Unanswered};
use session::Session;

/// How often it is looked whether keys and a token are there for what is asked next.
const TEND: Duration = Duration::from_secs(1);

/// Where the broker is, and who asks it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The broker, as `iss` of its tokens names it.
    pub issuer: String,
    /// What stands in the place of the issuer in addresses, in the order in which they are tried.
    pub urls: Vec<Url>,
    /// The client that asks.
    pub client: ClientId,
    /// How long one ask may take, whatever it needs.
    pub deadline: Duration,
    /// A response does not go on when the broker was silent for longer.
    pub max_age: Duration,
}

/// The way to the broker. `S` signs an assertion for its client.
pub struct Link<S> {
    place: Place,
    fetcher: Arc<Fetcher>,
    keys: IssuerKeys,
    session: Session<S>,
    /// Which address answered last.
    first: AtomicUsize,
    /// Whether anything was answered when it was last asked.
    is_reached: AtomicBool,
    /// When it last answered.
    answered: ArcSwapOption<Instant>,
}

impl<S> fmt::Debug for Link<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Link").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<S> Link<S> {
    /// Where the broker is, and who asks it.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl<S: Fn() -> Option<String> + Send + Sync + 'static> Link<S> {
    /// A way to the broker at `place`; nothing is asked yet. An address that may not be asked is refused here and now.
    pub fn new(place: Place, fetcher: Arc<Fetcher>, assertion: S) -> Result<Self, FetchError> {
        let mut entries = Vec::new();
        for (at, url) in place.urls.iter().enumerate() {
            fetcher.check(url)?;
            entries.push(IssuerEntry {
                name: at.to_string(),
                issuer: place.issuer.clone(),
                source: KeySource::Uri(under(url, &["oauth2", "jwks"])),
                algorithms: vec![Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256, Algorithm::Ps256],
            });
        }
        Ok(Self {
            place,
            keys: IssuerKeys::new(Arc::clone(&fetcher), entries),
            fetcher,
            session: Session::new(assertion),
            first: AtomicUsize::new(0),
            is_reached: AtomicBool::new(false),
            answered: ArcSwapOption::empty(),
        })
    }

    /// The same, [tended](Self::tend) each second for as long as somebody holds it, so that no request waits for what it needs.
    ///
    /// It must be called within a runtime.
    pub fn tended(self) -> Arc<Self> {
        let link = Arc::new(self);
        let held = Arc::downgrade(&link);
        tokio::spawn(async move {
            let mut second = interval(TEND);
            second.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                second.tick().await;
                let Some(link) = held.upgrade() else { return };
                link.tend().await;
            }
        });
        link
    }

    /// Has what every ask needs: keys to verify with, and a token of our own.
    pub async fn tend(&self) {
        if let Err(why) = self.renew_if_due().await {
            tracing::warn!(%why, "no token for this data plane could be had");
        }
        if self.keys_at_hand().await.is_empty() {
            tracing::warn!("the keys of the broker could not be had");
        }
    }

    /// Whether the broker answered last time and took our client, and replies of it can be verified.
    pub fn is_ready(&self) -> bool {
        self.has_answered() && !self.is_disowned() && self.session.bearer().is_some() && self.held_keys().next().is_some()
    }

    /// How long ago the broker answered anything; nothing if it never did.
    pub fn answer_age(&self) -> Option<Duration> {
        self.answered.load().as_ref().map(|answered| answered.elapsed())
    }

    /// Whether the broker did not take our client when it was last asked for a token of our own.
    pub fn is_disowned(&self) -> bool {
        self.session.is_disowned()
    }
}

/// An address under one that stands for the issuer's.
fn under(url: &Url, path: &[&str]) -> Url {
    let mut under = url.clone();
    if let Ok(mut segments) = under.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    under
}
