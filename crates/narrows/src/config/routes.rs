//! Routes: which request needs which detail. They are read here, so a mistake is told before anything serves them.

use std::collections::BTreeSet;

use delegation::details::{Detail, DetailTypes, Standing};

/// Where the values of a template come from.
#[derive(Clone, Debug)]
pub(super) enum Reads {
    /// A request, with the variables of its path.
    Request(BTreeSet<String>),
    /// The arguments of a tool.
    Arguments,
}

/// One key of `[services.routes]`, such as `GET /tickets/{id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    method: String,
    segments: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `{x}`: one segment.
    One(String),
    /// `{x:rest}`: the remainder.
    Rest(String),
}

impl Pattern {
    /// Reads a key.
    pub(super) fn parse(key: &str) -> Result<Self, String> {
        let expected = || format!("expected a method and a path such as `GET /tickets/{{id}}`, found `{key}`");
        let (method, path) = key.split_once(' ').ok_or_else(expected)?;
        let good = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        let path = path.strip_prefix('/').filter(|_| good).ok_or_else(expected)?;
        let mut segments = Vec::new();
        let count = path.split('/').count();
        for (at, text) in path.split('/').enumerate() {
            let last = at + 1 == count;
            segments.push(match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                None if text.is_empty() && last => Piece::Literal(String::new()),
                None if is_plain(text) => Piece::Literal(text.to_owned()),
                None => return Err(format!("`{text}` never comes in a normalised path")),
                Some(variable) => match variable.strip_suffix(":rest") {
                    Some(name) if last && is_name(name) => Piece::Rest(name.to_owned()),
                    None if is_name(variable) => Piece::One(variable.to_owned()),
                    _ => return Err(format!("expected `{{x}}`, or `{{x:rest}}` at the end, found `{text}`")),
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
            Err("names a variable twice".to_owned())
        }
    }

    /// What its path names.
    pub(super) fn variables(&self) -> BTreeSet<String> {
        let name = |piece: &Piece| match piece {
            Piece::Literal(_) => None,
            Piece::One(name) | Piece::Rest(name) => Some(name.clone()),
        };
        self.segments.iter().filter_map(name).collect()
    }

    /// Whether both match the same requests with the same rank, so that neither would win.
    pub(super) fn ties(&self, other: &Self) -> bool {
        let same = |(left, right): (&Piece, &Piece)| match (left, right) {
            (Piece::Literal(left), Piece::Literal(right)) => left == right,
            (Piece::One(_), Piece::One(_)) | (Piece::Rest(_), Piece::Rest(_)) => true,
            _ => false,
        };
        self.method == other.method && self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(same)
    }
}

/// Reads a detail with `{…}` in it, and gives back its type.
pub(super) fn template(text: &str, types: &DetailTypes, reads: &Reads) -> Result<String, String> {
    let mut sample = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (inside, after) = after.split_once('}').ok_or_else(|| format!("`{text}`: a `{{` without its `}}`"))?;
        value(inside, reads).map_err(|why| format!("`{text}`: {why}"))?;
        sample.push_str(before);
        // A digit is a value of every order, so what remains is checked like any other detail.
        sample.push('1');
        rest = after;
    }
    sample.push_str(rest);
    let detail = Detail::parse_short(&sample, types, Standing::Asked).map_err(|error| format!("`{text}`: {error}"))?;
    Ok(detail.kind().to_owned())
}

fn value(inside: &str, reads: &Reads) -> Result<(), String> {
    let (path, keys) = match inside.strip_suffix(":keys") {
        Some(path) => (path, true),
        None => (inside, false),
    };
    let mut parts = path.split('.');
    let root = parts.next().unwrap_or_default();
    let rest: Vec<_> = parts.collect();
    let named = rest.iter().all(|part| !part.is_empty());
    let good = match (root, reads) {
        ("subject", _) => rest.len() == 1 && named && !keys,
        ("arguments", Reads::Arguments) => !rest.is_empty() && named || rest.is_empty() && keys,
        (_, Reads::Arguments) => false,
        ("body", Reads::Request(_)) => named && (keys || !rest.is_empty()),
        ("query", Reads::Request(_)) => rest.len() == 1 && named && !keys,
        ("host", Reads::Request(_)) => rest.len() == 1 && rest.iter().all(|part| part.parse::<u8>().is_ok()) && !keys,
        (name, Reads::Request(variables)) => rest.is_empty() && !keys && variables.contains(name),
    };
    if good {
        return Ok(());
    }
    Err(match reads {
        Reads::Arguments => {
            format!("`{{{inside}}}` is no value of a tool; there are {{arguments.a}} and {{subject.a}}, with :keys for member names")
        }
        Reads::Request(_) => format!(
            "`{{{inside}}}` is no value of this request; there are variables of its path, {{query.a}}, {{body.a}}, {{host.1}} and {{subject.a}}"
        ),
    })
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
