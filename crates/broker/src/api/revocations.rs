//! `/v1/revocations`: what operators end, and what is ended.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use delegation::oauth::ClientId;
use delegation::registry::Snapshot;
use delegation::revocation::{Key, MarkKind, Revocation};
use delegation::time::Timestamp;
use http::{Request, StatusCode};
use issuance::audit::{Decision, Entry, Kind};
use serde_json::{Map, Value, json};

use super::call::{Call, reply};
use super::page;
use super::problem::Problem;
use crate::broker::Broker;
use crate::operator::Role;
use crate::store::Placed;

/// No name of a thing is longer, in characters.
const LONGEST: usize = 1_024;

/// `POST /v1/revocations`: 201 once what the body names is dead for good.
///
/// It does not pass the gate, and an operator has no rate: what ends something must always get through.
pub(crate) async fn add(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let added = end(&mut call).await;
    call.answer(added).await
}

async fn end(call: &mut Call) -> Result<Response, Problem> {
    // 1. Who asks.
    call.caller().await?.must_be(Role::Admin)?;
    // From here on it finds a place in the log where others do not.
    call.record.kind = Kind::Revocation;

    // 2. What is to end.
    let body = call.body().await?;
    let (revocation, named) = named(&body, &call.moment.snapshot, call.moment.now)?;

    // 3. Durable before it is answered; known here before that, and to every node of the store within a fifth of a second.
    call.note("kind", revocation.kind.as_str());
    call.note("named", named);
    if let Some(why) = text(&body, "reason")? {
        call.note("why", why);
    }
    call.record.decision = Decision::Done;
    "revoked".clone_into(&mut call.record.reason);
    let entry = Entry {
        revokes: Some(revocation),
        ..Entry::of(call.record.clone())
    };
    let seq = call.commit(entry).await?;
    Ok(reply(StatusCode::CREATED, &json!({ "seq": seq })))
}

/// `GET /v1/revocations`: in order, a page after the place `after`.
pub(crate) async fn list(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let listed = page_of(&mut call).await;
    call.answer(listed).await
}

async fn page_of(call: &mut Call) -> Result<Response, Problem> {
    call.caller().await?.must_be(Role::Auditor)?;
    let query = call.query(&["after", "limit"])?;
    let limit = page::limit(&query)?;
    let after = page::value(&query, "after").map(page::place).transpose()?.unwrap_or(-1);
    let found = call.broker.store().revocations_after(after, i64::from(limit)).await?;
    Ok(reply(StatusCode::OK, &page::page(&found, limit, |last| last.seq, said)))
}

/// A revocation as the list and the feed tell it: whoever does not know the name learns nothing from its SHA-256.
pub(crate) fn said(placed: &Placed) -> Value {
    let key: String = placed.revocation.key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let kind = placed.revocation.kind.as_str();
    json!({ "seq": placed.seq, "kind": kind, "key": key, "at": placed.revocation.at.seconds() })
}

/// What a body names: exactly one thing, by a name that can have an effect.
fn named(body: &Map<String, Value>, snapshot: &Snapshot, now: Timestamp) -> Result<(Revocation, Value), Problem> {
    let kinds = MarkKind::ALL.into_iter().filter(|(_, kind)| *kind != MarkKind::Restore);
    let mut there = kinds.filter_map(|(word, kind)| Some((kind, body.get(word)?)));
    let (Some((kind, value)), None) = (there.next(), there.next()) else {
        return Err(Problem::Malformed("name exactly one thing"));
    };
    let beside = |name: &String| name == kind.as_str() || name == "at" || name == "reason";
    if !body.keys().all(beside) {
        return Err(Problem::Malformed("the body has a member that is not known"));
    }
    let trusted = |iss: &str| snapshot.issuers.contains_key(iss).then_some(()).ok_or(Problem::UnknownParty);
    let key = match kind {
        MarkKind::Outside => {
            let (iss, jti) = pair(value, "jti")?;
            trusted(iss)?;
            Key::of_pair(iss, jti)
        }
        MarkKind::Subject => {
            let (iss, sub) = pair(value, "sub")?;
            if iss != snapshot.issuer {
                trusted(iss)?;
            }
            Key::of_pair(iss, sub)
        }
        MarkKind::Issuer => {
            let iss = name(value)?;
            trusted(iss)?;
            Key::of(iss)
        }
        MarkKind::Client => {
            // One that is gone from the files may have left tokens behind.
            let id = ClientId::parse(name(value)?).map_err(|_| Problem::Malformed("`client` is no client identifier"))?;
            Key::of(id.as_str())
        }
        _ => Key::of(name(value)?),
    };
    let at = match body.get("at") {
        None => now,
        Some(_) if !kind.is_epoch() => return Err(Problem::Malformed("`at` is for `subject`, `client` and `issuer`")),
        Some(at) => {
            // A second that has not come would end tokens that nobody has asked for yet.
            let at = whole(at).filter(|at| (0..=now.seconds()).contains(at));
            Timestamp::from_seconds(at.ok_or(Problem::Malformed("`at` must be a second that has come, as in `iat`"))?)
        }
    };
    Ok((Revocation::new(kind, key, at, snapshot.lifetimes.max), value.clone()))
}

/// A whole number, which may be written as `1.0` too: both are an integer to JSON Schema.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number()?.to_string();
    number.strip_suffix(".0").unwrap_or(&number).parse().ok()
}

/// An object of exactly `iss` and one more name.
fn pair<'b>(value: &'b Value, other: &str) -> Result<(&'b str, &'b str), Problem> {
    let bad = Problem::Malformed("expected an object of `iss` and the name there");
    let members = value.as_object().filter(|members| members.len() == 2).ok_or(bad)?;
    let part = |member: &str| members.get(member).ok_or(bad).and_then(name);
    Ok((part("iss")?, part(other)?))
}

fn name(value: &Value) -> Result<&str, Problem> {
    let text = value.as_str().filter(|text| (1..=LONGEST).contains(&text.chars().count()));
    text.ok_or(Problem::Malformed("a name must be a text of 1 to 1024 characters"))
}

/// A text of at most 200 characters that may be there.
pub(super) fn text(body: &Map<String, Value>, member: &str) -> Result<Option<String>, Problem> {
    match body.get(member) {
        None => Ok(None),
        Some(Value::String(text)) if text.chars().count() <= 200 => Ok(Some(text.clone())),
        Some(_) => Err(Problem::Malformed("`reason` must be a text of at most 200 characters")),
    }
}
