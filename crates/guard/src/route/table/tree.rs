//! Where routes stand, by what every reader of a path tells apart.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::hygiene::path::Path;
use crate::route::pattern::{Pattern, Piece};

/// Where a route stands: the service, and the route in it.
pub(super) type Place = (usize, usize);

/// What is below one beginning of a path.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// By their texts as they are in [one case](one_case).
    literal: HashMap<String, Self>,
    one: Option<Box<Self>>,
    rest: Vec<Place>,
    end: Vec<Place>,
}

impl Node {
    /// What stands where a route with `pattern` does: routes that differ by case and by a slash at the end alone.
    pub(super) fn place(&mut self, pattern: &Pattern) -> &mut Vec<Place> {
        let mut node = self;
        for piece in pattern.bare() {
            node = match piece {
                Piece::Literal(text) => node.literal.entry(one_case(text).into_owned()).or_default(),
                Piece::One(_) => node.one.get_or_insert_default(),
                Piece::Rest(_) => return &mut node.rest,
            };
        }
        &mut node.end
    }

    /// Hands `take` what any reader may take `path` for, those first that go before others, until it breaks.
    pub(super) fn walk(&self, path: &Path, take: &mut impl FnMut(Place) -> ControlFlow<()>) -> ControlFlow<()> {
        let bare = match path.segments().split_last() {
            Some((last, before)) if last.is_empty() => before,
            _ => path.segments(),
        };
        self.below(bare, take)
    }

    fn below(&self, segments: &[String], take: &mut impl FnMut(Place) -> ControlFlow<()>) -> ControlFlow<()> {
        let Some((first, behind)) = segments.split_first() else {
            return self.end.iter().copied().try_for_each(take);
        };
        if let Some(node) = self.literal.get(one_case(first).as_ref()) {
            node.below(behind, take)?;
        }
        if behind.is_empty() {
            for node in stems(first).filter_map(|stem| self.literal.get(one_case(stem).as_ref())) {
                node.below(behind, take)?;
            }
        }
        if let Some(node) = &self.one {
            node.below(behind, take)?;
        }
        self.rest.iter().copied().try_for_each(take)
    }
}

/// A segment without what may be its extension, or extensions.
fn stems(segment: &str) -> impl Iterator<Item = &str> {
    let last = segment.rsplit_once('.').map(|(stem, _)| stem);
    let all = segment.split_once('.').map(|(stem, _)| stem).filter(|stem| Some(*stem) != last);
    last.into_iter().chain(all)
}

/// `text` in the one case to which all are alike that differ by case in the eyes of any reader.
///
/// A literal has none but ASCII characters, so those alone matter that are one of them in another case: to Java's comparison `İ` and `ı`
/// are an `i`, `ſ` is an `s`, and the Kelvin sign a `k`.
fn one_case(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    let lower = |each: char| match each {
        '\u{130}' | '\u{131}' => 'i',
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        each => each.to_ascii_lowercase(),
    };
    Cow::Owned(text.chars().map(lower).collect())
}
