//! The HTTP flavour: the request itself, without its body unless that is sent along. Only 200 lets it pass.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::{Extension, Router};
use delegation::oauth::Reason;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use narrows_guard::Body;

use super::{LARGEST_BODY, shown, unwanted};
use crate::answer;
use crate::boundary::{Boundary, Incoming, Verdict};
use crate::exchanger::Exchanger;
use crate::proxy;

/// Serves every path: each is the path of a request that is asked about.
pub fn routes<E: Exchanger>(boundary: Arc<Boundary<E>>) -> Router {
    Router::new().fallback(answer::<E>).with_state(boundary)
}

async fn answer<E: Exchanger>(
    State(boundary): State<Arc<Boundary<E>>>,
    Extension(peer): Extension<SocketAddr>,
    request: Request<HttpBody>,
) -> Response<HttpBody> {
    let settings = boundary.settings();
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    // 1. Who asks: whoever may is believed about the request.
    if !settings.peers.contain(peer.ip()) {
        tracing::warn!(boundary = settings.name, peer = %peer.ip(), "asked by who is none of `peers`");
        return answer::plain(StatusCode::FORBIDDEN);
    }

    // 2. What the request is.
    let read = Limited::new(body, LARGEST_BODY).collect().await;
    let read = read.map(|body| shown(headers, body.to_bytes())).map_err(|_| Reason::TooLarge);

    // 3. The decision, in Envoy's words.
    let from = settings.trusted_proxies.client(peer.ip(), headers);
    let incoming = Incoming {
        call: proxy::call(&parts, read.clone().unwrap_or(Body::Hidden)),
        headers,
        // The peer is a proxy.
        from: (from, from != peer.ip().to_canonical() && !settings.trusted_proxies.contain(from)),
        route: None,
        host: None,
    };
    if Boundary::<E>::observes(&settings, &incoming) {
        boundary.observe(&settings, incoming, |_| std::future::ready(read));
        // Envoy keeps what it hears nothing of.
        return answer::allowed(None);
    }
    let Ok(shown) = read else {
        return answer::plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let body = |_| std::future::ready(Ok::<_, Reason>(shown));
    match boundary.decide(&settings, incoming, body).await {
        Verdict::Goes(onward) => match answer::authorization(onward.granted.as_ref()) {
            Some(authorization) => {
                let unwanted = unwanted(headers, authorization.is_some());
                answer::allowed_without(authorization, &unwanted)
            }
            None => answer::plain(StatusCode::FORBIDDEN),
        },
        Verdict::Refused(refusal) => answer::refused(&refusal, headers, None),
    }
}
