//! `POST /v1/events`: security events that trusted issuers push (RFC 8935), and what they do here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use delegation::oauth::Reason;
use delegation::registry::Moment;
use delegation::revocation::{Key, MarkKind, Revocation};
use delegation::token::{AuthenticateError, SecurityEvent, SecurityEventError, Signal, Unverified, Verified};
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use issuance::audit::{Decision, Entry, Kind, Record, Use, UseKind};
use issuance::policy::Policy;
use serde_json::json;

use super::call::reply;
use super::problem::Problem;
use super::sizes;
use crate::broker::{Broker, InForce};
use crate::limits::{Claim, OverLimit, Proof};
use crate::store::{Signalled, SubjectName};
use crate::{endpoint, ids};

/// The door, by which refusals are counted.
const ASKED: &str = "POST /v1/events";

/// Why an event is not taken.
enum Refused {
    /// A code of RFC 8935 §2.4 and what to mend; the sender need not try again.
    Code(&'static str, &'static str),
    /// What has nothing to do with the event.
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<AuthenticateError> for Refused {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::UnknownKey => Self::Code("invalid_key", "its issuer has no such key"),
            AuthenticateError::Bad(why) => Self::Code("authentication_failed", why),
        }
    }
}

impl From<SecurityEventError> for Refused {
    fn from(error: SecurityEventError) -> Self {
        match error {
            SecurityEventError::Audience => Self::Code("invalid_audience", "`aud` must name this broker's issuer identifier"),
            SecurityEventError::AnothersSubject => Self::Code("access_denied", "its subject is another issuer's"),
            SecurityEventError::Invalid(why) => Self::Code("invalid_request", why),
        }
    }
}

/// Serves one event: 202 once what it says is durable and in force here, also if it says nothing that means anything here.
///
/// Its signature is the only credential. It passes no gate: what ends something must always get through.
pub(crate) async fn receive(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let mut record = Record::new(ids::decision(), moment.now, Kind::ClientAuth);
    record.client_ip = Some(peer.ip());
    record.config_version.clone_from(&moment.snapshot.config_version);
    record.policy_version = in_force.policy.version().to_owned();
    match take(&broker, &in_force, &moment, peer, request, &record).await {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::ACCEPTED;
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(refused) => refuse(&broker, &in_force, peer, refused, record).await,
    }
}

async fn take(
    broker: &Broker,
    in_force: &InForce,
    moment: &Moment,
    peer: SocketAddr,
    request: Request<Body>,
    record: &Record,
) -> Result<(), Refused> {
    // 1. One token, and a look at it only if this source is worth one.
    let token = token(request).await?;
    let malformed = |error: AuthenticateError| match error {
        AuthenticateError::Bad(why) => Refused::Code("invalid_request", why),
        AuthenticateError::UnknownKey => error.into(),
    };
    let token = Unverified::<SecurityEvent>::parse(&token).map_err(malformed)?;
    // Of an outside issuer: nobody tells us of our own clients, not even we.
    let issuer = moment.snapshot.issuers.get(token.claimed_issuer());
    let claim = Claim {
        known: issuer.map(|issuer| issuer.name.clone()),
        proof: Proof::Signature,
    };
    let looked_at = broker.limits().before_check(peer.ip(), &claim, &in_force.rates, Instant::now());
    looked_at.map_err(|OverLimit| Problem::RateLimited)?;
    let issuer = issuer.ok_or(Refused::Code("invalid_issuer", "its issuer is not trusted here"))?;

    // 2. Who signed it, and what it says.
    let authentic = broker.keys().authenticate(&issuer.name, &token).await.map_err(|_| Problem::IssuerUnavailable)?;
    let signal = authentic?.at(moment)?;

    // 3. Durable, once, and in force here before it is answered; other nodes follow within a second.
    let (entry, signalled) = effects(&signal, moment, record.clone());
    if broker.store().take_signal(&entry, signalled.as_ref()).await.map_err(Problem::from)? {
        if signalled.is_some() {
            broker.read_standing().await.map_err(Problem::from)?;
        }
        return Ok(());
    }
    // It was taken before: nothing more happens. Anybody may have seen it on its way, so this counts as a stranger's doing.
    let counted = broker.limits().stranger(peer.ip(), &in_force.rates, Instant::now());
    counted.map_err(|OverLimit| Problem::RateLimited)?;
    let mut again = record.clone();
    again.decision = Decision::Done;
    "seen_before".clone_into(&mut again.reason);
    again.inputs = json!({ "asked": ASKED });
    broker.record_stranger(again).await.map(drop).map_err(|_| Problem::StoreUnavailable.into())
}

/// The body, if it is declared as an event and is no larger than one.
async fn token(request: Request<Body>) -> Result<String, Refused> {
    let (parts, body) = request.into_parts();
    if !is_declared(&parts.headers) {
        let described = "the body must be declared as application/secevent+jwt, in no coding";
        return Err(Refused::Code("invalid_request", described));
    }
    let bytes = endpoint::bounded(body, sizes::USUAL).await.map_err(|reason| match reason {
        Reason::TooLarge => Problem::TooLarge.into(),
        _ => Refused::Code("invalid_request", "the body did not arrive"),
    })?;
    String::from_utf8(bytes.into()).map_err(|_| Refused::Code("invalid_request", "the body is no text"))
}

fn is_declared(headers: &HeaderMap) -> bool {
    let is_event = |value: &HeaderValue| {
        let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case("application/secevent+jwt")
    };
    let is_coded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    let declared: Vec<_> = headers.get_all(CONTENT_TYPE).iter().collect();
    matches!(declared.as_slice(), [only] if is_event(only)) && !headers.get_all(CONTENT_ENCODING).iter().any(is_coded)
}

/// What a signal does: its record, the use of its id, and what it ends; and what it changes about its subject's standing.
fn effects(signal: &Verified<'_, SecurityEvent>, moment: &Moment, mut record: Record) -> (Entry, Option<Signalled>) {
    let signal: &Signal = signal;
    let subject = signal.subject.as_ref();
    // Until now, not until it happened: what was exchanged meanwhile for a session that had ended must end too.
    let revokes = subject.filter(|_| signal.revokes).map(|subject| {
        let key = Key::of_pair(&subject.iss, &subject.sub);
        Revocation::new(MarkKind::Subject, key, moment.now, moment.snapshot.lifetimes.max)
    });
    let reason = |risk: Option<&'static str>| match (signal.disables, risk, &revokes) {
        (true, ..) => "disabled",
        (false, Some("risk_set"), _) => "risk_set",
        (false, _, Some(_)) => "revoked",
        (false, Some(risk), None) => risk,
        (false, None, None) => "ignored",
    };
    let changes = subject.filter(|_| signal.disables || signal.risk.is_some());
    let signalled = changes.map(|subject| Signalled {
        subject: SubjectName {
            issuer_name: subject.issuer_name.clone(),
            sub: subject.sub.clone(),
        },
        disables: signal.disables,
        risk: signal.risk,
        overtaken: reason(signal.risk.map(|_| "overtaken")),
    });
    record.kind = if signalled.is_some() { Kind::Operator } else { Kind::Revocation };
    record.decision = Decision::Done;
    reason(signal.risk.map(|_| "risk_set")).clone_into(&mut record.reason);
    record.subject = signal.subject.clone();
    record.jti = Some(signal.jti.clone());
    record.inputs = json!({
        "signalled_by": signal.issuer_name, "events": signal.events, "happened_at": signal.happened_at.seconds(),
        "risk": signal.risk.map(|(risk, _)| risk.as_str()),
    });
    let used = Use {
        kind: UseKind::SecurityEvent,
        issuer: signal.issuer_name.clone(),
        id: signal.jti.clone(),
        // One that could come again after this is too old to be taken.
        forget_at: signal.taken_until.plus(std::time::Duration::from_secs(60)),
    };
    let entry = Entry {
        uses: vec![used],
        revokes,
        ..Entry::of(record)
    };
    (entry, signalled)
}

/// The refusal, on record before it is answered, and counted with those of strangers.
async fn refuse(broker: &Broker, in_force: &InForce, peer: SocketAddr, refused: Refused, mut record: Record) -> Response {
    // Keys that cannot be had are looked for at the word of whoever names their issuer.
    let is_strangers = matches!(refused, Refused::Code(..) | Refused::Problem(Problem::IssuerUnavailable));
    let over_limit = is_strangers && broker.limits().stranger(peer.ip(), &in_force.rates, Instant::now()) == Err(OverLimit);
    let refused = if over_limit { Problem::RateLimited.into() } else { refused };
    record.decision = Decision::Deny;
    match &refused {
        Refused::Code(code, why) => {
            (*code).clone_into(&mut record.reason);
            record.inputs = json!({ "asked": ASKED, "why": why });
        }
        Refused::Problem(problem) => {
            problem.reason().clone_into(&mut record.reason);
            record.inputs = json!({ "asked": ASKED });
        }
    }
    match (broker.record_stranger(record).await, refused) {
        (Err(_), _) => Problem::StoreUnavailable.reply(None),
        (Ok(id), Refused::Problem(problem)) => problem.reply(Some(&id)),
        (Ok(_), Refused::Code(code, why)) => {
            let mut response = reply(StatusCode::BAD_REQUEST, &json!({ "err": code, "description": why }));
            response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
            response
        }
    }
}
