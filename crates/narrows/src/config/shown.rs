//! What is in force, value by value, each with the place that it comes from.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Process;
use super::defaults;
use super::layer::is_one_thing;
use super::place::{Segment, key_of, written};
use super::source::{Source, elsewhere};

/// The configuration as it is shown: secrets masked, places beside values.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The whole.
    pub(crate) config: Table,
    values: Vec<Shows>,
}

/// One value.
#[derive(Debug)]
struct Shows {
    path: Vec<Segment>,
    text: String,
    place: String,
}

impl Shown {
    /// What `source` says to `process`; with `effective`, what holds where it says nothing, too.
    pub(super) fn new(source: &Source, process: Process, effective: bool) -> Result<Self, toml::de::Error> {
        let mut config = source.shown();
        let filled = if effective {
            defaults::fill(&mut config, process)?
        } else {
            Vec::new()
        };
        let mut values = Vec::new();
        collect(&config, &mut Vec::new(), &mut values);
        for value in &mut values {
            let default = filled.iter().find(|(path, _)| *path == value.path);
            value.place = default.map_or_else(|| source.place_of(&value.path), |(_, place)| place.clone());
        }
        // A key that stands in no table comes before all tables, or it would belong to one.
        values.sort_by_key(|value| value.path.len() > 1);
        Ok(Self { config, values })
    }

    /// The place of each value, by its key.
    pub(crate) fn places(&self) -> BTreeMap<String, &str> {
        self.values.iter().map(|value| (written(&value.path), value.place.as_str())).collect()
    }

    /// A configuration, which can be taken as one, with the place of each value behind it.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut heading: &[Segment] = &[];
        for value in &self.values {
            let (head, rest) = match value.path.as_slice() {
                [Segment::Key(_), Segment::Index(_), ..] => value.path.split_at(2),
                [_, _, ..] => value.path.split_at(1),
                _ => value.path.split_at(0),
            };
            if head != heading {
                let bare = written(head.get(..1).unwrap_or_default());
                let title = if head.len() == 2 {
                    format!("[[{bare}]]")
                } else {
                    format!("[{bare}]")
                };
                lines.extend([String::new(), title]);
                heading = head;
            }
            lines.push(format!("{} = {}  # {}", written(rest), value.text, value.place));
        }
        lines
    }
}

/// Every value, outermost first.
fn collect(table: &Table, path: &mut Vec<Segment>, values: &mut Vec<Shows>) {
    for (key, value) in table {
        path.push(Segment::Key(key.clone()));
        match value {
            Value::Table(inner) if !inner.is_empty() && !is_one_thing(key) && elsewhere(inner).is_none() => {
                collect(inner, path, values);
            }
            // Entries come from places of their own; lists inside an entry are one value.
            Value::Array(entries) if path.len() == 1 && !entries.is_empty() && entries.iter().all(Value::is_table) => {
                for (at, entry) in entries.iter().filter_map(Value::as_table).enumerate() {
                    path.push(Segment::Index(at));
                    collect(entry, path, values);
                    path.pop();
                }
            }
            value => values.push(Shows {
                path: path.clone(),
                text: inline(value),
                place: String::new(),
            }),
        }
        path.pop();
    }
}

/// A value on one line, so that its place can stand behind it.
fn inline(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let members: Vec<_> = table.iter().map(|(key, value)| format!("{} = {}", key_of(key), inline(value))).collect();
            if members.is_empty() {
                "{}".to_owned()
            } else {
                format!("{{ {} }}", members.join(", "))
            }
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::String(text) => super::place::quoted(text),
        other => other.to_string(),
    }
}
