//! One detail, parsed against its declared type.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::declared::{DetailType, DetailTypes, IdentifierRule};
use super::value::{ConstraintValue, is_distinct};
use crate::json;

/// No more details in one request or token than this, and no more actions in one detail.
const MOST: usize = 32;
/// No more characters in an identifier or a location than this.
const LONGEST: usize = 1024;
/// How deep the JSON of details may be nested.
const DEPTH: usize = 8;

/// What stands against a detail. The names are reasons of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetailsError {
    /// The JSON, a value or a count is wrong.
    #[error("malformed details")]
    Malformed,
    /// The type is not declared.
    #[error("unknown type")]
    UnknownType,
    /// The type declares no such action.
    #[error("unknown action")]
    UnknownAction,
    /// The type declares no such member, or none of the detail's actions does.
    #[error("unknown member")]
    UnknownMember,
}

/// Where a detail stands, which says whether it may lack a required identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is asked for or issued: a required identifier must be there.
    Asked,
    /// It bounds what may be asked for: without an identifier it stands for every resource.
    Ceiling,
}

/// One RFC 9396 authorization detail that its declared type admits.
///
/// Made only by parsing, so whoever holds one need not check it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    kind: String,
    actions: Vec<String>,
    identifier: Option<String>,
    locations: Option<Vec<String>>,
    constraints: BTreeMap<String, ConstraintValue>,
}

impl Detail {
    /// Parses a JSON array of details, as in a request's `authorization_details` (RFC 9396 §2).
    pub fn parse_array(text: &str, types: &DetailTypes) -> Result<Vec<Self>, DetailsError> {
        let value = json::parse(text.as_bytes(), DEPTH).map_err(|_| DetailsError::Malformed)?;
        Self::from_array(&value, types)
    }

    /// Takes an array that is already parsed, as in a token's claim.
    pub fn from_array(value: &Value, types: &DetailTypes) -> Result<Vec<Self>, DetailsError> {
        Self::from_array_standing(value, types, Standing::Asked)
    }

    /// Takes an array of details that stand as `standing` says.
    pub fn from_array_standing(value: &Value, types: &DetailTypes, standing: Standing) -> Result<Vec<Self>, DetailsError> {
        let items = value.as_array().ok_or(DetailsError::Malformed)?;
        if items.len() > MOST {
            return Err(DetailsError::Malformed);
        }
        items.iter().map(|item| Self::from_json(item, types, standing)).collect()
    }

    /// Takes one detail as JSON.
    pub fn from_json(value: &Value, types: &DetailTypes, standing: Standing) -> Result<Self, DetailsError> {
        let members = value.as_object().ok_or(DetailsError::Malformed)?;
        let kind = members.get("type").and_then(Value::as_str).filter(|kind| !kind.is_empty());
        let declared = types.get(kind.ok_or(DetailsError::Malformed)?).ok_or(DetailsError::UnknownType)?;
        let actions = strings(members.get("actions").ok_or(DetailsError::Malformed)?)?;
        let identifier = match members.get("identifier") {
            None => None,
            Some(Value::String(identifier)) => Some(identifier.clone()),
            Some(_) => return Err(DetailsError::Malformed),
        };
        let locations = members.get("locations").map(strings).transpose()?;
        let mut constraints = BTreeMap::new();
        for (name, json) in members {
            if matches!(name.as_str(), "type" | "actions" | "identifier" | "locations") {
                continue;
            }
            let order = declared.constraints.get(name).ok_or(DetailsError::UnknownMember)?;
            constraints.insert(name.clone(), order.value(json).ok_or(DetailsError::Malformed)?);
        }
        Self {
            kind: declared.name.clone(),
            actions,
            identifier,
            locations,
            constraints,
        }
        .checked(declared, standing)
    }

    /// The one door to a `Detail`: both notations pass it.
    pub(super) fn from_parts(
        declared: &DetailType,
        actions: Vec<String>,
        identifier: Option<String>,
        locations: Option<Vec<String>>,
        constraints: BTreeMap<String, ConstraintValue>,
        standing: Standing,
    ) -> Result<Self, DetailsError> {
        Self {
            kind: declared.name.clone(),
            actions,
            identifier,
            locations,
            constraints,
        }
        .checked(declared, standing)
    }

    fn checked(self, declared: &DetailType, standing: Standing) -> Result<Self, DetailsError> {
        if !is_distinct(&self.actions) || self.actions.len() > MOST {
            return Err(DetailsError::Malformed);
        }
        for action in &self.actions {
            let rule = declared.actions.get(action).ok_or(DetailsError::UnknownAction)?;
            match (rule.identifier, &self.identifier) {
                (IdentifierRule::None, Some(_)) => return Err(DetailsError::Malformed),
                (IdentifierRule::Required, None) if standing == Standing::Asked => return Err(DetailsError::Malformed),
                _ => {}
            }
        }
        let bounds = |name: &String| {
            let mut rules = self.actions.iter().filter_map(|action| declared.actions.get(action));
            rules.any(|rule| rule.constraints.contains(name))
        };
        if !self.constraints.keys().all(bounds) {
            return Err(DetailsError::UnknownMember);
        }
        let sound = |text: &String| !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control);
        if self.identifier.iter().chain(self.locations.iter().flatten()).all(sound) && self.locations.as_deref().is_none_or(is_distinct) {
            Ok(self)
        } else {
            Err(DetailsError::Malformed)
        }
    }

    /// The value of `type`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The actions: at least one, none twice.
    pub fn actions(&self) -> &[String] {
        &self.actions
    }

    /// The resource, or `None` for every resource.
    pub fn identifier(&self) -> Option<&str> {
        self.identifier.as_deref()
    }

    /// The locations, or `None` for every location.
    pub fn locations(&self) -> Option<&[String]> {
        self.locations.as_deref()
    }

    /// The constraints, by name; one that is absent does not bound.
    pub fn constraints(&self) -> &BTreeMap<String, ConstraintValue> {
        &self.constraints
    }

    /// This detail, bounded by a value for the constraint `name` too, in place of one that it has.
    ///
    /// One of its actions must declare that constraint, and the value must be one that it may have.
    pub fn bounded(mut self, name: &str, value: ConstraintValue, types: &DetailTypes) -> Result<Self, DetailsError> {
        let declared = types.get(&self.kind).ok_or(DetailsError::UnknownType)?;
        let order = declared.constraints.get(name).ok_or(DetailsError::UnknownMember)?;
        if !order.admits(&value) {
            return Err(DetailsError::Malformed);
        }
        self.constraints.insert(name.to_owned(), value);
        // Where it stands was looked at when it was made, and nothing of that has changed.
        self.checked(declared, Standing::Ceiling)
    }

    /// This detail as one that is asked for, with `identifier` in place of its own if there is one, and with the values of `members`, which
    /// are as in JSON, in place of those that it has by these names.
    pub fn filled(
        &self,
        identifier: Option<String>,
        members: impl IntoIterator<Item = (String, Value)>,
        types: &DetailTypes,
    ) -> Result<Self, DetailsError> {
        let declared = types.get(&self.kind).ok_or(DetailsError::UnknownType)?;
        let mut constraints = self.constraints.clone();
        for (name, json) in members {
            let order = declared.constraints.get(&name).ok_or(DetailsError::UnknownMember)?;
            constraints.insert(name, order.value(&json).ok_or(DetailsError::Malformed)?);
        }
        Self {
            kind: self.kind.clone(),
            actions: self.actions.clone(),
            identifier: identifier.or_else(|| self.identifier.clone()),
            locations: self.locations.clone(),
            constraints,
        }
        .checked(declared, Standing::Asked)
    }

    /// This detail with `action` alone.
    #[must_use]
    pub(crate) fn with_action(&self, action: &str) -> Self {
        Self {
            actions: vec![action.to_owned()],
            ..self.clone()
        }
    }

    /// The detail as RFC 9396 JSON.
    pub fn to_json(&self) -> Value {
        let mut members = Map::new();
        members.insert("type".to_owned(), Value::from(self.kind.as_str()));
        members.insert("actions".to_owned(), Value::from(self.actions.clone()));
        if let Some(identifier) = &self.identifier {
            members.insert("identifier".to_owned(), Value::from(identifier.as_str()));
        }
        if let Some(locations) = &self.locations {
            members.insert("locations".to_owned(), Value::from(locations.clone()));
        }
        for (name, value) in &self.constraints {
            members.insert(name.clone(), value.to_json());
        }
        Value::Object(members)
    }
}

fn strings(value: &Value) -> Result<Vec<String>, DetailsError> {
    let items = value.as_array().ok_or(DetailsError::Malformed)?;
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or(DetailsError::Malformed)).collect()
}
