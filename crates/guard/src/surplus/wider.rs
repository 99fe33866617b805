//! Surplus that a route may let pass: what is wider than its request in constraints alone.

use std::collections::BTreeSet;

use delegation::details::{ConstraintOrder, Detail, DetailTypes, Standing};

use super::differs::exceeded;

/// The constraints in which all that is `surplus` is wider than something `required`, both as records have them; `None` if anything else
/// is in the way, such as another resource, another value or a scope.
///
/// With these in the `wider` of the route it would be none, unless the guard lets nothing be more (`excess = "none"`).
pub fn wider<'p>(
    required: impl IntoIterator<Item = &'p str>,
    surplus: impl IntoIterator<Item = &'p str>,
    types: &DetailTypes,
) -> Option<BTreeSet<String>> {
    let read = |piece: &str, standing| Detail::parse_short(piece, types, standing).ok();
    let needed: Vec<_> = required.into_iter().filter_map(|piece| read(piece, Standing::Asked)).collect();
    let mut wider = BTreeSet::new();
    for piece in surplus {
        let held = read(piece, Standing::Ceiling)?;
        let alike = needed
            .iter()
            .filter(|needed| (needed.kind(), needed.identifier()) == (held.kind(), held.identifier()));
        wider.extend(alike.filter_map(|needed| wider_in(&held, needed, types)).next()?);
    }
    (!wider.is_empty()).then_some(wider)
}

/// Wherein `held` is wider than `needed`, which is for the same resource; `None` if it is for another value, or wider in nothing.
fn wider_in(held: &Detail, needed: &Detail, types: &DetailTypes) -> Option<BTreeSet<String>> {
    let declared = types.get(held.kind())?;
    let mut wider = BTreeSet::new();
    for rule in held.actions().iter().filter_map(|action| declared.actions.get(action)) {
        let value = |detail: &Detail, name: &String| detail.constraints().get(name).cloned();
        let is_equal = |name: &&String| declared.constraints.get(*name) == Some(&ConstraintOrder::Equal);
        if rule.constraints.iter().filter(is_equal).any(|name| value(held, name) != value(needed, name)) {
            return None;
        }
        wider.extend(exceeded(held, needed, declared, rule));
    }
    (!wider.is_empty()).then_some(wider)
}
