//! The own reverse proxy: the request goes on as it was decided on, with another token, and the response comes back as it is.

mod as_it_came;
mod copied;
mod ends;
mod hop;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::{Extension, Router};
use delegation::oauth::Reason;
use http::header::{AUTHORIZATION, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use narrows_guard::hygiene::Malformed;
use narrows_guard::hygiene::headers::{ProxyHeaders, clean};
use narrows_guard::hygiene::host::Host;
use narrows_guard::{Body, Call};

use crate::answer;
use crate::boundary::{Boundary, Incoming, Onward, Verdict};
use crate::exchanger::{Exchanger, Granted};
use crate::metadata;
use crate::settings::Settings;

/// How long a connection to an upstream may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an upstream may take for the head of its response.
const HEAD: Duration = Duration::from_secs(30);
/// How long a body that is decided on may take to arrive.
const BODY: Duration = Duration::from_secs(10);
/// Unused connections to one upstream that are kept.
const IDLE: usize = 32;

/// Connections to upstreams, for all boundaries of a process.
#[derive(Clone, Debug)]
pub struct Upstreams(Client<HttpsConnector<HttpConnector>, HttpBody>);

/// No TLS to upstreams can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoTls(pub String);

impl std::fmt::Display for NoTls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "certificates of upstreams cannot be verified here: {}", self.0)
    }
}

impl std::error::Error for NoTls {}

impl Upstreams {
    /// No connection yet. Certificates are verified as the system does it; redirects are passed on and never followed.
    pub fn new() -> Result<Self, NoTls> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|error| NoTls(error.to_string()))?
            .https_or_http()
            // One version: the head that is sent is the head that was decided on, and no trailers go on behind it.
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE)
            .pool_timer(TokioTimer::new())
            .build(tls);
        Ok(Self(client))
    }
}

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
    let from = settings.trusted_proxies.client(peer.ip(), &parts.headers);
    let incoming = Incoming {
        call: call(&parts, Body::Absent),
        headers: &parts.headers,
        from: (from, !settings.trusted_proxies.contain(from)),
        route: None,
        host: host(&parts).ok().and_then(|host| Host::parse(host).ok()),
    };
    if let Some(upstream) = as_it_came::upstream::<E>(&settings, &incoming, &parts) {
        let Incoming { call, from, host, .. } = incoming;
        let headers = parts.headers.clone();
        let incoming = Incoming {
            call,
            headers: &headers,
            from,
            route: None,
            host,
        };
        return as_it_came::send(boundary, &settings, &upstreams, upstream, incoming, (parts, body)).await;
    }
    if let (&Method::GET, Some(path)) = (&parts.method, metadata::asked(parts.uri.path())) {
        return metadata::reply(&settings, path);
    }
    let mut body = Some(body);
    let unread = &mut body;
    let read = |most| whole(unread.take(), most);

    // 2. The decision.
    let onward = match boundary.decide(&settings, incoming, read).await {
        Verdict::Refused(refusal) => return refusal.reply(&parts.headers),
        Verdict::Goes(onward) => *onward,
    };
    let Onward {
        call,
        granted,
        service,
        upgrade,
    } = onward;
    let Some(authorization) = answer::authorization(granted.as_ref()) else {
        return upstream_failed(StatusCode::BAD_GATEWAY);
    };
    // What was read goes on as it was read.
    let body = match (body, call.body()) {
        (Some(unread), _) => unread,
        (None, Body::Whole(bytes)) => HttpBody::from(bytes.clone()),
        (None, Body::Absent | Body::Hidden) => HttpBody::empty(),
    };
    let body = match &granted {
        Some(granted) if !hyper::body::Body::is_end_stream(&body) => HttpBody::new(ends::Ends::new(body, until_ended(&boundary, granted))),
        _ => body,
    };

    // 3. The request as it goes on.
    let Some(upstream) = settings.upstreams.get(&service) else {
        return upstream_failed(StatusCode::BAD_GATEWAY);
    };
    let upgrade = upgrade::wanted(&parts, upgrade);
    let target = PathAndQuery::try_from(call.target());
    let uri = target.ok().and_then(|target| {
        let uri = Uri::builder()
            .scheme(upstream.scheme.clone())
            .authority(upstream.authority.as_str())
            .path_and_query(target);
        uri.build().ok()
    });
    let Some(uri) = uri else {
        return upstream_failed(StatusCode::BAD_GATEWAY);
    };
    hop::strip(&mut parts.headers);
    clean(&mut parts.headers, ProxyHeaders::Removed);
    for name in [AUTHORIZATION, HeaderName::from_static("dpop")] {
        parts.headers.remove(name);
    }
    if let Some(value) = authorization {
        parts.headers.insert(AUTHORIZATION, value);
    }
    if let Ok(host) = HeaderValue::try_from(call.host().to_string()) {
        parts.headers.insert(HOST, host);
    }
    if settings.rebuilds_forwarded {
        say_forwarded(&mut parts.headers, &settings, &call, from);
    }
    if upgrade {
        upgrade::ask(&mut parts.headers);
    }
    let mut onward = Request::new(body);
    *onward.method_mut() = parts.method.clone();
    *onward.uri_mut() = uri;
    *onward.version_mut() = Version::HTTP_11;
    *onward.headers_mut() = parts.headers;
    let caller = upgrade.then(|| parts.extensions.remove::<hyper::upgrade::OnUpgrade>()).flatten();

    // 4. The response, for as long as the token holds.
    let response = match tokio::time::timeout(HEAD, upstreams.0.request(onward)).await {
        Ok(Ok(response)) => response,
        // What came of the body was cut off or could not be read: that is the caller's, and nothing is said of the upstream.
        Ok(Err(error)) if is_of_the_body(&error) => return malformed_body(),
        Ok(Err(error)) => {
            tracing::warn!(service, %error, "the upstream did not answer");
            return upstream_failed(StatusCode::BAD_GATEWAY);
        }
        Err(_) => return upstream_failed(StatusCode::GATEWAY_TIMEOUT),
    };
    back(boundary, response, granted, caller)
}

/// Done when what was granted holds no more.
fn until_ended<E: Exchanger>(boundary: &Arc<Boundary<E>>, granted: &Granted) -> impl Future<Output = ()> + Send + 'static {
    let (boundary, granted) = (Arc::clone(boundary), granted.clone());
    async move { boundary.exchanger().ended(&granted).await }
}

/// What the upstream answered, on its way to the caller.
fn back<E: Exchanger>(
    boundary: Arc<Boundary<E>>,
    mut response: Response<hyper::body::Incoming>,
    granted: Option<Granted>,
    caller: Option<hyper::upgrade::OnUpgrade>,
) -> Response<HttpBody> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match caller {
            Some(caller) => upgrade::join(boundary, response, granted, caller),
            // Nobody asked for another protocol.
            None => upstream_failed(StatusCode::BAD_GATEWAY),
        };
    }
    hop::strip(response.headers_mut());
    // What is said in our name, we say.
    let ours: Vec<_> = response.headers().keys().filter(|name| name.as_str().starts_with("narrows-")).cloned().collect();
    for name in ours {
        response.headers_mut().remove(name);
    }
    let (parts, body) = response.into_parts();
    let body = match granted {
        None => HttpBody::new(body),
        Some(granted) => HttpBody::new(ends::Ends::new(body, until_ended(&boundary, &granted))),
    };
    Response::from_parts(parts, body)
}

/// The request as it came: HTTP/2 names the host in `:authority`, HTTP/1.1 in `Host`; both, if both are there.
pub(crate) fn call(parts: &Parts, body: Body) -> Result<Call, Malformed> {
    let host = host(parts)?;
    framed(parts)?;
    let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    Call::parse(parts.method.as_str(), host, target.as_bytes(), &parts.headers, body)
}

/// The one host that the request names.
fn host(parts: &Parts) -> Result<&[u8], Malformed> {
    const HOST_TWICE: Malformed = Malformed::new("the request names two hosts");
    let mut lines = parts.headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, lines.next(), lines.next()) {
        (_, _, Some(_)) => Err(HOST_TWICE),
        (Some(authority), Some(said), _) if !authority.eq_ignore_ascii_case(said) => Err(HOST_TWICE),
        (Some(host), _, _) | (None, Some(host), _) => Ok(host),
        (None, None, _) => Ok(b""),
    }
}

/// Everybody agrees on where its body ends.
fn framed(parts: &Parts) -> Result<(), Malformed> {
    // The library takes the last coding for the one that counts; another reader might not.
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !codings.next().is_none_or(chunked) || codings.next().is_some() {
        return Err(Malformed::new("the body comes in a coding other than chunked"));
    }
    Ok(())
}

/// The whole body, if it has at most `most` bytes and arrives in time.
async fn whole(body: Option<HttpBody>, most: usize) -> Result<Body, Reason> {
    let Some(body) = body else { return Ok(Body::Absent) };
    match tokio::time::timeout(BODY, Limited::new(body, most).collect()).await {
        Ok(Ok(read)) => Ok(match read.to_bytes() {
            bytes if bytes.is_empty() => Body::Absent,
            bytes => Body::Whole(bytes),
        }),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Reason::TooLarge),
        _ => Err(Reason::MalformedRequest),
    }
}

/// Says anew what a proxy says, from what was verified here.
fn say_forwarded(headers: &mut HeaderMap, settings: &Settings, call: &Call, from: std::net::IpAddr) {
    let said = [
        ("x-forwarded-for", from.to_string()),
        ("x-forwarded-host", call.host().to_string()),
        ("x-forwarded-proto", settings.origin.scheme().to_owned()),
    ];
    for (name, value) in said {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Whether a request broke off because its own body did.
fn is_of_the_body(error: &hyper_util::client::legacy::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<hyper::Error>())
        .is_some_and(hyper::Error::is_user)
}

fn malformed_body() -> Response<HttpBody> {
    failed(StatusCode::BAD_REQUEST, "malformed_request", "the body is malformed")
}

fn upstream_failed(status: StatusCode) -> Response<HttpBody> {
    failed(status, "upstream_unavailable", "the service behind this boundary did not answer")
}

/// What goes wrong after the decision has no record of its own.
fn failed(status: StatusCode, reason: &str, detail: &str) -> Response<HttpBody> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "reason": reason, "detail": detail,
    });
    let mut response = Response::new(HttpBody::from(body.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    response
}
