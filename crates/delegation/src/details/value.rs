//! Values of constraints, and the declared order of each.

use serde_json::Value;

/// The largest integer that survives every JSON reader: 2⁵³ − 1.
const LARGEST: i64 = (1 << 53) - 1;

/// What "narrower" means for one constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintOrder {
    /// A string, integer or boolean; narrower is the same value of the same JSON type.
    Equal,
    /// A non-empty array of distinct strings; narrower is a subset.
    Subset,
    /// An integer from 0; narrower is no larger.
    AtMost,
    /// A path; narrower is the same or longer by whole segments.
    Prefix,
    /// A string or a non-empty array of distinct strings; narrower is a subset, a string being an array of one.
    OneOf,
}

impl ConstraintOrder {
    /// The order by its name in the configuration.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Equal, Self::Subset, Self::AtMost, Self::Prefix, Self::OneOf]
            .into_iter()
            .find(|order| order.as_str() == name)
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Subset => "subset",
            Self::AtMost => "at_most",
            Self::Prefix => "prefix",
            Self::OneOf => "one_of",
        }
    }

    /// Takes `json` as a value of a constraint with this order; `None` if it has the wrong type or shape.
    pub fn value(self, json: &Value) -> Option<ConstraintValue> {
        let value = match (self, json) {
            (Self::Equal | Self::Prefix | Self::OneOf, Value::String(text)) => ConstraintValue::Text(text.clone()),
            (Self::Equal, Value::Bool(flag)) => ConstraintValue::Boolean(*flag),
            (Self::Equal, Value::Number(number)) => ConstraintValue::Integer(number.as_i64()?),
            (Self::AtMost, Value::Number(number)) => ConstraintValue::Limit(number.as_i64()?),
            (Self::Subset, Value::Array(items)) => ConstraintValue::Texts(texts(items)?),
            (Self::OneOf, Value::Array(items)) => match texts(items)?.as_slice() {
                [only] => ConstraintValue::Text(only.clone()),
                several => ConstraintValue::Texts(several.to_vec()),
            },
            _ => return None,
        };
        self.admits(&value).then_some(value)
    }

    /// Whether `value` is one that a constraint with this order may have.
    pub(crate) fn admits(self, value: &ConstraintValue) -> bool {
        match (self, value) {
            (Self::Equal, ConstraintValue::Boolean(_)) => true,
            (Self::Equal, ConstraintValue::Integer(number)) => (-LARGEST..=LARGEST).contains(number),
            (Self::Equal | Self::OneOf, ConstraintValue::Text(text)) => !text.is_empty(),
            (Self::AtMost, ConstraintValue::Limit(number)) => (0..=LARGEST).contains(number),
            (Self::Prefix, ConstraintValue::Text(path)) => is_path(path),
            (Self::Subset | Self::OneOf, ConstraintValue::Texts(items)) => is_distinct(items),
            _ => false,
        }
    }

    /// Whether `inner` is no wider than `outer`.
    pub fn is_within(self, inner: &ConstraintValue, outer: &ConstraintValue) -> bool {
        match (self, inner, outer) {
            (Self::Equal, inner, outer) => inner == outer,
            (Self::AtMost, ConstraintValue::Limit(inner), ConstraintValue::Limit(outer)) => inner <= outer,
            (Self::Prefix, ConstraintValue::Text(inner), ConstraintValue::Text(outer)) => {
                inner.strip_prefix(outer.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            (Self::Subset | Self::OneOf, inner, outer) => match (inner.items(), outer.items()) {
                (Some(inner), Some(outer)) => inner.iter().all(|item| outer.contains(item)),
                _ => false,
            },
            _ => false,
        }
    }
}

/// The value of one constraint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConstraintValue {
    /// A string; for `one_of` an array of one is kept as its string.
    Text(String),
    /// An integer of an `equal` constraint.
    Integer(i64),
    /// An integer of an `at_most` constraint.
    Limit(i64),
    /// A boolean.
    Boolean(bool),
    /// Distinct strings, in the order in which they came.
    Texts(Vec<String>),
}

impl ConstraintValue {
    /// The value as JSON.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::Integer(number) | Self::Limit(number) => Value::from(*number),
            Self::Boolean(flag) => Value::from(*flag),
            Self::Texts(items) => Value::from(items.clone()),
        }
    }

    /// The strings of a set, a single string being a set of one.
    fn items(&self) -> Option<&[String]> {
        match self {
            Self::Text(text) => Some(std::slice::from_ref(text)),
            Self::Texts(items) => Some(items),
            Self::Integer(_) | Self::Limit(_) | Self::Boolean(_) => None,
        }
    }
}

fn texts(items: &[Value]) -> Option<Vec<String>> {
    items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// Non-empty, without an empty string, without a string twice.
pub(crate) fn is_distinct(items: &[String]) -> bool {
    match items {
        [] => false,
        [only] => !only.is_empty(),
        several => {
            let mut seen = std::collections::BTreeSet::new();
            several.iter().all(|item| !item.is_empty() && seen.insert(item))
        }
    }
}

/// Segments that mean the same to every reader: nothing that another program would decode, fold or climb.
fn is_path(path: &str) -> bool {
    let segments = path.strip_prefix('/').unwrap_or(path);
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    segments.split('/').all(plain) && !path.chars().any(|each| matches!(each, '%' | '\\') || each.is_control())
}
