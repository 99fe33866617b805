//! The key of a route: a method and a path with variables.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::hygiene::path::Path;

/// One key of `[services.routes]`, such as `GET /tickets/{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    method: String,
    segments: Vec<Piece>,
}

/// What one segment of a path must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// This text.
    Literal(String),
    /// `{x}`: one segment that is not empty.
    One(String),
    /// `{x:rest}`: the remainder, at least one segment.
    Rest(String),
}

/// Why a key is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It has no method, or no path.
    #[error("expected a method and a path such as `GET /tickets/{{id}}`, found `{0}`")]
    Shape(String),
    /// No request that is let in has such a segment.
    #[error("`{0}` never comes in a normalised path")]
    Segment(String),
    /// Braces that hold no variable.
    #[error("expected `{{x}}`, or `{{x:rest}}` at the end, found `{0}`")]
    Variable(String),
    /// Two values would have one name.
    #[error("names a variable twice")]
    Twice,
}

impl Pattern {
    /// Reads a key.
    pub fn parse(key: &str) -> Result<Self, PatternError> {
        let shape = || PatternError::Shape(key.to_owned());
        let (method, path) = key.split_once(' ').ok_or_else(shape)?;
        let good = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let path = path.strip_prefix('/').filter(|_| good).ok_or_else(shape)?;
        let mut segments = Vec::new();
        let count = path.split('/').count();
        for (at, text) in path.split('/').enumerate() {
            let last = at + 1 == count;
            segments.push(match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                None if text.is_empty() && last => Piece::Literal(String::new()),
                None if is_plain(text) => Piece::Literal(text.to_owned()),
                None => return Err(PatternError::Segment(text.to_owned())),
                Some(variable) => match variable.strip_suffix(":rest") {
                    Some(name) if last && is_name(name) => Piece::Rest(name.to_owned()),
                    None if is_name(variable) => Piece::One(variable.to_owned()),
                    _ => return Err(PatternError::Variable(text.to_owned())),
                },
            });
        }
        let pattern = Self {
            method: method.to_owned(),
            segments,
        };
        let named = pattern.segments.iter().filter(|piece| !matches!(piece, Piece::Literal(_))).count();
        if pattern.variables().len() == named {
            Ok(pattern)
        } else {
            Err(PatternError::Twice)
        }
    }

    /// What its path names.
    pub fn variables(&self) -> BTreeSet<String> {
        let name = |piece: &Piece| match piece {
            Piece::Literal(_) => None,
            Piece::One(name) | Piece::Rest(name) => Some(name.clone()),
        };
        self.segments.iter().filter_map(name).collect()
    }

    /// Whether both match the same requests with the same rank, so that neither would win.
    pub fn ties(&self, other: &Self) -> bool {
        let same = |(left, right): (&Piece, &Piece)| match (left, right) {
            (Piece::Literal(left), Piece::Literal(right)) => left == right,
            (Piece::One(_), Piece::One(_)) | (Piece::Rest(_), Piece::Rest(_)) => true,
            _ => false,
        };
        self.method == other.method && self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(same)
    }

    /// The values of its variables in a request with `method` for `path`; `None` if it is not for that request.
    ///
    /// There is no falling back between methods: `HEAD` is not `GET`.
    pub fn capture<'v>(&'v self, method: &str, path: &'v Path) -> Option<BTreeMap<&'v str, Cow<'v, str>>> {
        if self.method != method || !self.fits(path) {
            return None;
        }
        let mut values = BTreeMap::new();
        for (at, (piece, segment)) in self.segments.iter().zip(path.segments()).enumerate() {
            match piece {
                Piece::Literal(_) => {}
                Piece::One(name) => {
                    values.insert(name.as_str(), Cow::from(segment));
                }
                Piece::Rest(name) => {
                    values.insert(name.as_str(), Cow::from(path.segments().get(at..)?.join("/")));
                }
            }
        }
        Some(values)
    }

    /// Whether `path` is one of its own, as it is.
    pub(super) fn fits(&self, path: &Path) -> bool {
        let mut rest = path.segments();
        for piece in &self.segments {
            let Some((first, behind)) = rest.split_first() else { return false };
            rest = match piece {
                Piece::Literal(text) if text == first => behind,
                Piece::One(_) if !first.is_empty() => behind,
                Piece::Rest(_) if !first.is_empty() => &[],
                _ => return false,
            };
        }
        rest.is_empty()
    }

    /// Whether it goes before `other` where both match, to a reader for whom a slash at the end is of no account.
    pub(super) fn goes_before(&self, other: &Self) -> bool {
        let ranks = |pattern: &Self| pattern.bare().iter().map(Piece::rank).collect::<Vec<_>>();
        ranks(self) < ranks(other)
    }

    /// Where the variable `name` stands, and whether it is all that remains there.
    pub(super) fn place(&self, name: &str) -> Option<(usize, bool)> {
        self.segments.iter().enumerate().find_map(|(at, piece)| match piece {
            Piece::One(own) if own == name => Some((at, false)),
            Piece::Rest(own) if own == name => Some((at, true)),
            _ => None,
        })
    }

    /// Whether a request may match this and no other, that a more lenient reader takes for one of `other`: for which see
    /// [`Table::resembling`](super::Table::resembling).
    pub fn hides(&self, other: &Self) -> bool {
        let twins =
            self.method == other.method || matches!((self.method.as_str(), other.method.as_str()), ("GET", "HEAD") | ("HEAD", "GET"));
        let wins = || {
            let mut pairs = bare(&self.segments).iter().zip(bare(&other.segments));
            // The first that differs decides which of them goes before the other.
            let differs = pairs.find(|(own, others)| own.rank() != others.rank());
            differs.is_some_and(|(own, others)| own.rank() < others.rank())
        };
        twins && overlap(bare(&self.segments), bare(&other.segments)) && (self.method != other.method || !wins())
    }

    /// What each segment of a path must be, as data for programs in other languages: a text, `{one: name}`, or `{rest: name}` for all
    /// that remains.
    pub fn to_json(&self) -> serde_json::Value {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => serde_json::Value::from(text.as_str()),
            Piece::One(name) => serde_json::json!({ "one": name }),
            Piece::Rest(name) => serde_json::json!({ "rest": name }),
        };
        self.segments.iter().map(piece).collect()
    }

    /// What puts the patterns that match one request into the order in which they go before each other.
    pub fn precedence(&self) -> Vec<u8> {
        self.segments.iter().map(Piece::rank).collect()
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Its segments, without the slash at its end.
    pub(super) fn bare(&self) -> &[Piece] {
        bare(&self.segments)
    }
}

/// The key, as the configuration writes it.
impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ", self.method)?;
        self.segments.iter().try_for_each(|piece| match piece {
            Piece::Literal(text) => write!(out, "/{text}"),
            Piece::One(name) => write!(out, "/{{{name}}}"),
            Piece::Rest(name) => write!(out, "/{{{name}:rest}}"),
        })
    }
}

impl Piece {
    /// What goes before what, where both match.
    fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::One(_) => 1,
            Self::Rest(_) => 2,
        }
    }
}

/// Without the slash at its end.
fn bare(segments: &[Piece]) -> &[Piece] {
    match segments.split_last() {
        Some((Piece::Literal(last), before)) if last.is_empty() => before,
        _ => segments,
    }
}

/// Whether one path may match both, in the eyes of a lenient reader.
fn overlap(own: &[Piece], others: &[Piece]) -> bool {
    match (own.split_first(), others.split_first()) {
        (None, None) => true,
        (Some((Piece::Rest(_), _)), Some(_)) | (Some(_), Some((Piece::Rest(_), _))) => true,
        (Some((Piece::Literal(own), behind)), Some((Piece::Literal(other), beyond))) => {
            let stem = |text: &str| text.split_once('.').map_or(text, |(stem, _)| stem).to_ascii_lowercase();
            let same = own.eq_ignore_ascii_case(other) || (behind.is_empty() && beyond.is_empty() && stem(own) == stem(other));
            same && overlap(behind, beyond)
        }
        (Some((_, behind)), Some((_, beyond))) => overlap(behind, beyond),
        _ => false,
    }
}

/// A segment that every reader takes for the same.
fn is_plain(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.chars().all(|each| each.is_ascii_graphic() && !"{}%;\\?#".contains(each))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|each| each.is_ascii_alphanumeric() || each == '_')
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn paths_that_no_request_has_are_no_routes() {
        for key in [
            "/tickets",
            "get /tickets",
            "GET tickets",
            "GET /a//b",
            "GET /a/../b",
            "GET /a%2fb",
            "GET /a;b",
            "GET /{id}/{id}",
            "GET /{all:rest}/more",
            "GET /{1}",
            "GET /a{id}",
            "GET /a?b",
        ] {
            assert!(Pattern::parse(key).is_err(), "{key}");
        }
        for key in [
            "GET /",
            "GET /tickets/",
            "PATCH /tickets/{id}",
            "GET /files/{path:rest}",
            "GET /~a/b.c",
        ] {
            assert!(Pattern::parse(key).is_ok(), "{key}");
        }
    }

    #[test]
    fn the_name_of_a_variable_plays_no_part_in_the_rank() {
        let pattern = |key| Pattern::parse(key).ok();
        let ties = |left, right| pattern(left).zip(pattern(right)).is_some_and(|(left, right)| left.ties(&right));
        assert!(ties("GET /tickets/{id}", "GET /tickets/{ticket}"));
        assert!(!ties("GET /tickets/{id}", "GET /tickets/new"));
        assert!(!ties("GET /tickets/{id}", "GET /tickets/{id:rest}"));
        assert!(!ties("GET /tickets/{id}", "PUT /tickets/{id}"));
    }
}
