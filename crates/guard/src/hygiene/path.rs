//! Paths that mean the same to every reader.

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
    /// (but for the last one), `.` or `..`; `;` and `\`; encoded `/ \ . ; ? #` and control characters; an escape that is
    /// broken, is no UTF-8, or makes another escape.
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

fn segment(text: &str) -> Result<String, Malformed> {
    let decoded = decode(text)?;
    // Some systems drop blanks at the end of a name.
    if matches!(decoded.trim_end(), "." | "..") {
        return Err(Malformed("the path holds a dot segment"));
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
