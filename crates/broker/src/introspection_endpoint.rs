//! `POST /oauth2/introspect` (RFC 7662): is this token alive, and what does it say?

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delegation::oauth::{ClientId, Manner, Reason, TokenType};
use delegation::registry::{AuthenticatedClient, Moment};
use delegation::token::Active;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request};
use issuance::audit::{Decision, Entry, Journal, Kind, Record};
use issuance::exchange;
use issuance::mint::Signer;
use issuance::policy::Policy;
use issuance::task::KeptTask;
use serde_json::{Map, Value, json};

use crate::broker::Broker;
use crate::denied::Denied;
use crate::endpoint::{self, Received, Urgency};
use crate::evidence;
use crate::ids;
use crate::overload::Overloaded;
use crate::reply;

/// The media type of a signed answer (RFC 9701 §4).
const SIGNED: &str = "application/token-introspection+jwt";

/// Serves one request. Of a token that is not alive, or not the caller's, nothing is said but `false`.
pub(crate) async fn introspect(
    State(broker): State<Arc<Broker>>,
    Extension(peer): Extension<SocketAddr>,
    request: Request<Body>,
) -> Response {
    let headers = request.headers().clone();
    let started = Instant::now();
    let mut record = Record::new(ids::decision(), broker.now(), Kind::Introspection);
    record.client_ip = Some(peer.ip());
    let answered = match endpoint::receive(&broker, &headers, request).await {
        Ok(received) => match broker.gate().enter().await {
            Ok(_turn) => answer(&broker, &received, &mut record).await,
            Err(Overloaded) => Err(Denied::uncounted(Reason::RateLimited)),
        },
        Err(reason) => Err(Denied::stranger(reason)),
    };
    let answered = match answered {
        Ok((caller, said)) if wants_signed(&headers) => match sign(&broker, &caller, &said).await {
            Some(token) => Ok((SIGNED, token)),
            None => Err(Denied::recorded_anew(Reason::StoreUnavailable, Manner::default(), &mut record)),
        },
        Ok((_, said)) => Ok(("application/json", said.to_string())),
        Err(denied) => Err(denied),
    };
    let response = match answered {
        Ok((media, body)) => {
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(denied) => {
            endpoint::refuse(
                &broker,
                peer,
                "POST /oauth2/introspect",
                headers.contains_key(AUTHORIZATION),
                denied,
                record,
            )
            .await
        }
    };
    broker.telemetry().answered(response.status().as_u16(), started.elapsed());
    response
}

/// What is said about the token, once it is on record, and to whom.
async fn answer(broker: &Broker, received: &Received, record: &mut Record) -> Result<(String, Value), Denied> {
    // 1. Who asks.
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let authorization = received.authorization.as_deref();
    let client = endpoint::client(broker, &in_force, &moment, &received.form, authorization, Urgency::Usual, record).await?;
    let uses = exchange::uses(&client);
    let denied = |reason| Denied::of_client(reason, uses.clone());
    let token = received.form.get("token").ok_or(Reason::MalformedRequest).map_err(denied)?;

    // 2. The token.
    let said = seen_by(broker, &moment, &client, token, record).await.map_err(denied)?;

    // 3. The record, before the answer.
    let said = said.unwrap_or_else(|| json!({ "active": false }));
    let entry = Entry {
        uses,
        ..Entry::of(record.clone())
    };
    endpoint::commit(broker, entry, record).await?;
    Ok((client.id().to_string(), said))
}

/// What `token` says to a client of this process, which needs no credential, once that is on record; `None` as at the endpoint.
pub(crate) async fn within(broker: &Broker, client: &ClientId, token: &str) -> Result<Option<Value>, Reason> {
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let mut record = Record::new(ids::decision(), broker.now(), Kind::Introspection);
    record.client = Some(client.clone());
    record.config_version.clone_from(&in_force.snapshot.config_version);
    record.policy_version = in_force.policy.version().to_owned();
    let _turn = broker.gate().enter().await.map_err(|Overloaded| Reason::RateLimited)?;
    let client = AuthenticatedClient::in_process(&moment, client).map_err(|_| Reason::ClientAuthenticationFailed)?;
    let said = seen_by(broker, &moment, &client, token, &mut record).await?;
    let committed = broker.journal().commit(Entry::of(record)).await;
    committed.map_err(|_| Reason::StoreUnavailable)?;
    Ok(said)
}

/// What is said of the token, if it is alive, and the caller's to see.
async fn seen_by(
    broker: &Broker,
    moment: &Moment,
    client: &AuthenticatedClient<'_>,
    token: &str,
    record: &mut Record,
) -> Result<Option<Value>, Reason> {
    let said = match evidence::task(broker, token).await {
        Ok(task) => said_of_task(&task, client, moment, record),
        Err(Reason::StoreUnavailable) => return Err(Reason::StoreUnavailable),
        Err(_) => {
            let authentic = evidence::unspent(broker, moment, token).await?;
            let active = authentic.as_ref().and_then(|token| token.active_at(moment));
            active.filter(|active| is_callers(active, client)).map(|active| said_of(&active, record))
        }
    };
    record.decision = if said.is_some() { Decision::Allow } else { Decision::Deny };
    record.reason = if said.is_some() { "active" } else { "inactive" }.to_owned();
    Ok(said)
}

/// Whether the caller may see the token: it is addressed to the caller, or was issued to it.
fn is_callers(active: &Active<'_, '_>, client: &AuthenticatedClient<'_>) -> bool {
    let token = &active.token;
    let receives = |audience: &String| client.client().receives.iter().any(|each| each.means(audience, None));
    token.client_id.as_ref() == Some(client.id()) || token.audiences.iter().any(receives)
}

fn said_of(active: &Active<'_, '_>, record: &mut Record) -> Value {
    record.subject = Some(active.token.subject.clone());
    record.jti.clone_from(&active.token.jti);
    record.txn.clone_from(&active.token.txn);
    record.task.clone_from(&active.token.task);
    let kind = if active.token.is_txn_token {
        TokenType::TxnToken
    } else {
        TokenType::AccessToken
    };
    said(reply::token_type(kind), active.claims.clone())
}

/// What is said of a task, to the client that opened it and the one that redeems it.
fn said_of_task(task: &KeptTask, client: &AuthenticatedClient<'_>, moment: &Moment, record: &mut Record) -> Option<Value> {
    if task.creator != *client.id() && task.actor != *client.id() {
        return None;
    }
    let claims = task.said_at(moment)?;
    record.task = Some(task.id.clone());
    record.txn = task.txn();
    Some(said("N_A", claims))
}

fn said(token_type: &str, claims: Map<String, Value>) -> Value {
    let own = [("active", Value::Bool(true)), ("token_type", Value::from(token_type))];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(own.chain(claims).collect())
}

/// Whether a signed answer is asked for by name; `*/*` takes JSON.
fn wants_signed(headers: &HeaderMap) -> bool {
    let ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    ranges.into_iter().any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(SIGNED));
        named && !parts.any(|parameter| matches!(parameter, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The answer as a JWT for the caller (RFC 9701 §5).
async fn sign(broker: &Broker, caller: &str, said: &Value) -> Option<String> {
    let key = broker.signer().current();
    let header = json!({ "typ": "token-introspection+jwt", "kid": key.kid, "alg": key.algorithm.as_str() });
    let claims = json!({
        "iss": broker.in_force().snapshot.issuer, "aud": caller, "iat": broker.now().seconds(), "token_introspection": said,
    });
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(&header), encode(&claims));
    let signature = broker.signer().sign(&key, message.as_bytes()).await.ok()?;
    Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
