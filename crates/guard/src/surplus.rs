//! Surplus: what a token allows beyond the request that it is shown with.
//!
//! A token that covers a request covers others too, as a rule. How many others is what a guard looks at: whoever steals the token,
//! or is talked into using it, can do those.

mod differs;
mod fixed;
mod wider;
mod words;

use std::borrow::Cow;

use delegation::authority::{Atom, Authority, Uncovered, atoms};
use delegation::details::{Detail, DetailTypes};
use delegation::oauth::Scope;
use delegation::token::Excepted;

use crate::intent::Needs;
pub use differs::Differs;
use differs::Measure;
pub use fixed::{Fixed, FixedError};
pub use wider::wider;
pub use words::Compared;

/// What a token may hold beyond the request that it is shown with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// Nothing.
    None,
    /// Other actions on the same resource, and constraints that the route lists.
    #[default]
    SameResource,
    /// Anything.
    Any,
}

impl Excess {
    /// Every mode, with its word in the configuration.
    pub const ALL: [(&'static str, Self); 3] = [("none", Self::None), ("same_resource", Self::SameResource), ("any", Self::Any)];

    /// The mode by its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, excess)| excess)
    }
}

/// One piece of a token that its request does not need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Surplus {
    /// One action of one detail, in the short form.
    Detail {
        /// The action with its detail.
        held: String,
        /// Wherein it differs from what is needed.
        why: Differs,
    },
    /// A scope that the route does not name.
    Scope(Scope),
}

/// What a request needs at this guard: R.
#[derive(Clone, Debug)]
pub struct Required<'n> {
    /// The details that the token must hold.
    details: Cow<'n, [Detail]>,
    needs: &'n Needs,
    fixed: &'n Fixed,
}

impl<'n> Required<'n> {
    /// What `needs` asks for, joined with what is fixed.
    ///
    /// Where the request names another value than the fixed one, it is a request for somebody else's resource; no token is for it,
    /// and what is named is given back.
    pub fn of(needs: &'n Needs, fixed: &'n Fixed, types: &DetailTypes) -> Result<Self, Uncovered> {
        let details = if fixed.is_empty() {
            Cow::Borrowed(needs.details.as_slice())
        } else {
            needs.details.iter().map(|detail| fixed.join(detail, types)).collect::<Result<_, _>>()?
        };
        Ok(Self { details, needs, fixed })
    }

    /// The details and scopes that the token must hold.
    pub fn authority(self) -> Authority {
        Authority {
            details: self.details.into_owned(),
            scopes: self.needs.scopes.clone(),
        }
    }

    /// Whether `held` allows the request; if not, what of it is missing.
    pub fn is_covered(&self, held: &Authority, types: &DetailTypes) -> Result<(), Uncovered> {
        held.covers(&self.details, &self.needs.scopes, types)
    }

    /// What of `held` is more than `excess` lets a token have. What `exception` lists is none of it.
    pub fn surplus(&self, held: &Authority, exception: Option<&Excepted>, excess: Excess, types: &DetailTypes) -> Vec<Surplus> {
        if excess == Excess::Any {
            return Vec::new();
        }
        let lifted = exception.map_or(&[][..], |exception| exception.details.as_slice());
        let is_lifted = |atom: &Atom<'_>| atoms(lifted).any(|bound| atom.is_within(bound, types));
        let details = atoms(&held.details).filter(|atom| !is_lifted(atom)).filter_map(|atom| {
            let why = self.differs(atom, excess, types)?;
            let held = atom.to_string();
            Some(Surplus::Detail { held, why })
        });
        let scopes = held.scopes.difference(&self.needs.scopes).cloned().map(Surplus::Scope);
        details.chain(scopes).collect()
    }

    /// Wherein `atom` differs from all that is needed; `None` if there is something that it does not differ from.
    fn differs(&self, atom: Atom<'_>, excess: Excess, types: &DetailTypes) -> Option<Differs> {
        let measure = Measure {
            types,
            is_exact: excess == Excess::None,
            wider: &self.needs.wider,
            fixed: self.fixed,
        };
        let mut nearest = Differs::Type;
        for needed in &*self.details {
            nearest = nearest.max(measure.differs(atom, needed)?);
        }
        Some(nearest)
    }
}
