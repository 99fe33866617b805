//! `/v1/leaks`: whoever finds a token where it should not be ends it by showing it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use delegation::oauth::{ClientId, Reason};
use delegation::registry::Moment;
use delegation::revocation::{Key, Revocation};
use delegation::token::{Authentic, Issued, OpaqueForm, OpaqueKind, SubjectToken, TokenKind, Unverified};
use http::{Request, StatusCode};
use issuance::audit::{Decision, Entry, Journal, Kind};
use issuance::task::{KeptTask, Status};
use serde_json::{Map, Value, json};

use super::call::{Call, reply};
use super::problem::Problem;
use crate::broker::Broker;
use crate::keys::OURS;
use crate::limits::{Claim, OverLimit, Proof};
use crate::{evidence, ids, task_end};

/// What was found to be leaked, and can be ended.
enum Leaked {
    /// An access token of ours, or a token of a trusted issuer, by the entry that names it in `chain`.
    Token(String),
    /// A task, by its token.
    Task(Box<KeptTask>),
    /// The operator of this name, by the digest of the token.
    Operator(String, [u8; 32]),
    /// The secret of these clients, by its digest.
    Secret(Vec<ClientId>, [u8; 32]),
    /// Nothing that lives, and why.
    Nothing(&'static str),
}

/// `POST /v1/leaks`: 202 once the token, and what came from it, is dead for good; the same if there was nothing to end.
///
/// It asks for no credential: the token is the credential, and whoever has it could do worse. It passes no gate.
pub(crate) async fn report(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    call.record.kind = Kind::Leak;
    let taken = take(&mut call, peer).await;
    call.answer(taken).await
}

async fn take(call: &mut Call, peer: SocketAddr) -> Result<Response, Problem> {
    // 1. A source that has shown too much that was nothing is not listened to, before its word costs a signature.
    let claim = Claim {
        known: None,
        proof: Proof::Signature,
    };
    let listened = call.broker.limits().before_check(peer.ip(), &claim, &call.in_force.rates, Instant::now());
    listened.map_err(|OverLimit| Problem::RateLimited)?;

    // 2. What is shown.
    let body = call.body().await?;
    let (token, found_in) = shown(&body)?;
    let leaked = find(call, token).await?;

    // 3. Durable, and in force here, before it is answered, and the answer is the same whatever it was.
    if let Some(found_in) = found_in {
        call.note("found_in", found_in);
    }
    call.record.decision = Decision::Done;
    let ended = end(call, leaked, peer).await;
    if ended.is_err() {
        // What it was to be recorded as may have happened all the same; the refusal is a record of its own.
        call.record.id = ids::decision();
        call.record.inputs = Value::Null;
    }
    ended?;
    Ok(reply(StatusCode::ACCEPTED, &json!({})))
}

/// The token, and where it was found.
fn shown(body: &Map<String, Value>) -> Result<(&str, Option<&str>), Problem> {
    if !body.keys().all(|name| name == "token" || name == "found_in") {
        return Err(Problem::Malformed("the body has a member that is not known"));
    }
    let token = body.get("token").and_then(Value::as_str).map(str::trim).filter(|token| !token.is_empty());
    let token = token.ok_or(Problem::Malformed("`token` must be the token that was found"))?;
    let found_in = match body.get("found_in") {
        None => None,
        Some(Value::String(text)) if text.chars().count() <= 200 => Some(text.as_str()),
        Some(_) => return Err(Problem::Malformed("`found_in` must be a text of at most 200 characters")),
    };
    Ok((token, found_in))
}

/// What `token` is. Only what its issuer has signed, or whose digest is kept, is anything; whether it has expired is not asked,
/// since what came from it may live on.
async fn find(call: &mut Call, token: &str) -> Result<Leaked, Problem> {
    let (broker, moment) = (&call.broker, &call.moment);
    let Ok(form) = OpaqueForm::parse(token) else {
        return signed(call, token).await;
    };
    let digest = form.digest();
    match form.kind() {
        OpaqueKind::Task => match evidence::task(broker, token).await {
            Ok(task) if task.over(moment.now).is_some() => Ok(Leaked::Nothing("ended_before")),
            Ok(task) => Ok(Leaked::Task(Box::new(task))),
            Err(Reason::StoreUnavailable) => Err(Problem::StoreUnavailable),
            Err(_) => Ok(Leaked::Nothing("unknown_token")),
        },
        OpaqueKind::Operator => {
            let operator = broker.store().operator(&digest).await?;
            let of = |operator: crate::operator::Operator| Leaked::Operator(operator.name.to_string(), digest);
            Ok(operator.map_or(Leaked::Nothing("unknown_token"), of))
        }
        OpaqueKind::ClientSecret => {
            let holders = moment.snapshot.clients.values().filter(|client| client.has_secret(&digest));
            let holders: Vec<_> = holders.map(|client| client.id.clone()).collect();
            Ok(match holders.as_slice() {
                [] => Leaked::Nothing("unknown_token"),
                _ if moment.revocations.is_secret_dead(&digest) => Leaked::Nothing("ended_before"),
                _ => Leaked::Secret(holders, digest),
            })
        }
        OpaqueKind::Access => match evidence::ours::<Issued>(broker, &moment.snapshot.issuer, token).await {
            Ok(kept) => Ok(named(kept, moment)),
            Err(_) => Err(Problem::StoreUnavailable),
        },
    }
}

/// The same of a signed token.
async fn signed(call: &mut Call, token: &str) -> Result<Leaked, Problem> {
    let snapshot = &call.moment.snapshot;
    let Ok(token) = Unverified::<SubjectToken>::parse(token) else {
        // Of transaction tokens there are none but ours.
        let ours = evidence::ours::<Issued>(&call.broker, &snapshot.issuer, token).await;
        return Ok(named(ours.map_err(|_| Problem::IssuerUnavailable)?, &call.moment));
    };
    let issuer = match snapshot.issuers.get(token.claimed_issuer()) {
        _ if token.claimed_issuer() == snapshot.issuer => OURS,
        Some(issuer) => issuer.name.as_str(),
        None => return Ok(Leaked::Nothing("unknown_token")),
    };
    let authentic = call.broker.keys().authenticate(issuer, &token).await;
    let authentic = authentic.map_err(|_| Problem::IssuerUnavailable)?;
    Ok(named(authentic.ok(), &call.moment))
}

/// A token by the entry that all that came from it has in `chain`.
fn named<K: TokenKind>(token: Option<Authentic<K>>, moment: &Moment) -> Leaked {
    let Some(entry) = token.and_then(|token| token.named(moment)) else {
        return Leaked::Nothing("unknown_token");
    };
    let (kind, key) = Key::of_entry(&entry);
    // A second revocation of it would change nothing, and be kept.
    if moment.revocations.is_dead(kind, &key) {
        Leaked::Nothing("ended_before")
    } else {
        Leaked::Token(entry)
    }
}

/// Ends what was found, and puts it on record.
async fn end(call: &mut Call, leaked: Leaked, peer: SocketAddr) -> Result<(), Problem> {
    let broker = Arc::clone(&call.broker);
    match leaked {
        Leaked::Token(entry) => {
            let (kind, key) = Key::of_entry(&entry);
            call.ends(kind.as_str(), entry.as_str());
            let longest = call.moment.snapshot.lifetimes.max;
            let entry = Entry {
                revokes: Some(Revocation::new(kind, key, call.moment.now, longest)),
                ..Entry::of(call.record.clone())
            };
            call.commit(entry).await.map(drop)
        }
        Leaked::Task(task) => {
            call.ends("task", task.id.as_str());
            let entry = task_end::entry(&task, Status::Cancelled, Vec::new(), &call.moment, &mut call.record);
            task_end::commit(&broker, entry).await.map(drop).map_err(|_| Problem::StoreUnavailable)
        }
        Leaked::Operator(name, digest) => {
            call.ends("operator", name);
            if !broker.store().kill_operator_token(&digest, &call.record).await? {
                return nothing(call, "ended_before", peer).await;
            }
            Ok(broker.read_operators().await?)
        }
        Leaked::Secret(holders, digest) => {
            let holders: Vec<_> = holders.iter().map(ClientId::as_str).collect();
            call.ends("client_secret", holders);
            if !broker.store().kill_secret(&digest, &call.record).await? {
                return nothing(call, "ended_before", peer).await;
            }
            Ok(broker.read_standing().await?)
        }
        Leaked::Nothing(why) => nothing(call, why, peer).await,
    }
}

/// A report that ends nothing counts against its source. Its record is waited for like any other, so that the time tells
/// nothing, until there are more than a log should hold: those that follow are counted together.
async fn nothing(call: &mut Call, why: &str, peer: SocketAddr) -> Result<(), Problem> {
    why.clone_into(&mut call.record.reason);
    let (limits, now) = (call.broker.limits(), Instant::now());
    limits.stranger(peer.ip(), &call.in_force.rates, now).map_err(|OverLimit| Problem::RateLimited)?;
    let recorded = if limits.unknown_leak(now).is_ok() {
        call.broker.journal().commit(Entry::of(call.record.clone())).await.map(drop)
    } else {
        // It stands for several: where one of them was found is not where the others were.
        call.record.inputs = Value::Null;
        call.broker.record_stranger(call.record.clone()).await.map(drop)
    };
    recorded.map_err(|_| Problem::StoreUnavailable)
}

impl Call {
    /// Lets the record say what ends: names, never a token.
    fn ends(&mut self, kind: &str, named: impl Into<Value>) {
        "revoked".clone_into(&mut self.record.reason);
        self.note("kind", kind);
        self.note("named", named);
    }
}
