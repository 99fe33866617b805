//! Authority, and the order between two: "no wider than".

use std::collections::BTreeSet;

use crate::details::{Detail, DetailTypes};
use crate::oauth::Scope;

/// What a token allows: details and scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// Authorization details (RFC 9396).
    pub details: Vec<Detail>,
    /// Scope tokens (RFC 6749 §3.3).
    pub scopes: BTreeSet<Scope>,
}

/// One action of one detail: the smallest piece of authority that is compared, and that policy is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Atom<'a> {
    /// The detail that the action stands in.
    pub detail: &'a Detail,
    /// The action.
    pub action: &'a str,
}

/// The first part of an authority that its ceiling does not cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncovered {
    /// One action of one detail, in the short form.
    Detail(String),
    /// A scope.
    Scope(Scope),
}

impl Authority {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.details.is_empty() && self.scopes.is_empty()
    }

    /// Whether this authority is no wider than `ceiling`; if not, what of it is not covered.
    ///
    /// Every atom must be covered by one atom of the ceiling, and every scope must be among its scopes.
    /// Two atoms of the ceiling together cover nothing that neither of them covers alone.
    pub fn is_within(&self, ceiling: &Self, types: &DetailTypes) -> Result<(), Uncovered> {
        ceiling.covers(&self.details, &self.scopes, types)
    }

    /// Whether this authority is a ceiling of `details` and `scopes`, by the rule of [`is_within`](Self::is_within).
    pub fn covers(&self, details: &[Detail], scopes: &BTreeSet<Scope>, types: &DetailTypes) -> Result<(), Uncovered> {
        for atom in atoms(details) {
            if !atoms(&self.details).any(|bound| atom.is_within(bound, types)) {
                return Err(Uncovered::Detail(atom.to_string()));
            }
        }
        match scopes.difference(&self.scopes).next() {
            Some(scope) => Err(Uncovered::Scope(scope.clone())),
            None => Ok(()),
        }
    }
}

/// Every action of every detail.
pub fn atoms(details: &[Detail]) -> impl Iterator<Item = Atom<'_>> {
    details.iter().flat_map(|detail| detail.actions().iter().map(move |action| Atom { detail, action }))
}

impl Atom<'_> {
    /// Whether this atom is covered by `bound`: nothing it leaves open is closed there.
    pub fn is_within(self, bound: Atom<'_>, types: &DetailTypes) -> bool {
        let Some(declared) = types.get(self.detail.kind()) else {
            return false;
        };
        let Some(rule) = declared.actions.get(self.action) else {
            return false;
        };
        let same = self.detail.kind() == bound.detail.kind() && self.action == bound.action;
        let identifier = bound.detail.identifier().is_none_or(|identifier| self.detail.identifier() == Some(identifier));
        let locations = match (self.detail.locations(), bound.detail.locations()) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(inner), Some(outer)) => inner.iter().all(|location| outer.contains(location)),
        };
        // Only what this action declares: a bound meant for another action of the same detail is not its own.
        let constraints = rule.constraints.iter().all(|name| {
            let order = declared.constraints.get(name);
            match (order, self.detail.constraints().get(name), bound.detail.constraints().get(name)) {
                (_, _, None) => true,
                (Some(order), Some(inner), Some(outer)) => order.is_within(inner, outer),
                _ => false,
            }
        });
        same && identifier && locations && constraints
    }
}

/// The short form of the detail with this action alone.
impl std::fmt::Display for Atom<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.detail.with_action(self.action))
    }
}
