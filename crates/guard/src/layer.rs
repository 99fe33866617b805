//! The guard in front of any tower service.
//!
//! A request that is allowed goes on with an [`Identity`] in its extensions, and its response ends within two seconds of the end of its
//! token. A refused one is answered here with problem details (RFC 9457).

mod answer;
mod arrived;
mod bounded;
mod identity;
mod joined;
mod observed;
mod outgrown;
mod until;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_core::body::Body as HttpBody;
use bytes::Bytes;
use delegation::oauth::Reason;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body as _;
use hyper::upgrade::OnUpgrade;
use tower_layer::Layer;
use tower_service::Service;

use crate::broker::Broker;
use crate::hygiene::credential::Credential;
use crate::hygiene::headers::{ProxyHeaders, clean};
use crate::live::{Decision, Live};
use arrived::{Arrived, read};
use bounded::{Bounded, Cut};
pub use identity::{Identity, NoIdentity};
use observed::observe;
use outgrown::Outgrown;
use until::Until;

/// Puts a live guard in front of a service.
pub struct GuardLayer<B> {
    live: Arc<Live<B>>,
    from: fn(&Parts) -> Option<IpAddr>,
    proxy_headers: ProxyHeaders,
}

impl<B> GuardLayer<B> {
    /// `from` finds the caller's address in what the server knows of a request; one that it does not find is refused.
    ///
    /// It is on every record, and by it callers are told apart who show tokens that are none. With `axum` it is
    /// `|parts| parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())`.
    pub fn new(live: Arc<Live<B>>, from: fn(&Parts) -> Option<IpAddr>) -> Self {
        Self {
            live,
            from,
            proxy_headers: ProxyHeaders::Removed,
        }
    }

    /// The same behind a proxy that sets `X-Forwarded-*` itself: they stay. Otherwise they are the client's, and are removed.
    #[must_use]
    pub fn behind_proxy(self) -> Self {
        Self {
            proxy_headers: ProxyHeaders::Kept,
            ..self
        }
    }
}

/// A service behind a guard.
pub struct Guarded<S, B> {
    inner: S,
    live: Arc<Live<B>>,
    from: fn(&Parts) -> Option<IpAddr>,
    proxy_headers: ProxyHeaders,
}

impl<S, B> Layer<S> for GuardLayer<B> {
    type Service = Guarded<S, B>;

    fn layer(&self, inner: S) -> Guarded<S, B> {
        Guarded {
            inner,
            live: Arc::clone(&self.live),
            from: self.from,
            proxy_headers: self.proxy_headers,
        }
    }
}

impl<S, B, Q, R> Service<Request<Q>> for Guarded<S, B>
where
    S: Service<Request<HttpBody>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Broker,
    Q: http_body::Body<Data = Bytes> + Send + 'static,
    Q::Error: Into<axum_core::BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<axum_core::BoxError>,
{
    type Response = Response<HttpBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<HttpBody>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        // The one that is ready is the one that is called.
        let again = self.inner.clone();
        let ready = std::mem::replace(&mut self.inner, again);
        let (live, door) = (Arc::clone(&self.live), (self.from, self.proxy_headers));
        let (parts, body) = request.into_parts();
        Box::pin(serve(ready, live, door, parts, HttpBody::new(body)))
    }
}

/// Serves one request.
async fn serve<S, B, R>(
    mut inner: S,
    live: Arc<Live<B>>,
    (from, proxy_headers): (fn(&Parts) -> Option<IpAddr>, ProxyHeaders),
    mut parts: Parts,
    mut body: HttpBody,
) -> Result<Response<HttpBody>, S::Error>
where
    S: Service<Request<HttpBody>, Response = Response<R>>,
    B: Broker,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<axum_core::BoxError>,
{
    // 1. The request, where it came from, and whether what is decided about it binds. Nobody but this layer says who it is.
    parts.extensions.remove::<Identity>();
    let arrived = match Arrived::read(&parts, from) {
        Ok(arrived) => arrived,
        Err(unread) if live.observes_unread() => {
            live.observe_unread(unread.from, unread.why);
            return Ok(inner.call(Request::from_parts(parts, body)).await?.map(HttpBody::new));
        }
        Err(unread) => {
            let denied = live.refuse_unread(unread.from, unread.why);
            return Ok(answer::refused(&denied, Some(unread.why.as_str())));
        }
    };
    let Arrived { mut call, from } = arrived;
    let is_observed = live.observes(&call, &parts.headers, proxy_headers);
    let cut = Cut::default();

    // 2. Its body, where that is looked into, of whoever is known by then.
    let reads = live.reads(&call, &parts.headers);
    let mut unfit = None;
    if let Some(most) = reads {
        if !is_observed && let Err(denied) = live.greet(&call, &parts.headers, from).await {
            return Ok(answer::refused(&denied, None));
        }
        let (read, onward) = read(body, most).await;
        body = onward;
        call = match read {
            Ok(read) => call.with_body(read),
            // What was read of it goes on before the rest.
            Err(reason) if is_observed => {
                unfit = Some(reason);
                call
            }
            Err(reason) => return Ok(answer::refused(&live.refuse(Some(&call), from, reason), None)),
        };
    }
    if is_observed {
        // A form may make another request of it, for a route that enforces.
        if let Some(form) = call.form().filter(|_| !live.observes_unread()) {
            let (live, call) = (Arc::clone(&live), call.clone());
            let refuse = move |reason| live.refuse(Some(&call), from, reason);
            body = HttpBody::new(Bounded::of(body, (None, None, Some(form)), refuse, &cut).with_trailers());
        }
        let mut outgrows = None;
        if let Some(most) = live.body_max(&call).filter(|_| reads.is_none()) {
            let (watched, told) = Outgrown::of(body, most);
            (body, outgrows) = (HttpBody::new(watched), Some(told));
        }
        tokio::spawn(observe(live, call, parts.headers.clone(), from, (unfit, outgrows)));
        return unless_cut(&cut, inner.call(Request::from_parts(parts, body)).await);
    }

    // 3. The decision.
    let admitted = match live.decide(&call, &parts.headers, from).await {
        Decision::Refused(denied) => return Ok(answer::refused(&denied, None)),
        Decision::Public => None,
        Decision::Allowed(admitted) => Some(Arc::new(*admitted)),
    };

    // 4. What may go on of a body that nobody has read.
    if reads.is_none() && !body.is_end_stream() {
        let most = admitted.as_ref().and_then(|admitted| admitted.needs().body_max);
        if most.is_some_and(|most| body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX)) {
            return Ok(answer::refused(&live.refuse(Some(&call), from, Reason::TooLarge), None));
        }
        let secret = Credential::of(&parts.headers, &call).ok().flatten().and_then(|shown| shown.secret());
        let (live, call, form) = (Arc::clone(&live), call.clone(), call.form());
        let refuse = move |reason| live.refuse(Some(&call), from, reason);
        body = HttpBody::new(Bounded::of(body, (most, secret, form), refuse, &cut));
    }

    // 5. On it goes, without what only we may say, for as long as its token holds. Whatever the service makes of a body that was cut
    // off, the request is refused.
    clean(&mut parts.headers, proxy_headers);
    if admitted.as_ref().is_none_or(|admitted| admitted.needs().upgrade.is_none()) {
        // What a connection became would outlive the decision.
        parts.extensions.remove::<OnUpgrade>();
    }
    let Some(admitted) = admitted else {
        return unless_cut(&cut, inner.call(Request::from_parts(parts, body)).await);
    };
    parts.extensions.insert(Identity::of(Arc::clone(&admitted)));
    let answering = inner.call(Request::from_parts(parts, body));
    let answered = tokio::select! {
        biased;
        answered = answering => answered,
        reason = live.why_ended(&admitted) => return Ok(answer::refused(&live.refuse_admitted(&call, from, &admitted, reason), None)),
    };
    let ended = async move { live.ended(&admitted).await };
    unless_cut(&cut, answered.map(|response| response.map(|body| Until::new(body, ended))))
}

/// What the service answered, unless its request's body was cut off: then the refusal of that, whatever it made of it.
fn unless_cut<R, E>(cut: &Cut, answered: Result<Response<R>, E>) -> Result<Response<HttpBody>, E>
where
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<axum_core::BoxError>,
{
    match cut.take() {
        Some(denied) => Ok(answer::refused(&denied, None)),
        None => Ok(answered?.map(HttpBody::new)),
    }
}

impl<B> Clone for GuardLayer<B> {
    fn clone(&self) -> Self {
        Self {
            live: Arc::clone(&self.live),
            from: self.from,
            proxy_headers: self.proxy_headers,
        }
    }
}

impl<S: Clone, B> Clone for Guarded<S, B> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            live: Arc::clone(&self.live),
            from: self.from,
            proxy_headers: self.proxy_headers,
        }
    }
}

impl<B> fmt::Debug for GuardLayer<B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("GuardLayer").finish_non_exhaustive()
    }
}

impl<S, B> fmt::Debug for Guarded<S, B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Guarded").finish_non_exhaustive()
    }
}
