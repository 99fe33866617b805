//! How a body says that it is to be read.

use http::{HeaderMap, HeaderValue, header};

/// How a body says that it is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Media {
    /// One `Content-Type`, `application/json`, in UTF-8.
    pub(crate) json: bool,
    /// Any `Content-Type` says `application/x-www-form-urlencoded`.
    pub(crate) form: bool,
    /// There is a `Content-Encoding`, so the bytes are not what their type says.
    pub(crate) coded: bool,
}

impl Media {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let types = headers.get_all(header::CONTENT_TYPE);
        let mut each = types.iter();
        let json = match (each.next(), each.next()) {
            (Some(only), None) => is_json(only),
            _ => false,
        };
        Self {
            json,
            form: types.iter().any(is_form),
            coded: headers.contains_key(header::CONTENT_ENCODING),
        }
    }
}

/// What may stand around a part of a value (RFC 9110 §5.6.3). Other blanks are part of it: who reads a type by the letter does not
/// know `application/json` behind one.
const OWS: [char; 2] = [' ', '\t'];

/// Another character set would be other text to another reader, so UTF-8 alone is taken (RFC 8259 §8.1).
fn is_json(value: &HeaderValue) -> bool {
    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let (kind, parameter) = match value.split_once(';') {
        None => (value.as_str(), ""),
        Some((kind, parameter)) => (kind, parameter.trim_matches(OWS)),
    };
    kind.trim_matches(OWS) == "application/json" && matches!(parameter, "" | "charset=utf-8" | "charset=\"utf-8\"")
}

/// Lenient, since it only decides where a token is looked for.
fn is_form(value: &HeaderValue) -> bool {
    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    value.contains("x-www-form-urlencoded")
}
