//! Requests that go on whatever is decided, and what is decided about them meanwhile.

use std::future::ready;
use std::sync::Arc;
use std::time::SystemTime;

use delegation::oauth::Reason;
use http::HeaderMap;
use narrows_guard::{Body, Call};

use super::{Boundary, Incoming, Unfit, Verdict};
use crate::bodies::Owner;
use crate::exchanger::Exchanger;
use crate::observe;
use crate::settings::Settings;

impl<E: Exchanger> Boundary<E> {
    /// Decides on a request of whose body its door was `shown` so much; nothing, where it goes on as it came.
    pub(crate) async fn decide_shown(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        mut incoming: Incoming,
        headers: &HeaderMap,
        shown: Result<Body, Reason>,
    ) -> Option<Verdict> {
        let observes = Self::observes(settings, &incoming);
        if observes && incoming.names_method() && !Self::observes_host(settings, &incoming) {
            incoming.call = Err(Unfit::another_method());
        } else if observes {
            // What is observed takes no room from what enforces.
            let shown = shown.and_then(|body| self.bodies.set_aside(body));
            let held = shown.clone().unwrap_or(Body::Hidden);
            incoming.call = incoming.call.map(|call| call.with_body(held));
            self.observe(settings, incoming, headers, |_, _| ready(shown), ready(false));
            return None;
        }
        if let (Ok(_), Err(reason)) = (&incoming.call, &shown) {
            incoming.call = Err((*reason).into());
        }
        Some(self.decide(settings, incoming, headers, |_, _| ready(shown)).await)
    }

    /// Whether this request goes on whatever is decided. One that does is handed to [`observe`](Self::observe), and any other to
    /// [`decide`](Self::decide).
    pub(crate) fn observes(settings: &Settings, incoming: &Incoming) -> bool {
        let now = observe::at(SystemTime::now());
        let (modes, table) = (&settings.modes, &settings.table);
        match incoming.call.as_ref().ok().zip(incoming.matched(settings)) {
            // Whoever follows what they say makes another request of it.
            Some((call, _)) if incoming.strange || observe::names_method(call) => Self::observes_host(settings, incoming),
            Some((call, matched)) => {
                let may_be_another = incoming.hides_form() && modes.enforces_other_method(table, call, now, |_| true);
                modes.observes(&matched, now) && !modes.resembles_enforced(table, call, now) && !may_be_another
            }
            None => Self::observes_host(settings, incoming),
        }
    }

    /// Whether everything observes that the request could be for, whatever it turns out to be.
    pub(crate) fn observes_host(settings: &Settings, incoming: &Incoming) -> bool {
        let host = incoming.call.as_ref().ok().map(Call::host).or(incoming.host.as_ref());
        settings.modes.observes_unmatched(&settings.table, host, observe::at(SystemTime::now()))
    }

    /// Decides about a request that goes on meanwhile, and puts on record how it would have ended: whoever asked waits for nothing
    /// here, neither for a broker that is slow or away, nor for room. `outgrows` tells whether a body that nobody reads got longer
    /// than its route takes.
    pub(crate) fn observe<B>(
        self: &Arc<Self>,
        settings: &Arc<Settings>,
        incoming: Incoming,
        headers: &HeaderMap,
        body: impl FnOnce(Option<Owner>, usize) -> B + Send + 'static,
        outgrows: impl Future<Output = bool> + Send + 'static,
    ) where
        B: Future<Output = Result<Body, Reason>> + Send,
    {
        let Some(room) = self.observed.enter(&settings.name) else { return };
        let (boundary, settings, headers) = (Arc::clone(self), Arc::clone(settings), headers.clone());
        tokio::spawn(async move {
            let mut seen = incoming.seen(true);
            // What came of it is on record, and there is nobody to tell.
            let examined = boundary.examine(&settings, incoming, &headers, &mut seen, body).await;
            drop(room);
            if examined.is_ok_and(|onward| onward.body_max.is_some()) && outgrows.await {
                boundary.refused(&settings, &seen, Unfit::from(Reason::TooLarge)).await;
            }
        });
    }
}
