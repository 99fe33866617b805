//! Health for machines: a word to strangers, more to peers on this machine and to operators.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use delegation::oauth::ClientId;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use issuance::policy::Policy;
use serde_json::json;

use crate::api;
use crate::broker::Broker;
use crate::observing::Observing;

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> &'static str {
    "ok"
}

/// `GET /readyz`: 200 when requests can be decided, 503 otherwise. Peers on loopback and operators are told why, and what is in force.
pub(crate) async fn readyz(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, headers: HeaderMap) -> Response {
    // A store that reads and does not write decides nothing: every decision is a record first.
    let store = broker.journal().writes() && broker.store().is_reachable().await;
    let status = if store { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if !peer.ip().is_loopback() && !api::is_operator(&broker, &headers, peer.ip()).await {
        return (status, if store { "ready" } else { "not ready" }).into_response();
    }
    let in_force = broker.in_force();
    let issuers = broker.keys().outside().status().into_iter().map(|issuer| {
        json!({
            "name": issuer.name,
            "keys": issuer.keys,
            "last_success_seconds": issuer.last_success_age.map(|age| age.as_secs()),
            "last_error": issuer.last_error,
        })
    });
    let issuers = issuers.collect::<Vec<_>>();
    let observing: Vec<_> = broker.observing().iter().map(Observing::shown).collect();
    let body = json!({
        "status": if store { "ready" } else { "not ready" },
        "store": if store { "ok" } else { "unavailable" },
        "keys": broker.signer().jwks().get("keys").and_then(|keys| keys.as_array()).map_or(0, Vec::len),
        "issuers": issuers,
        "policy_version": in_force.policy.version(),
        "config_version": in_force.snapshot.config_version,
        "refused_change": broker.refused_change(),
        "observing": observing,
        "refused_clients": broker.refused_acting().iter().map(ClientId::as_str).collect::<Vec<_>>(),
        "view_age_ms": u64::try_from(broker.view_age().as_millis()).unwrap_or(u64::MAX),
    });
    let mut response = (status, Body::from(body.to_string())).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `GET /metrics` on the main listener: for peers on loopback alone.
pub(crate) async fn metrics(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>) -> Response {
    if !peer.ip().is_loopback() {
        return StatusCode::NOT_FOUND.into_response();
    }
    metrics_for_anyone(State(broker)).await
}

/// `GET /metrics` on a listener of its own, whose address is the protection.
pub(crate) async fn metrics_for_anyone(State(broker): State<Arc<Broker>>) -> Response {
    broker.telemetry().observing(&broker.observing());
    for (room, gate) in [("waited_for", broker.gate()), ("observed", broker.gate_of_observed())] {
        broker.telemetry().at_work(room, gate.at_work());
    }
    match broker.telemetry().text() {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            let media = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, media);
            response
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
