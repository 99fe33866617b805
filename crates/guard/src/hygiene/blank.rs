//! Values whose ends mean the same to every reader.
//!
//! Many a reader drops blanks at the ends of a name or number: what was decided about ` 42` would be done to 42.

use serde_json::Value;

/// Whether `text` begins or ends with what some reader trims.
pub(crate) fn has_blank_end(text: &str) -> bool {
    text.starts_with(is_blank) || text.ends_with(is_blank)
}

/// Whether any text or member name in `value` does.
pub(crate) fn holds_blank_end(value: &Value) -> bool {
    match value {
        Value::String(text) => has_blank_end(text),
        Value::Array(items) => items.iter().any(holds_blank_end),
        Value::Object(members) => members.iter().any(|(name, value)| has_blank_end(name) || holds_blank_end(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// White space of Unicode, what ECMAScript counts as such besides, and control characters: some trim all up to U+0020.
fn is_blank(each: char) -> bool {
    each.is_whitespace() || each.is_control() || each == '\u{feff}'
}
