//! `/v1/boundaries/{name}`: what a boundary in another process asks, for each request that comes to it.
//!
//! The steps and the records are those of a boundary in this process; only the way here is another one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use delegation::oauth::{ClientId, Form, GrantType, Reason, TokenType};
use http::{Request, StatusCode};
use issuance::mint::Minted;
use serde_json::{Value, json};

use super::call::{Call, reply};
use super::members::Members;
use super::problem::Problem;
use crate::broker::Broker;
use crate::connections::Credential;
use crate::front_door::{self, Greeted, Refused, Seen, StepUp};

type Asked = (State<Arc<Broker>>, Extension<SocketAddr>);
/// The boundary's name in the path, if it can be read.
type Named = Result<Path<String>, PathRejection>;

/// `POST /v1/boundaries/{name}/exchange`: a token for one request, or why not; 200 for both, since both are what was asked for.
pub(crate) async fn exchange((State(broker), Extension(peer)): Asked, name: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let decided = decide(&mut call, name).await;
    call.answer(decided).await
}

async fn decide(call: &mut Call, name: Named) -> Result<Response, Problem> {
    // 1. Who asks: nothing of the request means anything before that.
    let (name, client) = boundary(call, name).await?;

    // 2. What came to the boundary, and what it needs.
    let mut body = Members(call.body_of(call.broker.body_limit()).await?);
    let step_up = StepUp {
        max_auth_age: body.seconds("max_auth_age")?,
        acr: body.text("acr")?,
    };
    let audience = body.required("audience")?;
    let connection = body.text("connection")?;
    if let Some(connection) = &connection {
        shows(call, &name, Some(&audience), connection)?;
    }
    let form = Form::of([
        ("grant_type", GrantType::TokenExchange.as_str().to_owned()),
        ("subject_token", body.required("subject_token")?),
        ("subject_token_type", TokenType::AccessToken.as_str().to_owned()),
        ("audience", audience),
        ("authorization_details", body.list("authorization_details")?),
        ("onward", body.list("onward")?),
        ("scope", body.text("scope")?.unwrap_or_default()),
    ]);
    let seen = Seen {
        step_up,
        ..body.seen(&name, &client)?
    };
    body.ends()?;
    may_be_observed(call, &seen)?;

    // 3. The exchange, on record.
    if seen.observed {
        let said = match front_door::observe(&call.broker, &seen, &form, None, connection.as_deref()).await {
            Ok(()) => json!({ "observed": true }),
            Err(refused) => said(&refused),
        };
        return Ok(reply(StatusCode::OK, &said));
    }
    let granted = match &connection {
        None => front_door::exchange(&call.broker, &seen, &form, None).await.map(|minted| granted(&minted)),
        Some(connection) => match front_door::exchange_with(&call.broker, &seen, &form, None, connection).await {
            Ok((minted, shown)) => Ok(granted_with(&minted, &shown)?),
            Err(refused) => Err(refused),
        },
    };
    let said = granted.unwrap_or_else(|refused| said(&refused));
    Ok(reply(StatusCode::OK, &said))
}

/// `POST /v1/boundaries/{name}/greet`: whose token this is, before the boundary waits for a body.
pub(crate) async fn greet((State(broker), Extension(peer)): Asked, name: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let holder = holder(&mut call, name).await;
    call.answer(holder).await
}

async fn holder(call: &mut Call, name: Named) -> Result<Response, Problem> {
    let (name, client) = boundary(call, name).await?;
    let mut body = Members(call.body_of(call.broker.body_limit()).await?);
    let token = body.required("subject_token")?;
    let seen = body.seen(&name, &client)?;
    body.ends()?;
    may_be_observed(call, &seen)?;
    let holder = |greeted: Greeted| {
        let subject = greeted.subject();
        json!({ "iss": subject.iss, "sub": subject.sub })
    };
    let said = match front_door::greet_signed(&call.broker, &seen, &token).await {
        Ok(greeted) => json!({ "holder": greeted.map(holder) }),
        Err(refused) => said(&refused),
    };
    Ok(reply(StatusCode::OK, &said))
}

/// `POST /v1/boundaries/{name}/attributes`: what is verified of the subject of a token, of which the boundary's route makes its detail.
pub(crate) async fn attributes((State(broker), Extension(peer)): Asked, name: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let known = know(&mut call, name).await;
    call.answer(known).await
}

async fn know(call: &mut Call, name: Named) -> Result<Response, Problem> {
    let (name, client) = boundary(call, name).await?;
    let mut body = Members(call.body_of(call.broker.body_limit()).await?);
    let token = body.required("subject_token")?;
    let seen = body.seen(&name, &client)?;
    body.ends()?;
    let said = match front_door::attributes(&call.broker, &seen, &token).await {
        Ok(known) => json!({ "attributes": { "values": known.values, "groups": known.groups } }),
        Err(refused) => said(&refused),
    };
    Ok(reply(StatusCode::OK, &said))
}

/// `POST /v1/boundaries/{name}/refusals`: puts on record a refusal that the boundary itself decided on.
pub(crate) async fn refuse((State(broker), Extension(peer)): Asked, name: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let refused = record(&mut call, name).await;
    call.answer(refused).await
}

async fn record(call: &mut Call, name: Named) -> Result<Response, Problem> {
    let (name, client) = boundary(call, name).await?;
    let mut body = Members(call.body_of(call.broker.body_limit()).await?);
    let reason = Reason::parse(&body.required("reason")?).ok_or(Problem::Malformed("`reason` must be a reason of a refusal"))?;
    let seen = body.seen(&name, &client)?;
    body.ends()?;
    may_be_observed(call, &seen)?;
    let refused = front_door::refuse(&call.broker, &seen, reason).await;
    Ok(reply(StatusCode::OK, &said(&refused)))
}

/// `POST /v1/boundaries/{name}/echoes`: puts on record that an upstream said its credential back, and that it was cut out.
pub(crate) async fn echo((State(broker), Extension(peer)): Asked, name: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let cut = cut(&mut call, name).await;
    call.answer(cut).await
}

async fn cut(call: &mut Call, name: Named) -> Result<Response, Problem> {
    let (name, client) = boundary(call, name).await?;
    let mut body = Members(call.body_of(call.broker.body_limit()).await?);
    let connection = body.required("connection")?;
    shows(call, &name, None, &connection)?;
    let seen = body.seen(&name, &client)?;
    body.ends()?;
    let recorded = front_door::echoed(&call.broker, &seen, &connection).await;
    Ok(reply(StatusCode::OK, &json!({ "recorded": recorded })))
}

/// `POST /v1/boundaries/{name}/alive`: whether a token that the boundary was given still holds, for a response that goes on.
pub(crate) async fn alive((State(broker), Extension(peer)): Asked, name: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let looked = look(&mut call, name).await;
    call.answer(looked).await
}

async fn look(call: &mut Call, name: Named) -> Result<Response, Problem> {
    let (_, client) = boundary(call, name).await?;
    let mut body = Members(call.body_of(call.broker.body_limit()).await?);
    let token = body.required("token")?;
    body.ends()?;
    let is_alive = front_door::is_alive(&call.broker, &token, &client).await;
    Ok(reply(StatusCode::OK, &json!({ "alive": is_alive })))
}

/// The boundary that is named, and the client that acts there, which is the caller.
async fn boundary(call: &mut Call, name: Named) -> Result<(String, ClientId), Problem> {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let client = call.boundary(&name).await?;
    Ok((name, client))
}

/// Refuses whoever asks for an upstream credential that no route of the boundary goes on with: a data plane has what its own
/// requests need.
fn shows(call: &Call, name: &str, audience: Option<&str>, connection: &str) -> Result<(), Problem> {
    let boundary = call.in_force.boundaries.get(name);
    if boundary.is_some_and(|boundary| boundary.shows(audience, connection)) {
        Ok(())
    } else {
        Err(Problem::NotPermitted)
    }
}

fn granted(minted: &Minted) -> Value {
    json!({ "granted": { "access_token": minted.token, "expires_in": minted.expires_in } })
}

/// The one reply that holds an upstream credential, to the client that acts at the boundary.
fn granted_with(minted: &Minted, shown: &Credential) -> Result<Value, Problem> {
    // A value that is no text cannot be said in JSON.
    let value = shown.value.to_str().map_err(|_| Problem::StoreUnavailable)?;
    Ok(json!({ "granted": {
        "access_token": minted.token,
        "expires_in": minted.expires_in,
        "credential": {
            "connection": shown.connection,
            "origin": shown.origin,
            "header": shown.header.as_str(),
            "value": value,
            "secret": shown.secret.expose(),
        },
    } }))
}

/// What binds by the broker's own configuration is not put on record as if it had gone on.
fn may_be_observed(call: &Call, seen: &Seen<'_>) -> Result<(), Problem> {
    if seen.observed && !call.broker.observing().iter().any(|part| part.boundary == seen.boundary) {
        return Err(Problem::Malformed(
            "`observed` is for a boundary of which something observes by the broker's configuration: `mode` and `observe_until` there",
        ));
    }
    Ok(())
}

fn said(refused: &Refused) -> Value {
    json!({ "refused": { "reason": refused.reason.as_str(), "decision_id": refused.decision_id } })
}

impl Members {
    fn seconds(&mut self, name: &str) -> Result<Option<Duration>, Problem> {
        Ok(self.number(name)?.map(Duration::from_secs))
    }

    /// What the boundary saw, for the record.
    fn seen<'a>(&mut self, boundary: &'a str, client: &'a ClientId) -> Result<Seen<'a>, Problem> {
        let request = self.request()?;
        let from = self.address("client_ip")?;
        let is_callers_own = self.truth("is_callers_own")?.ok_or(Problem::Malformed("a member that must be there is missing"))?;
        let observed = self.truth("observed")?.unwrap_or_default();
        Ok(Seen {
            boundary,
            acting: Some(client),
            from,
            is_callers_own,
            request,
            step_up: StepUp::default(),
            observed,
            greeted: None,
        })
    }
}
