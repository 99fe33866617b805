//! The keys of the feed.

use delegation::revocation::Key;
use serde_json::Value;

/// What 64 hexadecimal digits name.
pub(super) fn of(said: &Value) -> Option<Key> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = said.as_str()?.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    let bytes: Vec<u8> = pairs.collect::<Option<_>>()?;
    Some(Key::from_bytes(bytes.try_into().ok()?))
}
