//! What the OAuth endpoints have in common: a form, and a client that has shown who it is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::Response;
use delegation::oauth::{ClientId, Form, Manner, Reason};
use delegation::registry::{AuthenticatedClient, Moment};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use issuance::audit::{CommitError, Entry, Journal, Kind, Record};
use issuance::policy::Policy;
use serde_json::json;

use crate::broker::{Broker, InForce};
use crate::client_auth;
use crate::denied::Denied;
use crate::limits::OverLimit;
use crate::reply::{self, Refusal};

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A request that could be read.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) form: Form,
    /// The one `Authorization` header.
    pub(crate) authorization: Option<String>,
}

/// Reads a request: bounded in bytes and time before anything is parsed.
pub(crate) async fn receive(broker: &Broker, headers: &HeaderMap, request: Request<Body>) -> Result<Received, Reason> {
    let body = bounded(request.into_body(), broker.body_limit()).await?;
    let is_form = |value: &http::HeaderValue| {
        let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    };
    // Nothing is decoded: a body in a coding is not a form, whatever its bytes look like, and no small one becomes large here.
    let is_coded = |value: &http::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    let coded = headers.get_all(CONTENT_ENCODING).iter().any(is_coded);
    let declared: Vec<_> = headers.get_all(CONTENT_TYPE).iter().collect();
    let form = match declared.as_slice() {
        [only] if is_form(only) && !coded => Form::parse(&body).map_err(|_| Reason::MalformedRequest)?,
        _ => return Err(Reason::MalformedRequest),
    };
    let authorizations: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
    let authorization = match authorizations.as_slice() {
        [] => None,
        [only] => Some(only.to_str().map_err(|_| Reason::MalformedRequest)?.to_owned()),
        _ => return Err(Reason::MalformedRequest),
    };
    Ok(Received { form, authorization })
}

/// The whole of `body`, if it has at most `limit` bytes and arrives in time.
pub(crate) async fn bounded(body: Body, limit: usize) -> Result<Bytes, Reason> {
    let limited = Limited::new(body, limit).collect();
    match tokio::time::timeout(BODY_TIMEOUT, limited).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Reason::TooLarge),
        _ => Err(Reason::MalformedRequest),
    }
}

/// Makes `entry` durable, or gives the refusal of the client's request that it belongs to.
pub(crate) async fn commit(broker: &Broker, entry: Entry, record: &mut Record) -> Result<(), Denied> {
    broker.journal().commit(entry).await.map(drop).map_err(|error| not_committed(error, record))
}

/// The refusal of a client's request whose entry was not committed.
pub(crate) fn not_committed(error: CommitError, record: &mut Record) -> Denied {
    let reason = match error {
        CommitError::AlreadyUsed => Reason::ClientAuthenticationFailed,
        CommitError::Over(over) => over.reason(),
        CommitError::Unavailable => Reason::StoreUnavailable,
    };
    Denied::recorded_anew(reason, Manner::default(), record)
}

/// Answers a refusal, which is on record before. `door` is the method and path that was asked.
pub(crate) async fn refuse(
    broker: &Broker,
    peer: SocketAddr,
    door: &'static str,
    header_used: bool,
    denied: Denied,
    mut record: Record,
) -> Response {
    let denied = denied.counted(broker, peer.ip());
    if denied.uses.is_none() {
        // Of a refusal that is counted, only this tells where it happened.
        record.inputs = json!({ "asked": door });
    }
    let manner = denied.manner;
    let (reason, decision_id) = broker.record_denial(denied.reason, record, denied.uses).await;
    broker.telemetry().refused(reason.as_str());
    reply::refused(&Refusal {
        reason,
        decision_id,
        manner,
        header_used,
    })
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// For a fresh view, and for the client's own rate.
    Usual,
    /// For nothing: what ends something must always get through, and there is no view by which it would be refused.
    Ending,
}

/// The client that a boundary of this process acts as, at `moment`; the record learns what becomes known.
pub(crate) fn boundary<'m>(
    broker: &Broker,
    in_force: &InForce,
    moment: &'m Moment,
    id: &ClientId,
    record: &mut Record,
) -> Result<AuthenticatedClient<'m>, Denied> {
    begin(broker, in_force, moment, record)?;
    let client = AuthenticatedClient::in_process(moment, id).map_err(|failure| {
        tracing::warn!(client = id.as_str(), %failure, "a boundary cannot act");
        Denied::uncounted(Reason::ClientAuthenticationFailed)
    })?;
    record.client = Some(client.id().clone());
    // The client has no rate here: whoever calls the boundary would use up what is everybody's.
    Ok(client)
}

/// What every request begins with: the versions in force, and a view that is fresh.
fn begin(broker: &Broker, in_force: &InForce, moment: &Moment, record: &mut Record) -> Result<(), Denied> {
    record.time = moment.now;
    record.config_version.clone_from(&moment.snapshot.config_version);
    record.policy_version = in_force.policy.version().to_owned();
    if broker.view_age() > broker.settings().max_view_age {
        return Err(Denied::uncounted(Reason::RevocationViewStale));
    }
    Ok(())
}

/// Finds out who asks, at `moment`; the record learns what becomes known.
pub(crate) async fn client<'m>(
    broker: &Broker,
    in_force: &InForce,
    moment: &'m Moment,
    form: &Form,
    authorization: Option<&str>,
    urgency: Urgency,
    record: &mut Record,
) -> Result<AuthenticatedClient<'m>, Denied> {
    let fresh = begin(broker, in_force, moment, record);
    if urgency == Urgency::Usual {
        fresh?;
    }
    if let Some(from) = record.client_ip {
        let claim = client_auth::claim(&moment.snapshot, authorization, form);
        let looked_at = broker.limits().before_check(from, &claim, &in_force.rates, Instant::now());
        looked_at.map_err(|OverLimit| Denied::uncounted(Reason::RateLimited))?;
    }
    let client = client_auth::authenticate(moment, broker.keys(), authorization, form).await.map_err(|failure| {
        record.kind = Kind::ClientAuth;
        tracing::debug!(?failure, "client authentication");
        // One whose keys cannot be had is a stranger like any other: the name of a client is no credential.
        Denied::stranger(failure.reason())
    })?;
    record.client = Some(client.id().clone());
    if urgency == Urgency::Usual {
        // Nothing of the request is used up: the same assertion may come again when there is room.
        let allowed = broker.limits().client(client.id(), &in_force.rates, Instant::now());
        allowed.map_err(|OverLimit| Denied::uncounted(Reason::RateLimited))?;
    }
    Ok(client)
}
