//! `envoy.service.auth.v3.Authorization/Check`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use delegation::oauth::Reason;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use narrows_guard::Body;
use tonic::{Request, Response, Status};

use super::check_request::Told;
use super::{LARGEST_BODY, check_response, unwanted};
use crate::answer;
use crate::boundary::{Boundary, Incoming, Verdict};
use crate::exchanger::Exchanger;

/// The one method that is served.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// The largest question: a body, and as much again for heads that come as text and as bytes.
const LARGEST_MESSAGE: usize = 2 * LARGEST_BODY;

struct Door<E> {
    boundary: Arc<Boundary<E>>,
}

/// Serves `Check` over HTTP/2; the peer's address is an extension of each request.
pub fn routes<E: Exchanger>(boundary: Arc<Boundary<E>>) -> Router {
    let server = AuthorizationServer::new(Door { boundary }).max_decoding_message_size(LARGEST_MESSAGE);
    Router::new().route_service(CHECK, server)
}

#[tonic::async_trait]
impl<E: Exchanger> Authorization for Door<E> {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let settings = self.boundary.settings();
        // 1. Who asks: whoever may is believed about the request.
        let peer = request.extensions().get::<SocketAddr>().map(SocketAddr::ip);
        let Some(peer) = peer.filter(|peer| settings.peers.contain(*peer)) else {
            tracing::warn!(boundary = settings.name, ?peer, "asked by who is none of `peers`");
            return Err(Status::unauthenticated("not one of `peers`"));
        };

        // 2. What the request is.
        let told = Told::read(request.into_inner().attributes.unwrap_or_default());
        let Told {
            call,
            headers,
            route,
            from,
        } = told;
        let shown = call.as_ref().map_or(Body::Hidden, |call| call.body().clone());

        // 3. The decision, in Envoy's words. An error of gRPC is none of them: some let pass what they cannot ask about.
        let client = settings.trusted_proxies.client(from.unwrap_or(peer), &headers);
        let incoming = Incoming {
            call,
            headers: &headers,
            // Whom Envoy names as the source is one caller; Envoy itself is many.
            from: (client, client != peer.to_canonical() && !settings.trusted_proxies.contain(client)),
            route: route.as_deref(),
            host: None,
        };
        let body = |_| std::future::ready(Ok::<_, Reason>(shown));
        if Boundary::<E>::observes(&settings, &incoming) {
            self.boundary.observe(&settings, incoming, body);
            return Ok(Response::new(check_response::allow(None, &[])));
        }
        let reply = match self.boundary.decide(&settings, incoming, body).await {
            Verdict::Goes(onward) => match answer::authorization(onward.granted.as_ref()) {
                Some(authorization) => check_response::allow(authorization.as_ref(), &unwanted(&headers, authorization.is_some())),
                None => return Err(Status::internal("the token is no header")),
            },
            Verdict::Refused(refusal) => check_response::deny(&refusal, &headers),
        };
        Ok(Response::new(reply))
    }
}
