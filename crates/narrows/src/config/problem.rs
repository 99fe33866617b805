//! What is wrong with a configuration: key, value and mend, with file and line.

use std::fmt;

use super::source::Source;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Problem {
    /// `file:line`, where it can be told.
    pub(crate) place: String,
    /// The key, such as `clients[1].auth`.
    pub(crate) key: String,
    /// What was expected, what was found, and the mend.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.place.is_empty() { "" } else { ": " };
        let key = if self.key.is_empty() {
            String::new()
        } else {
            format!("{}: ", self.key)
        };
        write!(out, "{}{colon}{key}{}", self.place, self.message)
    }
}

/// All findings of one configuration: they are reported together, not one by one.
#[derive(Debug)]
pub(crate) struct Problems {
    source: Box<Source>,
    found: Vec<Problem>,
}

impl Problems {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source: Box::new(source),
            found: Vec::new(),
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Notes that `key` is wrong.
    pub(super) fn add(&mut self, key: &str, message: String) {
        self.found.push(self.at(key, message));
    }

    /// Notes that `key` is wrong, at a place that is known already.
    pub(super) fn add_in(&mut self, place: String, key: &str, message: String) {
        self.found.push(Problem {
            place,
            key: key.to_owned(),
            message,
        });
    }

    /// Notes that `key` says what `other` says: both places are named, since they may lie in two files.
    pub(super) fn add_twice(&mut self, key: &str, other: &str, what: &str) {
        let places = [other, key].map(|key| self.source.place(key)).join(" and ");
        self.add(key, format!("`{what}` is there twice, at {places}; keep one"));
    }

    /// Whether anything was found at `key`, or below it.
    pub(super) fn within(&self, key: &str) -> bool {
        let is_below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.found.iter().any(|problem| problem.key.strip_prefix(key).is_some_and(is_below))
    }

    /// A finding at `key` that may or may not be wrong.
    pub(super) fn at(&self, key: &str, message: String) -> Problem {
        Problem {
            place: self.source.place(key),
            key: key.to_owned(),
            message,
        }
    }

    /// `value` if nothing was found.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Self> {
        if self.found.is_empty() { Ok(value) } else { Err(self) }
    }

    /// The findings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.found.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.found.iter().map(ToString::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}
