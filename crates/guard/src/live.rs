//! A guard that is running: it knows the time, the keys of now and what was revoked, and asks the broker where that is not enough.
//!
//! Everything that is decided is decided by the pure checks; here is what they are handed, and what becomes of their answer.

mod answers;
mod deciding;
mod greeting;
mod modes;
mod running;
mod strangers;
mod tally;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use delegation::oauth::Reason;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::broker::Broker;
use crate::call::{Call, LARGEST_BODY};
use crate::check::{Admitted, Known, Refusal, ended};
use crate::clock::Clock;
use crate::guard::{GuardError, Rules};
use crate::hygiene::Malformed;
use crate::hygiene::headers::{ProxyHeaders, strange};
use crate::hygiene::method::names_method;
use crate::remembered::Memory;
use crate::sightings::Sightings;
use answers::Answers;
use deciding::{Effect, Seen};
pub use greeting::Guest;
pub use modes::Modes;
pub use running::Running;
use tally::Tally;

/// How often it is looked whether a token still holds.
const LOOK: Duration = Duration::from_millis(250);
/// Of so many tokens the broker is told at a time where they were shown first.
const TOLD: usize = 256;
/// So many requests that went on may wait for policy's word at a time; about more it is not asked.
const ASKING: usize = 1024;

/// What a live guard is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What it checks.
    pub guard: crate::guard::Settings,
    /// Whether policy is asked again for every request.
    pub recheck: Recheck,
    /// Whether decisions bind.
    pub modes: Modes,
    /// By which clock tokens begin and end.
    pub clock: Clock,
}

/// When policy is asked again about a request whose token is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recheck {
    /// Never: the token was decided on when it was made.
    #[default]
    Never,
    /// For every request.
    Each,
}

/// A guard with its broker.
#[derive(Debug)]
pub struct Live<B> {
    in_force: ArcSwap<InForce>,
    broker: B,
    tally: Tally,
    sightings: Mutex<Sightings>,
    /// Room for questions of policy about requests that went on.
    asking: Semaphore,
}

/// What is swapped whole when the configuration changes; what is remembered was read by it.
#[derive(Debug)]
struct InForce {
    rules: Rules,
    recheck: Recheck,
    modes: Modes,
    clock: Clock,
    remembered: Memory<Known>,
    answers: Answers,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Decision {
    /// The route needs no token; no identity goes on.
    Public,
    /// It goes on as what its token says.
    Allowed(Box<Admitted>),
    /// It does not.
    Refused(Box<Denied>),
}

/// A refusal on its way to the record.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Its id there, for the caller.
    pub decision_id: String,
    /// Why, and what is answered.
    pub refusal: Refusal,
}

impl<B: Broker> Live<B> {
    /// A guard with these `settings` that asks `broker`, which need not be there yet.
    pub fn new(settings: Settings, broker: B) -> Result<Self, GuardError> {
        Ok(Self {
            tally: Tally::since(settings.clock.now()),
            sightings: Mutex::default(),
            asking: Semaphore::new(ASKING),
            in_force: ArcSwap::from_pointee(InForce::build(settings)?),
            broker,
        })
    }

    /// Decides by other settings from now on; what was remembered is forgotten.
    pub fn swap(&self, settings: Settings) -> Result<(), GuardError> {
        self.in_force.store(Arc::new(InForce::build(settings)?));
        Ok(())
    }

    /// Hands over what was used and seen until now, which [`run`](Self::run) does by itself.
    ///
    /// Whether the broker has taken all of it; what it did not take is handed over the next time.
    pub async fn hand_over(&self) -> bool {
        let is_told = self.tell().await;
        let now = self.in_force.load().clock.now();
        self.tally.hand_over(&self.broker, now).await && is_told
    }

    /// Says where tokens were shown first: to whom every guard says it. Whether all is told.
    async fn tell(&self) -> bool {
        loop {
            let news = self.sightings().news(TOLD);
            if news.seen.is_empty() {
                return true;
            }
            if !self.broker.first_seen(&news.seen).await {
                return false;
            }
            self.sightings().told(&news);
        }
    }

    fn sightings(&self) -> MutexGuard<'_, Sightings> {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker that it asks.
    pub fn broker(&self) -> &B {
        &self.broker
    }

    /// The most bytes of its body that `call` must be shown with, if that is looked into: what its route reads, and a form, which may hold
    /// a token, also on a public route; without, it may be [`Hidden`](crate::Body). `headers` are those that it came with.
    ///
    /// Nobody's body is waited for who shows no token where one is needed, or one that is none: [`greet`](Self::greet) the caller first.
    pub fn reads(&self, call: &Call, headers: &HeaderMap) -> Option<usize> {
        let in_force = self.in_force.load();
        let matched = in_force.rules.table().find(call)?;
        let route = matched.route();
        let is_read = route.reading().reads_body() || call.is_form();
        let is_waited_for = !route.needs_token() || headers.contains_key(AUTHORIZATION);
        (is_read && is_waited_for).then(|| matched.body_max().unwrap_or(LARGEST_BODY))
    }

    /// The most bytes that the body of `call` may have, where its route says so.
    pub fn body_max(&self, call: &Call) -> Option<usize> {
        self.in_force.load().rules.table().find(call)?.body_max()
    }

    /// Whether `call` with these `headers` goes on as it came, whatever would be decided; then [`observe`](Self::observe) it, and let it
    /// not wait for that.
    ///
    /// One that says another method, or has a [strange] header, may be meant for anything. So may a
    /// [form](Call::form), by what only its body says: unless [everything observes](Self::observes_unread), no piece of it goes on that
    /// may name a method.
    pub fn observes(&self, call: &Call, headers: &HeaderMap, proxy_headers: ProxyHeaders) -> bool {
        if names_method(call) || headers.keys().any(|name| strange(name, proxy_headers)) {
            return self.observes_unread();
        }
        let in_force = self.in_force.load();
        in_force.modes.observes(in_force.rules.table(), call, in_force.clock.now())
    }

    /// The same of a request that could not be read.
    pub fn observes_unread(&self) -> bool {
        let in_force = self.in_force.load();
        in_force.modes.observes_all(in_force.rules.table(), in_force.clock.now())
    }

    /// Decides about `call`, with its `headers` as they came, from `from`.
    ///
    /// A refusal is on its way to the record when this is done. An allowed request may be served until [`ended`](Self::ended) is done.
    pub async fn decide(&self, call: &Call, headers: &HeaderMap, from: IpAddr) -> Decision {
        self.settled(call, headers, from, Effect::Enforced).await
    }

    /// Puts on record how `call`, which goes on as it came, would have been decided, and says it. Nothing is used up by it.
    ///
    /// Of one that would have been allowed, and whose body grows past its [bound](Self::body_max) unread,
    /// [tell](Self::observe_outgrown).
    pub async fn observe(&self, call: &Call, headers: &HeaderMap, from: IpAddr) -> Decision {
        self.settled(call, headers, from, Effect::Observed).await
    }

    /// Puts on record that a request which goes on as it came would have been refused, since it is no [`Call`].
    pub fn observe_unread(&self, from: IpAddr, why: Malformed) {
        self.denied(&Seen::observed(None, from), Refusal::from(why).into());
    }

    /// The same of one whose body grew longer than its route takes.
    pub fn observe_outgrown(&self, call: &Call, from: IpAddr) {
        self.denied(&Seen::observed(Some(call), from), Refusal::from(Reason::TooLarge).into());
    }

    /// Puts on record that a request is refused which is no [`Call`], and why it is none.
    pub fn refuse_unread(&self, from: IpAddr, why: Malformed) -> Box<Denied> {
        self.denied(&Seen::enforced(None, from), Refusal::from(why).into())
    }

    /// The same of a refusal that somebody else decided on, such as that the body is too large.
    pub fn refuse(&self, call: Option<&Call>, from: IpAddr, reason: Reason) -> Box<Denied> {
        let seen = Seen::enforced(call, from);
        self.denied(&seen, Refusal::from(reason).into())
    }

    /// The same of a request that was admitted, and whose token ended for `reason` before it was answered.
    pub fn refuse_admitted(&self, call: &Call, from: IpAddr, admitted: &Admitted, reason: Reason) -> Box<Denied> {
        let seen = Seen::enforced(Some(call), from);
        self.denied(&seen, Refusal::from(reason).about(admitted).into())
    }

    /// Done when the response to what was `admitted` must end: its token has expired or was revoked, somebody in it is disabled, or the
    /// broker was not heard for so long that nobody knows.
    ///
    /// Within half a second of when it is known here.
    pub async fn ended(&self, admitted: &Admitted) {
        self.why_ended(admitted).await;
    }

    /// The same, with why.
    pub async fn why_ended(&self, admitted: &Admitted) -> Reason {
        loop {
            let in_force = self.in_force.load();
            let (view, age) = self.broker.view();
            if in_force.clock.now() >= admitted.exp {
                return Reason::SubjectTokenExpired;
            }
            if age > in_force.rules.max_age {
                return Reason::RevocationViewStale;
            }
            if let Some((reason, _)) = ended(admitted, &view) {
                return reason;
            }
            // Not before the first look: whatever is ready by then would pass.
            sleep(LOOK).await;
        }
    }
}

impl InForce {
    fn build(settings: Settings) -> Result<Self, GuardError> {
        Ok(Self {
            rules: Rules::build(settings.guard)?,
            recheck: settings.recheck,
            modes: settings.modes,
            clock: settings.clock,
            remembered: Memory::default(),
            answers: Answers::default(),
        })
    }
}
