//! What guards refused, on record: each refusal once, however often it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use delegation::authority::Authority;
use delegation::chain::Actor;
use delegation::identity::Subject;
use delegation::oauth::{AudienceId, ClientId, Reason};
use delegation::time::Timestamp;
use issuance::audit::{CommitError, Effect, Entry, Journal, Record, RequestLine, Use, UseKind};
use narrows_guard::shape::shape;
use serde_json::{Map, Value, json};

use super::{Guard, came_from, strangers};
use crate::broker::{Broker, InForce};
use crate::journal::used;
use crate::store::StoreUnavailable;

/// No more refusals than this come together from elsewhere, and no more of their records wait for the log at a time.
pub const MOST: usize = 256;
/// So many refusals of one token that are alike have records of their own in one batch, each for the caller who was told its id.
const TOLD_APART: usize = 8;
/// How long the id of a refusal is remembered: no guard keeps one for longer than its broker may be away.
const KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
/// Two batches that hold the same refusals may meet; then one looks again. More often than this nobody does.
const LOOKS: usize = 3;

/// One request that a guard refused.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedCall {
    /// The id that its caller was told: small letters, digits and `-`.
    pub decision_id: String,
    /// When, by the guard's clock.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// What was asked, if it could be read.
    pub request: Option<RequestLine>,
    /// The caller's address, as far as the guard believes it.
    pub from: IpAddr,
    /// What the token said, once it was known to be ours.
    pub claims: Option<Claims>,
    /// The token beside the request, if it came to that.
    pub compared: Option<Compared>,
    /// Why it is malformed, if it is.
    pub cause: Option<String>,
    /// Whether the request went on all the same.
    pub observed: bool,
}

/// What is said of a token, never the token.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// `jti`.
    pub jti: String,
    /// `sub`: the subject as we name it.
    pub sub: String,
    /// `sub_id`: the outside pair.
    pub subject: Option<(String, String)>,
    /// `client_id`.
    pub client: ClientId,
    /// `aud`.
    pub audience: String,
    /// `exp`.
    pub exp: Timestamp,
    /// `iat`.
    pub iat: Timestamp,
    /// `task`.
    pub task: Option<String>,
    /// `txn`.
    pub txn: Option<String>,
    /// `act`: who acted, newest first.
    pub actors: Vec<Actor>,
    /// `chain`: what it came from, root first, without itself.
    pub ancestors: Vec<String>,
    /// `authorization_details` and `scope`, as far as they are declared here.
    pub authority: Authority,
    /// Details that are not: this broker declares others than when the token was made, or than the guard.
    pub undeclared: Vec<Value>,
}

/// A token beside the request that it came with, in the short form of details.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// What the request needs.
    pub required: Vec<String>,
    /// What the token allows.
    pub presented: Vec<String>,
    /// What it allows and may not.
    pub surplus: Vec<String>,
}

/// How refusals come to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Within this process: until they are taken, and then no more.
    Here,
    /// From another, which may not have heard that they are taken.
    FromElsewhere,
}

/// Puts on record what `guard` refused, and that it could not say `lost` others; gives how many are on record by that that were not before.
///
/// Each is found again by its id, so a batch may be sent twice. A refusal with claims has a record of its own, under its id, unless its
/// token brings many that are alike. The others, whose callers nobody knows, are counted with those of every other
/// door; their counts are on record soon.
/// `Err`: some may be on record, and all may be sent again.
pub async fn refused(
    broker: &Broker,
    guard: &Guard<'_>,
    refusals: &[RefusedCall],
    lost: u64,
    told: Told,
) -> Result<usize, StoreUnavailable> {
    let in_force = broker.in_force();
    let (known, nobodys): (Vec<_>, Vec<_>) = refusals.iter().partition(|each| each.claims.is_some());
    let mut recorded = 0;
    let mut looks = 0;
    // 1. Of callers who are known; all others last, since behind those nothing may fail.
    loop {
        let news = unknown(broker, guard, &known).await?;
        if news.is_empty() {
            break;
        }
        if looks == LOOKS {
            return Err(StoreUnavailable::busy());
        }
        looks += 1;
        recorded += write(broker, guard, entries(broker, &in_force, guard, &news)).await?;
    }
    let nobodys = match told {
        Told::Here => nobodys,
        Told::FromElsewhere => strangers::uncounted(broker, guard, unknown(broker, guard, &nobodys).await?)?,
    };

    // 2. What was lost. Said again with nothing new, it was counted before.
    if lost > 0 && (recorded > 0 || !nobodys.is_empty() || refusals.is_empty()) {
        let mut record = guard.record(broker, &in_force);
        "refusals_lost".clone_into(&mut record.reason);
        record.count = Some(lost);
        broker.journal().commit(Entry::of(record)).await.map_err(|_| StoreUnavailable::busy())?;
        broker.telemetry().guard_lost(guard.service, lost);
    }

    // 3. Nobody's.
    Ok(recorded + strangers::count(broker, &in_force, guard, &nobodys, told).await)
}

/// Those that are not on record yet, none of them twice.
async fn unknown<'r>(broker: &Broker, guard: &Guard<'_>, refusals: &[&'r RefusedCall]) -> Result<Vec<&'r RefusedCall>, StoreUnavailable> {
    let ids: BTreeSet<_> = refusals.iter().map(|each| each.decision_id.as_str()).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let mut known = used(broker.store(), UseKind::GuardRefusal, guard.client.as_str(), &ids).await?;
    Ok(refusals.iter().copied().filter(|each| known.insert(each.decision_id.clone())).collect())
}

/// What is committed together, and how many refusals for which reason that is.
struct Written {
    entry: Entry,
    reason: Reason,
    count: usize,
}

/// Writes all of them, many of which share a commit; gives how many refusals that were.
async fn write(broker: &Broker, guard: &Guard<'_>, mut entries: Vec<Written>) -> Result<usize, StoreUnavailable> {
    let mut recorded = 0;
    // Others write too, and find room in the line.
    while !entries.is_empty() {
        let mut waiting = Vec::with_capacity(MOST);
        for Written { entry, reason, count } in entries.drain(..entries.len().min(MOST)) {
            let is_observed = entry.record.effect == Some(Effect::Observed);
            let answered = broker.journal().submit(entry).map_err(|_| StoreUnavailable::busy())?;
            waiting.push((answered, reason, is_observed, count));
        }
        for (answered, reason, is_observed, count) in waiting {
            match answered.await.unwrap_or(Err(CommitError::Unavailable)) {
                Ok(_) => {
                    broker.telemetry().guard_refused(guard.service, reason.as_str(), is_observed, count as u64);
                    recorded += count;
                }
                // Another batch had one of them meanwhile.
                Err(CommitError::AlreadyUsed) => {}
                Err(CommitError::Over(_) | CommitError::Unavailable) => return Err(StoreUnavailable::busy()),
            }
        }
    }
    Ok(recorded)
}

/// What makes refusals of callers who are known the same: when, why, of which token, and whether it went on; of what went on also what was
/// asked, since whoever mends the configuration needs to see each.
type Alike<'r> = (i64, &'static str, &'r str, bool, Option<Likeness>);

/// Method, host and the shape of the path.
type Likeness = (String, String, String);

/// No more are told apart in one batch by what was asked.
const MOST_LIKENESSES: usize = 50;

fn likeness(refused: &RefusedCall) -> Option<Likeness> {
    let line = refused.request.as_ref().filter(|_| refused.observed)?;
    Some((line.method.clone(), line.host.clone(), shape(&line.path)))
}

/// One entry for each refusal until there are many of one token that are alike, and one for all others that are.
fn entries(broker: &Broker, in_force: &InForce, guard: &Guard<'_>, refusals: &[&RefusedCall]) -> Vec<Written> {
    let mut own = Vec::new();
    let mut alike = BTreeMap::<Alike<'_>, Vec<&RefusedCall>>::new();
    let mut told_apart = BTreeMap::<Alike<'_>, usize>::new();
    for each in refusals {
        let jti = each.claims.as_ref().map_or("", |claims| &claims.jti);
        let of = |like| (each.at.seconds(), each.reason.as_str(), jti, each.observed, like);
        let there = told_apart.entry(of(None)).or_default();
        *there += 1;
        if *there <= TOLD_APART {
            own.push(vec![*each]);
            continue;
        }
        let like = of(likeness(each));
        let is_told_apart = alike.len() < MOST_LIKENESSES || alike.contains_key(&like);
        alike.entry(if is_told_apart { like } else { of(None) }).or_default().push(each);
    }
    let entry = |group: Vec<&RefusedCall>| {
        let first = group.first()?;
        let uses = group.iter().map(|each| id_of(broker, guard, each));
        let mut record = record(guard.record(broker, in_force), first);
        if group.len() > 1 {
            record.count = Some(group.len() as u64);
            record.request = together(&group);
        }
        Some(Written {
            entry: Entry {
                uses: uses.collect(),
                ..Entry::of(record)
            },
            reason: first.reason,
            count: group.len(),
        })
    };
    own.into_iter().chain(alike.into_values()).filter_map(entry).collect()
}

/// What all of them asked: the very same, or of what was only observed the same in shape.
fn together(group: &[&RefusedCall]) -> Option<RequestLine> {
    let line = group.first()?.request.as_ref()?;
    if group.iter().all(|each| each.request.as_ref() == Some(line)) {
        return Some(line.clone());
    }
    let like = likeness(group.first()?)?;
    let is_alike = group.iter().all(|each| likeness(each).as_ref() == Some(&like));
    is_alike.then(|| RequestLine {
        path: like.2,
        ..line.clone()
    })
}

/// What is used by putting a refusal on record: its id, of this guard.
pub(super) fn id_of(broker: &Broker, guard: &Guard<'_>, refused: &RefusedCall) -> Use {
    Use {
        kind: UseKind::GuardRefusal,
        issuer: guard.client.to_string(),
        id: refused.decision_id.clone(),
        forget_at: broker.now().plus(KEPT),
    }
}

pub(super) fn record(mut record: Record, refused: &RefusedCall) -> Record {
    record = record.denied(refused.reason);
    record.id.clone_from(&refused.decision_id);
    record.request.clone_from(&refused.request);
    record.client_ip = Some(refused.from.to_canonical());
    record.effect = refused.observed.then_some(Effect::Observed);
    let mut said = Map::new();
    // The log lies in the order of its own clock; when it was, the guard says.
    said.insert("at".to_owned(), json!(refused.at.millis()));
    if let Some(claims) = &refused.claims {
        let (iss, sub) = claims.subject.clone().unwrap_or_else(|| (String::new(), claims.sub.clone()));
        record.subject = Some(Subject {
            issuer_name: String::new(),
            iss,
            sub,
        });
        record.client = Some(claims.client.clone());
        record.audience = AudienceId::parse(&claims.audience).ok();
        record.jti = Some(claims.jti.clone());
        record.task.clone_from(&claims.task);
        record.txn.clone_from(&claims.txn);
        record.expires_in = Some(claims.exp.seconds() - claims.iat.seconds());
        record.actor.clone_from(&claims.actors);
        record.asked = claims.authority.clone();
        came_from(&mut record, &claims.ancestors);
        if !claims.undeclared.is_empty() {
            said.insert("undeclared".to_owned(), json!(claims.undeclared));
        }
    }
    if let Some(compared) = &refused.compared {
        said.insert("required".to_owned(), json!(compared.required));
        said.insert("presented".to_owned(), json!(compared.presented));
        said.insert("surplus".to_owned(), json!(compared.surplus));
    }
    if let Some(cause) = &refused.cause {
        said.insert("cause".to_owned(), json!(cause));
    }
    if let Value::Object(inputs) = &mut record.inputs {
        inputs.extend(said);
    }
    record
}
