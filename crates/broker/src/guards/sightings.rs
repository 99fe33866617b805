//! Tokens that were shown from two places.

use std::net::IpAddr;

use delegation::authority::Authority;
use delegation::chain::Actor;
use delegation::details::{Detail, Standing};
use delegation::identity::Subject;
use delegation::oauth::{AudienceId, ClientId, parse_scope};
use delegation::registry::OnDuplicate;
use delegation::revocation::{Key, MarkKind, Revocation};
use delegation::time::Timestamp;
use issuance::audit::{CommitError, Decision, Entry, Journal, Kind, Record, Use, UseKind};
use serde_json::{Map, Value, json};

use super::{Guard, came_from};
use crate::broker::{Broker, InForce};
use crate::ids;
use crate::journal::used;
use crate::store::StoreUnavailable;

/// How long past its end it is remembered that a token was reported.
const KEPT_PAST: std::time::Duration = std::time::Duration::from_secs(60);

/// One token, shown from two places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTwice {
    /// Its `jti`.
    pub jti: String,
    /// Its `exp`.
    pub exp: Timestamp,
    /// Its `iat`, which says where in the log its record lies; without, all of the log is looked through that it may lie in.
    pub iat: Option<Timestamp>,
    /// Where it was shown first.
    pub first: IpAddr,
    /// Where it was shown then.
    pub second: IpAddr,
}

/// What came of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is on record.
    Recorded,
    /// It is on record, and the token was revoked by that.
    Revoked,
    /// This guard of this service reported the token before.
    Before,
}

/// Puts on record that a token was shown to `guard` from two places, once for each token, guard and service.
///
/// With `on_duplicate = "revoke"` the token is revoked in the same commit, under a record of kind `revocation`, with all that came from it, if the log says that it was issued
/// for the audience of the guard's service: no guard ends what is not its to see.
pub async fn seen_twice(broker: &Broker, guard: &Guard<'_>, seen: &SeenTwice) -> Result<Seen, StoreUnavailable> {
    let in_force = broker.in_force();
    // A client may guard several services, and no word about one is the word about another.
    let reporter = format!("{} {}", guard.service, guard.client);
    if !used(broker.store(), UseKind::Sighting, &reporter, &[&seen.jti]).await?.is_empty() {
        return Ok(Seen::Before);
    }
    let issued = issued(broker, &in_force, guard, seen).await?;
    let mut record = guard.record(broker, &in_force);
    record.decision = Decision::Done;
    "token_seen_twice".clone_into(&mut record.reason);
    record.client_ip = Some(seen.second);
    record.jti = Some(seen.jti.clone());
    if let Some(issued) = &issued {
        note(issued, &in_force, &mut record);
    }
    let audience = in_force
        .guards
        .get(guard.service)
        .and_then(|service| in_force.snapshot.audiences.get(&service.audience));
    let (kind, key) = Key::of_entry(&seen.jti);
    let is_dead = broker.view().is_dead(kind, &key);
    let revokes = issued.is_some() && !is_dead && audience.is_some_and(|audience| audience.on_duplicate == OnDuplicate::Revoke);
    if let Some(inputs) = record.inputs.as_object_mut() {
        inputs.insert("first".to_owned(), json!(seen.first));
        inputs.insert("second".to_owned(), json!(seen.second));
        inputs.insert("revoked".to_owned(), json!(revokes));
    }
    let (now, longest) = (broker.now(), in_force.snapshot.lifetimes.max);
    let entry = if revokes {
        ended(record, kind, &seen.jti)
    } else {
        Entry::of(record)
    };
    let entry = Entry {
        uses: vec![Use {
            kind: UseKind::Sighting,
            issuer: reporter,
            id: seen.jti.clone(),
            forget_at: forget_at(broker, &in_force, seen.exp),
        }],
        revokes: revokes.then(|| Revocation::new(kind, key, now, longest)),
        ..entry
    };
    match broker.journal().commit(entry).await {
        Ok(_) => {
            broker.telemetry().seen_twice(guard.service, revokes);
            Ok(if revokes { Seen::Revoked } else { Seen::Recorded })
        }
        Err(CommitError::AlreadyUsed) => Ok(Seen::Before),
        Err(CommitError::Over(_) | CommitError::Unavailable) => Err(StoreUnavailable::busy()),
    }
}

/// A revocation as any other is on record, and beside it what was `seen`.
fn ended(seen: Record, kind: MarkKind, jti: &str) -> Entry {
    let mut record = seen.clone();
    record.id = ids::decision();
    record.kind = Kind::Revocation;
    "revoked".clone_into(&mut record.reason);
    if let Some(inputs) = record.inputs.as_object_mut() {
        inputs.remove("revoked");
        inputs.insert("kind".to_owned(), json!(kind.as_str()));
        inputs.insert("named".to_owned(), json!(jti));
        inputs.insert("why".to_owned(), json!(seen.reason));
    }
    Entry {
        beside: Some(Box::new(seen)),
        ..Entry::of(record)
    }
}

/// When what was said of a token that is said to end at `exp` may be forgotten.
pub(super) fn forget_at(broker: &Broker, in_force: &InForce, exp: Timestamp) -> Timestamp {
    exp.min(broker.now().plus(in_force.snapshot.lifetimes.max)).plus(KEPT_PAST)
}

/// The record under which the token was issued, if that was for the audience of the guard's service.
async fn issued(
    broker: &Broker,
    in_force: &InForce,
    guard: &Guard<'_>,
    seen: &SeenTwice,
) -> Result<Option<Map<String, Value>>, StoreUnavailable> {
    let Some(service) = in_force.guards.get(guard.service) else {
        return Ok(None);
    };
    let longest = i64::try_from(in_force.snapshot.lifetimes.max.as_millis()).unwrap_or(i64::MAX);
    let times = match seen.iat {
        Some(iat) => iat.millis()..=iat.millis().saturating_add(1000),
        None => seen.exp.millis().saturating_sub(longest)..=seen.exp.millis(),
    };
    let found = broker.store().issued(&seen.jti, times).await?;
    Ok(found.filter(|record| record.get("audience").and_then(Value::as_str) == Some(service.audience.as_str())))
}

/// Whose the token is, by the record of its issue.
fn note(issued: &Map<String, Value>, in_force: &InForce, record: &mut Record) {
    let text = |name: &str| issued.get(name).and_then(Value::as_str);
    let of_subject = |name: &str| issued.get("subject")?.get(name)?.as_str().map(str::to_owned);
    record.subject = of_subject("iss").zip(of_subject("sub")).map(|(iss, sub)| Subject {
        issuer_name: String::new(),
        iss,
        sub,
    });
    record.client = text("client").and_then(|id| ClientId::parse(id).ok());
    record.audience = text("audience").and_then(|id| AudienceId::parse(id).ok());
    record.txn = text("txn").map(str::to_owned);
    record.task = text("task").map(str::to_owned);
    let list = |name: &str| issued.get(name).and_then(Value::as_array).into_iter().flatten();
    let of_actor = |actor: &Value| {
        let text = |name: &str| actor.get(name).and_then(Value::as_str).map(str::to_owned);
        let (iss, sub) = text("iss").zip(text("sub"))?;
        Some(Actor { iss, sub })
    };
    record.actor = list("actor").filter_map(of_actor).collect();
    let types = &in_force.snapshot.types;
    let detail = |detail: &Value| Detail::from_json(detail, types, Standing::Ceiling).ok();
    record.asked = Authority {
        details: list("authorization_details").filter_map(detail).collect(),
        scopes: text("scope").and_then(|scope| parse_scope(scope).ok()).unwrap_or_default(),
    };
    let ancestors: Vec<_> = list("chain").filter_map(Value::as_str).map(str::to_owned).collect();
    came_from(record, &ancestors);
}
