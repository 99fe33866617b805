//! Form bodies (RFC 6749 §3.2, appendix B), read strictly.

use std::collections::BTreeMap;

/// The parameters of a request, empty ones dropped.
#[derive(Debug, Default)]
pub struct Form(BTreeMap<String, Vec<String>>);

/// A body that is not a form, or not one that has a single meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Not `application/x-www-form-urlencoded` of UTF-8 text without control characters.
    #[error("not a form")]
    Malformed,
    /// A parameter is there twice.
    #[error("a parameter is repeated")]
    Repeated,
}

/// The parameters that may be there more than once (RFC 8693 §2.1).
const REPEATABLE: [&str; 2] = ["audience", "resource"];
/// No more parameters than this are looked at.
const MOST: usize = 64;

impl Form {
    /// Parses a body. Empty parameters are dropped first; one that is then still repeated is refused.
    pub fn parse(body: &[u8]) -> Result<Self, FormError> {
        let text = std::str::from_utf8(body).map_err(|_| FormError::Malformed)?;
        let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (count, pair) in text.split('&').filter(|pair| !pair.is_empty()).enumerate() {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if count >= MOST {
                return Err(FormError::Malformed);
            }
            if value.is_empty() {
                continue;
            }
            let values = parameters.entry(name).or_default();
            values.push(value);
        }
        let repeated = |(name, values): (&String, &Vec<String>)| values.len() > 1 && !REPEATABLE.contains(&name.as_str());
        if parameters.iter().any(repeated) {
            Err(FormError::Repeated)
        } else {
            Ok(Self(parameters))
        }
    }

    /// The form of these parameters, each with another name; empty ones are dropped as in a body.
    pub fn of<'p>(parameters: impl IntoIterator<Item = (&'p str, String)>) -> Self {
        let kept = parameters.into_iter().filter(|(_, value)| !value.is_empty());
        Self(kept.map(|(name, value)| (name.to_owned(), vec![value])).collect())
    }

    /// The parameter `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(|values| values.first()).map(String::as_str)
    }

    /// Every value of a parameter that may be repeated.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Decodes one part; a control character other than the ends of lines has no place in any parameter.
pub(super) fn decode(text: &str) -> Result<String, FormError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = digit(rest.next()).zip(digit(rest.next())).ok_or(FormError::Malformed)?;
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            other => other,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| FormError::Malformed)?;
    let hidden = |each: char| each.is_control() && !matches!(each, '\n' | '\r' | '\t');
    if text.chars().any(hidden) {
        Err(FormError::Malformed)
    } else {
        Ok(text)
    }
}

/// Decodes one half of `client_secret_basic` credentials, which are form-encoded before base64 (RFC 6749 §2.3.1).
pub fn decode_credential(text: &str) -> Result<String, FormError> {
    decode(text)
}
