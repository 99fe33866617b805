//! One request, as a front door saw it.

mod media;

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use crate::hygiene::form::Form;
use crate::hygiene::headers::nominated;
use crate::hygiene::host::Host;
use crate::hygiene::path::Path;
use crate::hygiene::{Malformed, is_visible};

pub(crate) use media::Media;

/// The largest body that is looked into where its route does not say, in bytes.
pub const LARGEST_BODY: usize = 1024 * 1024;
/// The longest target, in bytes.
const LONGEST: usize = 16 * 1024;
/// The longest method, in bytes: a record holds it, and the longest that is registered has 17.
const LONGEST_METHOD: usize = 32;

/// One request, as a front door saw it, and as it goes on if it may.
///
/// Whoever holds one need not look at its path and host again. The target is kept as it came: what is decided on is what
/// is forwarded.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    host: Host,
    target: String,
    path: Path,
    media: Media,
    form: Option<Form>,
    body: Body,
}

/// The body of a request, as far as a front door can show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The request has none.
    Absent,
    /// There may be one, and this door cannot show it whole.
    Hidden,
    /// All of it.
    Whole(Bytes),
}

impl Call {
    /// Reads a request with `method` to `host`, the value of `Host` or `:authority`, for `target`, the origin form
    /// `path[?query]` (RFC 9112 §3.2.1).
    ///
    /// Of `headers` only what says how to read the body, and what `Connection` names, is looked at.
    pub fn parse(method: &str, host: &[u8], target: &[u8], headers: &HeaderMap, body: Body) -> Result<Self, Malformed> {
        if method.len() > LONGEST_METHOD {
            return Err(Malformed("the method is longer than 32 bytes"));
        }
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Malformed("the method is no token"))?;
        if headers.get_all(header::HOST).iter().count() > 1 {
            return Err(Malformed("there is more than one Host"));
        }
        nominated(headers)?;
        let host = Host::parse(host)?;
        if target.len() > LONGEST {
            return Err(Malformed("the target is longer than 16 KiB"));
        }
        let target = std::str::from_utf8(target).ok().filter(|target| is_visible(target));
        let target = target.ok_or(Malformed("the target holds a byte that is no visible ASCII character"))?;
        if target.contains('#') {
            return Err(Malformed("the target holds a fragment"));
        }
        let path = Path::parse(target.split_once('?').map_or(target, |(path, _)| path))?;
        Ok(Self {
            method,
            host,
            target: target.to_owned(),
            path,
            media: Media::of(headers),
            form: Form::of(headers),
            body,
        })
    }

    /// The method; methods differ by case (RFC 9110 §9.1).
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Path and query, byte for byte as they came.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands behind the first `?`, as it came.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Whether the body says to be a form, which may hold a token (RFC 6750 §2.2).
    pub fn is_form(&self) -> bool {
        self.media.form
    }

    /// Which kind of form the body says to be, in which a method may be named.
    pub fn form(&self) -> Option<Form> {
        self.form
    }

    /// The same request with its body, for a door that reads the body only where a route asks for it.
    #[must_use]
    pub fn with_body(self, body: Body) -> Self {
        Self { body, ..self }
    }

    pub(crate) fn media(&self) -> Media {
        self.media
    }
}
