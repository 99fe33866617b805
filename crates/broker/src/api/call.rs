//! One request to `/v1`: what every endpoint does before and after its own work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::Response;
use delegation::json;
use delegation::oauth::{ClientId, Reason};
use delegation::registry::Moment;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Request, StatusCode};
use issuance::audit::{Decision, Entry, Journal, Kind, Record};
use issuance::policy::Policy;
use issuance::task::KeptTask;
use serde_json::{Map, Value};

use super::caller::{self, Caller, Credential, bearer};
use super::problem::Problem;
use super::sizes;
use crate::broker::{Broker, InForce};
use crate::limits::{Claim, OverLimit, Proof};
use crate::{endpoint, evidence, ids};

/// How deep a body may be nested.
const DEPTH: usize = 8;

/// A request on its way to an answer, with the record that will tell of it.
pub(crate) struct Call {
    pub(crate) broker: Arc<Broker>,
    pub(crate) in_force: Arc<InForce>,
    pub(crate) moment: Moment,
    pub(crate) record: Record,
    parts: Parts,
    body: Body,
    known: bool,
}

impl Call {
    /// Begins with a request that came from `peer`; the moment of its decision is now.
    pub(crate) fn new(broker: Arc<Broker>, peer: SocketAddr, request: Request<Body>) -> Self {
        let in_force = broker.in_force();
        let moment = broker.moment(&in_force);
        let mut record = Record::new(ids::decision(), moment.now, Kind::ClientAuth);
        record.client_ip = Some(peer.ip());
        record.config_version.clone_from(&moment.snapshot.config_version);
        record.policy_version = in_force.policy.version().to_owned();
        let (parts, body) = request.into_parts();
        Self {
            broker,
            in_force,
            moment,
            record,
            parts,
            body,
            known: false,
        }
    }

    /// Finds out who asks; the record learns it.
    pub(crate) async fn caller(&mut self) -> Result<Caller, Problem> {
        Ok(self.credential().await?.1)
    }

    /// The same at a door that takes a client's secret in the header as well.
    pub(crate) async fn caller_or_secret(&mut self) -> Result<Caller, Problem> {
        let from = self.record.client_ip.ok_or(Problem::Unauthenticated)?;
        let shown = caller::by_secret(&self.broker, &self.in_force, &self.moment, &self.parts.headers, from).await?;
        match shown {
            None => self.caller().await,
            Some(caller) => {
                self.know(&caller);
                self.count(&caller)?;
                Ok(caller)
            }
        }
    }

    /// The same, with what was shown.
    pub(crate) async fn credential(&mut self) -> Result<(Credential, Caller), Problem> {
        let shown = self.shown().await?;
        self.count(&shown.1)?;
        Ok(shown)
    }

    /// The client that acts at the boundary `name`, which is the caller, by a token for data planes.
    ///
    /// It has no rate here: whoever calls the boundary would use up what is everybody's. One that may not ask has its own.
    pub(crate) async fn boundary(&mut self, name: &str) -> Result<ClientId, Problem> {
        let (_, caller) = self.shown().await?;
        match caller {
            Caller::Client { id, is_data_plane: true } if self.acts(&id, name) => Ok(id),
            caller => self.count(&caller).and(Err(Problem::NotPermitted)),
        }
    }

    fn acts(&self, client: &ClientId, name: &str) -> bool {
        self.in_force.boundaries.get(name).is_some_and(|boundary| boundary.client == *client)
    }

    /// The client that guards `service`, which is the caller, by a token for data planes; no rate, as at a boundary.
    pub(crate) async fn guard(&mut self, service: &str) -> Result<ClientId, Problem> {
        let (_, caller) = self.shown().await?;
        match caller {
            Caller::Client { id, is_data_plane: true } if self.guards(&id, service) => Ok(id),
            caller => self.count(&caller).and(Err(Problem::NotPermitted)),
        }
    }

    fn guards(&self, client: &ClientId, service: &str) -> bool {
        self.in_force.guards.get(service).is_some_and(|service| service.clients.contains(client))
    }

    /// The client that asks by a token for data planes, whatever it serves; no rate either.
    pub(crate) async fn data_plane(&mut self) -> Result<ClientId, Problem> {
        let (_, caller) = self.shown().await?;
        match caller {
            Caller::Client { id, is_data_plane: true } => Ok(id),
            caller => self.count(&caller).and(Err(Problem::NotPermitted)),
        }
    }

    /// Counts this request for the client that asks; operators have no rate.
    fn count(&self, caller: &Caller) -> Result<(), Problem> {
        let Caller::Client { id, .. } = caller else { return Ok(()) };
        let allowed = self.broker.limits().client(id, &self.in_force.rates, Instant::now());
        allowed.map_err(|OverLimit| Problem::RateLimited)
    }

    /// What was shown, and whom it shows; the record learns it.
    async fn shown(&mut self) -> Result<(Credential, Caller), Problem> {
        let broker = &self.broker;
        let from = self.record.client_ip.ok_or(Problem::Unauthenticated)?;
        let credential = Credential::shown(broker, &self.in_force, &self.parts.headers, from).await?;
        let caller = credential.caller(broker, &self.moment).await?;
        self.know(&caller);
        Ok((credential, caller))
    }

    /// Takes note of who asks.
    fn know(&mut self, caller: &Caller) {
        match caller {
            Caller::Operator(operator) => {
                self.record.kind = Kind::Operator;
                self.note("operator", operator.name.as_str());
            }
            Caller::Client { id, .. } => self.record.client = Some(id.clone()),
        }
        self.known = true;
    }

    /// The task whose token is shown; whoever holds it may say that its work is done, and nothing else here.
    pub(crate) async fn task(&mut self) -> Result<KeptTask, Problem> {
        let token = bearer(&self.parts.headers)?;
        let from = self.record.client_ip.ok_or(Problem::Unauthenticated)?;
        let claim = Claim {
            known: None,
            proof: Proof::Secret,
        };
        let looked_at = self.broker.limits().before_check(from, &claim, &self.in_force.rates, Instant::now());
        looked_at.map_err(|OverLimit| Problem::RateLimited)?;
        let task = evidence::task(&self.broker, token).await.map_err(|reason| match reason {
            Reason::StoreUnavailable => Problem::StoreUnavailable,
            _ => Problem::Unauthenticated,
        })?;
        self.record.task = Some(task.id.clone());
        self.known = true;
        Ok(task)
    }

    /// Counts this request for the network that it came from.
    pub(crate) fn count_as_stranger(&self) -> Result<(), Problem> {
        let from = self.record.client_ip.ok_or(Problem::Unauthenticated)?;
        let counted = self.broker.limits().stranger(from, &self.in_force.rates, Instant::now());
        counted.map_err(|OverLimit| Problem::RateLimited)
    }

    /// Puts a member into the record's `inputs`.
    pub(crate) fn note(&mut self, name: &str, value: impl Into<Value>) {
        if !self.record.inputs.is_object() {
            self.record.inputs = Value::Object(Map::new());
        }
        if let Some(inputs) = self.record.inputs.as_object_mut() {
            inputs.insert(name.to_owned(), value.into());
        }
    }

    /// The body, an object; absent is empty. Bounded in bytes, time and depth before it means anything.
    pub(crate) async fn body(&mut self) -> Result<Map<String, Value>, Problem> {
        self.body_of(sizes::USUAL).await
    }

    /// The same of at most `most` bytes.
    pub(crate) async fn body_of(&mut self, most: usize) -> Result<Map<String, Value>, Problem> {
        let bytes = endpoint::bounded(std::mem::take(&mut self.body), most).await.map_err(|reason| match reason {
            Reason::TooLarge => Problem::TooLarge,
            _ => Problem::Malformed("the body did not arrive"),
        })?;
        if bytes.is_empty() {
            return Ok(Map::new());
        }
        let headers = &self.parts.headers;
        let is_json = |value: &HeaderValue| {
            let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
            media.trim().eq_ignore_ascii_case("application/json")
        };
        let declared: Vec<_> = headers.get_all(CONTENT_TYPE).iter().collect();
        let coded = headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if !matches!(declared.as_slice(), [only] if is_json(only)) || coded {
            return Err(Problem::Malformed("the body must be declared as application/json, in no coding"));
        }
        json::parse_object(&bytes, DEPTH).map_err(|_| Problem::Malformed("the body must be one JSON object, no member twice"))
    }

    /// The parameters of the query, which are these and no others: one that is misspelt would give something else than is asked.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
        let pairs = url::form_urlencoded::parse(self.parts.uri.query().unwrap_or_default().as_bytes());
        let mut seen: Vec<(String, String)> = Vec::new();
        for (name, value) in pairs {
            if seen.iter().any(|(known, _)| *known == name) {
                return Err(Problem::Malformed("a parameter of the query is repeated"));
            }
            if !known.contains(&&*name) {
                return Err(Problem::Malformed("a parameter of the query is not known"));
            }
            seen.push((name.into_owned(), value.into_owned()));
        }
        Ok(seen)
    }

    /// A header that may be there once.
    pub(crate) fn header(&self, name: &'static str) -> Result<Option<&str>, Problem> {
        let all: Vec<_> = self.parts.headers.get_all(name).iter().collect();
        match all.as_slice() {
            [] => Ok(None),
            [only] => only.to_str().map(Some).map_err(|_| Problem::Malformed("a header is no text")),
            _ => Err(Problem::Malformed("a header is repeated")),
        }
    }

    /// Makes what is done durable, and gives the place of its record.
    pub(crate) async fn commit(&mut self, entry: Entry) -> Result<u64, Problem> {
        self.broker.journal().commit(entry).await.map_err(|_| Problem::StoreUnavailable)
    }

    /// The reply. A refusal is on record before it is answered.
    pub(crate) async fn answer(self, answered: Result<Response, Problem>) -> Response {
        let broker = Arc::clone(&self.broker);
        let response = match answered {
            Ok(response) => response,
            Err(problem) => self.refuse(problem).await,
        };
        broker.telemetry().api_answered(response.status().as_u16());
        response
    }

    async fn refuse(mut self, problem: Problem) -> Response {
        let mut problem = problem;
        if let (false, Some(from)) = (self.known, self.record.client_ip)
            && problem.is_a_strangers()
            && self.broker.limits().stranger(from, &self.in_force.rates, Instant::now()) == Err(OverLimit)
        {
            problem = Problem::RateLimited;
        }
        self.record.decision = Decision::Deny;
        problem.reason().clone_into(&mut self.record.reason);
        let path = self.parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
        self.note("asked", format!("{} {}", self.parts.method, path.unwrap_or_default()));
        if self.known {
            // Whatever it was to be recorded as did not happen; a refusal is a record of its own.
            self.record.id = ids::decision();
        }
        let id = self.record.id.clone();
        let recorded = if self.known {
            self.broker.journal().commit(Entry::of(self.record)).await.map(|_| id)
        } else {
            self.broker.record_stranger(self.record).await
        };
        match recorded {
            Ok(id) => problem.reply(Some(&id)),
            Err(_) => Problem::StoreUnavailable.reply(None),
        }
    }
}

/// A reply in JSON, which no cache keeps.
pub(crate) fn reply(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
