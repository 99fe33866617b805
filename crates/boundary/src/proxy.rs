//! The own reverse proxy: the request goes on as it was decided on, with another token, and the response comes back as it is.

pub(crate) mod arrived;
pub(crate) mod as_it_came;
mod back;
mod copied;
mod cut;
mod echo;
pub(crate) mod ends;
mod failed;
pub(crate) mod hop;
pub(crate) mod onward;
mod patience;
pub(crate) mod sockets;
mod spelt;
mod trace;
mod trailers;
mod upgrade;
pub(crate) mod upstream_tls;
mod upstreams;
pub(crate) mod watched;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::{Extension, Router};
use delegation::oauth::Reason;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use narrows_guard::hygiene::credential::Credential;
use narrows_guard::hygiene::headers::ProxyHeaders;
use narrows_guard::hygiene::host::Host;
use narrows_guard::{Body, Call};

use crate::answer;
use crate::bodies::{Bodies, Owner};
use crate::boundary::{Boundary, Incoming, Onward, Unfit, Verdict};
use crate::exchanger::{Exchanger, Granted, Seen};
use crate::metadata;
use crate::observe::{self, Form};
use crate::refusal::wishes;
use crate::settings::Settings;
pub(crate) use arrived::call;
use arrived::host;
use echo::Shown;
use ends::Until;
use failed::upstream_failed;
use onward::{Leaving, send};
pub use upstreams::{NoTls, Upstreams};
use watched::{Bound, comes};

struct Door<E> {
    boundary: Arc<Boundary<E>>,
    upstreams: Upstreams,
}

impl<E> Clone for Door<E> {
    fn clone(&self) -> Self {
        Self {
            boundary: Arc::clone(&self.boundary),
            upstreams: self.upstreams.clone(),
        }
    }
}

/// Serves every path: what the boundary lets through goes to its upstream.
pub fn routes<E: Exchanger>(boundary: Arc<Boundary<E>>, upstreams: Upstreams) -> Router {
    Router::new().fallback(serve::<E>).with_state(Door { boundary, upstreams })
}

async fn serve<E: Exchanger>(
    State(Door { boundary, upstreams }): State<Door<E>>,
    Extension(peer): Extension<SocketAddr>,
    request: Request<HttpBody>,
) -> Response<HttpBody> {
    let settings = boundary.settings();
    let (mut parts, body) = request.into_parts();

    // 1. The request, and its body only where it must be looked into.
    let from = settings.trusted_proxies.caller(peer.ip(), &parts.headers);
    let incoming = Incoming {
        call: call(&parts, Body::Absent).map_err(Unfit::from),
        from,
        route: None,
        sends_on: true,
        is_shown: false,
        host: host(&parts).ok().and_then(|host| Host::parse(host).ok()),
        strange: observe::is_strange(&parts.headers, ProxyHeaders::Removed, settings.trusted_proxies.contain(peer.ip())),
        form: Form::of(&parts.headers),
    };
    // What a boundary that enforces says of itself, no service may say for it.
    if !Boundary::<E>::observes_host(&settings, &incoming)
        && let Some(reply) = metadata::reply(&settings, &parts)
    {
        return reply;
    }
    if let Some(upstream) = as_it_came::upstream::<E>(&settings, &incoming, &parts) {
        return as_it_came::send(boundary, &settings, &upstreams, upstream, incoming, (parts, body)).await;
    }
    if let Some(reply) = metadata::reply(&settings, &parts) {
        return reply;
    }
    hop::join_cookies(&mut parts.headers);
    let mut body = Some(body);
    let unread = &mut body;
    let read = |owner, most| whole(boundary.bodies(), unread.take(), owner, most);

    // 2. The decision.
    let onward = match boundary.decide(&settings, incoming, &parts.headers, read).await {
        Verdict::Refused(refusal) => return refusal.reply(&parts.headers),
        Verdict::Goes(onward) => *onward,
    };
    let Onward {
        call,
        granted,
        service,
        upgrade,
        body_max,
    } = onward;
    let Some(carried) = answer::carried(granted.as_ref()) else {
        return upstream_failed(StatusCode::BAD_GATEWAY);
    };
    let Some(upstream) = settings.upstreams.get(&service) else {
        return upstream_failed(StatusCode::BAD_GATEWAY);
    };

    // 3. What it goes on with.
    let mut told: HeaderMap = carried.into_iter().collect();
    if settings.rebuilds_forwarded {
        say_forwarded(&mut told, settings.origin.scheme(), &call, from.address);
    }
    let seen = Seen {
        line: Some(Seen::line(&call)),
        from: from.address,
        is_callers_own: from.is_own,
        observed: false,
    };
    let until = match &granted {
        Some(granted) => until_ended(&boundary, &settings, granted.clone(), seen.clone(), &parts.headers),
        None => Until::it_ends(),
    };
    let leaving = Leaving {
        service,
        bound: comes(body.as_ref())
            .then(|| bound(&boundary, &settings, seen.clone(), (&parts, &call), body_max))
            .flatten(),
        head: parts,
        call,
        unread: body,
        told,
        is_minted: granted.is_some(),
        shown: granted.as_ref().and_then(|granted| shown(&boundary, granted, seen)),
        upgrade,
        until,
    };
    send(&upstreams, upstream, leaving).await
}

/// What of a body may go on that nobody reads: `most` bytes, not the token that the request shows, and no other method.
fn bound<E: Exchanger>(
    boundary: &Arc<Boundary<E>>,
    settings: &Arc<Settings>,
    seen: Seen,
    (asked, call): (&Parts, &Call),
    most: Option<usize>,
) -> Option<Bound> {
    let secret = Credential::of(&asked.headers, call).ok().flatten().and_then(|shown| shown.secret());
    let (boundary, settings, asked) = (Arc::clone(boundary), Arc::clone(settings), asked.headers.clone());
    Bound::of(most, secret, call.form(), async move |unfit| {
        boundary.refused(&settings, &seen, unfit).await.reply(&asked)
    })
}

/// Until what was granted holds no more: a request that was not answered by then is refused.
fn until_ended<E: Exchanger>(
    boundary: &Arc<Boundary<E>>,
    settings: &Arc<Settings>,
    granted: Granted,
    seen: Seen,
    asked: &HeaderMap,
) -> Until {
    let ended = {
        let boundary = Arc::clone(boundary);
        move || {
            let (boundary, granted) = (Arc::clone(&boundary), granted.clone());
            async move { boundary.exchanger().ended(&granted).await }
        }
    };
    let (boundary, settings, asked) = (Arc::clone(boundary), Arc::clone(settings), Arc::new((seen, wishes(asked))));
    Until::done(ended, move |reason| {
        let (boundary, settings, asked) = (Arc::clone(&boundary), Arc::clone(&settings), Arc::clone(&asked));
        async move {
            let (seen, asked) = &*asked;
            boundary.refused(&settings, seen, Unfit::ended(reason)).await.reply(asked)
        }
    })
}

/// The credential that goes along with what was granted, and its echo on record for the request that was `seen`.
fn shown<E: Exchanger>(boundary: &Arc<Boundary<E>>, granted: &Granted, seen: Seen) -> Option<Shown> {
    let credential = granted.credential.clone()?;
    let (boundary, connection) = (Arc::clone(boundary), credential.connection().to_owned());
    let on_echo = Box::pin(async move { boundary.exchanger().echoed(&seen, &connection).await });
    Some(Shown { credential, on_echo })
}

/// The whole body, if it has at most `most` bytes.
pub(crate) async fn whole(bodies: &Bodies, body: Option<HttpBody>, owner: Option<Owner>, most: usize) -> Result<Body, Reason> {
    let Some(body) = body else { return Ok(Body::Absent) };
    let bytes = bodies.read(body, owner, most).await?;
    Ok(if bytes.is_empty() { Body::Absent } else { Body::Whole(bytes) })
}

/// Says anew what a proxy says, from what was verified here.
pub(crate) fn say_forwarded(headers: &mut HeaderMap, scheme: &str, call: &Call, from: IpAddr) {
    let said = [
        ("x-forwarded-for", from.to_string()),
        ("x-forwarded-host", call.host().to_string()),
        ("x-forwarded-proto", scheme.to_owned()),
    ];
    for (name, value) in said {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
