//! A route that could be meant, and its detail.

use super::Segment;
use crate::route::pattern::Pattern;

/// Words that stand for something else in policy, so that no type is named so.
const TAKEN: [&str; 25] = [
    "workload",
    "subject",
    "group",
    "audience",
    "scope",
    "action",
    "context",
    "task",
    "string",
    "long",
    "bool",
    "boolean",
    "set",
    "record",
    "entity",
    "extension",
    "true",
    "false",
    "if",
    "then",
    "else",
    "in",
    "is",
    "like",
    "has",
];

/// Whether a detail says which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identifier {
    /// It is about all of its type.
    None,
    /// It is about one.
    Required,
}

/// A route, with the detail that it could need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The key of the route, such as `GET /tickets/{id}`: letters, digits, `-._~/{}` and a blank.
    pub key: String,
    /// The type of its detail.
    pub kind: String,
    /// The action.
    pub action: String,
    /// Which one of its type, with places for values; empty where it is about all.
    pub identifier: String,
    /// How often it came.
    pub count: u64,
}

impl Proposal {
    /// One for requests of which only the shape is known, such as `/tickets/{id}`.
    pub fn of_shape(method: &str, shape: &str) -> Option<Self> {
        let segment = |text: &str| {
            if text == "{id}" {
                Segment::Value
            } else {
                Segment::Literal(text.to_owned())
            }
        };
        let path: Vec<_> = shape.strip_prefix('/')?.split('/').map(segment).collect();
        Self::of(method, &path, 1)
    }

    pub(super) fn of(method: &str, path: &[Segment], count: u64) -> Option<Self> {
        let names = names(path);
        let mut key = format!("{method} ");
        let mut left = names.iter();
        for segment in path {
            match segment {
                Segment::Literal(word) => key.push_str(&format!("/{word}")),
                Segment::Value => key.push_str(&format!("/{{{}}}", left.next()?)),
                Segment::Rest => key.push_str(&format!("/{{{}:rest}}", left.next()?)),
            }
        }
        let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -._~/{}:".contains(&byte));
        // The parser of routes has the last word.
        let is_route = plain && Pattern::parse(&key).is_ok();
        let (kind, action) = meant(method, path);
        let places: Vec<_> = names.iter().map(|name| format!("{{{name}}}")).collect();
        is_route.then(|| Self {
            key,
            kind,
            action,
            // A colon stands in few paths: of two values, the first must end before it.
            identifier: places.join(":"),
            count,
        })
    }

    /// Whether its detail says which one.
    pub fn says_which(&self) -> Identifier {
        if self.identifier.is_empty() {
            Identifier::None
        } else {
            Identifier::Required
        }
    }

    /// The detail in short form.
    pub fn detail(&self) -> String {
        let slash = if self.identifier.is_empty() { "" } else { "/" };
        format!("{}:{}{slash}{}", self.kind, self.action, self.identifier)
    }
}

/// A name for each value: the last is `id`, one before it is named after the word in front of it.
fn names(path: &[Segment]) -> Vec<String> {
    let last = path.iter().rposition(|segment| *segment == Segment::Value);
    let mut names: Vec<String> = Vec::new();
    let mut word = "";
    for (at, segment) in path.iter().enumerate() {
        let name = match segment {
            Segment::Literal(text) => {
                word = text;
                continue;
            }
            Segment::Rest => "path".to_owned(),
            Segment::Value if Some(at) == last => "id".to_owned(),
            Segment::Value => named(&singular(word))
                .filter(|name| name != "id" && name != "path")
                .unwrap_or_else(|| "part".to_owned()),
        };
        let twice = names
            .iter()
            .filter(|known| known.trim_end_matches(|digit: char| digit.is_ascii_digit()) == name)
            .count();
        names.push(if twice == 0 { name } else { format!("{name}{}", twice + 1) });
    }
    names
}

/// The type and action that a request could mean.
fn meant(method: &str, path: &[Segment]) -> (String, String) {
    let words: Vec<_> = path
        .iter()
        .filter_map(|segment| match segment {
            Segment::Literal(word) if !word.is_empty() => Some(word.as_str()),
            _ => None,
        })
        .collect();
    let last = words.last().copied().unwrap_or("root");
    let ends_in_word = matches!(path.last(), Some(Segment::Literal(_)));
    let has_value = path.contains(&Segment::Value);
    let is_plural = singular(last) != last;
    // `POST /tickets/7/close` does something to the ticket.
    let before = words.len().checked_sub(2).and_then(|at| words.get(at));
    if let (true, true, false, "POST", Some(before), Some(action)) = (ends_in_word, has_value, is_plural, method, before, named(last)) {
        return (kind(before), action);
    }
    let whole = ends_in_word && is_plural;
    // WebDAV reads with PROPFIND, REPORT and SEARCH.
    let reads = matches!(method, "GET" | "HEAD" | "PROPFIND" | "QUERY" | "REPORT" | "SEARCH");
    let action = match method {
        _ if reads && whole => "list",
        _ if reads => "read",
        "POST" if whole => "create",
        "DELETE" => "delete",
        "OPTIONS" => "options",
        _ => "update",
    };
    (kind(last), action.to_owned())
}

/// A type named after a word.
fn kind(word: &str) -> String {
    let name = named(&singular(word)).unwrap_or_else(|| "resource".to_owned());
    if TAKEN.contains(&name.as_str()) {
        format!("{name}_resource")
    } else {
        name
    }
}

/// A word in lower case, with `_` for what a name has not.
fn named(word: &str) -> Option<String> {
    let folded: String = word
        .chars()
        .map(|each| {
            if each.is_ascii_alphanumeric() {
                each.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    let name: Vec<_> = folded.split('_').filter(|part| !part.is_empty()).collect();
    let name = name.join("_");
    name.starts_with(|first: char| first.is_ascii_lowercase()).then_some(name)
}

/// The usual singular of an English word.
fn singular(word: &str) -> String {
    if let Some(stem) = word.strip_suffix("ies").filter(|stem| stem.len() > 1) {
        return format!("{stem}y");
    }
    for ending in ["sses", "xes", "ches", "shes"] {
        if let Some(stem) = word.strip_suffix(ending) {
            return format!("{stem}{}", ending.trim_end_matches("es"));
        }
    }
    let is_plural = word.len() > 2 && !["ss", "us", "is", "as"].iter().any(|ending| word.ends_with(ending));
    word.strip_suffix('s').filter(|_| is_plural).unwrap_or(word).to_owned()
}
