//! `/access/v1`: the Authorization API 1.0 of OpenID AuthZEN, one more door to the same decision.
//!
//! A permit is answered only from its durable record, a denial too; nothing is minted, and no rule is in an answer.

mod asked;
mod batch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use axum::{Extension, Router};
use http::header::{HeaderName, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};
use issuance::audit::Kind;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::call::{Call, reply};
use super::caller::Caller;
use super::problem::Problem;
use super::question::{Against, Asker, Question, Told};
use super::together;
use crate::broker::Broker;
use crate::limits::OverLimit;
use crate::operator::Role;
use crate::overload::Overloaded;
use batch::{Batch, Semantic};

/// The header by which a caller finds the answer to its question.
const REQUEST_ID: &str = "x-request-id";
/// No longer one is echoed.
const LONGEST_ID: usize = 256;

/// Every endpoint: its method, its path, what serves it. `api/openapi.json` describes each.
pub(super) fn endpoints() -> Vec<(&'static str, &'static str, MethodRouter<Arc<Broker>>)> {
    vec![
        ("POST", "/evaluation", post(evaluation)),
        ("POST", "/evaluations", post(evaluations)),
    ]
}

/// All of them, to be put under `/access/v1`.
pub(crate) fn routes() -> Router<Arc<Broker>> {
    together(endpoints())
}

/// Which of the two is asked.
#[derive(Clone, Copy)]
enum Door {
    One,
    Several,
}

impl Door {
    fn as_str(self) -> &'static str {
        match self {
            Self::One => "POST /access/v1/evaluation",
            Self::Several => "POST /access/v1/evaluations",
        }
    }
}

/// `POST /access/v1/evaluation`: one question.
async fn evaluation(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    answered(broker, peer, request, Door::One).await
}

/// `POST /access/v1/evaluations`: several, or one if there are none.
async fn evaluations(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    answered(broker, peer, request, Door::Several).await
}

async fn answered(broker: Arc<Broker>, peer: SocketAddr, request: Request<Body>, door: Door) -> Response {
    let mut call = Call::new(broker, peer, request);
    let id = request_id(&call);
    let answer = match &id {
        Ok(_) => answer(&mut call, door).await,
        Err(problem) => Err(*problem),
    };
    let mut response = call.answer(answer).await;
    if let Ok(Some(id)) = id {
        response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id);
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        let basic = HeaderValue::from_static("Basic realm=\"narrows\", charset=\"UTF-8\"");
        response.headers_mut().append(WWW_AUTHENTICATE, basic);
    }
    response
}

/// What is to be echoed; a text that cannot be, as it came, is refused.
fn request_id(call: &Call) -> Result<Option<HeaderValue>, Problem> {
    let Some(id) = call.header(REQUEST_ID)? else { return Ok(None) };
    let is_plain = id.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let id = HeaderValue::from_str(id).ok().filter(|_| is_plain && (1..=LONGEST_ID).contains(&id.len()));
    id.map(Some).ok_or(Problem::Malformed("`X-Request-ID` must be 1 to 256 visible characters"))
}

/// Steps 1 to 4.
async fn answer(call: &mut Call, door: Door) -> Result<Response, Problem> {
    // 1. Who asks; an operator reads, whatever else the questions are.
    let caller = call.caller_or_secret().await?;
    call.record.kind = Kind::Exchange;
    if let Caller::Operator(_) = caller {
        caller.must_be(Role::Auditor)?;
    }

    // 2. What is asked.
    let body = call.body().await?;
    let batch = match door {
        Door::One => None,
        Door::Several => Batch::read(&body)?,
    };
    let broker = Arc::clone(&call.broker);
    let asker = Asker {
        client_ip: call.record.client_ip,
        caller,
        door: door.as_str(),
    };
    let asked = |question: &Map<String, Value>| asked::read(question, &asker);
    let Some(batch) = batch else {
        let told = decide(&broker, &asker, vec![Ok(asked(&body)?)], Semantic::ExecuteAll).await?;
        let only = told.into_iter().next().ok_or(Problem::StoreUnavailable)?;
        return Ok(reply(StatusCode::OK, &only));
    };
    let asked: Vec<_> = batch.questions.iter().map(asked).collect();

    // 3. Each question is a request, and the first is counted.
    if let Caller::Client { id, .. } = &asker.caller {
        for _ in asked.iter().skip(1) {
            let allowed = broker.limits().client(id, &call.in_force.rates, Instant::now());
            allowed.map_err(|OverLimit| Problem::RateLimited)?;
        }
    }

    // 4. The answers, in order, as far as the semantic goes.
    let told = decide(&broker, &asker, asked, batch.semantic).await?;
    Ok(reply(StatusCode::OK, &json!({ "evaluations": told })))
}

/// Decides, and tells what is durable.
async fn decide(
    broker: &Arc<Broker>,
    asker: &Asker,
    asked: Vec<Result<Question, Problem>>,
    semantic: Semantic,
) -> Result<Vec<Value>, Problem> {
    let _turn = broker.gate().enter().await.map_err(|Overloaded| Problem::RateLimited)?;
    // The body may have been long on its way: this is the moment of all these decisions, and nothing waits between it and
    // what is handed to the journal.
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    if broker.view_age() > broker.settings().max_view_age {
        return Err(Problem::ViewStale);
    }
    let mut recording = JoinSet::new();
    for (at, question) in asked.into_iter().enumerate() {
        let (decided, record) = asker.decide(&in_force, &moment, question);
        let is_last = semantic.ends_with(&decided);
        let broker = Arc::clone(broker);
        recording.spawn(async move { (at, decided.recorded(&broker, record).await) });
        if is_last {
            break;
        }
    }
    let mut told = recording.join_all().await;
    told.sort_by_key(|(at, _)| *at);
    told.into_iter().map(|(_, told)| told.map(|told| decision(&told))).collect()
}

/// AuthZEN's words for an answer (§5.5).
fn decision(told: &Told) -> Value {
    let mut context = Map::new();
    context.insert("decision_id".to_owned(), Value::from(told.decision_id.as_str()));
    if let Some(reason) = told.reason() {
        context.insert("reason".to_owned(), Value::from(reason));
    }
    if let Some(Against::Problem(problem)) = told.against {
        let error = json!({ "status": problem.status().as_u16(), "message": problem.detail() });
        context.insert("error".to_owned(), error);
    }
    json!({ "decision": told.against.is_none(), "context": context })
}
