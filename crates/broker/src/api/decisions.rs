//! `GET /v1/decisions/{id}`: the record of a decision, for auditors and for the client whose decision it was.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{Request, StatusCode};
use serde_json::{Map, Value};

use super::call::{Call, reply};
use super::caller::Caller;
use super::problem::Problem;
use super::question;
use crate::broker::Broker;
use crate::operator::Role;
use crate::overload::Overloaded;

/// What a client is not told of its own decision: what policy knew of the subject, and which rules there are.
const NOT_FOR_CLIENTS: [&str; 2] = ["inputs", "rules"];
/// Nor of the answer to a question: by these, one who is known is told from one who is not.
const NOT_OF_QUESTIONS: [&str; 2] = ["subject", "expires_in"];

/// Tells one decision. A client gets 404 alike for another's and for one that never was.
pub(crate) async fn show(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<SocketAddr>,
    id: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    let mut call = Call::new(broker, peer, request);
    let shown = find(&mut call, id.ok().map(|Path(id)| id)).await;
    call.answer(shown).await
}

async fn find(call: &mut Call, id: Option<String>) -> Result<Response, Problem> {
    let caller = call.caller().await?;
    if let Caller::Operator(_) = caller {
        caller.must_be(Role::Auditor)?;
    }
    let id = id.and_then(|id| uuid::Uuid::try_parse(&id).ok()).ok_or(Problem::NotFound)?;
    // A look through a part of the log is work like a decision.
    let _turn = call.broker.gate().enter().await.map_err(|Overloaded| Problem::RateLimited)?;
    let record = call.broker.store().decision(&id.hyphenated().to_string()).await?.ok_or(Problem::NotFound)?;
    let record = match caller {
        Caller::Operator(_) => record,
        Caller::Client { id, .. } => to_client(record, id.as_str()).ok_or(Problem::NotFound)?,
    };
    Ok(reply(StatusCode::OK, &Value::Object(record)))
}

/// The record as the client may see it, if the decision was about a request of its own.
fn to_client(mut record: Map<String, Value>, client: &str) -> Option<Map<String, Value>> {
    if record.get("client").and_then(Value::as_str) != Some(client) {
        return None;
    }
    let said = |name: &str| record.get("inputs").and_then(|inputs| inputs.get(name)).and_then(Value::as_str);
    let is_question = said("asked").is_some_and(question::is_door);
    let told = said(question::TOLD).map(str::to_owned);
    let is_hidden = |name: &str| NOT_FOR_CLIENTS.contains(&name) || (is_question && NOT_OF_QUESTIONS.contains(&name));
    record.retain(|name, _| !is_hidden(name));
    if let Some(told) = told {
        record.insert("reason".to_owned(), Value::from(told));
    }
    Some(record)
}
