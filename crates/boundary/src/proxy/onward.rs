//! The request as it goes on: the very one that was decided on, with what whoever decided puts in, and nothing that a client may not
//! say.

use std::time::Duration;

use axum::body::Body as HttpBody;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use narrows_guard::hygiene::headers::{ProxyHeaders, clean};
use narrows_guard::route::Upgrade;
use narrows_guard::{Body, Call};

use super::back::{Asked, back};
use super::echo::{self, Shown};
use super::ends::{Ends, Until};
use super::failed::{is_of_the_body, malformed_body, upstream_failed, why};
use super::patience::{Noted, Taken, answered};
use super::upstreams::Upstreams;
use super::watched::{Answer, Bound, Watched};
use super::{hop, trace, upgrade};
use crate::settings::Upstream;

/// How long an upstream may take for the head of its response, from the last of the request that it took.
const HEAD: Duration = Duration::from_secs(30);

/// A request that may go on, as whoever decided hands it over.
pub(crate) struct Leaving {
    /// The name of the service that it goes to, for the log.
    pub(crate) service: String,
    /// Its head as it came: what does not go on is taken off here.
    pub(crate) head: Parts,
    /// The request that was decided on, with its body if that was read.
    pub(crate) call: Call,
    /// The body, if nobody has read it.
    pub(crate) unread: Option<HttpBody>,
    /// What of that may go on, where there is a bound.
    pub(crate) bound: Option<Bound>,
    /// What the upstream is told, such as the token: in place of all that the client sent under these names.
    pub(crate) told: HeaderMap,
    /// Whether a token among that is none of the caller's: what the upstream says about it is not for the caller then.
    pub(crate) is_minted: bool,
    /// The upstream's own credential, where it is shown one.
    pub(crate) shown: Option<Shown>,
    /// The protocol that the connection may change to.
    pub(crate) upgrade: Option<Upgrade>,
    /// For how long it may take, and its response; what is answered where there is none until then.
    pub(crate) until: Until,
}

/// Sends it to `upstream`: what is answered goes to the caller, for as long as it may.
pub(crate) async fn send(upstreams: &Upstreams, upstream: &Upstream, leaving: Leaving) -> Response<HttpBody> {
    let Leaving {
        service,
        mut head,
        call,
        unread,
        bound,
        told,
        is_minted,
        shown,
        upgrade,
        until,
    } = leaving;

    // 1. Its head.
    let Some(uri) = address(upstream, &call) else {
        return upstream_failed(StatusCode::BAD_GATEWAY);
    };
    let upgrades = upgrade::wanted(&head, upgrade);
    hop::strip(&mut head.headers);
    clean(&mut head.headers, ProxyHeaders::Removed);
    trace::go_on(&mut head.headers);
    for name in [AUTHORIZATION, HeaderName::from_static("dpop")] {
        head.headers.remove(name);
    }
    // Those that have a name replace what is there.
    head.headers.extend(told);
    if let Ok(host) = HeaderValue::try_from(call.host().to_string()) {
        head.headers.insert(HOST, host);
    }
    if let Some(Shown { credential, .. }) = &shown {
        // Where the service is may have changed since the route was found.
        if !credential.is_for(upstream) {
            let connection = credential.connection();
            tracing::error!(service, connection, "the upstream is not where its credential may go");
            return upstream_failed(StatusCode::BAD_GATEWAY);
        }
        credential.put(&mut head.headers);
        echo::ask(&mut head.headers);
    }
    if upgrades {
        upgrade::ask(&mut head.headers);
    }

    // 2. Its body: what was read goes on as it was read, and what was not as it comes, until it may no more.
    let taken = Taken::now();
    let answer = Answer::default();
    let body = match (unread, call.body()) {
        (Some(unread), _) => match bound {
            Some(bound) => HttpBody::new(Watched::cut(unread, bound, answer.clone())),
            None => unread,
        },
        (None, Body::Whole(bytes)) => HttpBody::from(bytes.clone()),
        (None, Body::Absent | Body::Hidden) => HttpBody::empty(),
    };
    let body = if hyper::body::Body::is_end_stream(&body) {
        body
    } else {
        let body = Ends::request(body, until.over());
        HttpBody::new(Noted::new(body, taken.clone()))
    };
    // What was read of it is held until it is sent, and not until the upstream has answered.
    drop(call);

    // 3. What the upstream says to it.
    let mut onward = Request::new(body);
    *onward.method_mut() = head.method;
    *onward.uri_mut() = uri;
    *onward.version_mut() = Version::HTTP_11;
    *onward.headers_mut() = head.headers;
    let mut asked = Asked {
        is_minted,
        shown,
        caller: upgrades.then(|| head.extensions.remove()).flatten(),
        over: until.over(),
    };
    let answered = tokio::select! {
        biased;
        _ = &mut asked.over => None,
        answered = answered(upstreams.request(upstream, onward), &taken, HEAD) => Some(answered),
    };
    // Of a token that ended before there was an answer, none goes to the caller; its body may have been cut off first.
    if let Some(refused) = until.refused().await {
        return refused;
    }
    match answered.flatten() {
        Some(Ok(response)) => back(response, asked).await,
        // What came of the body was cut off or could not be read: that is the caller's, and nothing is said of the upstream.
        Some(Err(error)) if is_of_the_body(&error) => answer.take().unwrap_or_else(malformed_body),
        Some(Err(error)) => {
            tracing::warn!(service, error = why(&error), "the upstream did not answer");
            upstream_failed(StatusCode::BAD_GATEWAY)
        }
        None => {
            tracing::warn!(service, "the upstream did not answer in time");
            upstream_failed(StatusCode::GATEWAY_TIMEOUT)
        }
    }
}

/// Where `call` goes: its very target, at the upstream.
fn address(upstream: &Upstream, call: &Call) -> Option<Uri> {
    let target = PathAndQuery::try_from(call.target()).ok()?;
    let uri = Uri::builder().scheme(upstream.scheme.clone()).authority(upstream.authority.as_str());
    uri.path_and_query(target).build().ok()
}
