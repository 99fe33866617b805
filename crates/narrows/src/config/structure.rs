//! Keys and types: every one that is wrong is found, since what was found is set aside and the rest is read again.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

use super::problem::Problems;
use super::source::Source;

/// No more mistakes than this are told at once.
const MOST: usize = 64;

/// What is to be done so that the rest can be read.
enum Mend {
    /// The key is set aside.
    SetAside,
    /// The key is filled with something, for the time being.
    Fill,
}

/// The configuration in the shape of `T`, or every unknown key, missing key and wrong type in it.
pub(super) fn read<T: DeserializeOwned>(source: Source) -> Result<(T, Problems), Problems> {
    let mut rest = Value::Table(source.joined().clone());
    let mut problems = Problems::new(source);
    // How often each key was filled.
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..MOST {
        let error = match serde_path_to_error::deserialize::<_, T>(rest.clone()) {
            Ok(file) if told.is_empty() => return Ok((file, problems)),
            Ok(_) => break,
            Err(error) => error,
        };
        let mut path: Vec<_> = error.path().iter().cloned().collect();
        let message = error.inner().message().trim().to_owned();
        let (message, mend) = reworded(&message, &mut path);
        let key = written(&path);
        if !told.contains_key(&key) {
            problems.add(&key, message);
        }
        if !mended(&mut rest, &path, &mend, told.entry(key).or_default()) {
            break;
        }
    }
    Err(problems)
}

/// Our words for what serde says, and the path of the key that is at fault.
fn reworded(message: &str, path: &mut Vec<Segment>) -> (String, Mend) {
    if let Some((field, known)) = quoted(message, "unknown field `") {
        name(path, field);
        let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
        let near = known.iter().min_by_key(|word| distance(word, field)).filter(|word| distance(word, field) <= 2);
        let mend = match near {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        return (format!("unknown key; {mend}"), Mend::SetAside);
    }
    if let Some((field, _)) = quoted(message, "missing field `") {
        name(path, field);
        return ("is required".to_owned(), Mend::Fill);
    }
    let wrong = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let message = match wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) {
        Some((found, expected)) => format!("expected {}, found {}", ours(expected), ours(found)),
        None => message.to_owned(),
    };
    (message, Mend::SetAside)
}

/// The quoted word after `start`, and what follows it.
fn quoted<'m>(message: &'m str, start: &str) -> Option<(&'m str, &'m str)> {
    message.strip_prefix(start)?.split_once('`')
}

/// Makes `path` end in `field`, which the deserializer may or may not have counted in.
fn name(path: &mut Vec<Segment>, field: &str) {
    if !matches!(path.last(), Some(Segment::Map { key }) if key == field) {
        path.push(Segment::Map { key: field.to_owned() });
    }
}

/// Types as people call them. A string is not repeated: it may be a secret.
fn ours(word: &str) -> String {
    let word = match word {
        "map" | "a map" => "a table",
        "sequence" | "a sequence" => "a list",
        "u32" | "usize" => "a whole number",
        _ if word.starts_with("string ") => "a string",
        _ if word.starts_with("struct ") => "a table",
        _ => word,
    };
    let kinds = ["integer ", "boolean ", "floating point "];
    kinds.iter().find_map(|kind| word.strip_prefix(kind)).unwrap_or(word).to_owned()
}

/// How many characters are to be changed, added or taken away to make one word of the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, left) in from.chars().enumerate() {
        let mut next = vec![at + 1];
        for ((right, above), pair) in to.iter().zip(row.iter().skip(1)).zip(&row) {
            let beside = next.last().copied().unwrap_or_default();
            next.push((above + 1).min(beside + 1).min(pair + usize::from(left != *right)));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

fn written(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("[{index}]")),
            Segment::Map { key } if text.is_empty() => text.push_str(key),
            Segment::Map { key } => text.push_str(&format!(".{key}")),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

/// Applies a mend; `false` if there is nothing to apply it to.
fn mended(rest: &mut Value, path: &[Segment], mend: &Mend, fills: &mut usize) -> bool {
    let Some(last) = path.iter().rposition(|segment| matches!(segment, Segment::Map { .. })) else {
        return false;
    };
    let (Some(outer), Some(Segment::Map { key })) = (path.get(..last), path.get(last)) else {
        return false;
    };
    let Some(table) = table_at(rest, outer) else { return false };
    if matches!(mend, Mend::SetAside) {
        return table.remove(key).is_some();
    }
    // Which of these fits is known when the next one is needed.
    let filling = match *fills {
        0 => Value::String(String::new()),
        1 => Value::Array(Vec::new()),
        2 => Value::Table(Table::new()),
        _ => return false,
    };
    *fills += 1;
    table.insert(key.clone(), filling);
    true
}

fn table_at<'v>(value: &'v mut Value, path: &[Segment]) -> Option<&'v mut Table> {
    let mut here = value;
    for segment in path {
        here = match segment {
            Segment::Seq { index } => here.as_array_mut()?.get_mut(*index)?,
            Segment::Map { key } => here.as_table_mut()?.get_mut(key)?,
            Segment::Enum { .. } | Segment::Unknown => return None,
        };
    }
    here.as_table_mut()
}
