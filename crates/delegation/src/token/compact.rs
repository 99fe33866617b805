//! The compact serialization (RFC 7515 §7.1), read strictly and before any cryptography.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::keys::Algorithm;
use crate::json;

/// The longest token that is looked at.
pub(super) const LONGEST: usize = 16 * 1024;
/// The longest `kid`.
const LONGEST_KID: usize = 512;
/// How deep the JSON of a payload may be nested: the longest chain and room for the rest.
const DEPTH: usize = 64;
/// Header members that change what is verified or with which key (RFC 8725 §3.10; RFC 7797 §6).
const REFUSED: [&str; 6] = ["crit", "jku", "x5u", "jwk", "zip", "b64"];

/// The parts of a compact JWS, whatever its payload is.
pub(super) struct Jws {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) payload: Vec<u8>,
    pub(super) signing_input: String,
    pub(super) signature: Vec<u8>,
}

/// The parts of a compact token: a JWS whose payload is a claims set.
#[derive(Clone)]
pub(super) struct Compact {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
    pub(super) typ: Option<String>,
    pub(super) claims: Map<String, Value>,
    pub(super) signing_input: String,
    pub(super) signature: Vec<u8>,
}

/// The bytes are not a token as this product reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a compact signed token: {0}")]
pub(super) struct NotCompact(pub(super) &'static str);

impl Compact {
    /// Reads a compact token: a [`Jws`] whose payload is a JSON object without duplicate members.
    pub(super) fn parse(token: &str) -> Result<Self, NotCompact> {
        let jws = Jws::parse(token)?;
        Ok(Self {
            claims: object(&jws.payload)?,
            algorithm: jws.algorithm,
            kid: jws.kid,
            typ: jws.typ,
            signing_input: jws.signing_input,
            signature: jws.signature,
        })
    }
}

impl Jws {
    /// Reads a compact JWS: bounded size, exactly three segments of canonical base64url, a header that is a JSON object
    /// without duplicate members, a known asymmetric `alg`, and no header that would change what is verified.
    pub(super) fn parse(token: &str) -> Result<Self, NotCompact> {
        if token.len() > LONGEST {
            return Err(NotCompact("too long"));
        }
        let mut segments = token.splitn(4, '.');
        let (Some(header), Some(payload), Some(signature), None) = (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(NotCompact("expected three segments"));
        };
        let decode = |segment: &str| URL_SAFE_NO_PAD.decode(segment).map_err(|_| NotCompact("a segment is not canonical base64url"));
        let members = object(&decode(header)?)?;
        if REFUSED.iter().any(|name| members.contains_key(*name)) {
            return Err(NotCompact("a header member that is never taken"));
        }
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(NotCompact("a header member has the wrong type")),
        };
        let algorithm = text("alg")?.as_deref().and_then(Algorithm::parse).ok_or(NotCompact("no known algorithm"))?;
        let kid = text("kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > LONGEST_KID) {
            return Err(NotCompact("the key's name is too long"));
        }
        let decoded = decode(signature)?;
        if decoded.is_empty() {
            return Err(NotCompact("no signature"));
        }
        Ok(Self {
            algorithm,
            kid,
            typ: text("typ")?,
            payload: decode(payload)?,
            signing_input: format!("{header}.{payload}"),
            signature: decoded,
        })
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, NotCompact> {
    json::parse_object(bytes, DEPTH).map_err(|_| NotCompact("a segment is not a JSON object"))
}
