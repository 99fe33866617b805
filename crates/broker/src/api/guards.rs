//! `/v1/guards/{service}`: what a guard in another process says and asks of what came to it.
//!
//! The steps and the records are those of a guard in this process; only the way here is another one.

mod places;
mod refusals;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use delegation::oauth::{ClientId, parse_scope};
use delegation::time::Timestamp;
use http::{Request, StatusCode};
use narrows_guard::sightings::is_one_place;
use serde_json::json;

use super::call::{Call, reply};
use super::members::Members;
use super::problem::Problem;
use super::sizes;
use crate::broker::Broker;
use crate::guards::{self, Asked, Guard, Seen, SeenTwice, Told};

type Came = (State<Arc<Broker>>, Extension<SocketAddr>);
/// The service's name in the path, if it can be read.
type Named = Result<Path<String>, PathRejection>;

/// No guard refuses more requests than this before it is heard again.
const MOST_LOST: u64 = 1_000_000_000_000;
/// No date that anybody means is later, in seconds.
const LATEST: u64 = 1 << 53;
/// No `jti` that is put on record is longer.
const LONGEST_JTI: usize = 256;

/// `POST /v1/guards/{service}/refusals`: puts on record what a guard refused.
pub(crate) async fn refuse((State(broker), Extension(peer)): Came, service: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let refused = record(&mut call, service).await;
    call.answer(refused).await
}

async fn record(call: &mut Call, service: Named) -> Result<Response, Problem> {
    let (service, client) = guard(call, service).await?;
    let mut body = Members(call.body_of(sizes::BATCH).await?);
    let refusals = refusals::read(&mut body, &call.moment.snapshot.types)?;
    let lost = body.number("lost")?.unwrap_or_default();
    if lost > MOST_LOST {
        return Err(Problem::Malformed("`lost` is no number of requests that anybody refused"));
    }
    body.ends()?;
    let guard = Guard {
        service: &service,
        client: &client,
    };
    let recorded = guards::refused(&call.broker, &guard, &refusals, lost, Told::FromElsewhere).await?;
    Ok(reply(StatusCode::OK, &json!({ "recorded": recorded })))
}

/// `POST /v1/guards/{service}/recheck`: whether policy still allows a request of a token that was issued before.
pub(crate) async fn recheck((State(broker), Extension(peer)): Came, service: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let decided = decide(&mut call, service).await;
    call.answer(decided).await
}

async fn decide(call: &mut Call, service: Named) -> Result<Response, Problem> {
    let (service, client) = guard(call, service).await?;
    let mut body = Members(call.body_of(call.broker.body_limit()).await?);
    let scopes = body.text("scope")?.map(|text| parse_scope(&text)).transpose();
    let asked = Asked {
        token: body.required("token")?,
        request: body.request()?,
        from: body.address("client_ip")?,
        details: Some(body.list("authorization_details")?).filter(|details| !details.is_empty()),
        scopes: scopes.map_err(|_| Problem::Malformed("`scope` is malformed"))?.unwrap_or_default(),
        observed: body.truth("observed")?.unwrap_or_default(),
    };
    body.ends()?;
    let guard = Guard {
        service: &service,
        client: &client,
    };
    let said = match guards::recheck(&call.broker, &guard, asked).await {
        Ok(()) => json!({ "allowed": true }),
        Err(refused) => json!({ "refused": { "reason": refused.reason.as_str(), "decision_id": refused.decision_id } }),
    };
    Ok(reply(StatusCode::OK, &said))
}

/// `POST /v1/guards/{service}/sightings`: says that one token was shown from two places.
pub(crate) async fn sight((State(broker), Extension(peer)): Came, service: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let seen = see(&mut call, service).await;
    call.answer(seen).await
}

async fn see(call: &mut Call, service: Named) -> Result<Response, Problem> {
    let (service, client) = guard(call, service).await?;
    let mut body = Members(call.body().await?);
    let seen = SeenTwice {
        jti: jti(&mut body)?,
        exp: date(&mut body, "exp")?.ok_or(Problem::Malformed("`exp` is missing"))?,
        iat: date(&mut body, "iat")?,
        first: body.address("first")?,
        second: body.address("second")?,
    };
    body.ends()?;
    if is_one_place(seen.first, seen.second) {
        return Err(Problem::Malformed("`first` and `second` are one place"));
    }
    let guard = Guard {
        service: &service,
        client: &client,
    };
    let said = match guards::seen_twice(&call.broker, &guard, &seen).await? {
        Seen::Recorded => json!({ "recorded": true, "revoked": false }),
        Seen::Revoked => json!({ "recorded": true, "revoked": true }),
        Seen::Before => json!({ "recorded": false, "revoked": false }),
    };
    Ok(reply(StatusCode::OK, &said))
}

/// `POST /v1/guards/{service}/places`: says where tokens were shown first.
pub(crate) async fn place((State(broker), Extension(peer)): Came, service: Named, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let kept = keep(&mut call, service).await;
    call.answer(kept).await
}

async fn keep(call: &mut Call, service: Named) -> Result<Response, Problem> {
    let (service, client) = guard(call, service).await?;
    let mut body = Members(call.body_of(sizes::BATCH).await?);
    let places = places::read(&mut body)?;
    body.ends()?;
    let guard = Guard {
        service: &service,
        client: &client,
    };
    let recorded = guards::first_seen(&call.broker, &guard, &places).await?;
    Ok(reply(StatusCode::OK, &json!({ "seen_twice": recorded })))
}

/// `POST /v1/uses`: takes this for the one use of a token.
pub(crate) async fn consume((State(broker), Extension(peer)): Came, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let used = take(&mut call).await;
    call.answer(used).await
}

async fn take(call: &mut Call) -> Result<Response, Problem> {
    let client = call.data_plane().await?;
    let mut body = Members(call.body_of(call.broker.body_limit()).await?);
    let from = body.has("client_ip").then(|| body.address("client_ip")).transpose()?;
    let shown = guards::Shown {
        token: body.required("token")?,
        request: body.request()?,
        from: from.or(call.record.client_ip),
    };
    body.ends()?;
    match guards::consume(&call.broker, &client, shown).await {
        Ok(()) => Ok(reply(StatusCode::OK, &json!({ "accepted": true }))),
        // On record already.
        Err(refused) => Ok(Problem::of_token(refused.reason).reply(Some(&refused.decision_id))),
    }
}

/// The service that is named, and the client that guards it, which is the caller.
async fn guard(call: &mut Call, service: Named) -> Result<(String, ClientId), Problem> {
    let service = service.map(|Path(service)| service).unwrap_or_default();
    let client = call.guard(&service).await?;
    Ok((service, client))
}

fn jti(body: &mut Members) -> Result<String, Problem> {
    let jti = body.required("jti")?;
    let fits = jti.len() <= LONGEST_JTI && !jti.contains('\0');
    fits.then_some(jti).ok_or(Problem::Malformed("`jti` must be a text of at most 256 bytes"))
}

fn date(body: &mut Members, name: &str) -> Result<Option<Timestamp>, Problem> {
    let seconds = body.number(name)?;
    let fits = |seconds: u64| i64::try_from(seconds).ok().filter(|_| seconds < LATEST).map(Timestamp::from_seconds);
    let date = |seconds| fits(seconds).ok_or(Problem::Malformed("a date must be a number of seconds since 1970"));
    seconds.map(date).transpose()
}
