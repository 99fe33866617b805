//! The files of a configuration: read, joined, and remembered so that a finding can name its line.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::problem::Problems;

/// Keys whose strings are paths, relative to the file that names them.
const PATHS: [&str; 10] = [
    "jwks_file",
    "cert_file",
    "key_file",
    "client_ca_file",
    "file",
    "jsonl",
    "policies",
    "shadow",
    "include",
    "checkpoints",
];

/// The files, and what they say together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    files: Vec<(PathBuf, String)>,
    /// Files that hold single strings.
    strings: Vec<PathBuf>,
    /// Patterns of `include`.
    patterns: Vec<String>,
    joined: Table,
    masked: Table,
}

impl Source {
    /// Reads `paths`: a later one overlays an earlier one. What a file includes is joined with it.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Problems> {
        let mut source = Self::default();
        for path in paths {
            let (mut joined, mut masked) = source.read_one(path)?;
            for pattern in strings(joined.remove("include")) {
                masked.remove("include");
                source.patterns.push(pattern.clone());
                let mut included: Vec<_> = glob::glob(&pattern).map(|paths| paths.flatten().collect()).unwrap_or_default();
                included.sort();
                for path in included {
                    let (table, shown) = source.read_one(&path)?;
                    if let Err(key) = join(&mut joined, table) {
                        let owners: Vec<_> = source
                            .files
                            .iter()
                            .filter(|(_, text)| line_of(text, &key).is_some())
                            .map(|(path, _)| path.display().to_string())
                            .collect();
                        return Err(source.fail(&key, format!("is set twice, in {}; keep one", owners.join(" and "))));
                    }
                    let _ = join(&mut masked, shown);
                }
            }
            overlay(&mut source.joined, joined);
            overlay(&mut source.masked, masked);
        }
        Ok(source)
    }

    /// One file, as (with secrets, without them).
    fn read_one(&mut self, path: &Path) -> Result<(Table, Table), Problems> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let mend = "name it with --config, or write one with `narrows init`";
                return Err(self.fail("", format!("`{}`: {error}; {mend}", path.display())));
            }
        };
        self.files.push((path.to_owned(), text.clone()));
        let mut table: Table = match text.parse() {
            Ok(table) => table,
            Err(error) => {
                let line = error
                    .span()
                    .and_then(|span| text.get(..span.start))
                    .map_or(1, |before| before.matches('\n').count() + 1);
                return Err(self.fail("", format!("{}:{line}: {}", path.display(), error.message())));
            }
        };
        let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        rebase(&mut table, base);
        let mut masked = table.clone();
        mask(&mut masked);
        let mut missing = Vec::new();
        resolve(&mut table, "", &mut missing, &mut self.strings);
        match missing.first() {
            Some((key, why)) => Err(self.fail(key, why.clone())),
            None => Ok((table, masked)),
        }
    }

    fn fail(&self, key: &str, message: String) -> Problems {
        let mut problems = Problems::new(self.clone());
        problems.add(key, message);
        problems
    }

    /// The whole as a value; an unknown key or a wrong type is named with its path.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        serde_path_to_error::deserialize(Value::Table(self.joined.clone())).map_err(|error| {
            let path = error.path().to_string();
            let path = if path == "." { String::new() } else { path };
            let message = error.inner().message().trim().to_owned();
            // An unknown key is named in the message and lies inside the path.
            let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
            let key = match unknown {
                Some(field) if !path.ends_with(field) => format!("{path}{}{field}", if path.is_empty() { "" } else { "." }),
                _ => path,
            };
            self.fail(&key, message)
        })
    }

    /// `file:line` of a key, as near as it can be told.
    pub(super) fn place(&self, key: &str) -> String {
        // Arrays of tables are joined in the order of the files, so an index counts through them.
        let segments = segments(key);
        let mut passed = 0;
        let mut best = String::new();
        for (path, text) in &self.files {
            let Ok(parsed) = DeTable::parse(text) else { continue };
            let count = match segments.as_slice() {
                [Segment::Key(name), Segment::Index(_), ..] => match parsed.get_ref().get(name.as_str()).map(|value| value.get_ref()) {
                    Some(DeValue::Array(items)) => items.len(),
                    _ => 0,
                },
                _ => 0,
            };
            let mut local = segments.clone();
            if let Some(Segment::Index(index)) = local.get_mut(1) {
                let here = index.checked_sub(passed).filter(|here| *here < count);
                passed += count;
                match here {
                    Some(here) => *index = here,
                    None => continue,
                }
            }
            if let Some(offset) = offset(parsed.get_ref(), &local) {
                let line = text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
                best = format!("{}:{line}", path.display());
            }
        }
        best
    }

    /// The files that were read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.files.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Every file whose change is a change of the configuration.
    pub(super) fn watched(&self) -> Vec<PathBuf> {
        [self.files(), self.strings.clone()].concat()
    }

    /// The patterns whose new files are a change too.
    pub(super) fn patterns(&self) -> Vec<String> {
        self.patterns.clone()
    }

    /// Every byte that was read, for the version.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.joined.to_string().into_bytes();
        for (_, text) in &self.files {
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// The whole, with secrets masked.
    pub(super) fn shown(&self) -> Table {
        self.masked.clone()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

fn segments(key: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    for part in key.split('.').filter(|part| !part.is_empty()) {
        let mut pieces = part.split('[');
        segments.extend(pieces.next().filter(|name| !name.is_empty()).map(|name| Segment::Key(name.to_owned())));
        segments.extend(pieces.filter_map(|piece| piece.trim_end_matches(']').parse().ok().map(Segment::Index)));
    }
    segments
}

/// Where the deepest part of a path that is there begins.
fn offset(table: &DeTable<'_>, path: &[Segment]) -> Option<usize> {
    let mut found = None;
    let mut here: Option<&DeValue<'_>> = None;
    for (depth, segment) in path.iter().enumerate() {
        let value = match (segment, here) {
            (Segment::Key(name), None) if depth == 0 => table.get_key_value(name.as_str()),
            (Segment::Key(name), Some(DeValue::Table(table))) => table.get_key_value(name.as_str()),
            (Segment::Index(index), Some(DeValue::Array(items))) => {
                let item = items.get(*index)?;
                found = Some(item.span().start);
                here = Some(item.get_ref());
                continue;
            }
            _ => return found,
        };
        let Some((key, value)) = value else { return found };
        found = Some(key.span().start);
        here = Some(value.get_ref());
    }
    found
}

fn line_of(text: &str, key: &str) -> Option<usize> {
    let parsed = DeTable::parse(text).ok()?;
    let wanted = segments(key);
    let depth_found = offset(parsed.get_ref(), &wanted)?;
    let first = match wanted.first() {
        Some(Segment::Key(name)) => parsed.get_ref().get(name.as_str()).is_some(),
        _ => false,
    };
    first.then_some(depth_found)
}

fn strings(value: Option<Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(|each| each.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// Joins `more` into `table`: tables are joined, arrays of tables follow each other, anything else may be set once.
fn join(table: &mut Table, more: Table) -> Result<(), String> {
    for (key, value) in more {
        match (table.get_mut(&key), value) {
            (None, value) => {
                table.insert(key, value);
            }
            (Some(Value::Table(inner)), Value::Table(more)) => join(inner, more).map_err(|inner| format!("{key}.{inner}"))?,
            (Some(Value::Array(items)), Value::Array(more)) if more.iter().all(Value::is_table) => items.extend(more),
            _ => return Err(key),
        }
    }
    Ok(())
}

/// Puts `over` over `table`: what it sets replaces, and its tables are joined.
fn overlay(table: &mut Table, over: Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => overlay(inner, over),
            (Some(Value::Array(items)), Value::Array(over)) if over.iter().all(Value::is_table) => items.extend(over),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Makes every path relative to the file that names it.
fn rebase(table: &mut Table, base: &Path) {
    let join = |text: &mut String| {
        if !text.contains("://") && Path::new(text.as_str()).is_relative() {
            *text = base.join(&*text).display().to_string();
        }
    };
    for (key, value) in table.iter_mut() {
        match value {
            Value::String(text) if PATHS.contains(&key.as_str()) => join(text),
            Value::String(text) if key == "store" => {
                if let Some(path) = text.strip_prefix("sqlite:") {
                    let mut path = path.to_owned();
                    join(&mut path);
                    *text = format!("sqlite:{path}");
                }
            }
            Value::Array(items) => {
                for item in items {
                    match item {
                        Value::String(text) if PATHS.contains(&key.as_str()) => join(text),
                        Value::Table(inner) => rebase(inner, base),
                        _ => {}
                    }
                }
            }
            Value::Table(inner) => rebase(inner, base),
            _ => {}
        }
    }
}

/// Whether a table stands for a string elsewhere: `{ file = "…" }` or `{ env = "…" }`.
fn elsewhere(table: &Table) -> Option<(&str, &str)> {
    let (key, value) = table.iter().next().filter(|_| table.len() == 1)?;
    matches!(key.as_str(), "file" | "env").then_some((key.as_str(), value.as_str()?))
}

/// Puts the strings that stand elsewhere in their places.
fn resolve(table: &mut Table, path: &str, missing: &mut Vec<(String, String)>, files: &mut Vec<PathBuf>) {
    for (key, value) in table.iter_mut() {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        resolve_value(value, &path, missing, files);
    }
}

fn resolve_value(value: &mut Value, path: &str, missing: &mut Vec<(String, String)>, files: &mut Vec<PathBuf>) {
    match value {
        Value::Table(table) => {
            let found = match elsewhere(table) {
                None => return resolve(table, path, missing, files),
                Some(("file", file)) => {
                    files.push(PathBuf::from(file));
                    std::fs::read_to_string(file).map_err(|error| format!("file `{file}`: {error}"))
                }
                Some((_, name)) => std::env::var(name).map_err(|_| format!("environment variable `{name}` is not set")),
            };
            match found {
                Ok(text) => *value = Value::String(text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(why) => missing.push((path.to_owned(), why)),
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                resolve_value(item, &format!("{path}[{at}]"), missing, files);
            }
        }
        _ => {}
    }
}

/// Masks what must not be shown: secrets that are written out, and digests of them.
fn mask(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        match value {
            Value::String(text) if key.contains("secret") => "***".clone_into(text),
            Value::Table(inner) => mask(inner),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_table_mut).for_each(mask),
            _ => {}
        }
    }
}
