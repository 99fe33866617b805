//! `envoy.service.auth.v3.Authorization/Check`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::middleware::{Next, from_fn_with_state};
use bytes::Bytes;
use delegation::oauth::Reason;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use tonic::{Request, Response, Status};

use super::check_request::Told;
use super::{check_response, unwanted};
use crate::answer;
use crate::boundary::{Boundary, Incoming, Unfit, Verdict};
use crate::exchanger::Exchanger;
use crate::observe::{self, Form};
use crate::question::LARGEST_BODY;
use narrows_guard::Body;
use narrows_guard::hygiene::headers::ProxyHeaders;

/// The one method that is served.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// The largest question: a body, and as much again for heads that come as text and as bytes.
const LARGEST_MESSAGE: usize = 2 * LARGEST_BODY;
/// What stands before a message.
const PREFIX: usize = 5;

fn stranger() -> Status {
    Status::unauthenticated("not one of `peers`")
}

struct Door<E> {
    boundary: Arc<Boundary<E>>,
}

/// The question as it came, which takes its room among bodies for as long as it is decided.
#[derive(Clone)]
struct Held(#[expect(dead_code, reason = "it is held, and not looked at")] Bytes);

/// Serves `Check` over HTTP/2; the peer's address is an extension of each request.
pub fn routes<E: Exchanger>(boundary: Arc<Boundary<E>>) -> Router {
    let hears = from_fn_with_state(Arc::clone(&boundary), hear::<E>);
    let server = AuthorizationServer::new(Door { boundary }).max_decoding_message_size(LARGEST_MESSAGE);
    Router::new().route_service(CHECK, server).layer(hears)
}

/// Hears whoever may ask, and reads the question before the library does: it counts among the bodies that are read at a time.
async fn hear<E: Exchanger>(
    State(boundary): State<Arc<Boundary<E>>>,
    request: axum::extract::Request,
    next: Next,
) -> http::Response<HttpBody> {
    let (mut parts, body) = request.into_parts();
    // Whoever may ask is believed about the request.
    let peer = parts.extensions.get::<SocketAddr>().map(SocketAddr::ip);
    let settings = boundary.settings();
    if !peer.is_some_and(|peer| settings.peers.contain(peer)) {
        tracing::warn!(boundary = settings.name, ?peer, "asked by who is none of `peers`");
        return stranger().into_http();
    }
    let refused = match boundary.bodies().read_question(body, LARGEST_MESSAGE + PREFIX).await {
        Ok(bytes) => {
            parts.extensions.insert(Held(bytes.clone()));
            return next.run(http::Request::from_parts(parts, HttpBody::from(bytes))).await;
        }
        Err(Reason::TooLarge) => Status::out_of_range("the question is too large"),
        Err(Reason::RateLimited) => Status::resource_exhausted("too many questions at a time"),
        Err(_) => Status::invalid_argument("the question breaks off"),
    };
    refused.into_http()
}

#[tonic::async_trait]
impl<E: Exchanger> Authorization for Door<E> {
    async fn check(&self, mut request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let settings = self.boundary.settings();
        let _held = request.extensions_mut().remove::<Held>();
        // 1. What the request is.
        let peer = request.extensions().get::<SocketAddr>().ok_or_else(stranger)?.ip();
        let told = Told::read(request.into_inner().attributes.unwrap_or_default());
        let Told {
            call,
            headers,
            route,
            from,
        } = told;

        let shown = call.as_ref().map_or(Body::Hidden, |call| call.body().clone());

        // 2. The decision, in Envoy's words. An error of gRPC is none of them: some let pass what they cannot ask about.
        let incoming = Incoming {
            call: call.map_err(Unfit::from),
            from: settings.trusted_proxies.caller_behind(peer, from, &headers),
            route,
            sends_on: false,
            is_shown: false,
            host: None,
            strange: observe::is_strange(&headers, ProxyHeaders::KeptOfEnvoy, false),
            form: Form::of(&headers),
        };
        let Some(verdict) = self.boundary.decide_shown(&settings, incoming, &headers, Ok(shown)).await else {
            return Ok(Response::new(check_response::allow(None, &[])));
        };
        let reply = match verdict {
            Verdict::Goes(onward) => match answer::carried(onward.granted.as_ref()) {
                Some(carried) => check_response::allow(carried.as_ref(), &unwanted(&headers, carried.as_ref())),
                None => return Err(Status::internal("the token is no header")),
            },
            Verdict::Refused(refusal) => check_response::deny(&refusal, &headers),
        };
        Ok(Response::new(reply))
    }
}
