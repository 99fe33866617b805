//! The own reverse proxy: the request goes on as it was decided on, with another token, and the response comes back as it is.

mod as_it_came;
mod copied;
mod cut;
mod echo;
mod ends;
mod hop;
mod patience;
mod trace;
mod trailers;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::{Extension, Router};
use delegation::oauth::Reason;
use http::header::{AUTHORIZATION, HOST, TRAILER, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use narrows_guard::hygiene::Malformed;
use narrows_guard::hygiene::headers::{ProxyHeaders, clean};
use narrows_guard::hygiene::host::Host;
use narrows_guard::{Body, Call};

use crate::answer;
use crate::bodies::Bodies;
use crate::boundary::{Boundary, Incoming, Onward, Unfit, Verdict};
use crate::exchanger::{Exchanger, Granted, Seen};
use crate::metadata;
use crate::observe;
use crate::settings::Settings;
use ends::Ends;
use patience::{Noted, Taken, answered};

/// How long a connection to an upstream may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an upstream may take for the head of its response, from the last of the request that it took.
const HEAD: Duration = Duration::from_secs(30);
/// What an upstream says about the token that it was shown, or wants (RFC 6750 §3, RFC 9449 §8, RFC 9110 §11.6.3).
const OF_TOKENS: [HeaderName; 3] = [
    WWW_AUTHENTICATE,
    HeaderName::from_static("dpop-nonce"),
    HeaderName::from_static("authentication-info"),
];
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
    let from = settings.trusted_proxies.caller(peer.ip(), &parts.headers);
    let incoming = Incoming {
        call: call(&parts, Body::Absent).map_err(Unfit::from),
        headers: &parts.headers,
        from,
        route: None,
        sends_on: true,
        host: host(&parts).ok().and_then(|host| Host::parse(host).ok()),
        strange: observe::is_strange(&parts.headers, ProxyHeaders::Removed, settings.trusted_proxies.contain(peer.ip())),
    };
    // What a boundary that enforces says of itself, no service may say for it.
    if !Boundary::<E>::observes_host(&settings, &incoming)
        && let Some(reply) = metadata::reply(&settings, &parts)
    {
        return reply;
    }
    if let Some(upstream) = as_it_came::upstream::<E>(&settings, &incoming, &parts) {
        let Incoming { call, host, strange, .. } = incoming;
        let headers = parts.headers.clone();
        let incoming = Incoming {
            call,
            headers: &headers,
            from,
            route: None,
            sends_on: true,
            host,
            strange,
        };
        return as_it_came::send(boundary, &settings, &upstreams, upstream, incoming, (parts, body)).await;
    }
    if let Some(reply) = metadata::reply(&settings, &parts) {
        return reply;
    }
    let Incoming { call, host, strange, .. } = incoming;
    hop::join_cookies(&mut parts.headers);
    let incoming = Incoming {
        call,
        headers: &parts.headers,
        from,
        route: None,
        sends_on: true,
        host,
        strange,
    };
    let mut body = Some(body);
    let unread = &mut body;
    let read = |most| whole(boundary.bodies(), unread.take(), most);

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
    let Some(carried) = answer::carried(granted.as_ref()) else {
        return upstream_failed(StatusCode::BAD_GATEWAY);
    };
    // What was read goes on as it was read.
    let body = match (body, call.body()) {
        (Some(unread), _) => unread,
        (None, Body::Whole(bytes)) => HttpBody::from(bytes.clone()),
        (None, Body::Absent | Body::Hidden) => HttpBody::empty(),
    };
    let taken = Taken::now();
    let body = if hyper::body::Body::is_end_stream(&body) {
        body
    } else {
        let body = Ends::request(body, until_ended(&boundary, granted.as_ref()));
        HttpBody::new(Noted::new(body, taken.clone()))
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
    trace::go_on(&mut parts.headers);
    for name in [AUTHORIZATION, HeaderName::from_static("dpop")] {
        parts.headers.remove(name);
    }
    if let Some((name, value)) = carried {
        parts.headers.insert(name, value);
    }
    if let Ok(host) = HeaderValue::try_from(call.host().to_string()) {
        parts.headers.insert(HOST, host);
    }
    if settings.rebuilds_forwarded {
        say_forwarded(&mut parts.headers, &settings, &call, from.address);
    }
    if let Some(credential) = granted.as_ref().and_then(|granted| granted.credential.as_ref()) {
        // Where the service is may have changed since the route was found.
        if !credential.is_for(upstream) {
            tracing::error!(
                service,
                connection = credential.connection(),
                "the upstream is not where its credential may go"
            );
            return upstream_failed(StatusCode::BAD_GATEWAY);
        }
        credential.put(&mut parts.headers);
        echo::ask(&mut parts.headers);
    }
    let seen = Seen {
        line: Some(Seen::line(&call)),
        from: from.address,
        is_callers_own: from.is_own,
        observed: false,
    };
    // What was read of the body is held until it is sent, and not until the upstream has answered.
    drop(call);
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
    let response = match answered(upstreams.0.request(onward), &taken, HEAD).await {
        Some(Ok(response)) => response,
        // What came of the body was cut off or could not be read: that is the caller's, and nothing is said of the upstream.
        Some(Err(error)) if is_of_the_body(&error) => return malformed_body(),
        Some(Err(error)) => {
            tracing::warn!(service, %error, "the upstream did not answer");
            return upstream_failed(StatusCode::BAD_GATEWAY);
        }
        None => return upstream_failed(StatusCode::GATEWAY_TIMEOUT),
    };
    back(boundary, response, granted, caller, seen).await
}

/// Done when what was granted holds no more; never, where nothing was.
fn until_ended<E: Exchanger>(boundary: &Arc<Boundary<E>>, granted: Option<&Granted>) -> impl Future<Output = ()> + Send + 'static {
    let (boundary, granted) = (Arc::clone(boundary), granted.cloned());
    async move {
        match granted {
            Some(granted) => boundary.exchanger().ended(&granted).await,
            None => std::future::pending().await,
        }
    }
}

/// What the upstream answered, on its way to the caller.
async fn back<E: Exchanger>(
    boundary: Arc<Boundary<E>>,
    response: Response<hyper::body::Incoming>,
    granted: Option<Granted>,
    caller: Option<hyper::upgrade::OnUpgrade>,
    seen: Seen,
) -> Response<HttpBody> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match caller {
            Some(caller) => upgrade::join(boundary, response, granted, caller),
            // Nobody asked for another protocol.
            None => upstream_failed(StatusCode::BAD_GATEWAY),
        };
    }
    let mut response = match granted.as_ref().and_then(|granted| granted.credential.as_ref()) {
        None => response.map(HttpBody::new),
        Some(credential) => match echo::cut(&boundary, credential, seen, response).await {
            Ok(response) => response.map(HttpBody::new),
            Err(unfit) => {
                tracing::error!(
                    connection = credential.connection(),
                    ?unfit,
                    "a response may hold the credential, and does not go on"
                );
                return upstream_failed(StatusCode::BAD_GATEWAY);
            }
        },
    };
    // Behind a body that is looked through for a credential there is nothing.
    let announced = match granted.as_ref().and_then(|granted| granted.credential.as_ref()) {
        None => trailers::announced(response.headers()),
        Some(_) => None,
    };
    hop::strip(response.headers_mut());
    if let Some(names) = announced {
        response.headers_mut().insert(TRAILER, names);
    }
    // What is said in our name, we say. And where the upstream was shown our token, nothing that it says of tokens is for the caller.
    let ours = |name: &&HeaderName| trailers::is_in_our_name(name) || (granted.is_some() && OF_TOKENS.contains(name));
    let ours: Vec<_> = response.headers().keys().filter(ours).cloned().collect();
    for name in ours {
        response.headers_mut().remove(name);
    }
    let (parts, body) = response.into_parts();
    let body = Ends::response(body, until_ended(&boundary, granted.as_ref()));
    Response::from_parts(parts, HttpBody::new(body))
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

/// The whole body, if it has at most `most` bytes.
async fn whole(bodies: &Bodies, body: Option<HttpBody>, most: usize) -> Result<Body, Reason> {
    let Some(body) = body else { return Ok(Body::Absent) };
    let bytes = bodies.read(body, most).await?;
    Ok(if bytes.is_empty() { Body::Absent } else { Body::Whole(bytes) })
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
