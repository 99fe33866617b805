//! A request that goes on as it came, since it is only observed: with all its headers and its own token, streamed, for as long as
//! it takes. What is for one connection alone stays behind, as at every proxy.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use delegation::oauth::Reason;
use http::header::{HOST, TRAILER};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version};
use narrows_guard::Body;
use narrows_guard::route::Upgrade;

use super::arrived::framed;
use super::copied::Copied;
use super::ends::Until;
use super::failed::{is_of_the_body, malformed_body, upstream_failed, why};
use super::watched::{Answer, Bound, Watched, at_most};
use super::{Upstreams, hop, upgrade};
use crate::bodies::Bodies;
use crate::boundary::{Boundary, Incoming, Unfit, looked_into};
use crate::exchanger::Exchanger;
use crate::observe::Form;
use crate::settings::{Settings, Upstream};

/// Where the request goes; nothing if it is not observed, or cannot go on as it came: nobody could say whose it is, or where its body
/// ends.
pub(super) fn upstream<'s, E: Exchanger>(settings: &'s Settings, incoming: &Incoming, parts: &Parts) -> Option<&'s Upstream> {
    if framed(parts).is_err() || parts.uri.path_and_query().is_none() || !Boundary::<E>::observes(settings, incoming) {
        return None;
    }
    if let Some(matched) = incoming.matched(settings) {
        return settings.upstreams.get(&matched.service().name);
    }
    let mut services = settings.table.services_at(incoming.host.as_ref()?);
    match (services.next(), services.next()) {
        (Some(only), None) => settings.upstreams.get(&only.name),
        _ => None,
    }
}

/// Sends it on to `upstream`, and hands a copy to whoever decides.
pub(super) async fn send<E: Exchanger>(
    boundary: Arc<Boundary<E>>,
    settings: &Arc<Settings>,
    upstreams: &Upstreams,
    upstream: &Upstream,
    incoming: Incoming,
    (parts, body): (Parts, HttpBody),
) -> Response<HttpBody> {
    // 1. A form that makes another request of it, at a host where anything enforces, goes no further than to the name of the method.
    let answer = Answer::default();
    let body = match incoming.form {
        Some(form) if !Boundary::<E>::observes_host(settings, &incoming) => {
            let bound = no_method(&boundary, settings, &incoming, form, &parts.headers);
            HttpBody::new(Watched::cut(body, bound, answer.clone()))
        }
        _ => body,
    };

    // 2. The decision, which nothing waits for. What it looks at of the body, it sees when it has gone by.
    let known = incoming.matched(settings).zip(incoming.call.as_ref().ok());
    let looked_into = known.and_then(|(matched, call)| looked_into(&matched, call));
    let body_max = known.and_then(|(matched, _)| matched.body_max());
    let (body, outgrows) = match (looked_into, body_max) {
        (None, Some(most)) => {
            let (body, outgrows) = Watched::told(body, at_most(most));
            (HttpBody::new(body), Some(outgrows))
        }
        _ => (body, None),
    };
    let (body, copy) = copied(body, looked_into, boundary.bodies());
    let outgrows = async {
        match outgrows {
            Some(outgrows) => outgrows.await,
            None => false,
        }
    };
    boundary.observe(settings, incoming, &parts.headers, |_, _| copy, outgrows);
    pass(upstreams, upstream, (parts, body), &answer).await
}

/// `body` as it goes by, and what it was, for whoever decides: if that is looked into, and then at most so many bytes.
pub(crate) fn copied(
    body: HttpBody,
    looked_into: Option<usize>,
    bodies: &Bodies,
) -> (HttpBody, impl Future<Output = Result<Body, Reason>> + Send + use<>) {
    let (body, copy) = match looked_into {
        Some(most) => {
            let (body, copy) = Copied::new(body, most, bodies.clone());
            (HttpBody::new(body), Some(copy))
        }
        None => (body, None),
    };
    let shown = async {
        match copy {
            Some(copy) => copy.whole().await,
            None => Ok(Body::Absent),
        }
    };
    (body, shown)
}

/// Sends a request on to `upstream` as it came, and its response back; if its body was cut off, the `answer` that came of that.
pub(crate) async fn pass(
    upstreams: &Upstreams,
    upstream: &Upstream,
    (mut parts, body): (Parts, HttpBody),
    answer: &Answer,
) -> Response<HttpBody> {
    // 1. The request.
    let uri = parts.uri.path_and_query().cloned().and_then(|target| address(upstream, target));
    let Some(uri) = uri else {
        return upstream_failed(StatusCode::BAD_GATEWAY);
    };
    let upgrades = upgrade::wanted(&parts, Some(Upgrade::WebSocket));
    parts.headers = without_hops(&parts.headers);
    if parts.version == Version::HTTP_2 {
        hop::join_cookies(&mut parts.headers);
    }
    if let (None, Some(authority)) = (parts.headers.get(HOST), parts.uri.authority())
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
    if upgrades {
        upgrade::ask(&mut parts.headers);
    }
    let mut onward = Request::new(body);
    *onward.method_mut() = parts.method;
    *onward.uri_mut() = uri;
    *onward.version_mut() = Version::HTTP_11;
    *onward.headers_mut() = parts.headers;
    let caller = upgrades.then(|| parts.extensions.remove::<hyper::upgrade::OnUpgrade>()).flatten();

    // 2. The response, which takes as long as it took before.
    let mut response = match upstreams.request(upstream, onward).await {
        Ok(response) => response,
        Err(error) if is_of_the_body(&error) => return answer.take().unwrap_or_else(malformed_body),
        Err(error) => {
            tracing::warn!(error = why(&error), "the upstream of an observed request did not answer");
            return upstream_failed(StatusCode::BAD_GATEWAY);
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match caller {
            Some(caller) => upgrade::join(response, caller, Until::it_ends().over()),
            None => {
                tracing::warn!("the upstream of an observed request changes to another protocol, for which nobody asked");
                upstream_failed(StatusCode::BAD_GATEWAY)
            }
        };
    }
    *response.headers_mut() = without_hops(response.headers());
    response.map(HttpBody::new)
}

/// Of a form, all up to where it names a method.
fn no_method<E: Exchanger>(
    boundary: &Arc<Boundary<E>>,
    settings: &Arc<Settings>,
    incoming: &Incoming,
    form: Form,
    headers: &HeaderMap,
) -> Bound {
    let (seen, asked) = (incoming.on_record(headers), headers.clone());
    let (boundary, settings) = (Arc::clone(boundary), Arc::clone(settings));
    let mut look = form.look();
    let refuse = async move { boundary.refused(&settings, &seen, Unfit::another_method()).await.reply(&asked) };
    Bound::new(move |data| !look.names_method(data), refuse)
}

/// What is not for one connection alone, in the order in which it came, and with the names of the trailers that will follow.
fn without_hops(headers: &HeaderMap) -> HeaderMap {
    let mut stripped = headers.clone();
    hop::strip(&mut stripped);
    let stays = |name: &HeaderName| stripped.contains_key(name) || name == TRAILER;
    let kept = headers.iter().filter(|(name, _)| stays(name));
    let mut ordered = HeaderMap::with_capacity(headers.len());
    for (name, value) in kept {
        ordered.append(name, value.clone());
    }
    ordered
}

fn address(upstream: &Upstream, target: PathAndQuery) -> Option<Uri> {
    let uri = Uri::builder().scheme(upstream.scheme.clone()).authority(upstream.authority.as_str());
    uri.path_and_query(target).build().ok()
}
