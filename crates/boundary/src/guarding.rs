//! A guard as a proxy: a request goes on to the backend if the guard lets it, with what the backend is to know of the caller.

mod identity;

use std::future::ready;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::{Extension, Router};
use delegation::oauth::Reason;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use narrows_guard::broker::Broker;
use narrows_guard::check::Admitted;
use narrows_guard::hygiene::Malformed;
use narrows_guard::hygiene::credential::{Credential, Secret};
use narrows_guard::hygiene::headers::ProxyHeaders;
use narrows_guard::live::{Decision, Denied, Live};
use narrows_guard::{Body, Call};

use crate::backlog::Backlog;
use crate::bodies::{Bodies, Owner};
use crate::boundary::Unfit;
use crate::proxy::ends::Until;
use crate::proxy::onward::{Leaving, send};
use crate::proxy::watched::{Answer, Bound, Watched, at_most, comes};
use crate::proxy::{Upstreams, arrived, as_it_came, hop, say_forwarded, whole};
use crate::refusal::{Refusal, wishes};
use crate::settings::Upstream;

/// What the configuration says about what a guard lets through: a value, swapped whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The service that it stands before.
    pub service: String,
    /// Where the backend is.
    pub upstream: Upstream,
    /// What the backend gets to know of the caller.
    pub forward: Forward,
    /// How callers reach the guard: `http` or `https`.
    pub scheme: &'static str,
}

/// What a backend gets to know of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The token, as it came.
    Token,
    /// Who it is, in headers that no client can set.
    Identity,
    /// Nothing.
    Nothing,
}

/// A guard in front of a backend.
#[derive(Debug)]
pub struct Guarding<B> {
    settings: ArcSwap<Settings>,
    live: Arc<Live<B>>,
    bodies: Bodies,
    observed: Backlog,
}

impl<B: Broker> Guarding<B> {
    /// What `live` lets through goes where `settings` say. Bodies that are read take room of `bodies`.
    pub fn new(settings: Settings, live: Arc<Live<B>>, bodies: Bodies) -> Self {
        Self {
            settings: ArcSwap::from_pointee(settings),
            live,
            bodies,
            observed: Backlog::default(),
        }
    }

    /// Puts other settings in force, whole.
    pub fn swap(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// The guard.
    pub fn live(&self) -> &Live<B> {
        &self.live
    }

    /// Whether a request goes on as it came.
    fn observes(&self, parts: &Parts, call: Option<&Call>) -> bool {
        match call {
            Some(call) => self.live.observes(call, &parts.headers, ProxyHeaders::Removed),
            None => self.live.observes_unread(),
        }
    }
}

struct Door<B> {
    guarding: Arc<Guarding<B>>,
    upstreams: Upstreams,
}

impl<B> Clone for Door<B> {
    fn clone(&self) -> Self {
        Self {
            guarding: Arc::clone(&self.guarding),
            upstreams: self.upstreams.clone(),
        }
    }
}

/// Serves every path: what the guard lets through goes to its backend.
pub fn routes<B: Broker>(guarding: Arc<Guarding<B>>, upstreams: Upstreams) -> Router {
    Router::new().fallback(serve::<B>).with_state(Door { guarding, upstreams })
}

async fn serve<B: Broker>(
    State(Door { guarding, upstreams }): State<Door<B>>,
    Extension(peer): Extension<SocketAddr>,
    request: Request<HttpBody>,
) -> Response<HttpBody> {
    let (settings, from) = (guarding.settings.load_full(), peer.ip().to_canonical());
    let (mut parts, body) = request.into_parts();

    // 1. The request, and whether what is decided about it binds.
    let call = arrived::call(&parts, Body::Hidden);
    let goes_on = arrived::framed(&parts).is_ok() && parts.uri.path_and_query().is_some();
    if goes_on && guarding.observes(&parts, call.as_ref().ok()) {
        let answer = Answer::default();
        // A form may make another request of it, for a route that enforces.
        let form = call.as_ref().ok().filter(|call| call.form().is_some() && !guarding.live.observes_unread());
        let body = match form.and_then(|call| bound(&guarding, call, from, &parts, (None, None))) {
            Some(bound) => HttpBody::new(Watched::cut(body, bound, answer.clone())),
            None => body,
        };
        let body = observed(&guarding, &settings, call, &parts, (body, peer));
        return as_it_came::pass(&upstreams, &settings.upstream, (parts, body), &answer).await;
    }
    hop::join_cookies(&mut parts.headers);
    let refused = |denied: Box<Denied>| Refusal::of_guard(*denied).reply(&parts.headers);
    let mut call = match call {
        Ok(call) => call,
        Err(why) => {
            let denied = guarding.live.refuse_unread(from, why);
            return Refusal::of_guard(*denied).saying(why.to_string()).reply(&parts.headers);
        }
    };

    // 2. Its body, where that is looked into, of whoever is known by then.
    let mut body = Some(body);
    if let Some(most) = guarding.live.reads(&call, &parts.headers) {
        let guest = match guarding.live.greet(&call, &parts.headers, from).await {
            Ok(guest) => guest,
            Err(denied) => return refused(denied),
        };
        call = match whole(&guarding.bodies, body.take(), Owner::of(guest, Owner::Address(from)), most).await {
            Ok(read) => call.with_body(read),
            Err(reason) => return refused(guarding.live.refuse(Some(&call), from, reason)),
        };
    }

    // 3. The decision.
    let admitted = match guarding.live.decide(&call, &parts.headers, from).await {
        Decision::Refused(denied) => return refused(denied),
        Decision::Public => None,
        Decision::Allowed(admitted) => Some(*admitted),
    };

    // 4. What the backend gets to know, for as long as the token holds.
    let mut told = match &admitted {
        Some(admitted) => told(settings.forward, admitted, &parts.headers),
        None => HeaderMap::new(),
    };
    say_forwarded(&mut told, settings.scheme, &call, from);
    let most = admitted.as_ref().and_then(|admitted| admitted.needs().body_max);
    let secret = || Credential::of(&parts.headers, &call).ok().flatten().and_then(|shown| shown.secret());
    let bound = comes(body.as_ref()).then(|| bound(&guarding, &call, from, &parts, (most, secret()))).flatten();
    let upgrade = admitted.as_ref().and_then(|admitted| admitted.needs().upgrade);
    let until = admitted.map_or_else(Until::it_ends, |admitted| {
        until_ended(&guarding, admitted, &call, from, &parts.headers)
    });
    let leaving = Leaving {
        service: settings.service.clone(),
        head: parts,
        call,
        unread: body,
        bound,
        told,
        is_minted: false,
        shown: None,
        upgrade,
        until,
    };
    send(&upstreams, &settings.upstream, leaving).await
}

/// What of a body may go on that nobody reads: `most` bytes, not the `secret` of the token that the request shows, and no other method.
fn bound<B: Broker>(
    guarding: &Arc<Guarding<B>>,
    call: &Call,
    from: IpAddr,
    asked: &Parts,
    (most, secret): (Option<usize>, Option<Secret>),
) -> Option<Bound> {
    let (guarding, form, call, asked) = (Arc::clone(guarding), call.form(), call.clone(), asked.headers.clone());
    Bound::of(most, secret, form, async move |Unfit(reason, why)| {
        Refusal::of_guard(*guarding.live.refuse(Some(&call), from, reason)).saying(why).reply(&asked)
    })
}

/// What goes on in the place of all that the caller sent under these names.
fn told(forward: Forward, admitted: &Admitted, headers: &HeaderMap) -> HeaderMap {
    match forward {
        Forward::Token => {
            let mut shown: HeaderMap = headers.get(AUTHORIZATION).map(|value| (AUTHORIZATION, value.clone())).into_iter().collect();
            shown.values_mut().for_each(|value| value.set_sensitive(true));
            shown
        }
        Forward::Identity => identity::headers(admitted),
        Forward::Nothing => HeaderMap::new(),
    }
}

/// Decides about a request that goes on meanwhile, and that waits for nothing here; its body as it goes by.
fn observed<B: Broker>(
    guarding: &Arc<Guarding<B>>,
    settings: &Settings,
    call: Result<Call, Malformed>,
    parts: &Parts,
    (body, peer): (HttpBody, SocketAddr),
) -> HttpBody {
    let from = peer.ip().to_canonical();
    let call = match call {
        Ok(call) => call,
        Err(why) => {
            guarding.live.observe_unread(from, why);
            return body;
        }
    };
    let Some(room) = guarding.observed.enter(&settings.service) else {
        return body;
    };
    let reads = guarding.live.reads(&call, &parts.headers);
    let (body, outgrows) = match guarding.live.body_max(&call).filter(|_| reads.is_none()) {
        Some(most) => {
            let (body, outgrows) = Watched::told(body, at_most(most));
            (HttpBody::new(body), Some(outgrows))
        }
        None => (body, None),
    };
    let (body, shown) = as_it_came::copied(body, reads, &guarding.bodies);
    let (guarding, headers) = (Arc::clone(guarding), parts.headers.clone());
    tokio::spawn(async move {
        let shown = match shown.await {
            Err(Reason::TooLarge) => return guarding.live.observe_unfit(&call, &headers, from, Reason::TooLarge).await,
            // One that did not come in time, or for which there was no room, is one that nobody has seen.
            shown => shown.unwrap_or(Body::Hidden),
        };
        let call = call.with_body(shown);
        let decided = guarding.live.observe(&call, &headers, from).await;
        drop(room);
        if let (Decision::Allowed(_), Some(outgrows)) = (decided, outgrows)
            && outgrows.await
        {
            guarding.live.observe_outgrown(&call, from);
        }
    });
    body
}

/// Until the token holds no more: a request that was not answered by then is refused.
fn until_ended<B: Broker>(guarding: &Arc<Guarding<B>>, admitted: Admitted, call: &Call, from: IpAddr, asked: &HeaderMap) -> Until {
    let (guarding, admitted) = (Arc::clone(guarding), Arc::new(admitted));
    let ended = {
        let (guarding, admitted) = (Arc::clone(&guarding), Arc::clone(&admitted));
        move || {
            let (guarding, admitted) = (Arc::clone(&guarding), Arc::clone(&admitted));
            async move { guarding.live.why_ended(&admitted).await }
        }
    };
    // What its body takes is given back long before.
    let (call, asked) = (call.clone().with_body(Body::Hidden), wishes(asked));
    Until::done(ended, move |reason| {
        let denied = guarding.live.refuse_admitted(&call, from, &admitted, reason);
        ready(Refusal::of_guard(*denied).reply(&asked))
    })
}
