//! WebSocket, where a route says so (RFC 6455 §4): two connections that are joined for as long as the token holds.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use narrows_guard::route::Upgrade;

use super::until_ended;
use crate::boundary::Boundary;
use crate::exchanger::{Exchanger, Granted};

/// Whether the caller asks for a WebSocket and the route has one. Whoever asks in vain gets an ordinary request.
pub(super) fn wanted(parts: &Parts, route: Option<Upgrade>) -> bool {
    let says = |name, word: &str| {
        let lines = parts.headers.get_all(name).iter().filter_map(|line: &HeaderValue| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|each| each.trim().eq_ignore_ascii_case(word))
    };
    let asks = parts.method == Method::GET && parts.version == Version::HTTP_11 && says(CONNECTION, "upgrade");
    route == Some(Upgrade::WebSocket) && asks && says(UPGRADE, "websocket")
}

/// Says so to the upstream.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Joins the two sides, until one of them ends or the token does.
pub(super) fn join<E: Exchanger>(
    boundary: Arc<Boundary<E>>,
    mut response: Response<hyper::body::Incoming>,
    granted: Option<Granted>,
    caller: OnUpgrade,
) -> Response<HttpBody> {
    let upstream = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let (Ok(caller), Ok(upstream)) = tokio::join!(caller, upstream) else {
            return;
        };
        let (mut caller, mut upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
        let ended = until_ended(&boundary, granted.as_ref());
        tokio::select! {
            joined = tokio::io::copy_bidirectional(&mut caller, &mut upstream) => drop(joined),
            () = ended => {}
        }
    });
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, HttpBody::empty())
}
