//! A guard that keeps itself: what it has to tell the broker goes out by itself, and at the end what is left of it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Live, Settings};
use crate::broker::Broker;
use crate::guard::GuardError;
use crate::layer::GuardLayer;
use crate::link::Link;
use crate::remote::Remote;

/// How often what was used is handed over.
const HAND_OVER: Duration = Duration::from_secs(60);
/// How often the broker is told where tokens were shown first.
const TELL: Duration = Duration::from_secs(1);
/// How long it may take to tell what is left, at the end.
const LAST: Duration = Duration::from_secs(5);
/// How soon what is left is told again, at the end, to a broker that did not take it.
const AGAIN: Duration = Duration::from_millis(500);

/// A live guard that hands over by itself what was used, each minute, and where tokens were shown, each second.
///
/// It ends by [`stop`](Self::stop), or when this is dropped: also then what is left is told, if the runtime lasts that long. Requests are
/// decided for as long as anybody has the [guard](Self::live) itself.
#[must_use = "a guard that is dropped tells nobody any more what was used"]
pub struct Running<B> {
    live: Arc<Live<B>>,
    /// Told, or gone, when it is to end. Nobody listens any more once it has.
    stop: watch::Sender<bool>,
}

impl<S: Fn() -> Option<String> + Send + Sync + 'static> Live<Remote<S>> {
    /// A guard with these `settings`, and all that keeps it: a token of its own and keys, the feed of revocations, and what it tells the
    /// broker, over `link`. The broker need not be there yet; until it was heard, whatever needs a token is answered 503.
    ///
    /// It must be called within a runtime.
    pub fn start(settings: Settings, link: Link<S>) -> Result<Running<Remote<S>>, GuardError> {
        let (taken, asked) = (&settings.guard.issuer, &link.place().issuer);
        if taken != asked {
            return Err(GuardError::Issuer {
                expected: taken.clone(),
                found: asked.clone(),
            });
        }
        let service = settings.guard.service.name.clone();
        Ok(Self::new(settings, Remote::start(link.tended(), service))?.run())
    }
}

impl<B: Broker> Live<B> {
    /// Tells the broker by itself, from here on, what was used and where tokens were shown.
    ///
    /// It must be called within a runtime.
    pub fn run(self) -> Running<B> {
        let live = Arc::new(self);
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(run(Arc::clone(&live), stopped));
        Running { live, stop }
    }

    /// Tells it for ever.
    async fn tell_regularly(&self) {
        let (mut minute, mut second) = (interval(HAND_OVER), interval(TELL));
        minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = minute.tick() => self.hand_over().await,
                _ = second.tick() => self.tell().await,
            };
        }
    }

    /// Tells all that is left, however often the broker must be asked to take it.
    async fn tell_rest(&self) {
        let handed_over = async {
            while !self.hand_over().await {
                sleep(AGAIN).await;
            }
        };
        tokio::join!(self.broker.flush(), handed_over);
    }
}

impl<B> Running<B> {
    /// The guard.
    pub fn live(&self) -> &Arc<Live<B>> {
        &self.live
    }

    /// It, in front of a service: [`GuardLayer::new`], which says what `from` is.
    pub fn layer(&self, from: fn(&Parts) -> Option<IpAddr>) -> GuardLayer<B> {
        GuardLayer::new(Arc::clone(&self.live), from)
    }

    /// Ends it: what is left of refusals, of what was used and of where tokens were shown is told to the broker first, for five seconds
    /// at most, in which a broker that is away is told again. Whatever is refused or used later is not told, so it is called when requests
    /// have ended, and before the process does.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        self.stop.closed().await;
    }
}

/// Tells the broker until `stopped`, and then what is left.
async fn run<B: Broker>(live: Arc<Live<B>>, mut stopped: watch::Receiver<bool>) {
    // What is cut off here is told again: whatever was not kept is still there, under the name that it had.
    tokio::select! {
        () = live.tell_regularly() => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    if timeout(LAST, live.tell_rest()).await.is_err() {
        tracing::warn!("a guard ended before the broker took all that was to be told");
    }
}

impl<B> fmt::Debug for Running<B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Running").finish_non_exhaustive()
    }
}
