//! Routes learned from requests that came: what varies becomes a place for a value, and each gets a detail that could be meant.
//!
//! A proposal for a person to read. Its memory is bounded, whatever comes: see the constants.

mod proposal;

use std::collections::BTreeMap;

pub use proposal::{Identifier, Proposal};

use crate::shape::is_value;

/// So many different segments at one place of a path, and they are taken for values.
const MOST_DIFFERENT: usize = 16;
/// The same right behind the host, where an application has its parts.
const MOST_PARTS: usize = 64;
/// What lies deeper is one rest.
const DEEPEST: usize = 12;
/// So many places are told apart; what would need another is the rest of the last.
const MOST_PLACES: usize = 10_000;
/// So many methods are told apart.
const MOST_METHODS: usize = 16;
/// A longer segment is a value.
const LONGEST: usize = 64;

/// What was seen of the paths of one service.
#[derive(Debug, Default)]
pub struct Learned {
    root: Place,
    places: usize,
    methods: Vec<String>,
}

/// What is below one beginning of a path.
#[derive(Debug, Default)]
struct Place {
    literal: BTreeMap<String, Self>,
    value: Option<Box<Self>>,
    /// Whether words count as values here, since there were too many.
    varies: bool,
    /// How often each method came for this very path.
    ends: BTreeMap<String, u64>,
    /// The same of every path below that is not told apart.
    rest: BTreeMap<String, u64>,
}

/// One segment of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Value,
    Rest,
}

impl Learned {
    /// Takes a request into account that came `count` times; `false` if no route could be for it.
    ///
    /// `path` is without its query, and may be anything. Of methods only words in capitals count.
    pub fn add(&mut self, method: &str, path: &str, count: u64) -> bool {
        let is_method = (1..=20).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let Some(segments) = segments(path) else { return false };
        let is_new = !self.methods.iter().any(|known| known == method);
        if !is_method || (is_new && self.methods.len() == MOST_METHODS) {
            return false;
        }
        if is_new {
            self.methods.push(method.to_owned());
        }
        let mut place = &mut self.root;
        for (depth, segment) in segments.iter().enumerate() {
            let is_last = depth + 1 == segments.len();
            if segment.is_empty() && !is_last {
                return false;
            }
            if depth == DEEPEST {
                *place.rest.entry(method.to_owned()).or_default() += count;
                return true;
            }
            let most = if depth == 0 { MOST_PARTS } else { MOST_DIFFERENT };
            let is_value = !segment.is_empty() && (place.varies || segment.len() > LONGEST || is_value(segment));
            if !is_value && !place.literal.contains_key(*segment) && place.literal.len() >= most {
                place.vary();
            }
            let to_value = is_value || (place.varies && !segment.is_empty());
            let known = if to_value {
                place.value.is_some()
            } else {
                place.literal.contains_key(*segment)
            };
            if !known && self.places == MOST_PLACES {
                *place.rest.entry(method.to_owned()).or_default() += count;
                return true;
            }
            self.places += usize::from(!known);
            place = if to_value {
                place.value.get_or_insert_default()
            } else {
                place.literal.entry((*segment).to_owned()).or_default()
            };
        }
        *place.ends.entry(method.to_owned()).or_default() += count;
        true
    }

    /// `path` with `{id}` where it varies, as far as was seen.
    pub fn shape(&self, path: &str) -> String {
        let Some(segments) = segments(path) else {
            return crate::shape::shape(path);
        };
        let mut place = Some(&self.root);
        let mut shape = String::new();
        for segment in segments {
            let literal = place.and_then(|place| place.literal.get(segment));
            let is_value = literal.is_none() && (is_value(segment) || place.is_some_and(|place| place.varies && !segment.is_empty()));
            shape.push('/');
            shape.push_str(if is_value { "{id}" } else { segment });
            place = literal.or_else(|| place.and_then(|place| place.value.as_deref()));
        }
        shape
    }

    /// A route for everything that was seen, in the order of their paths.
    pub fn routes(&self) -> Vec<Proposal> {
        let mut found = Vec::new();
        self.root.collect(&mut Vec::new(), &mut found);
        found
    }
}

impl Place {
    /// Makes one value of all words here.
    fn vary(&mut self) {
        self.varies = true;
        // The empty one is the slash at the end.
        let words: Vec<_> = self.literal.keys().filter(|word| !word.is_empty()).cloned().collect();
        for word in words {
            if let Some(below) = self.literal.remove(&word) {
                self.value.get_or_insert_default().merge(below);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (method, count) in other.ends {
            *self.ends.entry(method).or_default() += count;
        }
        for (method, count) in other.rest {
            *self.rest.entry(method).or_default() += count;
        }
        for (word, below) in other.literal {
            self.literal.entry(word).or_default().merge(below);
        }
        if let Some(below) = other.value {
            self.value.get_or_insert_default().merge(*below);
        }
        if other.varies || self.literal.len() > MOST_DIFFERENT {
            self.vary();
        }
    }

    fn collect(&self, path: &mut Vec<Segment>, found: &mut Vec<Proposal>) {
        found.extend(self.ends.iter().filter_map(|(method, count)| Proposal::of(method, path, *count)));
        for (word, below) in &self.literal {
            path.push(Segment::Literal(word.clone()));
            below.collect(path, found);
            path.pop();
        }
        if let Some(below) = &self.value {
            path.push(Segment::Value);
            below.collect(path, found);
            path.pop();
        }
        path.push(Segment::Rest);
        found.extend(self.rest.iter().filter_map(|(method, count)| Proposal::of(method, path, *count)));
        path.pop();
    }
}

/// The segments of a path that a route could be for: no reader takes it for another.
fn segments(path: &str) -> Option<Vec<&str>> {
    let rest = path.strip_prefix('/')?;
    let plain = !path.contains(['?', '#', ';', '\\']) && path.bytes().all(|byte| byte.is_ascii_graphic());
    let segments: Vec<_> = rest.split('/').collect();
    let dotted = segments.iter().any(|segment| matches!(*segment, "." | ".."));
    (plain && !dotted).then_some(segments)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::Learned;

    fn learned(lines: &[&str]) -> Vec<String> {
        let mut learned = Learned::default();
        for line in lines {
            let (method, path) = line.split_once(' ').unwrap();
            learned.add(method, path, 1);
        }
        learned.routes().iter().map(|route| format!("{} = {}", route.key, route.detail())).collect()
    }

    #[test]
    fn what_varies_becomes_a_value_and_the_detail_is_named_after_the_path() {
        let lines = [
            "GET /api/tickets",
            "POST /api/tickets",
            "GET /api/tickets/7",
            "GET /api/tickets/8",
            "DELETE /api/tickets/8",
            "POST /api/tickets/8/close",
            "GET /projects/3/stories/9",
            "GET /projects/3/stories",
            "GET /me",
            "GET /",
            "HEAD /line-items/4",
            "OPTIONS /line-items/4",
            "PROPFIND /files/4",
            "REPORT /calendars",
            "GET /scopes/4",
        ];
        let expected = [
            "GET / = root:read",
            "GET /api/tickets = ticket:list",
            "POST /api/tickets = ticket:create",
            "DELETE /api/tickets/{id} = ticket:delete/{id}",
            "GET /api/tickets/{id} = ticket:read/{id}",
            "POST /api/tickets/{id}/close = ticket:close/{id}",
            "REPORT /calendars = calendar:list",
            "PROPFIND /files/{id} = file:read/{id}",
            "HEAD /line-items/{id} = line_item:read/{id}",
            "OPTIONS /line-items/{id} = line_item:options/{id}",
            "GET /me = me:read",
            "GET /projects/{id}/stories = story:list/{id}",
            "GET /projects/{project}/stories/{id} = story:read/{project}:{id}",
            "GET /scopes/{id} = scope_resource:read/{id}",
        ];
        assert_eq!(learned(&lines), expected);
    }

    #[test]
    fn many_words_at_one_place_are_values_and_few_are_not() {
        let many: Vec<_> = ('a'..='z').map(|letter| format!("GET /users/{letter}{letter}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).chain(["GET /users/aa/keys"]).collect();
        assert_eq!(
            learned(&many),
            ["GET /users/{id} = user:read/{id}", "GET /users/{id}/keys = key:list/{id}"]
        );
        assert_eq!(learned(&["GET /docs/api", "GET /docs/faq"]).len(), 2);
    }

    #[test]
    fn what_no_route_could_be_for_is_left_out() {
        let mut learned = Learned::default();
        for (method, path) in [
            ("GET", "tickets"),
            ("GET", "/a//b"),
            ("GET", "/a/../b"),
            ("GET", "/a?b=secret"),
            ("GET", "/a\"\n[x]"),
            ("GET", "/\u{e9}"),
            ("get", "/a"),
            ("G\"T", "/a"),
        ] {
            assert!(!learned.add(method, path, 1), "{method} {path}");
        }
        assert!(learned.routes().is_empty());
    }

    /// However many places are asked for, so many are kept.
    #[test]
    fn memory_is_bounded() {
        let mut learned = Learned::default();
        for number in 0_u32..200_000 {
            let letters: String = format!("{number:08}").chars().map(|digit| char::from(digit as u8 - b'0' + b'a')).collect();
            let parts: Vec<_> = letters.chars().map(String::from).collect();
            learned.add("GET", &format!("/{}/{letters}", parts.join("/")), 1);
        }
        assert!(learned.places <= super::MOST_PLACES);
        assert!(learned.routes().len() <= 2 * super::MOST_PLACES);
        assert_eq!(learned.routes().iter().map(|route| route.count).sum::<u64>(), 200_000);
    }
}
