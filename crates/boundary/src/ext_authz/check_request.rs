//! What Envoy says about a request: twice or in two ways is refused, since one of them is not what goes on.

use std::net::IpAddr;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::HeaderValue as Field;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use http::{HeaderMap, HeaderName, HeaderValue};
use narrows_guard::hygiene::Malformed;
use narrows_guard::{Body, Call};

/// A request as Envoy tells of it.
#[derive(Debug)]
pub(super) struct Told {
    /// The request, or what is wrong with it.
    pub(super) call: Result<Call, Malformed>,
    /// Its headers, without those that HTTP/2 writes as fields of the request line.
    pub(super) headers: HeaderMap,
    /// The route that Envoy's configuration says it is.
    pub(super) route: Option<String>,
    /// The address that Envoy was connected from.
    pub(super) from: Option<IpAddr>,
}

/// The parts of a request line, as HTTP/2 writes them among the headers (RFC 9113 §8.3.1).
#[derive(Debug, Default)]
struct Pseudo {
    method: Option<String>,
    path: Option<String>,
    authority: Option<String>,
}

impl Told {
    /// Reads what Envoy sent, which may be nothing at all.
    pub(super) fn read(mut attributes: AttributeContext) -> Self {
        let route = attributes.context_extensions.remove("route");
        let address = attributes.source.take().and_then(|peer| peer.address?.address);
        let from = match address {
            Some(Address::SocketAddress(socket)) => socket.address.parse().ok(),
            _ => None,
        };
        let http = attributes.request.take().and_then(|request| request.http).unwrap_or_default();
        let (call, headers) = match headers(&http) {
            Ok((pseudo, headers)) => (call(http, &pseudo, &headers), headers),
            Err(malformed) => (Err(malformed), HeaderMap::new()),
        };
        Self {
            call,
            headers,
            route,
            from,
        }
    }
}

/// The headers: a map of joined values, or, with `encode_raw_headers`, every line by itself.
fn headers(http: &HttpRequest) -> Result<(Pseudo, HeaderMap), Malformed> {
    let lines = http.header_map.as_ref().map_or(&[][..], |map| map.headers.as_slice());
    if !http.headers.is_empty() && !lines.is_empty() {
        return Err(Malformed::new("the headers come twice"));
    }
    let mut pseudo = Pseudo::default();
    let mut headers = HeaderMap::new();
    for (name, value) in &http.headers {
        add(&mut pseudo, &mut headers, name, value.as_bytes())?;
    }
    for line in lines {
        add(&mut pseudo, &mut headers, &line.key, value(line)?)?;
    }
    Ok((pseudo, headers))
}

/// The value of a line, which is text or bytes.
fn value(line: &Field) -> Result<&[u8], Malformed> {
    match (line.value.as_bytes(), line.raw_value.as_slice()) {
        (text, []) => Ok(text),
        ([], raw) => Ok(raw),
        (text, raw) if text == raw => Ok(raw),
        _ => Err(Malformed::new("a header has two values")),
    }
}

fn add(pseudo: &mut Pseudo, headers: &mut HeaderMap, name: &str, value: &[u8]) -> Result<(), Malformed> {
    let text = std::str::from_utf8(value).map_err(|_| Malformed::new("a header is no UTF-8"))?;
    if let Some(name) = name.strip_prefix(':') {
        let part = match name {
            "method" => &mut pseudo.method,
            "path" => &mut pseudo.path,
            "authority" => &mut pseudo.authority,
            // How the request came says nothing about what it is for.
            _ => return Ok(()),
        };
        return match part.replace(text.to_owned()) {
            None => Ok(()),
            Some(_) => Err(Malformed::new("a part of the request line comes twice")),
        };
    }
    let name = HeaderName::try_from(name).map_err(|_| Malformed::new("a header has no name"))?;
    let value = HeaderValue::from_bytes(value).map_err(|_| Malformed::new("a header holds a control character"))?;
    headers.append(name, value);
    Ok(())
}

fn call(http: HttpRequest, pseudo: &Pseudo, headers: &HeaderMap) -> Result<Call, Malformed> {
    let method = agreed(&http.method, pseudo.method.as_deref())?;
    let target = agreed(&http.path, pseudo.path.as_deref())?;
    let host = agreed(&http.host, pseudo.authority.as_deref())?;
    let said = headers.get(http::header::HOST);
    if said.is_some_and(|said| !said.as_bytes().eq_ignore_ascii_case(host.as_bytes())) {
        return Err(Malformed::new("the request names two hosts"));
    }
    // The path holds the query; Envoy leaves the field for it empty.
    let query = target.split_once('?').map_or("", |(_, query)| query);
    if !http.query.is_empty() && http.query != query {
        return Err(Malformed::new("the request has two queries"));
    }
    let (method, target, host) = (method.to_owned(), target.to_owned(), host.to_owned());
    let body = body(http, headers)?;
    Call::parse(&method, host.as_bytes(), target.as_bytes(), headers, body)
}

/// What two fields say, which is the same where both are there. Of nothing, the parser of a call makes a refusal.
fn agreed<'t>(field: &'t str, pseudo: Option<&'t str>) -> Result<&'t str, Malformed> {
    match pseudo {
        None => Ok(field),
        Some(pseudo) if field.is_empty() || pseudo == field => Ok(pseudo),
        Some(_) => Err(Malformed::new("the request line is told in two ways")),
    }
}

fn body(http: HttpRequest, headers: &HeaderMap) -> Result<Body, Malformed> {
    let HttpRequest { body, raw_body, size, .. } = http;
    if !body.is_empty() && !raw_body.is_empty() {
        return Err(Malformed::new("the body comes twice"));
    }
    // Envoy writes `!` in text for each byte that is no UTF-8: what was decided on would not be what goes on.
    if body.contains('!') {
        return Ok(Body::Hidden);
    }
    let bytes = if raw_body.is_empty() {
        Bytes::from(body)
    } else {
        Bytes::from(raw_body)
    };
    match usize::try_from(size) {
        Ok(size) if size != bytes.len() && size != 0 => Ok(Body::Hidden),
        // Zero is what an unset field says, and less than that is a length that Envoy does not know.
        _ => Ok(super::shown(headers, bytes)),
    }
}
