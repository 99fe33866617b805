//! How a live guard decides about one request: the pure checks, with what they are handed.

use std::net::IpAddr;
use std::sync::Arc;

use delegation::oauth::Reason;
use delegation::time::Timestamp;
use delegation::token::{AccessClaims, OpaqueForm, OpaqueKind};
use http::HeaderMap;

use super::{Decision, Denied, InForce, Live, Recheck};
use crate::broker::{Asked, Broker, Consumed, Line, Rechecked, Refused, SeenTwice, Use, on_record};
use crate::call::Call;
use crate::check::{Admitted, At, Known, Refusal, Shown, Verdict};
use crate::guard::Rules;
use crate::hygiene::length::is_longer;
use crate::intent::Needs;
use crate::redacted;
use crate::remembered::Digest;
use crate::sightings::Sighting;
use crate::surplus::Required;

/// What is known of a request before it is looked into.
pub(super) struct Seen<'c> {
    pub(super) call: Option<&'c Call>,
    pub(super) from: IpAddr,
    pub(super) effect: Effect,
}

impl<'c> Seen<'c> {
    /// A request about which a decision binds.
    pub(super) fn enforced(call: Option<&'c Call>, from: IpAddr) -> Self {
        Self {
            call,
            from,
            effect: Effect::Enforced,
        }
    }

    /// One that goes on whatever is decided.
    pub(super) fn observed(call: Option<&'c Call>, from: IpAddr) -> Self {
        Self {
            call,
            from,
            effect: Effect::Observed,
        }
    }

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
pub(super) enum Effect {
    Enforced,
    Observed,
}

/// What is refused, and whether the broker put it on record already.
pub(super) struct Turned {
    refusal: Refusal,
    recorded: Option<String>,
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, recorded: None }
    }
}

impl<B: Broker> Live<B> {
    pub(super) async fn settled(&self, call: &Call, headers: &HeaderMap, from: IpAddr, effect: Effect) -> Decision {
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
        let holds = decided.as_ref().err().is_none_or(Refusal::token_holds);
        if holds && seen.effect == Effect::Enforced {
            self.sighted(&known, seen.from, at.now);
        }
        let mut verdict = decided?;
        // A body that nobody reads, and that says itself to be longer than its route takes: nothing is asked or used up for it.
        fits(&verdict, call, headers)?;
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
    pub(super) async fn known(&self, in_force: &InForce, shown: &Shown<'_>, seen: &Seen<'_>) -> Result<Arc<Known>, Refusal> {
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
        let Some((needs, claims)) = passed(verdict) else { return Ok(()) };
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
    pub(super) fn at(&self, in_force: &InForce) -> At {
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
    pub(super) fn denied(&self, seen: &Seen<'_>, turned: Turned) -> Box<Denied> {
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
                cause: refusal.cause,
                observed: seen.effect == Effect::Observed,
            });
        }
        Box::new(Denied { decision_id, refusal })
    }
}

/// What a request needs that passed every check, and what its token says.
fn passed<'v>(verdict: &'v Verdict<'_>) -> Option<(&'v Needs, &'v AccessClaims)> {
    match verdict {
        Verdict::Allowed(allowed) => Some((allowed.needs(), &***allowed)),
        Verdict::Unspent(unspent) => Some((unspent.needs(), unspent.claims())),
        Verdict::Public | Verdict::Refused(_) => None,
    }
}

/// Refuses a body of which is known before it has come that it is longer than its route takes.
fn fits(verdict: &Verdict<'_>, call: &Call, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some((needs, claims)) = passed(verdict) else { return Ok(()) };
    match needs.body_max.map_or(Ok(false), |most| is_longer(call, headers, most)) {
        Ok(false) => Ok(()),
        Ok(true) => Err(Refusal::from(Reason::TooLarge).about(claims)),
        Err(why) => Err(Refusal::from(why).about(claims)),
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
