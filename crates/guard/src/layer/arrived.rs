//! The request as it arrived: one host, one path, one sender; and its body, if that is looked into.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum_core::body::Body as HttpBody;
use bytes::{Bytes, BytesMut};
use delegation::oauth::Reason;
use http::header::HOST;
use http::request::Parts;
use http::uri::PathAndQuery;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::joined::Joined;
use crate::call::{Body, Call};
use crate::hygiene::Malformed;

/// How long a body may take to arrive.
const ARRIVES: Duration = Duration::from_secs(10);

/// A request that could be read, and its sender.
pub(super) struct Arrived {
    pub(super) call: Call,
    pub(super) from: IpAddr,
}

/// One that could not.
pub(super) struct Unread {
    pub(super) from: IpAddr,
    pub(super) why: Malformed,
}

impl Arrived {
    pub(super) fn read(parts: &Parts, from: fn(&Parts) -> Option<IpAddr>) -> Result<Self, Unread> {
        let Some(from) = from(parts) else {
            return Err(Unread {
                from: Ipv4Addr::UNSPECIFIED.into(),
                why: Malformed("nobody knows where the request came from"),
            });
        };
        let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
        let call = host(parts).and_then(|host| Call::parse(parts.method.as_str(), host, target.as_bytes(), &parts.headers, Body::Hidden));
        let call = call.map_err(|why| Unread { from, why })?;
        Ok(Self { call, from })
    }
}

/// The one host that the request names: HTTP/2 in `:authority`, HTTP/1.1 in `Host`; both, if both are there.
fn host(parts: &Parts) -> Result<&[u8], Malformed> {
    let mut lines = parts.headers.get_all(HOST).iter().map(http::HeaderValue::as_bytes);
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, lines.next(), lines.next()) {
        (_, _, Some(_)) => Err(Malformed("the request names two hosts")),
        (Some(authority), Some(said), _) if !authority.eq_ignore_ascii_case(said) => Err(Malformed("the request names two hosts")),
        (Some(host), _, _) | (None, Some(host), _) => Ok(host),
        (None, None, _) => Ok(b""),
    }
}

/// The whole of `body`, if it has at most `most` bytes, and the same bytes for whoever comes behind.
pub(super) async fn read(body: HttpBody, most: usize) -> (Result<Body, Reason>, HttpBody) {
    if body.is_end_stream() {
        return (Ok(Body::Absent), body);
    }
    if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
        return (Err(Reason::TooLarge), body);
    }
    let (mut body, mut held) = (body, BytesMut::new());
    let collected = timeout(ARRIVES, collect(&mut body, &mut held, most)).await;
    let held = held.freeze();
    match collected.unwrap_or(Err(Reason::MalformedRequest)) {
        Ok(()) => (Ok(Body::Whole(held.clone())), HttpBody::from(held)),
        Err(reason) => (Err(reason), HttpBody::new(Joined::of(held, body))),
    }
}

async fn collect(body: &mut HttpBody, held: &mut BytesMut, most: usize) -> Result<(), Reason> {
    while let Some(frame) = body.frame().await {
        let data: Option<Bytes> = frame.map_err(|_| Reason::MalformedRequest)?.into_data().ok();
        let data = data.unwrap_or_default();
        held.extend_from_slice(&data);
        if held.len() > most {
            return Err(Reason::TooLarge);
        }
    }
    Ok(())
}
