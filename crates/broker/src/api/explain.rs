//! `POST /v1/explain`: would this be allowed, and by which rule? In the words of a request for a token, about a subject without one.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use delegation::oauth::parse_scope;
use http::{Request, StatusCode};
use issuance::audit::{Kind, Record};
use issuance::evaluation::{About, Evaluation, StatedParty, StatedRequest, Statement};
use policy_cedar::QuestionExplanation;
use serde_json::{Map, Value, json};

use super::call::{Call, reply};
use super::caller::Caller;
use super::problem::Problem;
use super::question::{Asker, Question, circumstances, object, optional_text, text};
use crate::broker::Broker;
use crate::operator::Role;
use crate::overload::Overloaded;

/// Every member of a body.
const KNOWN: [&str; 13] = [
    "client",
    "subject",
    "audience",
    "authorization_details",
    "onward",
    "scope",
    "expires_in",
    "client_ip",
    "chain",
    "requested_by",
    "acr",
    "auth_age_seconds",
    "subject_age_seconds",
];
/// Every member of its subject.
const OF_SUBJECT: [&str; 4] = ["type", "id", "issuer", "attributes"];

/// Explains to a client what it may do itself, and to an auditor what any client may. Rules are for auditors.
pub(crate) async fn explain(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let explained = answer(&mut call).await;
    call.answer(explained).await
}

async fn answer(call: &mut Call) -> Result<Response, Problem> {
    let caller = call.caller().await?;
    call.record.kind = Kind::Exchange;
    if let Caller::Operator(_) = caller {
        caller.must_be(Role::Auditor)?;
    }
    let body = call.body().await?;
    let broker = Arc::clone(&call.broker);
    let asker = Asker {
        caller,
        client_ip: call.record.client_ip,
        door: "POST /v1/explain",
    };
    let question = read(&body, &asker)?;
    let _turn = broker.gate().enter().await.map_err(|Overloaded| Problem::RateLimited)?;
    // As for every answer: nothing waits between this moment and what is handed to the journal.
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    if broker.view_age() > broker.settings().max_view_age {
        return Err(Problem::ViewStale);
    }
    let mut not_kept = Record::new(String::new(), moment.now, Kind::Exchange);
    let proposed = Evaluation::propose(&moment, &question.client, &question.statement, &mut not_kept);
    let questions = match proposed {
        Ok(proposed) => in_force.policy.explain(proposed.inquiry()).questions,
        Err(not_asked) => asker.looks_refused(&not_asked).iter().map(QuestionExplanation::refused).collect(),
    };
    let (decided, record) = asker.decide(&in_force, &moment, Ok(question));
    let told = decided.recorded(&broker, record).await?;
    let shown: Vec<_> = questions.iter().map(|question| show(question, &asker.caller)).collect();
    let mut answer = json!({ "allowed": told.against.is_none(), "decision_id": told.decision_id, "questions": shown });
    if let (Some(reason), Some(members)) = (told.reason(), answer.as_object_mut()) {
        members.insert("reason".to_owned(), Value::from(reason));
    }
    Ok(reply(StatusCode::OK, &answer))
}

/// A question as `caller` may see it.
fn show(question: &QuestionExplanation, caller: &Caller) -> Value {
    match caller {
        Caller::Operator(_) => json!(question),
        Caller::Client { .. } => json!({ "asked": question.asked, "allowed": question.allowed }),
    }
}

fn read(body: &Map<String, Value>, asker: &Asker) -> Result<Question, Problem> {
    let only = |words: &Map<String, Value>, known: &[&str]| {
        let all_known = words.keys().all(|name| known.contains(&name.as_str()));
        all_known.then_some(()).ok_or(Problem::Malformed("the body has a member that is not known"))
    };
    only(body, &KNOWN)?;
    let (client, seen) = asker.client(body)?;
    let subject = object(body, "subject")?.ok_or(Problem::Malformed("`subject` is required"))?;
    only(subject, &OF_SUBJECT)?;
    let array = |name: &str| match body.get(name) {
        None => Ok(None),
        Some(Value::Array(items)) if items.is_empty() => Ok(None),
        Some(value @ Value::Array(_)) => Ok(Some(value.to_string())),
        Some(_) => Err(Problem::Malformed("`authorization_details` and `onward` must be arrays")),
    };
    let scopes = match optional_text(body, "scope")? {
        None => BTreeSet::new(),
        Some(scope) => parse_scope(&scope).map_err(|_| Problem::Malformed("`scope` is malformed"))?,
    };
    Ok(Question {
        client,
        statement: Statement {
            subject: StatedParty {
                kind: text(subject, "type")?,
                id: text(subject, "id")?,
                issuer: optional_text(subject, "issuer")?,
                properties: object(subject, "attributes")?.cloned().unwrap_or_default(),
            },
            about: About::Request(StatedRequest {
                audience: text(body, "audience")?,
                details: array("authorization_details")?,
                onward: array("onward")?,
                scopes,
            }),
            circumstances: circumstances(body, seen)?,
        },
    })
}
