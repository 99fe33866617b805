//! The way to the broker, with what comes of it counted.

use boundary::{Exchanger, Granted, Greeted, Refused, Seen, Shown};
use delegation::identity::Attributes;
use delegation::oauth::Reason;
use narrows_guard::Needs;

use super::metrics::Tally;

/// One boundary's way to the broker, which the process counts.
#[derive(Debug)]
pub(super) struct Counted<E> {
    inner: E,
    /// The boundary's name.
    boundary: String,
    tally: Tally,
}

impl<E> Counted<E> {
    pub(super) fn new(inner: E, boundary: String, tally: Tally) -> Self {
        Self { inner, boundary, tally }
    }

    fn refused(&self, seen: &Seen, reason: Reason) {
        if seen.observed {
            self.tally.observed(&self.boundary, Some(reason));
        } else {
            self.tally.refused(&self.boundary, reason);
        }
    }
}

impl<E: Exchanger> Exchanger for Counted<E> {
    type Found = E::Found;

    async fn greet(&self, seen: &Seen, token: &str) -> Result<Greeted<E::Found>, Refused> {
        let greeted = self.inner.greet(seen, token).await;
        if let Err(refused) = &greeted {
            self.refused(seen, refused.reason);
        }
        greeted
    }

    async fn exchange(&self, seen: &Seen, shown: Shown<'_, E::Found>, needs: &Needs) -> Result<Granted, Refused> {
        let exchanged = self.inner.exchange(seen, shown, needs).await;
        match &exchanged {
            Ok(_) => self.tally.granted(&self.boundary),
            Err(refused) => self.refused(seen, refused.reason),
        }
        exchanged
    }

    async fn observe(&self, seen: &Seen, shown: Shown<'_, E::Found>, needs: &Needs) -> Result<(), Refused> {
        let observed = self.inner.observe(seen, shown, needs).await;
        self.tally.observed(&self.boundary, observed.as_ref().err().map(|refused| refused.reason));
        observed
    }

    async fn attributes(&self, seen: &Seen, shown: Shown<'_, E::Found>) -> Result<Attributes, Refused> {
        let known = self.inner.attributes(seen, shown).await;
        if let Err(refused) = &known {
            self.refused(seen, refused.reason);
        }
        known
    }

    async fn refuse(&self, seen: &Seen, reason: Reason) -> Refused {
        let refused = self.inner.refuse(seen, reason).await;
        self.refused(seen, refused.reason);
        refused
    }

    async fn echoed(&self, seen: &Seen, connection: &str) -> bool {
        self.inner.echoed(seen, connection).await
    }

    async fn ended(&self, granted: &Granted) -> Reason {
        self.inner.ended(granted).await
    }
}
