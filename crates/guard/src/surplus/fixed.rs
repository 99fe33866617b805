//! Values that no request names: whose backend this is.

use std::collections::BTreeMap;

use delegation::authority::Uncovered;
use delegation::details::{ConstraintOrder, ConstraintValue, Detail, DetailTypes};
use serde_json::Value;

/// Values of `equal` constraints that every request at a guard is for, by name: `tenant = "acme"` in front of Acme's backend.
#[derive(Clone, Debug, Default)]
pub struct Fixed(BTreeMap<String, ConstraintValue>);

/// Why a value cannot be fixed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FixedError {
    /// No type has it, or one has it with an order by which no single value is meant.
    #[error("fixed.{0}: expected the name of a constraint that is `equal` in every type that has it")]
    Name(String),
    /// A value that no such constraint takes.
    #[error("fixed.{0}: expected a string that is not empty, an integer or a boolean")]
    Value(String),
}

impl Fixed {
    /// Takes `values`, each for a constraint of `types` that takes one value alone.
    pub fn of(values: &BTreeMap<String, Value>, types: &DetailTypes) -> Result<Self, FixedError> {
        let fixed = values.iter().map(|(name, value)| {
            let mut orders = types.iter().filter_map(|declared| declared.constraints.get(name)).peekable();
            if orders.peek().is_none() || orders.any(|order| *order != ConstraintOrder::Equal) {
                return Err(FixedError::Name(name.clone()));
            }
            let value = ConstraintOrder::Equal.value(value).ok_or_else(|| FixedError::Value(name.clone()))?;
            Ok((name.clone(), value))
        });
        Ok(Self(fixed.collect::<Result<_, _>>()?))
    }

    /// The value that is fixed for the constraint `name`.
    pub(super) fn get(&self, name: &str) -> Option<&ConstraintValue> {
        self.0.get(name)
    }

    /// Whether no value is fixed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `detail` with the fixed value of every constraint that one of its actions declares.
    pub(super) fn join(&self, detail: &Detail, types: &DetailTypes) -> Result<Detail, Uncovered> {
        let elsewhere = |detail: &Detail| Uncovered::Detail(detail.to_string());
        let declared = types.get(detail.kind()).ok_or_else(|| elsewhere(detail))?;
        let rules = || detail.actions().iter().filter_map(|action| declared.actions.get(action));
        let mut joined = detail.clone();
        for (name, value) in self.0.iter().filter(|(name, _)| rules().any(|rule| rule.constraints.contains(*name))) {
            if detail.constraints().get(name).is_some_and(|named| named != value) {
                return Err(elsewhere(detail));
            }
            joined = joined.bounded(name, value.clone(), types).map_err(|_| elsewhere(detail))?;
        }
        Ok(joined)
    }
}
