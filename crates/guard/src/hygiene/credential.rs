//! The one credential of a request.

use std::fmt;

use http::{HeaderMap, header};

use crate::call::{Body, Call};

/// The longest token, in bytes.
const LONGEST: usize = 16 * 1024;
/// A secret that is shorter is not looked for in other places.
const SHORTEST_SECRET: usize = 20;

/// What a caller shows.
pub struct Credential {
    scheme: Scheme,
    token: String,
}

/// How a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449.
    Dpop,
}

/// Why what a caller shows is not taken; status 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Two lines, or two credentials in one.
    #[error("there is more than one credential")]
    Several,
    /// In the query or in a form (RFC 9700 §4.3.2).
    #[error("a token stands in Authorization alone")]
    Elsewhere,
    /// `Basic`, and every other scheme.
    #[error("expected the scheme Bearer or DPoP")]
    Scheme,
    /// No token, or one with other characters (RFC 6750 §2.1).
    #[error("expected a scheme, one space and a token")]
    Grammar,
    /// More than 16 KiB.
    #[error("the token is longer than 16 KiB")]
    Long,
}

impl Credential {
    /// The credential of `call` with its `headers`; `None` where it shows nothing at all.
    ///
    /// A body is looked at only if it is a form and the door shows it.
    pub fn of(headers: &HeaderMap, call: &Call) -> Result<Option<Self>, CredentialError> {
        if call.query().is_some_and(names_token) || is_token_in_form(call) {
            return Err(CredentialError::Elsewhere);
        }
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let Some(line) = lines.next() else {
            return Ok(None);
        };
        if lines.next().is_some() || line.as_bytes().contains(&b',') {
            return Err(CredentialError::Several);
        }
        let line = std::str::from_utf8(line.as_bytes()).map_err(|_| CredentialError::Grammar)?;
        let (scheme, token) = line.split_once(' ').ok_or(CredentialError::Grammar)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Scheme::Bearer,
            "dpop" => Scheme::Dpop,
            _ => return Err(CredentialError::Scheme),
        };
        if token.len() > LONGEST {
            return Err(CredentialError::Long);
        }
        if !is_token(token) {
            return Err(CredentialError::Grammar);
        }
        Ok(Some(Self {
            scheme,
            token: token.to_owned(),
        }))
    }

    /// Whether the token stands in another place too: in a header beside its own, in the target, or in what was read of the body.
    ///
    /// A signature is looked for, since whoever has it has the token; what is short could be anything.
    pub fn is_repeated(&self, headers: &HeaderMap, call: &Call) -> bool {
        let secret = self.token.rsplit('.').next().unwrap_or_default().as_bytes();
        if secret.len() < SHORTEST_SECRET {
            return false;
        }
        let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret);
        let in_headers = headers.iter().any(|(name, value)| name != header::AUTHORIZATION && holds(value.as_bytes()));
        let in_body = matches!(call.body(), Body::Whole(bytes) if holds(bytes));
        in_headers || in_body || holds(call.target().as_bytes())
    }

    /// How it is shown.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The token. It goes to whoever verifies it, and nowhere else.
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// Without the token.
impl fmt::Debug for Credential {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credential").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// `b64token`: characters, and then padding.
fn is_token(text: &str) -> bool {
    let characters = text.trim_end_matches('=');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !characters.is_empty() && characters.bytes().all(known)
}

/// A form under a content coding cannot be looked into, so it counts as one that holds a token.
fn is_token_in_form(call: &Call) -> bool {
    match call.body() {
        Body::Whole(bytes) if call.is_form() && !bytes.is_empty() => call.media().coded || names_token(&String::from_utf8_lossy(bytes)),
        _ => false,
    }
}

/// Whether a query or form has a member `access_token`, as the most lenient reader would find it.
fn names_token(pairs: &str) -> bool {
    const NAME: &str = "access_token";
    let mut names = pairs.split(['&', ';']).map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    names.any(|name| {
        let name = folded(name);
        // `access_token[]`, `[access_token]` and what stands before a NUL are the name to one reader or another, and a bracket that
        // nothing closes is `_` to PHP.
        let stem = name.trim_start_matches('[').split(['[', ']', '\0']).next();
        stem == Some(NAME) || name.replace('[', "_") == NAME
    })
}

/// A name as readers are known to fold it: decoded, in lower case, without blanks around, `.` and blanks within as `_`.
fn folded(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        bytes.push(match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                rest = behind;
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
                digit(*high) << 4 | digit(*low)
            }
            (b'+', _) => b' ',
            (other, _) => *other,
        });
    }
    String::from_utf8_lossy(&bytes).trim().to_ascii_lowercase().replace([' ', '.'], "_")
}
