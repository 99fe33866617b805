//! Percent-encoding, decoded once.

use super::{Malformed, is_visible};

/// `text` after one decoding (RFC 3986 §2.1).
pub(crate) fn decode(text: &str) -> Result<String, Malformed> {
    if !text.contains('%') && is_visible(text) {
        return Ok(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(Malformed("a `%` without two hexadecimal digits")),
            },
            other => other,
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| Malformed("percent-encoded text that is not UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(Malformed("a percent-encoded control character"));
    }
    Ok(text)
}

/// Whether `text` holds what one more decoding would change.
pub(crate) fn is_encoded(text: &str) -> bool {
    text.as_bytes()
        .windows(3)
        .any(|three| matches!(three, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

fn digit(byte: Option<u8>) -> Option<u8> {
    char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
