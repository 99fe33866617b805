//! What was granted, as the log says it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::Value;

use super::used::Usage;

/// No more pairs of client and audience are told apart.
const MOST_PAIRS: usize = 1_000;
/// No more names of one kind in one of them.
const MOST_NAMES: usize = 256;
/// The most tokens with something for a later hop that are followed.
const MOST_FOLLOWED: usize = 50_000;

/// The members of a record that matter here; those it lacks are empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line {
    /// Milliseconds since 1970.
    pub(super) time: i64,
    kind: String,
    decision: String,
    pub(super) client: String,
    pub(super) audience: String,
    /// The token that came of it.
    jti: String,
    parent_jti: String,
    authorization_details: Vec<Value>,
    scope: String,
    onward: Vec<Value>,
    expires_in: i64,
}

/// All of it, by client and audience.
#[derive(Debug, Default)]
pub(super) struct Minted {
    pub(super) pairs: BTreeMap<(String, String), Granted>,
    /// Tokens with something for a later hop: whose they are, and what that is.
    followed: HashMap<u64, ((String, String), BTreeSet<String>)>,
    seen: HashSet<u64>,
    /// Tokens that found no room.
    others: u64,
}

/// What tokens of one client for one audience grant.
#[derive(Debug, Default)]
pub(super) struct Granted {
    pub(super) tokens: i64,
    /// Those that ended while the audience was reported on, and began then: one of these that was not shown never will be.
    pub(super) settled: i64,
    /// By name, how many tokens.
    pub(super) actions: BTreeMap<String, i64>,
    /// Actions by how many tokens had another besides.
    pub(super) together: BTreeMap<String, i64>,
    pub(super) scopes: BTreeMap<String, i64>,
    /// For later hops: in how many tokens, and in how many of those that were exchanged on.
    pub(super) onward: BTreeMap<String, (i64, i64)>,
}

impl Line {
    /// Whether a token came of it: of what was only asked or observed none did. One that was handed out again is known by its name.
    fn mints(&self) -> bool {
        self.kind == "exchange" && self.decision == "allow" && !self.jti.is_empty()
    }
}

impl Minted {
    /// Takes note of what `line` used of a token before it.
    pub(super) fn follow(&mut self, line: &Line) {
        if !line.mints() || line.parent_jti.is_empty() {
            return;
        }
        let Some((of, onward)) = self.followed.get_mut(&digest(&line.parent_jti)) else {
            return;
        };
        let wanted = names(&line.authorization_details).chain(names(&line.onward));
        for name in wanted {
            // Once for each token, however often it is exchanged.
            if onward.remove(&name)
                && let Some((_, used)) = self.pairs.get_mut(of).and_then(|granted| granted.onward.get_mut(&name))
            {
                *used += 1;
            }
        }
    }

    /// Adds what `line` granted.
    pub(super) fn add(&mut self, line: &Line, usage: &Usage) {
        if !line.mints() || !self.seen.insert(digest(&line.jti)) {
            return;
        }
        let of = (line.client.clone(), line.audience.clone());
        if self.pairs.len() >= MOST_PAIRS && !self.pairs.contains_key(&of) {
            self.others += 1;
            return;
        }
        let granted = self.pairs.entry(of.clone()).or_default();
        granted.tokens += 1;
        let ends = line.time.saturating_add(line.expires_in.saturating_mul(1000));
        let is_settled = usage.span(&line.audience).is_some_and(|(since, until)| since <= line.time && ends <= until);
        granted.settled += i64::from(is_settled);
        let actions: BTreeSet<_> = names(&line.authorization_details).collect();
        for name in &actions {
            self.others += count(&mut granted.actions, name);
            if actions.len() > 1 {
                self.others += count(&mut granted.together, name);
            }
        }
        for scope in line.scope.split(' ').filter(|scope| !scope.is_empty()) {
            self.others += count(&mut granted.scopes, scope);
        }
        let onward: BTreeSet<_> = names(&line.onward).collect();
        for name in &onward {
            if granted.onward.len() < MOST_NAMES || granted.onward.contains_key(name) {
                granted.onward.entry(name.clone()).or_default().0 += 1;
            } else {
                self.others += 1;
            }
        }
        if onward.is_empty() {
            return;
        }
        if self.followed.len() < MOST_FOLLOWED {
            self.followed.insert(digest(&line.jti), (of, onward));
        } else {
            self.others += 1;
        }
    }

    /// Whether everything that was looked at is in it.
    pub(super) fn is_whole(&self) -> bool {
        self.others == 0
    }
}

/// `TYPE:ACTION` of each action of each detail.
fn names(details: &[Value]) -> impl Iterator<Item = String> {
    details.iter().flat_map(|detail| {
        let kind = detail.get("type").and_then(Value::as_str).unwrap_or_default();
        let actions = detail.get("actions").and_then(Value::as_array).into_iter().flatten();
        actions.filter_map(Value::as_str).map(move |action| format!("{kind}:{action}"))
    })
}

/// Counts `name`; 1 where there is no room for it.
fn count(names: &mut BTreeMap<String, i64>, name: &str) -> u64 {
    if let Some(count) = names.get_mut(name) {
        *count += 1;
    } else if names.len() < MOST_NAMES {
        names.insert(name.to_owned(), 1);
    } else {
        return 1;
    }
    0
}

fn digest(jti: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    jti.hash(&mut hasher);
    hasher.finish()
}
