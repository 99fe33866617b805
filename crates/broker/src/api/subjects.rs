//! `/v1/subjects`: the standing of people and workloads.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use delegation::identity::{Risk, Subject, is_sub};
use http::{Request, StatusCode};
use issuance::audit::Decision;
use serde_json::{Map, Value, json};

use super::call::{Call, reply};
use super::page;
use super::problem::Problem;
use super::revocations::text;
use crate::broker::Broker;
use crate::operator::Role;
use crate::store::{Party, Standing, SubjectName, SubjectStanding};

/// The issuer's name and the `sub`, as they stand in the path.
type Named = Result<Path<(String, String)>, PathRejection>;

/// `POST /v1/subjects/{issuer}/{sub}/disable`: refused from now on, until enabled.
pub(crate) async fn disable(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<SocketAddr>,
    named: Named,
    request: Request<Body>,
) -> Response {
    change(broker, peer, named, request, Change::Standing(Standing::Disabled)).await
}

/// `POST /v1/subjects/{issuer}/{sub}/enable`.
pub(crate) async fn enable(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<SocketAddr>,
    named: Named,
    request: Request<Body>,
) -> Response {
    change(broker, peer, named, request, Change::Standing(Standing::Enabled)).await
}

/// `POST /v1/subjects/{issuer}/{sub}/risk`: what `context.risk` is in policy, until it is cleared with `null`.
pub(crate) async fn risk(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<SocketAddr>,
    named: Named,
    request: Request<Body>,
) -> Response {
    change(broker, peer, named, request, Change::Risk).await
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Standing(Standing),
    /// The body says which.
    Risk,
}

async fn change(broker: Arc<Broker>, peer: SocketAddr, named: Named, request: Request<Body>, change: Change) -> Response {
    let mut call = Call::new(broker, peer, request);
    let changed = apply(&mut call, named, change).await;
    call.answer(changed).await
}

async fn apply(call: &mut Call, named: Named, change: Change) -> Result<Response, Problem> {
    // 1. Who asks, about whom, for what.
    call.caller().await?.must_be(Role::Admin)?;
    let subject = subject(call, named)?;
    let body = call.body().await?;
    let known = |name: &String| name == "reason" || (name == "risk" && change == Change::Risk);
    if !body.keys().all(known) {
        return Err(Problem::Malformed("the body has a member that is not known"));
    }
    if let Some(why) = text(&body, "reason")? {
        call.note("why", why);
    }
    call.note("party", format!("{}|{}", subject.issuer_name, subject.sub));
    call.record.decision = Decision::Done;

    // 2. Durable, and in force here, before it is answered; other nodes follow within a second.
    let store = call.broker.store().clone();
    match change {
        Change::Standing(standing) => {
            let word = match standing {
                Standing::Disabled => "disabled",
                Standing::Enabled => "enabled",
            };
            word.clone_into(&mut call.record.reason);
            let party = Party::Subject {
                issuer_name: subject.issuer_name.clone(),
                sub: subject.sub.clone(),
            };
            store.set_standing(&party, standing, call.record.clone()).await?;
        }
        Change::Risk => {
            let risk = risk_in(&body)?;
            call.note("risk", risk.map(Risk::as_str));
            if risk.is_some() { "risk_set" } else { "risk_cleared" }.clone_into(&mut call.record.reason);
            store.set_risk(&subject, risk, &call.record).await?;
        }
    }
    call.broker.read_standing().await?;
    Ok(reply(StatusCode::OK, &said(&store.subject(&subject).await?)))
}

/// The subject in the path, of an issuer that the configuration knows: under another name nobody would be meant.
fn subject(call: &mut Call, named: Named) -> Result<SubjectName, Problem> {
    let Ok(Path((issuer_name, sub))) = named else {
        return Err(Problem::Malformed("the path is no text"));
    };
    if !is_sub(&sub) {
        return Err(Problem::Malformed("a `sub` has 1 to 255 characters and no control characters"));
    }
    let snapshot = &call.moment.snapshot;
    let iss = snapshot.issuer_of_subjects(&issuer_name).ok_or(Problem::UnknownParty)?;
    call.record.subject = Some(Subject {
        issuer_name: issuer_name.clone(),
        iss: iss.to_owned(),
        sub: sub.clone(),
    });
    Ok(SubjectName { issuer_name, sub })
}

/// `risk` must be there: a word, or null for what the token says.
fn risk_in(body: &Map<String, Value>) -> Result<Option<Risk>, Problem> {
    match body.get("risk") {
        Some(Value::Null) => Ok(None),
        Some(Value::String(word)) if Risk::parse(word).is_some() => Ok(Risk::parse(word)),
        _ => Err(Problem::Malformed("`risk` must be low, medium, high, unknown or null")),
    }
}

/// `GET /v1/subjects`: everybody whose standing is not the usual one.
pub(crate) async fn list(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let listed = page_of(&mut call).await;
    call.answer(listed).await
}

async fn page_of(call: &mut Call) -> Result<Response, Problem> {
    call.caller().await?.must_be(Role::Auditor)?;
    let (after, limit) = page::asked(call, place)?;
    let found = call.broker.store().subjects(&after, i64::from(limit)).await?;
    let next = |last: &SubjectStanding| format!("{}|{}", last.subject.issuer_name, last.subject.sub);
    Ok(reply(StatusCode::OK, &page::page(&found, limit, next, said)))
}

fn place(after: &str) -> Option<SubjectName> {
    let (issuer_name, sub) = after.split_once('|').filter(|_| page::is_plain(after))?;
    Some(SubjectName {
        issuer_name: issuer_name.to_owned(),
        sub: sub.to_owned(),
    })
}

fn said(standing: &SubjectStanding) -> Value {
    json!({
        "issuer": standing.subject.issuer_name,
        "sub": standing.subject.sub,
        "standing": if standing.disabled_at.is_some() { "disabled" } else { "enabled" },
        "disabled_at": standing.disabled_at.map(delegation::time::Timestamp::seconds),
        "risk": standing.risk.map(Risk::as_str),
    })
}
