//! Several files as one: joined, or one laid over another.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// Which entry of which file an entry of the whole was made from, earliest first.
type Origins = Vec<(usize, usize)>;

/// What some files say together.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    /// With every string in its place.
    pub(super) table: Table,
    /// The same without secrets.
    pub(super) masked: Table,
    entries: BTreeMap<String, Vec<Origins>>,
}

impl Layer {
    /// What the file with the number `file` says.
    pub(super) fn of_file(file: usize, table: Table, masked: Table) -> Self {
        let origins = |(key, value): (&String, &Value)| {
            let count = list(value)?.len();
            Some((key.clone(), (0..count).map(|at| vec![(file, at)]).collect()))
        };
        Self {
            entries: table.iter().filter_map(origins).collect(),
            table,
            masked,
        }
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, key: &str) -> Option<Value> {
        self.masked.remove(key);
        self.table.remove(key)
    }

    /// Joins `more`: tables are joined, entries follow each other, and a value that is set twice is told by its key.
    pub(super) fn join(&mut self, more: Self) -> Result<(), String> {
        join(&mut self.table, more.table)?;
        // The same keys, so it cannot fail where the table did not.
        let _ = join(&mut self.masked, more.masked);
        for (key, entries) in more.entries {
            self.entries.entry(key).or_default().extend(entries);
        }
        Ok(())
    }

    /// Lays `over` on top: what it sets replaces; an entry with the name of one that is there changes that one.
    pub(super) fn cover(&mut self, over: Self) {
        let (mut over_masked, mut over_entries) = (over.masked, over.entries);
        for (key, value) in over.table {
            let masked = over_masked.remove(&key).unwrap_or_else(|| value.clone());
            let places = match (self.table.get(&key).and_then(list), list(&value)) {
                (Some(here), Some(more)) => places(here, more),
                _ => {
                    if let Some(origins) = over_entries.remove(&key) {
                        self.entries.insert(key.clone(), origins);
                    }
                    cover(&mut self.table, key.clone(), value);
                    cover(&mut self.masked, key, masked);
                    continue;
                }
            };
            lay(&mut self.table, &key, value, &places);
            lay(&mut self.masked, &key, masked, &places);
            let here = self.entries.entry(key.clone()).or_default();
            for (origins, place) in over_entries.remove(&key).unwrap_or_default().into_iter().zip(&places) {
                match place.and_then(|at| here.get_mut(at)) {
                    Some(entry) => entry.extend(origins),
                    None => here.push(origins),
                }
            }
        }
    }

    /// Where the entry `at` of `key` comes from; empty if `key` holds no entries.
    pub(super) fn origins(&self, key: &str, at: usize) -> &[(usize, usize)] {
        self.entries.get(key).and_then(|entries| entries.get(at)).map_or(&[], Vec::as_slice)
    }
}

/// The entries of an array of tables.
fn list(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().filter(|items| !items.is_empty() && items.iter().all(Value::is_table))
}

/// For each entry of `more`, the one of `here` that has its name.
fn places(here: &[Value], more: &[Value]) -> Vec<Option<usize>> {
    let name = |entry: &Value| ["id", "name", "type"].iter().find_map(|key| entry.get(key)).cloned();
    let place = |entry: &Value| name(entry).and_then(|wanted| here.iter().position(|entry| name(entry).as_ref() == Some(&wanted)));
    more.iter().map(place).collect()
}

fn lay(table: &mut Table, key: &str, more: Value, places: &[Option<usize>]) {
    let (Some(Value::Array(here)), Value::Array(more)) = (table.get_mut(key), more) else {
        return;
    };
    for (entry, place) in more.into_iter().zip(places) {
        match (place.and_then(|at| here.get_mut(at)), entry) {
            (Some(Value::Table(here)), Value::Table(entry)) => {
                for (key, value) in entry {
                    cover(here, key, value);
                }
            }
            (_, entry) => here.push(entry),
        }
    }
}

fn cover(table: &mut Table, key: String, value: Value) {
    match (table.get_mut(&key), value) {
        (Some(Value::Table(here)), Value::Table(over)) if !is_one_thing(&key) => {
            for (key, value) in over {
                cover(here, key, value);
            }
        }
        (_, value) => {
            table.insert(key, value);
        }
    }
}

/// Tables that say one thing: half of another method is no method.
pub(super) fn is_one_thing(key: &str) -> bool {
    matches!(key, "auth" | "send" | "tls" | "upstream_tls" | "introspection")
}

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
