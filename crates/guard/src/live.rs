//! A guard that is running: it knows the time, the keys of now and what was revoked, and asks the broker where that is not enough.
//!
//! Everything that is decided is decided by the pure checks; here is what they are handed, and what becomes of their answer.

mod answers;
mod greeting;
mod modes;
mod strangers;
mod tally;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use delegation::oauth::Reason;
use delegation::time::Timestamp;
use delegation::token::{AccessClaims, OpaqueForm, OpaqueKind};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::broker::{Asked, Broker, Consumed, Line, Rechecked, Refused, SeenTwice, Use, on_record};
use crate::call::{Call, LARGEST_BODY};
use crate::check::{Admitted, At, Known, Refusal, Shown, Verdict, ended};
use crate::clock::Clock;
use crate::guard::{GuardError, Rules};
use crate::hygiene::headers::{ProxyHeaders, removed};
use crate::hygiene::method::names_method;
use crate::redacted;
use crate::remembered::{Digest, Memory};
use crate::sightings::{Sighting, Sightings};
use crate::surplus::Required;
use answers::Answers;
pub use greeting::Guest;
pub use modes::Modes;
use tally::Tally;

/// How often it is looked whether a token still holds.
const LOOK: Duration = Duration::from_millis(250);
/// How often the broker is told where tokens were shown first, and of how many at a time.
const TELL: (Duration, usize) = (Duration::from_secs(1), 256);
/// So many requests that went on may wait for policy's word at a time; about more it is not asked.
const ASKING: usize = 1024;
/// How often what was used is handed over.
const HAND_OVER: Duration = Duration::from_secs(60);

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

/// What is known of a request before it is looked into.
struct Seen<'c> {
    call: Option<&'c Call>,
    from: IpAddr,
    effect: Effect,
}

impl Seen<'_> {
    /// What a record says of a request that could be read. Few need it.
    fn line(&self) -> Option<Line> {
        self.call.map(line)
    }

    /// How the broker is asked about it.
    fn asked<'r>(&self, line: Option<&'r Line>) -> Asked<'r> {
        Asked {
            request: line,
            from: self.from,
            observed: self.effect == Effect::Observed,
        }
    }
}

/// Whether a decision binds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Enforced,
    Observed,
}

/// What is refused, and whether the broker put it on record already.
struct Turned {
    refusal: Refusal,
    recorded: Option<String>,
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, recorded: None }
    }
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

    /// Hands over what was used, each minute, and says where tokens were shown, each second, for ever. Somebody has to run it beside the
    /// requests.
    pub async fn run(&self) {
        let (mut minute, mut second) = (interval(HAND_OVER), interval(TELL.0));
        minute.set_missed_tick_behavior(MissedTickBehavior::Delay);
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = minute.tick() => self.hand_over().await,
                _ = second.tick() => self.tell().await,
            }
        }
    }

    /// Hands over what was used and seen until now: before a process ends.
    pub async fn hand_over(&self) {
        self.tell().await;
        let now = self.in_force.load().clock.now();
        self.tally.hand_over(&self.broker, now).await;
    }

    /// Says where tokens were shown first: to whom every guard says it.
    async fn tell(&self) {
        loop {
            let news = self.sightings().news(TELL.1);
            if news.seen.is_empty() || !self.broker.first_seen(&news.seen).await {
                return;
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

    /// Whether `call` with these `headers` goes on as it came, whatever would be decided; then [`observe`](Self::observe) it, and let it
    /// not wait for that.
    ///
    /// One that says another method, or has a header that is taken off elsewhere, may be meant for anything. So may a
    /// [form](Call::form), by what only its body says: unless [everything observes](Self::observes_unread), no piece of it goes on that
    /// may name a method.
    pub fn observes(&self, call: &Call, headers: &HeaderMap, proxy_headers: ProxyHeaders) -> bool {
        if names_method(call) || headers.keys().any(|name| removed(name, proxy_headers)) {
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

    /// Puts on record how `call`, which goes on as it came, would have been decided. Nothing is used up by it.
    pub async fn observe(&self, call: &Call, headers: &HeaderMap, from: IpAddr) {
        self.settled(call, headers, from, Effect::Observed).await;
    }

    /// Puts a refusal on record that somebody else decided on: of a request that is no [`Call`], or whose body is too large.
    pub fn refuse(&self, call: Option<&Call>, from: IpAddr, reason: Reason) -> Box<Denied> {
        let seen = Seen {
            call,
            from,
            effect: Effect::Enforced,
        };
        self.denied(&seen, Refusal::from(reason).into())
    }

    /// The same of a request that was admitted, and whose token ended for `reason` before it was answered.
    pub fn refuse_admitted(&self, call: &Call, from: IpAddr, admitted: &Admitted, reason: Reason) -> Box<Denied> {
        let seen = Seen {
            call: Some(call),
            from,
            effect: Effect::Enforced,
        };
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

    async fn settled(&self, call: &Call, headers: &HeaderMap, from: IpAddr, effect: Effect) -> Decision {
        let seen = Seen {
            call: Some(call),
            from,
            effect,
        };
        match self.decided(call, headers, &seen).await {
            Ok(None) => Decision::Public,
            Ok(Some(admitted)) => Decision::Allowed(Box::new(admitted)),
            Err(turned) => Decision::Refused(self.denied(&seen, turned)),
        }
    }

    /// What goes on; `None` for a public route.
    async fn decided(&self, call: &Call, headers: &HeaderMap, seen: &Seen<'_>) -> Result<Option<Admitted>, Turned> {
        let in_force = self.in_force.load_full();
        // 1. One credential at most, and a route.
        let Some(shown) = Shown::of(&in_force.rules, call, headers)? else {
            return Ok(None);
        };
        // 2. to 4. Who made the token: by its signature, by memory, or by the broker's word.
        let known = self.known(&in_force, &shown, seen).await?;
        // 5. to 14. By the time, the keys and the view of now.
        let (at, later);
        at = self.at(&in_force);
        let decided = shown.decide(&known, &at);
        // One that holds, whether it allows this request or not. What only goes by ends nobody's token.
        let holds = decided.as_ref().err().is_none_or(|refusal| refusal.compared.is_some());
        if holds && seen.effect == Effect::Enforced {
            self.sighted(&known, seen.from, at.now);
        }
        let mut verdict = decided?;
        // Policy, again. That takes a while, so everything is looked at once more behind it.
        if in_force.recheck == Recheck::Each {
            self.rechecked(&in_force.rules, &verdict, &shown, seen).await?;
            later = self.at(&in_force);
            verdict = shown.decide(&known, &later)?;
        }
        // 15. Its only use, last.
        let allowed = match verdict {
            Verdict::Public => return Ok(None),
            Verdict::Refused(refusal) => return Err(refusal.into()),
            Verdict::Allowed(allowed) => *allowed,
            Verdict::Unspent(unspent) => {
                let Consumed { answer, recorded } = match seen.effect {
                    Effect::Enforced => {
                        let line = seen.line();
                        let asked = seen.asked(line.as_ref());
                        self.broker.consume(unspent.token(), &asked).await
                    }
                    // What goes on whatever is said uses nothing up.
                    Effect::Observed => Use::Accepted.into(),
                };
                unspent.answered(answer).map_err(|refusal| Turned { refusal, recorded })?
            }
        };
        self.tally.allowed(&allowed, at.now);
        Ok(Some(allowed.admitted()))
    }

    /// The token that is shown, if the broker made it.
    async fn known(&self, in_force: &InForce, shown: &Shown<'_>, seen: &Seen<'_>) -> Result<Arc<Known>, Refusal> {
        if let Some(form) = opaque(shown.token()) {
            return in_force.answers.known(&self.broker, &form, shown, seen.from).await;
        }
        let (digest, keys) = (Digest::of(shown.token()), self.broker.keys());
        let remembered = in_force.remembered.find(&digest, in_force.clock.now());
        if let (Some(remembered), Some(keys)) = (remembered, &keys)
            && let Some(known) = remembered.under(keys)
        {
            return Ok(known);
        }
        let known = match shown.known(keys.as_deref()) {
            Err(refusal) if refusal.asks_for_keys() => {
                self.broker.look_for_keys().await;
                shown.known(self.broker.keys().as_deref())
            }
            settled => settled,
        };
        let known = Arc::new(known?);
        let exp = known.says().exp;
        if in_force.clock.now() < exp {
            in_force.remembered.keep(digest, &known, exp);
        }
        Ok(known)
    }

    /// Policy's word of now about a request that passed everything else.
    async fn rechecked(&self, rules: &Rules, verdict: &Verdict<'_>, shown: &Shown<'_>, seen: &Seen<'_>) -> Result<(), Turned> {
        let (needs, claims) = match verdict {
            Verdict::Allowed(allowed) => (allowed.needs(), &***allowed),
            Verdict::Unspent(unspent) => (unspent.needs(), unspent.claims()),
            Verdict::Public | Verdict::Refused(_) => return Ok(()),
        };
        // Policy is asked about what the token was compared with: a request for one tenant, and not for any.
        let required = Required::of(needs, &rules.fixed, rules.types())
            .map_err(|_| Refusal::new(Reason::WiderThanSubject, "it is for another value than the fixed one").about(claims))?;
        // What goes on anyway is not worth any number of questions.
        let room = (seen.effect == Effect::Observed).then(|| self.asking.try_acquire());
        if let Some(Err(_)) = room {
            return Ok(());
        }
        let line = seen.line();
        let asked = seen.asked(line.as_ref());
        match self.about_request(self.broker.recheck(shown.token(), &asked, &required.authority()).await) {
            Rechecked::Allowed => Ok(()),
            Rechecked::Refused { reason, decision_id } => Err(Turned {
                refusal: Refusal::from(reason).about(claims),
                recorded: on_record(reason, decision_id),
            }),
            Rechecked::Unavailable => Err(Refusal::new(Reason::StoreUnavailable, "policy could not be asked again").about(claims).into()),
        }
    }

    /// What the broker says of the request. What it says of the guard itself is for the log: the caller can mend nothing of it.
    fn about_request(&self, rechecked: Rechecked) -> Rechecked {
        match rechecked {
            Rechecked::Refused { reason, decision_id } if Refusal::from(reason).is_about_guard() => {
                let (service, why) = (self.service(), reason.as_str());
                tracing::error!(service, why, decision_id, "policy is not asked again for this guard");
                Rechecked::Unavailable
            }
            answer => answer,
        }
    }

    /// The service that it stands before, by its name in the configuration.
    fn service(&self) -> String {
        let in_force = self.in_force.load();
        in_force.rules.table().services().first().map(|service| service.name.clone()).unwrap_or_default()
    }

    /// Takes note of where a token was shown, and tells the broker of one that comes from elsewhere too.
    fn sighted(&self, known: &Known, from: IpAddr, now: Timestamp) {
        let said = known.says();
        let sighting = self.sightings().see(&said.jti, from, said.iat..said.exp, now);
        if let Sighting::Elsewhere { first } = sighting {
            self.broker.seen_twice(SeenTwice {
                jti: said.jti.clone(),
                iat: said.iat,
                exp: said.exp,
                first,
                second: from,
            });
        }
    }

    /// Now, and what had been revoked by now.
    fn at(&self, in_force: &InForce) -> At {
        let (view, view_age) = self.broker.view();
        At {
            now: in_force.clock.now(),
            view,
            view_age,
        }
    }

    /// Counts a token that is refused as shown, if it is for this guard: nobody asks us to tell which of the others are used.
    fn shown(&self, seen: &Seen<'_>, refusal: &Refusal) {
        let in_force = self.in_force.load();
        let is_ours = |claims: &AccessClaims| claims.audiences == [in_force.rules.audience.as_str()];
        if !refusal.claims.as_ref().is_some_and(|claims| is_ours(claims)) {
            return;
        }
        if let Some(matched) = seen.call.and_then(|call| in_force.rules.table().find(call)) {
            self.tally.refused(refusal, matched.route().name(), in_force.clock.now());
        }
    }

    /// Sends a refusal on its way to the record, unless the broker has put it there.
    fn denied(&self, seen: &Seen<'_>, turned: Turned) -> Box<Denied> {
        let Turned { refusal, recorded } = turned;
        self.shown(seen, &refusal);
        let decision_id = recorded.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
        if recorded.is_none() {
            self.broker.refused(Refused {
                decision_id: decision_id.clone(),
                at: self.in_force.load().clock.now(),
                reason: refusal.reason,
                request: seen.line(),
                from: seen.from,
                claims: refusal.claims.clone(),
                compared: refusal.compared.clone(),
                observed: seen.effect == Effect::Observed,
            });
        }
        Box::new(Denied { decision_id, refusal })
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

/// An opaque access token.
fn opaque(token: &str) -> Option<OpaqueForm> {
    OpaqueForm::parse(token).ok().filter(|form| form.kind() == OpaqueKind::Access)
}

/// What a record says of a request that could be read.
fn line(call: &Call) -> Line {
    Line {
        method: call.method().to_string(),
        host: call.host().name().to_owned(),
        path: redacted::path(call.path()),
    }
}
