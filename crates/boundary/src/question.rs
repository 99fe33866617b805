//! What the two doors for other proxies that ask by HTTP have in common: who may ask, and what comes with the question.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body as HttpBody;
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use hyper::body::Body as _;
use narrows_guard::hygiene::headers::ProxyHeaders;
use narrows_guard::{Body, Call};

use crate::bodies::Bodies;
use crate::boundary::{Boundary, Incoming, Unfit, Verdict};
use crate::exchanger::Exchanger;
use crate::observe::{self, Form};
use crate::settings::Settings;

/// The largest body that a proxy may send along, and with it the largest that a route behind it can read.
pub(crate) const LARGEST_BODY: usize = 1024 * 1024;

/// A request about a request, of a peer that may ask.
pub(crate) struct Question {
    peer: IpAddr,
    /// The head of the question.
    pub(crate) parts: Parts,
    body: HttpBody,
}

impl Question {
    /// Hears the proxy at `peer`; a stranger is told nothing but 403. Whoever may ask is believed about the request.
    pub(crate) fn hear(settings: &Settings, peer: IpAddr, request: Request<HttpBody>) -> Option<Self> {
        if !settings.peers.contain(peer) {
            tracing::warn!(boundary = settings.name, %peer, "asked by who is none of `peers`");
            return None;
        }
        let (parts, body) = request.into_parts();
        Some(Self { peer, parts, body })
    }

    /// Decides: `shown` says what the bytes that came along are of the request's body, and `call` what the request is without it. The head
    /// comes back with the verdict; with none, where the request goes on as it came.
    pub(crate) async fn decide<E: Exchanger>(
        self,
        boundary: &Arc<Boundary<E>>,
        settings: &Arc<Settings>,
        proxy_headers: ProxyHeaders,
        shown: impl FnOnce(&Parts, Bytes) -> Body + Send,
        call: impl FnOnce(&Parts) -> Result<Call, Unfit> + Send,
    ) -> (Parts, Option<Verdict>) {
        let Self { peer, parts, body } = self;
        let from = settings.trusted_proxies.caller_behind(peer, None, &parts.headers);
        let incoming = Incoming {
            call: call(&parts),
            from,
            route: None,
            sends_on: false,
            is_shown: false,
            host: None,
            strange: observe::is_strange(&parts.headers, proxy_headers, false),
            form: Form::of(&parts.headers),
        };

        // 1. Where its body is all that is missing, it is read of whoever is known by then.
        if !body.is_end_stream() && !Boundary::<E>::observes(settings, &incoming) {
            let incoming = Incoming {
                is_shown: true,
                ..incoming
            };
            let (mut body, head) = (Some(body), &parts);
            let unread = &mut body;
            let read = |owner, _| {
                let body = unread.take();
                async move {
                    match body {
                        Some(body) => boundary.bodies().read(body, owner, LARGEST_BODY).await.map(|bytes| shown(head, bytes)),
                        None => Ok(Body::Hidden),
                    }
                }
            };
            let verdict = boundary.decide(settings, incoming, &parts.headers, read).await;
            if let Some(unread) = body {
                tokio::spawn(Bodies::let_go(unread, LARGEST_BODY));
            }
            return (parts, Some(verdict));
        }

        // 2. Whether it goes on as it came may hang on its body, and so may what is decided about one that is there.
        let read = boundary.bodies().read(body, from, LARGEST_BODY).await;
        let shown = read.map(|bytes| shown(&parts, bytes));
        let held = shown.clone().unwrap_or(Body::Hidden);
        let incoming = Incoming {
            call: incoming.call.map(|call| call.with_body(held)),
            ..incoming
        };
        let verdict = boundary.decide_shown(settings, incoming, &parts.headers, shown).await;
        (parts, verdict)
    }
}
