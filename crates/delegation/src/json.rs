//! JSON as this product reads it: no member twice, no deeper than said, nothing after the end.
//!
//! A parser that keeps the last of two equal members lets a signed token mean two things to two readers,
//! so duplicates are refused at every depth (RFC 7515 §4, RFC 7519 §4).

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// JSON that is not taken.
#[derive(Debug, thiserror::Error)]
#[error("not acceptable as JSON: {0}")]
pub struct JsonError(#[from] serde_json::Error);

/// Parses `bytes` as one JSON value of at most `depth` nested arrays and objects.
///
/// Refused: a member named twice in one object, trailing bytes, a byte order mark, text that is not UTF-8.
pub fn parse(bytes: &[u8], depth: usize) -> Result<Value, JsonError> {
    // All of it at once, which takes less time than each string by itself.
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { depth }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Parses `bytes` as one JSON object, by the rules of [`parse`].
pub fn parse_object(bytes: &[u8], depth: usize) -> Result<Map<String, Value>, JsonError> {
    match parse(bytes, depth)? {
        Value::Object(members) => Ok(members),
        _ => Err(JsonError(serde_json::Error::custom("expected an object"))),
    }
}

/// Whether `members`, an object, is nested no deeper than `depth`, itself counted.
pub fn is_within(members: &Map<String, Value>, depth: usize) -> bool {
    let inner = depth.checked_sub(1);
    inner.is_some_and(|inner| members.values().all(|value| value_is_within(value, inner)))
}

fn value_is_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Object(members) => is_within(members, depth),
        Value::Array(items) => depth.checked_sub(1).is_some_and(|inner| items.iter().all(|item| value_is_within(item, inner))),
        _ => true,
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth.map(|depth| Self { depth }).ok_or_else(|| E::custom("nested too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(inner)?;
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is named twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::{is_within, parse, parse_object};

    #[test]
    fn a_member_named_twice_is_refused_at_any_depth() {
        assert!(parse(br#"{"a":1,"a":1}"#, 8).is_err());
        assert!(parse(br#"{"a":[{"b":{"c":1,"c":2}}]}"#, 8).is_err());
        assert!(parse(br#"{"a":1,"\u0061":2}"#, 8).is_err(), "the same name spelt two ways");
        assert!(parse(br#"{"a":1,"b":{"a":1}}"#, 8).is_ok());
    }

    #[test]
    fn nesting_past_the_bound_is_refused() {
        assert!(parse(b"[[[]]]", 3).is_ok());
        assert!(parse(b"[[[[]]]]", 3).is_err());
        assert!(parse("[".repeat(100_000).as_bytes(), 8).is_err());
    }

    #[test]
    fn depth_counts_objects_and_arrays_alike() {
        let nested = parse_object(br#"{"a":[{"b":1}],"c":2}"#, 8);
        assert!(nested.is_ok_and(|members| is_within(&members, 3) && !is_within(&members, 2)));
    }

    #[test]
    fn bytes_around_the_value_are_refused() {
        for bytes in [
            &b"{} x"[..],
            b"\xEF\xBB\xBF{}",
            b"{\"a\":\"\xFF\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":01}",
            b"{\"a\":NaN}",
            b"",
        ] {
            assert!(parse(bytes, 8).is_err(), "{bytes:?}");
        }
    }
}
