//! `/v1/tasks`: what there is, and how it ends.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{Request, StatusCode};
use issuance::audit::Kind;
use issuance::task::{KeptTask, Over, Status};
use serde_json::json;

use super::call::{Call, reply};
use super::caller::Caller;
use super::page;
use super::problem::Problem;
use crate::broker::Broker;
use crate::operator::Role;
use crate::task_end;

type Asked = (State<Arc<Broker>>, Extension<SocketAddr>);
/// The id in the path, if it can be read.
type Named = Result<Path<String>, PathRejection>;

/// `GET /v1/tasks`: in the order in which they were opened, a page after the id `after`. A client sees its own.
pub(crate) async fn list((State(broker), Extension(peer)): Asked, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let listed = page_of(&mut call).await;
    call.answer(listed).await
}

async fn page_of(call: &mut Call) -> Result<Response, Problem> {
    let caller = call.caller().await?;
    let (after, limit) = page::asked(call, id)?;
    let limit_rows = i64::from(limit);
    let store = call.broker.store();
    let found = match &caller {
        Caller::Client { id, .. } => store.tasks_of(id, &after, limit_rows).await?,
        Caller::Operator(_) => {
            caller.must_be_one_of([Role::Auditor, Role::Approver])?;
            store.tasks(&after, limit_rows).await?
        }
    };
    let body = page::page(&found, limit, |last| last.id.clone(), |task| task.shown(&call.moment));
    Ok(reply(StatusCode::OK, &body))
}

/// `GET /v1/tasks/{id}`.
pub(crate) async fn show((State(broker), Extension(peer)): Asked, id: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let shown = one(&mut call, id).await.map(|task| reply(StatusCode::OK, &task.shown(&call.moment)));
    call.answer(shown).await
}

/// The task with this id, if the caller may see it.
async fn one(call: &mut Call, id: Named) -> Result<KeptTask, Problem> {
    let caller = call.caller().await?;
    if matches!(caller, Caller::Operator(_)) {
        caller.must_be_one_of([Role::Auditor, Role::Approver])?;
    }
    let found = call.broker.store().task(&named(id)?).await?;
    let is_seen = |task: &KeptTask| match &caller {
        Caller::Operator(_) => true,
        Caller::Client { id, .. } => task.creator == *id || task.actor == *id,
    };
    found.filter(is_seen).ok_or(Problem::NotFound)
}

/// `POST /v1/tasks/{id}/complete`: 200 once the task and its tokens are dead for good, shown by its own token.
pub(crate) async fn complete((State(broker), Extension(peer)): Asked, id: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let ended = by_its_token(&mut call, id).await;
    call.answer(ended).await
}

async fn by_its_token(call: &mut Call, id: Named) -> Result<Response, Problem> {
    let task = call.task().await?;
    if task.id != named(id)? {
        return Err(Problem::NotFound);
    }
    // A token of a task that is over may have leaked long ago: it writes no more into the log than a stranger may.
    if task.over(call.moment.now).is_some() {
        call.count_as_stranger()?;
    }
    end(call, &task, Status::Completed).await
}

/// `POST /v1/tasks/{id}/cancel`: the same by an operator who decides about tasks.
pub(crate) async fn cancel((State(broker), Extension(peer)): Asked, id: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let ended = by_operator(&mut call, id).await;
    call.answer(ended).await
}

async fn by_operator(call: &mut Call, id: Named) -> Result<Response, Problem> {
    call.caller().await?.must_be_one_of([Role::Approver, Role::Admin])?;
    let task = call.broker.store().task(&named(id)?).await?.ok_or(Problem::NotFound)?;
    end(call, &task, Status::Cancelled).await
}

/// Ends `task`; saying twice that it ended in one way is saying it once.
async fn end(call: &mut Call, task: &KeptTask, status: Status) -> Result<Response, Problem> {
    call.record.kind = Kind::Task;
    let entry = task_end::entry(task, status, Vec::new(), &call.moment, &mut call.record);
    match task_end::commit(&call.broker, entry).await {
        Ok(None) => {}
        Ok(Some(over)) if is_that(over, status) => {}
        Ok(Some(over)) => return Err(Problem::TaskOver(over)),
        Err(_) => return Err(Problem::StoreUnavailable),
    }
    Ok(reply(StatusCode::OK, &json!({ "id": task.id, "status": status.as_str() })))
}

fn named(id: Named) -> Result<String, Problem> {
    id.ok().and_then(|Path(text)| self::id(&text)).ok_or(Problem::NotFound)
}

/// An id as they are made here: what has another form names nothing, and is not for the store to see.
fn id(text: &str) -> Option<String> {
    uuid::Uuid::try_parse(text).ok().map(|id| id.hyphenated().to_string())
}

fn is_that(over: Over, status: Status) -> bool {
    matches!(
        (over, status),
        (Over::Completed, Status::Completed) | (Over::Cancelled, Status::Cancelled)
    )
}
