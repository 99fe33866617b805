//! Declared detail types: which actions there are, and what "narrower" means for each constraint.

use std::collections::{BTreeMap, BTreeSet};

use super::value::ConstraintOrder;

/// Every detail type that the configuration declares, by name.
#[derive(Clone, Debug, Default)]
pub struct DetailTypes(BTreeMap<String, DetailType>);

impl DetailTypes {
    /// The detail type `name`.
    pub fn get(&self, name: &str) -> Option<&DetailType> {
        self.0.get(name)
    }

    /// The type and action that are called `TYPE:ACTION`, as in policy and in logs. Both may have colons.
    pub fn named(&self, name: &str) -> Option<(&DetailType, &str, &ActionRule)> {
        let split = name.match_indices(':').filter_map(|(at, _)| name.split_at_checked(at));
        let mut found = split.filter_map(|(kind, rest)| {
            let declared = self.get(kind)?;
            let (action, rule) = declared.actions.get_key_value(rest.strip_prefix(':')?)?;
            Some((declared, action.as_str(), rule))
        });
        found.next()
    }

    /// Every detail type, by name.
    pub fn iter(&self) -> impl Iterator<Item = &DetailType> {
        self.0.values()
    }
}

impl FromIterator<DetailType> for DetailTypes {
    fn from_iter<I: IntoIterator<Item = DetailType>>(types: I) -> Self {
        Self(types.into_iter().map(|declared| (declared.name.clone(), declared)).collect())
    }
}

/// One declared type of RFC 9396 details.
#[derive(Clone, Debug)]
pub struct DetailType {
    /// The value of `type`.
    pub name: String,
    /// The entity's name in policy, without the `Detail::` before it.
    pub entity: String,
    /// The actions, by name.
    pub actions: BTreeMap<String, ActionRule>,
    /// The order of each constraint, by its name.
    pub constraints: BTreeMap<String, ConstraintOrder>,
}

/// What one action of a detail type takes.
#[derive(Clone, Debug)]
pub struct ActionRule {
    /// Whether a detail with this action names a resource.
    pub identifier: IdentifierRule,
    /// The constraints that bound this action; others play no part in comparing it.
    pub constraints: BTreeSet<String>,
}

/// Whether a detail with an action names a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentifierRule {
    /// It must, except in a ceiling.
    Required,
    /// It may.
    Optional,
    /// It must not.
    None,
}
