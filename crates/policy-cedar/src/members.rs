//! The members of a Detail entity: what a policy may read of a detail, and what is absent and so means all.
//!
//! Schema, questions and the check of forbids all take the names from here.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::RestrictedExpression;
use delegation::details::{ConstraintOrder, ConstraintValue, Detail, DetailType, IdentifierRule};

/// The set of names that are absent.
pub(crate) const UNBOUNDED: &str = "unbounded";
const IDENTIFIER: &str = "identifier";
const LOCATIONS: &str = "locations";

/// Every optional member of the entities of `declared`, with its Cedar type; a name may come twice if it clashes.
pub(crate) fn optional(declared: &DetailType) -> Vec<(String, &'static str)> {
    let always = [(IDENTIFIER.to_owned(), "String"), (LOCATIONS.to_owned(), "Set<String>")];
    let constraints = declared.constraints.iter().flat_map(|(name, order)| of_constraint(name, *order));
    always.into_iter().chain(constraints).collect()
}

/// The members that one constraint becomes.
///
/// A constraint with the order `equal` may be a string, an integer or a boolean, and Cedar has no unions, so it is
/// three members, of which at most one is there.
fn of_constraint(name: &str, order: ConstraintOrder) -> Vec<(String, &'static str)> {
    match order {
        ConstraintOrder::Equal => vec![(name.to_owned(), "String"), (integer(name), "Long"), (boolean(name), "Bool")],
        ConstraintOrder::AtMost => vec![(name.to_owned(), "Long")],
        ConstraintOrder::Prefix => vec![(name.to_owned(), "String")],
        ConstraintOrder::Subset | ConstraintOrder::OneOf => vec![(name.to_owned(), "Set<String>")],
    }
}

fn integer(name: &str) -> String {
    format!("{name}_integer")
}

fn boolean(name: &str) -> String {
    format!("{name}_boolean")
}

/// The members of `detail` when `action` is asked; `None` if `declared` has no such action.
///
/// Only constraints that this action declares are there. Those of another action of the same detail do not bound
/// this one (the order between authorities leaves them out as well), so here they are absent.
///
/// `unbounded` names every member that is absent. Of the three that an `equal` constraint becomes, the two that its
/// value is not are absent too: a forbid that reads the string also meets an integer.
pub(crate) fn of(detail: &Detail, action: &str, declared: &DetailType) -> Option<BTreeMap<String, RestrictedExpression>> {
    let rule = declared.actions.get(action)?;
    let mut there = BTreeMap::new();
    if let Some(identifier) = detail.identifier() {
        there.insert(IDENTIFIER.to_owned(), text(identifier));
    }
    if let Some(locations) = detail.locations() {
        there.insert(LOCATIONS.to_owned(), set(locations));
    }
    for (name, value) in detail.constraints().iter().filter(|(name, _)| rule.constraints.contains(*name)) {
        let (name, value) = match (value, declared.constraints.get(name)?) {
            (ConstraintValue::Text(one), ConstraintOrder::OneOf) => (name.clone(), set(std::slice::from_ref(one))),
            (ConstraintValue::Text(value), _) => (name.clone(), text(value)),
            (ConstraintValue::Texts(items), _) => (name.clone(), set(items)),
            (ConstraintValue::Limit(limit), _) => (name.clone(), RestrictedExpression::new_long(*limit)),
            (ConstraintValue::Integer(number), _) => (integer(name), RestrictedExpression::new_long(*number)),
            (ConstraintValue::Boolean(flag), _) => (boolean(name), RestrictedExpression::new_bool(*flag)),
        };
        there.insert(name, value);
    }
    let all: BTreeSet<String> = optional(declared).into_iter().map(|(name, _)| name).collect();
    // An action that names no resource is not open to all of them.
    let nameless = |name: &String| name == IDENTIFIER && rule.identifier == IdentifierRule::None;
    let absent = all.iter().filter(|name| !there.contains_key(*name) && !nameless(name)).map(|name| text(name));
    let absent = RestrictedExpression::new_set(absent.collect::<Vec<_>>());
    there.insert(UNBOUNDED.to_owned(), absent);
    Some(there)
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn set(items: &[String]) -> RestrictedExpression {
    RestrictedExpression::new_set(items.iter().map(|item| text(item)).collect::<Vec<_>>())
}
