//! `POST /oauth2/revoke` (RFC 7009): a client ends what was issued to it, and all that came from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use delegation::oauth::Reason;
use delegation::revocation::{Key, MarkKind, Revocation};
use delegation::token::Issued;
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderValue, Request, StatusCode};
use issuance::audit::{Decision, Entry, Kind, Record};
use issuance::exchange;
use issuance::task::Status;

use crate::broker::Broker;
use crate::denied::Denied;
use crate::endpoint::{self, Received, Urgency};
use crate::{evidence, ids, task_end};

/// Serves one request: 200 once what was named is dead for good, also if there was nothing to end.
///
/// It passes no gate, has no rate of its own and needs no fresh view: what ends something must always get through.
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
        Err(denied) => {
            endpoint::refuse(
                &broker,
                peer,
                "POST /oauth2/revoke",
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

async fn end(broker: &Broker, received: &Received, record: &mut Record) -> Result<(), Denied> {
    // 1. Who asks.
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let authorization = received.authorization.as_deref();
    let client = endpoint::client(broker, &in_force, &moment, &received.form, authorization, Urgency::Ending, record).await?;
    let uses = exchange::uses(&client);
    let denied = |reason| Denied::of_client(reason, uses.clone());
    let token = received.form.get("token").ok_or(Reason::MalformedRequest).map_err(denied)?;

    // 2. What it names: a task, whose creator and actor may end it,
    match evidence::task(broker, token).await {
        Ok(task) if task.creator == *client.id() || task.actor == *client.id() => {
            record.kind = Kind::Task;
            let entry = task_end::entry(&task, Status::Cancelled, uses, &moment, record);
            return match task_end::commit(broker, entry).await {
                Ok(_) => Ok(()),
                Err(error) => Err(endpoint::not_committed(error, record)),
            };
        }
        Ok(_) => return Err(denied(Reason::NotYours)),
        Err(Reason::StoreUnavailable) => return Err(denied(Reason::StoreUnavailable)),
        Err(_) => {}
    }
    // or a token.
    let authentic = evidence::ours::<Issued>(broker, &moment.snapshot.issuer, token).await.map_err(denied)?;
    let named = authentic.as_ref().and_then(|token| token.issued_to(&moment));
    let revokes = match named {
        None => None,
        Some((_, holder)) if holder != *client.id() => return Err(denied(Reason::NotYours)),
        Some((jti, _)) => {
            record.jti = Some(jti.to_owned());
            Some(Revocation::new(
                MarkKind::Jti,
                Key::of(jti),
                moment.now,
                moment.snapshot.lifetimes.max,
            ))
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
    endpoint::commit(broker, entry, record).await
}
