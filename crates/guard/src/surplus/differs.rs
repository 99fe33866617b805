//! Wherein a piece of a token differs from what its request needs.

use std::collections::BTreeSet;

use delegation::authority::Atom;
use delegation::details::{ActionRule, ConstraintOrder, Detail, DetailType, DetailTypes};

use super::fixed::Fixed;

/// How a constraint is named that is one of every type (RFC 9396 §2.2).
const LOCATIONS: &str = "locations";

/// Wherein a piece of a token differs from every detail that its request needs; of several, from the one that it is nearest to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Differs {
    /// It is of another type, or the request needs no detail.
    Type,
    /// It is for another resource, or for all, or for none.
    Identifier,
    /// It is for another value of this `equal` constraint, or for all.
    Value(String),
    /// It bounds this less than the request.
    Wider(String),
    /// It is for another action.
    Action,
    /// It bounds this more than the request.
    Narrower(String),
}

/// What two details are compared by.
pub(super) struct Measure<'m> {
    pub(super) types: &'m DetailTypes,
    /// Whether nothing but the very same is good.
    pub(super) is_exact: bool,
    /// Constraints that may be wider, where that is not so.
    pub(super) wider: &'m BTreeSet<String>,
    pub(super) fixed: &'m Fixed,
}

impl Measure<'_> {
    /// Wherein `atom` differs from `needed`, if it does. Only what its own action declares is looked at: the rest bounds others.
    pub(super) fn differs(&self, atom: Atom<'_>, needed: &Detail) -> Option<Differs> {
        let held = atom.detail;
        let declared = self.types.get(held.kind()).filter(|_| held.kind() == needed.kind());
        let Some((declared, rule)) = declared.and_then(|declared| Some((declared, declared.actions.get(atom.action)?))) else {
            return Some(Differs::Type);
        };
        if held.identifier() != needed.identifier() {
            return Some(Differs::Identifier);
        }
        if let Some(name) = self.other_value(held, needed, declared, rule) {
            return Some(Differs::Value(name));
        }
        if let Some(name) = exceeded(held, needed, declared, rule).find(|name| self.is_exact || !self.wider.contains(name)) {
            return Some(Differs::Wider(name));
        }
        if !self.is_exact {
            return None;
        }
        if !needed.actions().iter().any(|action| action == atom.action) {
            return Some(Differs::Action);
        }
        exceeded(needed, held, declared, rule).next().map(Differs::Narrower)
    }

    /// The first `equal` constraint of which `held` has not the value that is needed. An action beside the one that is needed may
    /// declare one that the request could not name.
    fn other_value(&self, held: &Detail, needed: &Detail, declared: &DetailType, rule: &ActionRule) -> Option<String> {
        let mut equal = rule
            .constraints
            .iter()
            .filter(|name| declared.constraints.get(*name) == Some(&ConstraintOrder::Equal));
        let wanted = |name: &String| needed.constraints().get(name).or_else(|| self.fixed.get(name));
        equal.find(|name| held.constraints().get(*name) != wanted(name)).cloned()
    }
}

/// The constraints in which `inner` is wider than `outer`, those with one value aside.
pub(super) fn exceeded<'d>(
    inner: &'d Detail,
    outer: &'d Detail,
    declared: &'d DetailType,
    rule: &'d ActionRule,
) -> impl Iterator<Item = String> + 'd {
    let ordered = rule.constraints.iter().filter_map(|name| Some((name, declared.constraints.get(name)?)));
    let ordered = ordered.filter(|(_, order)| **order != ConstraintOrder::Equal);
    let by_order = ordered.filter(|(name, order)| {
        let values = (inner.constraints().get(*name), outer.constraints().get(*name));
        is_wider(values, |inner, outer| order.is_within(inner, outer))
    });
    let locations = (inner.locations(), outer.locations());
    let elsewhere = is_wider(locations, |inner, outer| inner.iter().all(|location| outer.contains(location)));
    by_order.map(|(name, _)| name.clone()).chain(elsewhere.then(|| LOCATIONS.to_owned()))
}

/// Absent is unbounded.
fn is_wider<T>(values: (Option<T>, Option<T>), is_within: impl Fn(T, T) -> bool) -> bool {
    match values {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(inner), Some(outer)) => !is_within(inner, outer),
    }
}
