//! Which path is served by which file.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::broker::Broker;
use crate::{api, health, introspection_endpoint, metadata, reply, revocation_endpoint, token_endpoint};

/// Everything that is served on `listen`. OAuth's paths stand under the path of our issuer identifier, and the
/// well-known one has that path inserted (RFC 8414 §3.1). `with_metrics` is off where `metrics_listen` is set.
pub fn routes(broker: &Arc<Broker>, with_metrics: bool) -> Router {
    let issuer = broker.in_force().snapshot.issuer.clone();
    let path = url::Url::parse(&issuer).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default();
    let mut router = Router::new()
        .route(
            &format!("/.well-known/oauth-authorization-server{path}"),
            get(metadata::authorization_server),
        )
        .route(
            &format!("/.well-known/authzen-configuration{path}"),
            get(metadata::policy_decision_point),
        )
        .route(
            &format!("{path}/oauth2/token"),
            post(token_endpoint::token).fallback(reply::post_only),
        )
        .route(
            &format!("{path}/oauth2/introspect"),
            post(introspection_endpoint::introspect).fallback(reply::post_only),
        )
        .route(
            &format!("{path}/oauth2/revoke"),
            post(revocation_endpoint::revoke).fallback(reply::post_only),
        )
        .route(&format!("{path}/oauth2/jwks"), get(metadata::jwks))
        .nest(&format!("{path}/v1"), api::routes())
        .nest(&format!("{path}/access/v1"), api::authzen::routes())
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz));
    if with_metrics {
        router = router.route("/metrics", get(health::metrics));
    }
    router.with_state(Arc::clone(broker))
}

/// What is served on `metrics_listen`.
pub fn metrics_routes(broker: &Arc<Broker>) -> Router {
    Router::new().route("/metrics", get(health::metrics_for_anyone)).with_state(Arc::clone(broker))
}
