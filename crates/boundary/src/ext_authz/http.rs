//! The HTTP flavour: the request itself, without its body unless that is sent along. Only 200 lets it pass.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::{Extension, Router};
use http::{Request, Response, StatusCode};
use narrows_guard::Body;
use narrows_guard::hygiene::headers::ProxyHeaders;

use super::{shown, unwanted};
use crate::answer;
use crate::boundary::{Boundary, Unfit, Verdict};
use crate::exchanger::Exchanger;
use crate::proxy;
use crate::question::Question;

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
    let Some(question) = Question::hear(&settings, peer.ip(), request) else {
        return answer::plain(StatusCode::FORBIDDEN);
    };
    let call = |parts: &_| proxy::call(parts, Body::Absent).map_err(Unfit::from);
    let shown = |parts: &http::request::Parts, bytes| shown(&parts.headers, bytes);
    let (parts, verdict) = question.decide(&boundary, &settings, ProxyHeaders::KeptOfEnvoy, shown, call).await;
    let Some(verdict) = verdict else {
        // Envoy keeps what it hears nothing of.
        return answer::allowed(None);
    };
    match verdict {
        Verdict::Goes(onward) => match answer::carried(onward.granted.as_ref()) {
            Some(carried) => {
                let unwanted = unwanted(&parts.headers, carried.as_ref());
                answer::allowed_without(carried, &unwanted)
            }
            None => answer::plain(StatusCode::FORBIDDEN),
        },
        Verdict::Refused(refusal) => answer::refused(&refusal, &parts.headers, None),
    }
}
