//! What is said of the process at `metrics_listen`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use boundary::Bodies;
use broker::Observing;
use delegation::time::Timestamp;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use narrows_guard::link::Link;
use serde_json::json;

use super::metrics::{Metrics, Standing};
use super::served::Served;
use super::signer::Signs;
use crate::config::{self, Loaded};

/// How it stands with what is served, and with the configuration.
pub(super) struct Health {
    served: Arc<Served>,
    link: Arc<Link<Signs>>,
    started: Instant,
    metrics: Metrics,
    bodies: Bodies,
    config_version: ArcSwap<String>,
    refused_change: ArcSwap<Option<String>>,
    observing: ArcSwap<Vec<Observing>>,
}

impl Health {
    pub(super) fn new(served: Arc<Served>, link: Arc<Link<Signs>>, metrics: Metrics, bodies: Bodies, loaded: &Loaded) -> Self {
        Self {
            served,
            link,
            started: Instant::now(),
            metrics,
            bodies,
            config_version: ArcSwap::from_pointee(loaded.snapshot.config_version.clone()),
            refused_change: ArcSwap::from_pointee(None),
            observing: ArcSwap::from_pointee(config::observing(loaded)),
        }
    }

    /// Says that `loaded` is in force.
    pub(super) fn in_force(&self, loaded: &Loaded) {
        self.config_version.store(Arc::new(loaded.snapshot.config_version.clone()));
        self.refused_change.store(Arc::new(None));
        self.observing.store(Arc::new(config::observing(loaded)));
    }

    /// Says why a change is not in force.
    pub(super) fn refuse_change(&self, why: String) {
        self.refused_change.store(Arc::new(Some(why)));
    }

    pub(super) fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// What observes now.
    fn observing<'o>(&self, parts: &'o [Observing]) -> Vec<&'o Observing> {
        let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
        parts.iter().filter(|part| now < part.until).collect()
    }
}

/// 200 when requests can be decided, 503 otherwise. Peers on loopback are told what is in force.
async fn readyz(State(health): State<Arc<Health>>, Extension(peer): Extension<SocketAddr>) -> Response {
    let is_ready = health.link.is_ready() && health.served.is_ready();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let word = if is_ready { "ready" } else { "not ready" };
    if !peer.ip().is_loopback() {
        return (status, word).into_response();
    }
    let observing = health.observing.load();
    let observing: Vec<_> = health.observing(&observing).into_iter().map(Observing::shown).collect();
    let mut said = json!({
        "status": word,
        "broker": if health.link.is_ready() { "ok" } else { "unavailable" },
        "config_version": *health.config_version.load_full(),
        "refused_change": *health.refused_change.load_full(),
        "observing": observing,
    });
    if let Some(said) = said.as_object_mut() {
        said.extend(health.served.said());
    }
    (status, Json(said)).into_response()
}

/// For anyone: the address of the listener is the protection.
async fn metrics(State(health): State<Arc<Health>>) -> Response {
    let observing = health.observing.load();
    let standing = Standing {
        is_reached: health.link.is_ready(),
        answer_age: health.link.answer_age().unwrap_or_else(|| health.started.elapsed()),
        is_change_refused: health.refused_change.load().is_some(),
        observing: health.observing(&observing),
        room: health.bodies.free(),
    };
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match health.metrics.text(&standing) {
        Ok(text) => ([(CONTENT_TYPE, media)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
