//! Paths that mean the same to every reader.

use super::blank::has_blank_end;
use super::percent::{decode, is_encoded};
use super::{Malformed, is_visible};

/// The path of a request: how it came, and its segments after one decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    raw: String,
    segments: Vec<String>,
}

impl Path {
    /// Takes a path that no normalisation would change.
    ///
    /// Refused is whatever another program might drop, merge, climb, cut or decode a second time: segments that are empty
    /// (but for the last one), `.` or `..`, or begin or end with a blank; `;` and `\`; encoded `/ \ . ; ? #` and control
    /// characters; an escape that is broken, is no UTF-8, or makes another escape.
    pub fn parse(raw: &str) -> Result<Self, Malformed> {
        let rest = raw.strip_prefix('/').ok_or(Malformed("the path does not begin with `/`"))?;
        if !is_visible(rest) || rest.contains(['?', '#']) {
            return Err(Malformed("the path holds a character that stands in no path"));
        }
        let count = rest.split('/').count();
        let mut segments = Vec::with_capacity(count);
        for (at, text) in rest.split('/').enumerate() {
            if text.is_empty() && at + 1 < count {
                return Err(Malformed("the path holds an empty segment"));
            }
            segments.push(segment(text)?);
        }
        Ok(Self {
            raw: raw.to_owned(),
            segments,
        })
    }

    /// The path as it came.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Its segments, decoded once; at least one, and only the last may be empty.
    pub fn segments(&self) -> &[String] {
        &self.segments
    }
}

/// One segment, all of visible characters.
fn segment(text: &str) -> Result<String, Malformed> {
    let decoded = decode(text)?;
    if matches!(decoded.as_str(), "." | "..") {
        return Err(Malformed("the path holds a dot segment"));
    }
    // Most segments are what they say. What is looked for below, but for these, takes an escape.
    if !text.contains(['%', '\\', ';']) {
        return Ok(decoded);
    }
    if has_blank_end(&decoded) {
        return Err(Malformed("a segment of the path begins or ends with a blank"));
    }
    let dots = |text: &str| text.matches('.').count();
    if decoded.contains(['/', '\\', ';', '?', '#']) || dots(&decoded) != dots(text) {
        return Err(Malformed(
            "the path holds `;` or `\\`, or an encoded `/`, `\\`, `.`, `;`, `?` or `#`",
        ));
    }
    if is_encoded(&decoded) {
        return Err(Malformed("the path is encoded twice"));
    }
    Ok(decoded)
}
