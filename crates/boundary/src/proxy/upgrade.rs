//! WebSocket, where a route says so (RFC 6455 §4): two connections that are joined for as long as the token holds.

use axum::body::Body as HttpBody;
use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use narrows_guard::route::Upgrade;

use super::ends::Over;

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

/// Joins the two sides, until one of them ends or they may go on no longer.
pub(super) fn join(mut response: Response<hyper::body::Incoming>, caller: OnUpgrade, over: Over) -> Response<HttpBody> {
    let upstream = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let (Ok(caller), Ok(upstream)) = tokio::join!(caller, upstream) else {
            return;
        };
        let (mut caller, mut upstream) = (TokioIo::new(caller), TokioIo::new(upstream));
        tokio::select! {
            biased;
            _ = over => {}
            joined = tokio::io::copy_bidirectional(&mut caller, &mut upstream) => drop(joined),
        }
    });
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, HttpBody::empty())
}
