//! Refusals that are alike, counted together.

use std::collections::{BTreeMap, BTreeSet};

use narrows_guard::learn::Learned;
use narrows_guard::shape::shape;
use serde_json::{Value, json};

use super::covered::Today;
use super::{guards, mend};

/// More groups than these are counted, and not told apart.
const MOST: usize = 1_000;

/// What makes two refusals the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    boundary: String,
    /// The service, where it was a guard.
    service: String,
    host: String,
    shape: String,
    method: String,
    reason: String,
    client: String,
    requested_by: String,
    /// What was needed, without the identifiers.
    needs: BTreeSet<String>,
}

/// Some refusals that are alike.
#[derive(Debug)]
pub(super) struct Group {
    count: u64,
    first: i64,
    last: i64,
    /// The newest.
    pub(super) record: Value,
    /// The groups of the subjects that all of them have; nothing where no subject is known.
    pub(super) subjects: Option<BTreeSet<String>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: BTreeMap<Likeness, Group>,
    others: u64,
}

impl Groups {
    /// Counts one.
    pub(super) fn add(&mut self, record: Value) {
        let likeness = Likeness::of(&record);
        let time = record.get("time").and_then(Value::as_i64).unwrap_or_default();
        let group = Group {
            count: record.get("count").and_then(Value::as_u64).unwrap_or(1),
            first: time,
            last: time,
            subjects: subjects(&record),
            record,
        };
        self.join(likeness, group);
    }

    fn join(&mut self, likeness: Likeness, group: Group) {
        let is_full = self.groups.len() >= MOST;
        match self.groups.get_mut(&likeness) {
            Some(known) => known.join(group),
            None if is_full => self.others += group.count,
            None => drop(self.groups.insert(likeness, group)),
        }
    }

    /// Each with what would let it through, and whether that is so by now, the most frequent first; and how many are in none.
    pub(super) fn told(self, today: &Today<'_>) -> (Vec<Value>, u64) {
        // Once all are known, more of a path can be seen to vary.
        let mut learned: BTreeMap<String, Learned> = BTreeMap::new();
        for likeness in self.groups.keys() {
            let host = learned.entry(likeness.host.clone()).or_default();
            host.add(&likeness.method, &likeness.shape.replace("{id}", "0"), 1);
        }
        let mut joined = Self {
            others: self.others,
            ..Self::default()
        };
        for (mut likeness, group) in self.groups {
            if let Some(learned) = learned.get(&likeness.host) {
                likeness.shape = learned.shape(&likeness.shape.replace("{id}", "0"));
            }
            joined.join(likeness, group);
        }
        let mut told: Vec<_> = joined.groups.iter().map(|(likeness, group)| (group.count, likeness.told(group, today))).collect();
        told.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        (told.into_iter().map(|(_, item)| item).collect(), joined.others)
    }
}

impl Group {
    fn join(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.subjects = match (self.subjects.take(), other.subjects) {
            (Some(ours), Some(theirs)) => Some(ours.intersection(&theirs).cloned().collect()),
            _ => None,
        };
        if other.last >= self.last {
            self.last = other.last;
            self.record = other.record;
        }
    }
}

impl Likeness {
    fn of(record: &Value) -> Self {
        let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let line = |name: &str| {
            let part = record.get("request").and_then(|request| request.get(name));
            part.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Self {
            boundary: text("boundary"),
            service: guards::service(record).to_owned(),
            host: line("host"),
            shape: shape(&line("path")),
            method: line("method"),
            reason: text("reason"),
            client: text("client"),
            requested_by: text("requested_by"),
            needs: mend::needs(record).into_iter().map(|(kind, action)| format!("{kind}:{action}")).collect(),
        }
    }

    fn told(&self, group: &Group, today: &Today<'_>) -> Value {
        let line = if self.method.is_empty() {
            // Several kinds that nobody tells apart any more, or a line that could not be read.
            Value::Null
        } else {
            json!({ "method": self.method, "host": self.host, "path": self.shape })
        };
        let (paste, note) = mend::of(group, &self.method, &self.host, &self.shape, today);
        let paste: Vec<_> = paste.into_iter().map(|paste| json!({ "into": paste.into, "text": paste.text })).collect();
        let mut item = json!({
            "request": line, "reason": self.reason, "count": group.count, "first_seen": group.first, "last_seen": group.last,
            "needs": self.needs, "decision_id": group.record.get("id"), "paste": paste, "note": note,
            "covered": today.covers(&group.record),
        });
        let known = [
            ("boundary", &self.boundary),
            ("service", &self.service),
            ("client", &self.client),
            ("requested_by", &self.requested_by),
        ];
        for (name, text) in known {
            if let (false, Some(members)) = (text.is_empty(), item.as_object_mut()) {
                members.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        item
    }
}

/// The groups of the subject, as policy names them; nothing if policy was not asked.
fn subjects(record: &Value) -> Option<BTreeSet<String>> {
    let inputs = record.get("inputs")?;
    let issuer = inputs.get("issuer_name")?.as_str()?;
    let groups = inputs.get("attributes")?.get("groups").and_then(Value::as_array);
    let groups = groups.into_iter().flatten().filter_map(Value::as_str);
    Some(groups.map(|group| format!("{issuer}|{group}")).collect())
}
