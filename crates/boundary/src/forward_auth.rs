//! The door for nginx `auth_request`, Traefik ForwardAuth and Caddy `forward_auth`: a request about a request.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::{Extension, Router};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use narrows_guard::hygiene::Malformed;
use narrows_guard::hygiene::headers::{ProxyHeaders, removed};
use narrows_guard::{Body, Call};

use crate::answer;
use crate::boundary::{Boundary, Unfit, Verdict};
use crate::exchanger::Exchanger;
use crate::metadata;
use crate::question::Question;

/// The statuses that nginx passes on; it makes 500 of every other.
const NGINX_PASSES: [StatusCode; 3] = [StatusCode::OK, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];

/// The request that a proxy asks about.
struct Original<'h> {
    method: &'h str,
    host: &'h [u8],
    target: &'h [u8],
}

/// Serves every path.
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
    if let (false, Some(reply)) = (
        is_about_another(&question.parts.headers),
        metadata::reply(&settings, &question.parts),
    ) {
        return reply;
    }
    let (parts, verdict) = question.decide(&boundary, &settings, ProxyHeaders::Kept, |_, bytes| shown(bytes), call).await;
    let headers = &parts.headers;
    let Some(verdict) = verdict else {
        return answer::as_it_came(headers);
    };
    let by_nginx = headers.contains_key("x-original-method") || headers.contains_key("x-original-uri");
    match verdict {
        Verdict::Goes(onward) => match answer::carried(onward.granted.as_ref()) {
            Some(carried) => answer::allowed(carried),
            None => answer::plain(StatusCode::FORBIDDEN),
        },
        Verdict::Refused(refusal) => answer::refused(&refusal, headers, by_nginx.then_some(&NGINX_PASSES[..])),
    }
}

/// The request that is asked about, without its body.
fn call(parts: &Parts) -> Result<Call, Unfit> {
    let headers = &parts.headers;
    let original = original(headers)?;
    // What this door cannot take off the request, nobody will.
    if headers.keys().any(|name| removed(name, ProxyHeaders::Kept)) {
        return Err(Malformed::new("the request holds a header that only a proxy may set").into());
    }
    Ok(Call::parse(
        original.method,
        original.host,
        original.target,
        &about(headers),
        Body::Absent,
    )?)
}

/// The one value of a header: neither missing nor repeated, nor a list.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h HeaderValue>, Malformed> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => Ok(Some(only)),
        _ => Err(Malformed::new("a header that names the request is repeated")),
    }
}

/// Whether anything names another request, be it incomplete: 200 would let that one through.
fn is_about_another(headers: &HeaderMap) -> bool {
    let names = [
        "x-original-method",
        "x-original-uri",
        "x-forwarded-method",
        "x-forwarded-uri",
        "x-forwarded-host",
    ];
    names.iter().any(|name| headers.contains_key(*name))
}

/// The request that is asked about, as one family of headers names it; where both are there, both name the same.
fn original(headers: &HeaderMap) -> Result<Original<'_>, Malformed> {
    const INCOMPLETE: Malformed = Malformed::new("the headers that name the request are incomplete");
    let [original_method, original_uri] = [one(headers, "x-original-method")?, one(headers, "x-original-uri")?];
    let forwarded = [
        one(headers, "x-forwarded-method")?,
        one(headers, "x-forwarded-uri")?,
        one(headers, "x-forwarded-host")?,
    ];
    let method = |value: &'_ HeaderValue| -> bool { value.as_bytes().iter().all(u8::is_ascii_alphabetic) };
    match (original_method, original_uri, forwarded) {
        (Some(name), Some(uri), forwarded) => {
            let host = one(headers, "host")?.ok_or(INCOMPLETE)?;
            let agrees = forwarded.iter().zip([name, uri, host]).all(|(said, own)| said.is_none_or(|said| said == own));
            if !agrees {
                return Err(Malformed::new("the headers that name the request contradict each other"));
            }
            Ok(Original {
                method: name.to_str().ok().filter(|_| method(name)).ok_or(INCOMPLETE)?,
                host: host.as_bytes(),
                target: uri.as_bytes(),
            })
        }
        (None, None, [Some(name), Some(uri), Some(host)]) => Ok(Original {
            method: name.to_str().ok().filter(|_| method(name)).ok_or(INCOMPLETE)?,
            host: host.as_bytes(),
            target: uri.as_bytes(),
        }),
        _ => Err(INCOMPLETE),
    }
}

/// The headers of the request that is asked about: `Host` here is the door's own.
fn about(headers: &HeaderMap) -> HeaderMap {
    let mut about = headers.clone();
    about.remove(http::header::HOST);
    about
}

/// What the proxy sends along of the body. Nothing is not the same as none: most proxies never send it.
fn shown(bytes: Bytes) -> Body {
    if bytes.is_empty() { Body::Hidden } else { Body::Whole(bytes) }
}
