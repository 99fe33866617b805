//! The broker of this process, as its guards ask it.

use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use delegation::oauth::ClientId;
use delegation::revocation::View;
use delegation::token::KeySet;
use narrows_guard::Clock;
use narrows_guard::broker::{self as port, Asked, Introspected, Rechecked, Refused, SeenTwice, Use, Used};

/// One guard's way to the broker: no network, and no credential.
#[derive(Debug)]
pub(crate) struct InProcessGuard {
    pub(crate) broker: Arc<Broker>,
    /// The service that it stands before.
    pub(crate) service: String,
    /// The client that it acts as.
    pub(crate) client: ClientId,
}

/// The broker's clock: tokens begin and end by the one that they were made by.
pub(crate) fn clock_of(broker: &Arc<Broker>) -> Clock {
    let broker = Arc::clone(broker);
    Clock::showing(move || broker.time())
}

impl port::Broker for InProcessGuard {
    fn keys(&self) -> Option<Arc<KeySet>> {
        self.broker.own_keys()
    }

    fn view(&self) -> (Arc<View>, Duration) {
        self.broker.standing()
    }

    /// Those of now are always here.
    async fn look_for_keys(&self) {}

    async fn consume(&self, _token: &str) -> Use {
        Use::Unavailable
    }

    async fn introspect(&self, _token: &str) -> Introspected {
        Introspected::Unavailable
    }

    async fn recheck(&self, _token: &str, _asked: &Asked<'_>) -> Rechecked {
        Rechecked::Unavailable
    }

    fn refused(&self, _refused: Refused) {}

    async fn used(&self, _used: &Used) -> bool {
        false
    }

    fn seen_twice(&self, _sighting: SeenTwice) {}
}
