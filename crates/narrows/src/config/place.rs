//! Where a key stands in the text of a file.

use toml::de::{DeTable, DeValue};

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// A key such as `clients[1].auth` in parts.
pub(super) fn segments(key: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    for part in key.split('.').filter(|part| !part.is_empty()) {
        let mut pieces = part.split('[');
        segments.extend(pieces.next().filter(|name| !name.is_empty()).map(|name| Segment::Key(name.to_owned())));
        segments.extend(pieces.filter_map(|piece| piece.trim_end_matches(']').parse().ok().map(Segment::Index)));
    }
    segments
}

/// A key as it is written: `clients[1].auth`, with quotes around what TOML would not read bare.
pub(super) fn written(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
            Segment::Key(key) if text.is_empty() => text.push_str(&key_of(key)),
            Segment::Key(key) => text.push_str(&format!(".{}", key_of(key))),
        }
    }
    text
}

/// One part of a key, bare where that can be.
pub(super) fn key_of(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if bare { key.to_owned() } else { quoted(key) }
}

/// A basic string of TOML, on one line.
pub(super) fn quoted(text: &str) -> String {
    // JSON escapes what TOML does, but for this one character.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// The deepest part of a path that is there: how deep it is, and where it begins.
pub(super) fn offset(table: &DeTable<'_>, path: &[Segment]) -> Option<(usize, usize)> {
    let mut found = None;
    let mut here: Option<&DeValue<'_>> = None;
    for (depth, segment) in path.iter().enumerate() {
        let entry = match (segment, here) {
            (Segment::Key(name), None) => table.get_key_value(name.as_str()),
            (Segment::Key(name), Some(DeValue::Table(table))) => table.get_key_value(name.as_str()),
            (Segment::Index(index), Some(DeValue::Array(items))) => {
                let Some(item) = items.get(*index) else { return found };
                found = Some((depth + 1, item.span().start));
                here = Some(item.get_ref());
                continue;
            }
            _ => return found,
        };
        let Some((key, value)) = entry else { return found };
        found = Some((depth + 1, key.span().start));
        here = Some(value.get_ref());
    }
    found
}

/// Whether `text` sets a key.
pub(super) fn sets(text: &str, key: &str) -> bool {
    let whole = segments(key);
    let parsed = DeTable::parse(text).ok();
    parsed
        .and_then(|parsed| offset(parsed.get_ref(), &whole))
        .is_some_and(|(depth, _)| depth == whole.len())
}
