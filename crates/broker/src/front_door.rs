//! The exchange for a front door in this process: the token endpoint's steps, without its protocol.

mod looking;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delegation::oauth::{ClientId, Form, Reason};
use delegation::token::{Authentic, Issued};
use issuance::audit::{Decision, Effect, Entry, Journal, Kind, Record, RequestLine};
use issuance::mint::Minted;
use issuance::policy::{Inquiry, Policy};
use serde_json::json;

use crate::broker::Broker;
use crate::connections::{Credential, Wanted};
use crate::denied::Denied;
use crate::evidence;
use crate::ids;
use crate::limits::{Claim, Network, OverLimit, Proof};
use crate::overload::{Gate, Overloaded};
use crate::questions::Whose;
use crate::reuse::Door;
use crate::telemetry::Outcome;
use crate::token_endpoint::{Answer, decide};
pub use looking::{Greeted, attributes, greet, greet_signed};

/// How often it is looked whether a token still holds.
const LOOK: Duration = Duration::from_millis(500);

/// A refusal, on record under `decision_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The id of its record.
    pub decision_id: String,
}

/// A request that came to a boundary.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The boundary's name.
    pub boundary: &'a str,
    /// The client that it acts as: that of the configuration for a boundary of this process, that which has just shown its own
    /// token for one of another; without, the form shows who asks.
    pub acting: Option<&'a ClientId>,
    /// The caller's address, as far as the boundary believes it.
    pub from: IpAddr,
    /// Whether that is the caller's own, and not that of a proxy which many callers come through.
    pub is_callers_own: bool,
    /// What was asked, for the record.
    pub request: Option<RequestLine>,
    /// How the person must have signed in.
    pub step_up: StepUp,
    /// Whether the request goes on whatever is decided. Nobody is counted for what they show there, nor kept from being looked at:
    /// callers are not to notice that somebody observes.
    pub observed: bool,
    /// What came of [`greet`], where that came first.
    pub greeted: Option<&'a Greeted>,
}

/// How a person must have signed in for a request (RFC 9470); nothing of it binds where it is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepUp {
    /// No longer ago than this.
    pub max_auth_age: Option<Duration>,
    /// In this way.
    pub acr: Option<String>,
}

impl StepUp {
    /// Refuses a subject whose token does not say that it is so: what is not said did not happen.
    pub fn check(&self, inquiry: &Inquiry) -> Result<(), Reason> {
        let is_recent = |most: &Duration| {
            inquiry
                .auth_age_seconds
                .is_some_and(|age| u64::try_from(age).is_ok_and(|age| age <= most.as_secs()))
        };
        let is_strong = |acr: &String| inquiry.acr.as_ref() == Some(acr);
        if self.max_auth_age.as_ref().is_none_or(is_recent) && self.acr.as_ref().is_none_or(is_strong) {
            Ok(())
        } else {
            Err(Reason::InsufficientUserAuthentication)
        }
    }
}

impl Seen<'_> {
    /// Nothing is verified for an address whose callers have shown too much that was nothing.
    fn may_be_looked_at(&self, broker: &Broker) -> Result<(), OverLimit> {
        if !self.is_callers_own || self.observed {
            return Ok(());
        }
        let claim = Claim {
            known: None,
            proof: Proof::Signature,
        };
        broker.limits().before_check(self.from, &claim, &broker.in_force().rates, Instant::now())
    }

    /// Where it takes its turn: what is only observed takes none of a request that waits for its answer.
    fn gate<'b>(&self, broker: &'b Broker) -> &'b Gate {
        if self.observed { broker.gate_of_observed() } else { broker.gate() }
    }

    /// By whom it makes us ask an issuer.
    fn whose(&self) -> Whose {
        match (self.observed, self.is_callers_own) {
            (true, _) => Whose::Observed,
            (false, true) => Whose::Network(Network::of(self.from)),
            (false, false) => Whose::Boundary(self.boundary.to_owned()),
        }
    }

    /// What the issuer of its token said when it was greeted.
    fn answer(&self) -> Option<&evidence::Answer> {
        self.greeted.and_then(Greeted::answer)
    }

    fn record(&self, broker: &Broker) -> Record {
        let mut record = Record::new(ids::decision(), broker.now(), Kind::Exchange);
        record.boundary = Some(self.boundary.to_owned());
        record.request.clone_from(&self.request);
        record.client_ip = Some(self.from.to_canonical());
        record.effect = self.observed.then_some(Effect::Observed);
        record
    }
}

/// Decides one request of a boundary.
///
/// `form` and `authorization` are what the boundary's client would send to the token endpoint, and every step of it is
/// taken. A token may be handed out again if a new one would say the same in all but time.
pub async fn exchange(broker: &Arc<Broker>, seen: &Seen<'_>, form: &Form, authorization: Option<&str>) -> Result<Minted, Refused> {
    minted(broker, seen, form, authorization, None).await
}

/// The same for a request that goes on with the upstream credential `connection` beside its token: both, or it is refused.
pub async fn exchange_with(
    broker: &Arc<Broker>,
    seen: &Seen<'_>,
    form: &Form,
    authorization: Option<&str>,
    connection: &str,
) -> Result<(Minted, Credential), Refused> {
    let mut wanted = Wanted::new(connection);
    let minted = minted(broker, seen, form, authorization, Some(&wanted)).await?;
    match wanted.take() {
        Some(credential) => Ok((minted, credential)),
        // No step of an exchange comes here without it.
        None => Err(refuse(broker, seen, Reason::StoreUnavailable).await),
    }
}

async fn minted(
    broker: &Arc<Broker>,
    seen: &Seen<'_>,
    form: &Form,
    authorization: Option<&str>,
    wanted: Option<&Wanted<'_>>,
) -> Result<Minted, Refused> {
    let seen = Seen {
        observed: false,
        ..seen.clone()
    };
    match decided(broker, &seen, form, authorization, wanted).await? {
        (Answer::Token(minted), _) => Ok(minted),
        // No request of a boundary opens a task: `decide` refuses it. What is observed has no token.
        (Answer::Task(_) | Answer::Observed, decision_id) => Err(Refused {
            reason: Reason::UnsupportedTokenType,
            decision_id,
        }),
    }
}

/// Puts on record how one request of a boundary would be decided that goes on whatever that is.
///
/// Every step of [`exchange`] is taken but the last two: nothing is minted, nothing of the caller's is used up, no transaction begins.
/// Whether there is the upstream credential `connection` that it would go on with is looked up, and nobody gets it. A refusal is on
/// record when it is given.
pub async fn observe(
    broker: &Arc<Broker>,
    seen: &Seen<'_>,
    form: &Form,
    authorization: Option<&str>,
    connection: Option<&str>,
) -> Result<(), Refused> {
    let seen = Seen {
        observed: true,
        ..seen.clone()
    };
    let wanted = connection.map(Wanted::new);
    decided(broker, &seen, form, authorization, wanted.as_ref()).await.map(drop)
}

/// What was decided, with the id of its record.
async fn decided(
    broker: &Arc<Broker>,
    seen: &Seen<'_>,
    form: &Form,
    authorization: Option<&str>,
    wanted: Option<&Wanted<'_>>,
) -> Result<(Answer, String), Refused> {
    let mut record = seen.record(broker);
    let door = Door::Boundary {
        name: seen.boundary,
        acting: seen.acting,
        step_up: &seen.step_up,
        wanted,
        whose: &seen.whose(),
        answer: seen.answer(),
        observes: seen.observed,
    };
    let answered = match (seen.may_be_looked_at(broker), seen.gate(broker).enter().await) {
        (Ok(()), Ok(mut turn)) => decide(broker, door, form, authorization, &mut turn, &mut record).await,
        (Err(OverLimit), _) | (_, Err(Overloaded)) => Err(Denied::uncounted(Reason::RateLimited)),
    };
    if seen.observed {
        broker.telemetry().observed(seen.boundary, Outcome::of(&answered));
    }
    match answered {
        Ok(answer) => Ok((answer, record.id)),
        Err(denied) => Err(denied_at(broker, seen, denied, record).await),
    }
}

/// Puts on record a refusal that the boundary itself decided on: the request had no route, or could not be read.
pub async fn refuse(broker: &Broker, seen: &Seen<'_>, reason: Reason) -> Refused {
    let in_force = broker.in_force();
    let mut record = seen.record(broker);
    record.client = seen.acting.cloned();
    record.config_version.clone_from(&in_force.snapshot.config_version);
    record.policy_version = in_force.policy.version().to_owned();
    if seen.observed {
        broker.telemetry().observed(seen.boundary, Outcome::Deny);
    }
    denied_at(broker, seen, Denied::uncounted(reason), record).await
}

/// Puts on record that an upstream said the credential `connection` back in its response to this request, and that it was
/// cut out of it; whether the record is durable.
pub async fn echoed(broker: &Broker, seen: &Seen<'_>, connection: &str) -> bool {
    let in_force = broker.in_force();
    let mut record = seen.record(broker);
    record.kind = Kind::Connection;
    record.decision = Decision::Done;
    "echo_cut".clone_into(&mut record.reason);
    record.client = seen.acting.cloned();
    record.config_version.clone_from(&in_force.snapshot.config_version);
    record.policy_version = in_force.policy.version().to_owned();
    record.inputs = json!({ "connection": connection });
    broker.journal().commit(Entry::of(record)).await.is_ok()
}

/// Waits until `token`, which was handed out here, has expired or was ended or its client is disabled, for half a second longer at
/// most; why. One that cannot be looked up counts as ended.
pub async fn ended(broker: &Broker, token: &str) -> Reason {
    let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
    // Most responses are over before the first look.
    look.tick().await;
    let Some(watched) = Watched::of(broker, token).await else {
        return Reason::StoreUnavailable;
    };
    loop {
        if let Err(why) = watched.holds_for(broker, None) {
            return why;
        }
        look.tick().await;
    }
}

/// A token that was handed out here, verified once. What may end it is the clock and the view of standing, and those are looked at
/// each time.
pub struct Watched(Authentic<Issued>);

/// Without the token.
impl std::fmt::Debug for Watched {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Watched").finish()
    }
}

impl Watched {
    /// `token`, if it was handed out here, alive or not.
    pub async fn of(broker: &Broker, token: &str) -> Option<Self> {
        let ours = evidence::ours::<Issued>(broker, &broker.in_force().snapshot.issuer, token).await;
        ours.ok().flatten().map(Self)
    }

    /// Whether it is alive, by a view that is not too old, and the client that it was handed to is not disabled: who may not ask for
    /// another request keeps no open one.
    pub fn holds(&self, broker: &Broker) -> bool {
        self.holds_for(broker, None).is_ok()
    }

    /// The same, if it was handed to `client`, where one is named; else why it does not.
    fn holds_for(&self, broker: &Broker, client: Option<&ClientId>) -> Result<(), Reason> {
        let in_force = broker.in_force();
        let moment = broker.moment(&in_force);
        // 1. Whoever it was handed to may still ask: without that it is not the token which is at fault.
        let (_, theirs) = self.0.issued_to(&moment).ok_or(Reason::SubjectTokenInvalid)?;
        if client.is_some_and(|client| *client != theirs) || moment.revocations.is_client_disabled(&theirs) {
            return Err(Reason::ClientAuthenticationFailed);
        }
        // 2. It is alive, with all whom it names,
        self.0.alive_at(&moment).map_err(|error| evidence::refusal(error, evidence::SUBJECT))?;
        // 3. as far as is known.
        if broker.view_age() > broker.settings().max_view_age {
            return Err(Reason::RevocationViewStale);
        }
        Ok(())
    }
}

/// Whether `token` was handed out here to `client`, and holds now. What cannot be looked up does not.
pub(crate) async fn is_alive(broker: &Broker, token: &str, client: &ClientId) -> bool {
    Watched::of(broker, token)
        .await
        .is_some_and(|watched| watched.holds_for(broker, Some(client)).is_ok())
}

async fn denied_at(broker: &Broker, seen: &Seen<'_>, denied: Denied, mut record: Record) -> Refused {
    if seen.observed && denied.is_for_want_of_room() {
        // It went on, and nobody waits for what would be decided: it is counted, and takes no place of a record.
        return Refused {
            reason: denied.reason,
            decision_id: record.id,
        };
    }
    // Nobody has shown who they are: a flood of such requests must not be a flood of records, nor of signatures to verify.
    let is_strangers = seen.acting.is_some() && matches!(denied.reason, Reason::SubjectTokenInvalid | Reason::IssuerUnavailable);
    let denied = Denied {
        is_stranger: is_strangers && seen.is_callers_own && !seen.observed,
        ..denied
    };
    let denied = denied.counted(broker, seen.from);
    let uses = denied.uses.filter(|_| !is_strangers);
    if uses.is_none() {
        record.inputs = json!({ "asked": format!("boundary {}", seen.boundary) });
    }
    let (reason, decision_id) = broker.record_denial(denied.reason, record, uses).await;
    if !seen.observed {
        broker.telemetry().refused(reason.as_str());
    }
    Refused { reason, decision_id }
}
