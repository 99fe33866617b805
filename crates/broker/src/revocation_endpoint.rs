//! `POST /oauth2/revoke` (RFC 7009): a client ends what was issued to it, and all that came from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use delegation::oauth::{Manner, Reason};
use delegation::revocation::{Key, MarkKind};
use delegation::token::{SubjectToken, Unverified};
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderValue, Request, StatusCode};
use issuance::audit::{CommitError, Decision, Entry, Journal, Kind, Record};
use issuance::exchange;

use crate::broker::Broker;
use crate::denied::Denied;
use crate::endpoint::{self, ClientRate, Received};
use crate::ids;
use crate::keys::OURS;

/// Serves one request: 200 once what was named is dead for good, also if there was nothing to end.
///
/// It does not pass the gate and has no rate of its own: what ends something must always get through.
pub(crate) async fn revoke(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let headers = request.headers().clone();
    let started = Instant::now();
    let mut record = Record::new(ids::decision(), broker.now(), Kind::Revocation);
    record.client_ip = Some(peer.ip());
    let ended = match endpoint::receive(&broker, &headers, request).await {
        Ok(received) => end(&broker, &received, &mut record).await,
        Err(reason) => Err(Denied::stranger(reason)),
    };
    let response = match ended {
        Ok(()) => (StatusCode::OK, [(CACHE_CONTROL, HeaderValue::from_static("no-store"))]).into_response(),
        Err(denied) => endpoint::refuse(&broker, peer, headers.contains_key(AUTHORIZATION), denied, record).await,
    };
    broker.telemetry().answered(response.status().as_u16(), started.elapsed());
    response
}

async fn end(broker: &Broker, received: &Received, record: &mut Record) -> Result<(), Denied> {
    // 1. Who asks.
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let authorization = received.authorization.as_deref();
    let client = endpoint::client(
        broker,
        &in_force,
        &moment,
        &received.form,
        authorization,
        ClientRate::Unbounded,
        record,
    )
    .await?;
    let uses = exchange::uses(&client);
    let denied = |reason| Denied::of_client(reason, uses.clone());
    let token = received.form.get("token").ok_or(Reason::MalformedRequest).map_err(denied)?;

    // 2. What it names. An outside token, one that nobody signed and one that is no token are all unknown.
    let parsed = Unverified::<SubjectToken>::parse(token)
        .ok()
        .filter(|token| token.claimed_issuer() == moment.snapshot.issuer);
    let authentic = match parsed {
        None => None,
        Some(token) => broker.keys().authenticate(OURS, &token).await.ok().and_then(Result::ok),
    };
    let named = authentic.as_ref().and_then(|token| token.issued_to(&moment));
    let revokes = match named {
        None => None,
        Some((_, holder)) if holder != *client.id() => return Err(denied(Reason::NotYours)),
        Some((jti, _)) => {
            record.jti = Some(jti.to_owned());
            Some(broker.revocation(MarkKind::Jti, Key::of(jti), moment.now))
        }
    };

    // 3. Durable before it is answered.
    record.decision = Decision::Done;
    record.reason = if revokes.is_some() { "revoked" } else { "unknown_token" }.to_owned();
    let entry = Entry {
        uses,
        revokes,
        ..Entry::of(record.clone())
    };
    match broker.journal().commit(entry).await {
        Ok(_) => Ok(()),
        Err(CommitError::AlreadyUsed) => Err(Denied::recorded_anew(Reason::ClientAuthenticationFailed, Manner::default(), record)),
        Err(CommitError::Unavailable) => Err(Denied::recorded_anew(Reason::StoreUnavailable, Manner::default(), record)),
    }
}
