//! The files of a configuration: read, joined, and remembered so that a finding can name its line.

use std::path::{Path, PathBuf};

use toml::de::DeTable;
use toml::{Table, Value};

use super::layer::Layer;
use super::place::{Segment, offset, segments, sets};
use super::problem::Problems;

/// Keys whose strings are paths, relative to the file that names them.
const PATHS: [&str; 11] = [
    "jwks_file",
    "cert_file",
    "key_file",
    "client_ca_file",
    "ca_file",
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
    whole: Layer,
    /// Keys that are for other processes.
    unused: &'static [&'static str],
    /// Those of them that are set.
    passed_over: Vec<&'static str>,
}

impl Source {
    /// Reads `paths`: a later one overlays an earlier one. What a file includes is joined with it. Of the keys `unused` nothing is
    /// looked at, so that the files which they name need not be there.
    pub(super) fn read(paths: &[PathBuf], unused: &'static [&'static str]) -> Result<Self, Problems> {
        let mut source = Self { unused, ..Self::default() };
        for path in paths {
            let first = source.files.len();
            let mut layer = source.read_one(path)?;
            for pattern in strings(layer.remove("include")) {
                source.patterns.push(pattern.clone());
                for path in source.found_by(&pattern)? {
                    let more = source.read_one(&path)?;
                    if more.table.contains_key("include") {
                        let mend = "is read in the files of --config alone; name these files there";
                        return Err(source.fail("include", mend.to_owned()));
                    }
                    if let Err(key) = layer.join(more) {
                        let owners: Vec<_> = source
                            .files
                            .iter()
                            .skip(first)
                            .filter(|(_, text)| sets(text, &key))
                            .map(|(path, _)| path.display().to_string())
                            .collect();
                        return Err(source.fail(&key, format!("is set twice, in {}; keep one", owners.join(" and "))));
                    }
                }
            }
            source.whole.cover(layer);
        }
        Ok(source)
    }

    /// The files of one pattern of `include`. A pattern may find none; a name that is written out must be there.
    fn found_by(&self, pattern: &str) -> Result<Vec<PathBuf>, Problems> {
        let fail = |why: String| self.fail("include", format!("`{pattern}`: {why}"));
        let paths = glob::glob(pattern).map_err(|error| fail(error.to_string()))?;
        let mut found = paths.collect::<Result<Vec<_>, _>>().map_err(|error| fail(error.to_string()))?;
        if found.is_empty() && !pattern.contains(['*', '?', '[']) {
            return Err(fail("there is no such file".to_owned()));
        }
        found.sort();
        Ok(found)
    }

    /// One file.
    fn read_one(&mut self, path: &Path) -> Result<Layer, Problems> {
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
        for key in self.unused {
            if table.remove(*key).is_some() {
                self.passed_over.push(key);
            }
        }
        let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        rebase(&mut table, base);
        let mut masked = table.clone();
        mask(&mut masked);
        let mut missing = Vec::new();
        resolve(&mut table, "", &mut missing, &mut self.strings);
        if missing.is_empty() {
            return Ok(Layer::of_file(self.files.len() - 1, table, masked));
        }
        let mut problems = Problems::new(self.clone());
        for (key, why) in missing {
            let place = place_in(path, &text, &segments(&key)).map(|(_, place)| place);
            problems.add_in(place.unwrap_or_default(), &key, why);
        }
        Err(problems)
    }

    fn fail(&self, key: &str, message: String) -> Problems {
        let mut problems = Problems::new(self.clone());
        problems.add(key, message);
        problems
    }

    /// The keys that are set, and of which nothing was looked at.
    pub(super) fn passed_over(&self) -> &[&'static str] {
        &self.passed_over
    }

    /// What the files say together.
    pub(super) fn joined(&self) -> &Table {
        &self.whole.table
    }

    /// `file:line` of a key, as near as it can be told.
    pub(super) fn place(&self, key: &str) -> String {
        self.place_of(&segments(key))
    }

    /// The same of a key in parts.
    pub(super) fn place_of(&self, segments: &[Segment]) -> String {
        // An entry is looked for in the files that it was made from, under its number there.
        let candidates: Vec<(usize, Vec<Segment>)> = match segments {
            [name @ Segment::Key(array), Segment::Index(at), rest @ ..] => {
                let local = |(file, at): &(usize, usize)| (*file, [&[name.clone(), Segment::Index(*at)], rest].concat());
                self.whole.origins(array, *at).iter().map(local).collect()
            }
            _ => (0..self.files.len()).map(|file| (file, segments.to_vec())).collect(),
        };
        let mut best = (0, String::new());
        for (file, local) in candidates {
            let Some((path, text)) = self.files.get(file) else { continue };
            if let Some(found) = place_in(path, text, &local).filter(|(depth, _)| *depth >= best.0) {
                best = found;
            }
        }
        best.1
    }

    /// `file:line` of the route `key`, which may hold dots and brackets, of the service with this name.
    pub(super) fn place_of_route(&self, service: &str, key: &str) -> String {
        let services = self.joined().get("services").and_then(Value::as_array).into_iter().flatten();
        let is_named = |each: &Value| each.get("name").and_then(Value::as_str) == Some(service);
        let named = |name: &str| Segment::Key(name.to_owned());
        services.enumerate().find(|(_, each)| is_named(each)).map_or_else(String::new, |(at, _)| {
            self.place_of(&[named("services"), Segment::Index(at), named("routes"), named(key)])
        })
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
        let mut bytes = self.whole.table.to_string().into_bytes();
        for (_, text) in &self.files {
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// The whole, with secrets masked.
    pub(super) fn shown(&self) -> Table {
        self.whole.masked.clone()
    }
}

/// The deepest part of a key that a file holds: how deep it is, and its `file:line`.
fn place_in(path: &Path, text: &str, key: &[Segment]) -> Option<(usize, String)> {
    let parsed = DeTable::parse(text).ok()?;
    let (depth, offset) = offset(parsed.get_ref(), key)?;
    let line = text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1);
    Some((depth, format!("{}:{line}", path.display())))
}

fn strings(value: Option<Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(|each| each.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
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
                } else if let Some(rebased) = with_certificates_from(text, base) {
                    *text = rebased;
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

/// The address of a PostgreSQL store with the files that it names relative to `base`; `None` where it names none.
fn with_certificates_from(address: &str, base: &Path) -> Option<String> {
    let (server, parameters) = address.split_once('?').filter(|(server, _)| server.starts_with("postgres"))?;
    let rebased = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let (_, file) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
        let relative = ["sslrootcert", "sslcert", "sslkey"].contains(&name) && !value.is_empty() && Path::new(&*file).is_relative();
        let file = relative.then(|| base.join(&*file).display().to_string())?;
        Some(format!(
            "{name}={}",
            url::form_urlencoded::byte_serialize(file.as_bytes()).collect::<String>()
        ))
    };
    // What names no file stays as it was written.
    let pairs: Vec<_> = parameters.split('&').map(|pair| rebased(pair).unwrap_or_else(|| pair.to_owned())).collect();
    Some(format!("{server}?{}", pairs.join("&")))
}

/// Whether a table stands for a string elsewhere: `{ file = "…" }` or `{ env = "…" }`.
pub(super) fn elsewhere(table: &Table) -> Option<(&str, &str)> {
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
            Value::String(text) if key == "key" || ["secret", "password"].iter().any(|word| key.contains(word)) => {
                "***".clone_into(text);
            }
            Value::String(text) if has_password(text) => "***".clone_into(text),
            Value::Table(inner) => mask(inner),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_table_mut).for_each(mask),
            _ => {}
        }
    }
}

/// Whether a URL holds a password, as a database's may: before the host or among its parameters.
fn has_password(text: &str) -> bool {
    let named = |url: &url::Url| url.query_pairs().any(|(name, _)| name.contains("password"));
    url::Url::parse(text).is_ok_and(|url| url.password().is_some() || named(&url))
}
