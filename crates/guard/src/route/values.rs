//! Where the values of a template come from.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use delegation::details::DetailsError;
use delegation::identity::{AttributeValue, Attributes};
use serde_json::{Map, Value};

use crate::hygiene::blank::holds_blank_end;

/// What a template is read for.
#[derive(Clone, Debug)]
pub enum Reads {
    /// A request, with the variables of its path.
    Request(BTreeSet<String>),
    /// The arguments of a tool.
    Arguments,
}

/// One `{…}` of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    text: String,
    pub(super) from: Origin,
}

/// What a `{…}` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A variable of the path.
    Path(String),
    /// A name in the query.
    Query(String),
    /// The first label of the host.
    Host,
    /// A verified attribute of the subject.
    Subject(String),
    /// A member of the body or of the arguments.
    Member(Vec<String>),
    /// The member names of an object there.
    Keys(Vec<String>),
}

/// Why a template has no value for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The request does not say what the template reads.
    #[error("`{{{0}}}` is missing")]
    Missing(String),
    /// It says nothing in that place.
    #[error("`{{{0}}}` is empty")]
    Empty(String),
    /// It says something that begins or ends with a blank, which some readers drop.
    #[error("`{{{0}}}` begins or ends with a blank, which some programs drop")]
    Blank(String),
    /// It says it in another JSON type than the place takes.
    #[error("`{{{0}}}` has the wrong type")]
    Type(String),
    /// It would blur where one value ends and the next begins.
    #[error("`{{{0}}}` holds what stands between it and the next value")]
    Blurred(String),
    /// The subject has no such attribute, or one that does not fit.
    #[error("the subject has no such attribute `{0}`")]
    Attribute(String),
    /// The values make no detail of the declared type.
    #[error("the values make no such detail: {0}")]
    Details(#[from] DetailsError),
}

/// The values of one request, or of one call of a tool.
#[derive(Debug)]
pub struct Values<'a> {
    pub(crate) path: BTreeMap<&'a str, Cow<'a, str>>,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) host: &'a str,
    pub(crate) object: Option<&'a Map<String, Value>>,
    pub(crate) attributes: &'a Attributes,
}

impl<'a> Values<'a> {
    /// The values of a call of a tool with `arguments`, for a subject with `attributes`.
    pub fn of_arguments(arguments: &'a Map<String, Value>, attributes: &'a Attributes) -> Self {
        Self {
            path: BTreeMap::new(),
            query: BTreeMap::new(),
            host: "",
            object: Some(arguments),
            attributes,
        }
    }

    /// The value of `source` as JSON: of a member or attribute as it is, of all else a string.
    pub(super) fn json(&self, source: &Source) -> Result<Value, FillError> {
        let value = self.as_said(source)?;
        // A path that holds such a value is none.
        let may_hold = matches!(source.from, Origin::Query(_) | Origin::Member(_) | Origin::Keys(_));
        if may_hold && holds_blank_end(&value) {
            return Err(FillError::Blank(source.text.clone()));
        }
        Ok(value)
    }

    fn as_said(&self, source: &Source) -> Result<Value, FillError> {
        let missing = || FillError::Missing(source.text.clone());
        match &source.from {
            Origin::Path(name) => self.path.get(name.as_str()).map(|text| Value::from(&**text)).ok_or_else(missing),
            Origin::Query(name) => self.query.get(name).map(|text| Value::from(text.as_str())).ok_or_else(missing),
            Origin::Host => Ok(Value::from(self.host.split('.').next().unwrap_or_default())),
            Origin::Subject(name) => self.attribute(name),
            Origin::Member(path) => self.member(path).cloned().ok_or_else(missing),
            Origin::Keys(_) => self.keys(source).map(Value::from),
        }
    }

    /// The value of `source` as one string that is not empty.
    pub(super) fn text(&self, source: &Source) -> Result<String, FillError> {
        match self.json(source)? {
            Value::String(text) if text.is_empty() => Err(FillError::Empty(source.text.clone())),
            Value::String(text) => Ok(text),
            _ => Err(source.wrong()),
        }
    }

    /// The strings that `source` stands for, one or several.
    pub(super) fn several(&self, source: &Source) -> Result<Vec<String>, FillError> {
        let wrong = || source.wrong();
        match self.json(source)? {
            Value::String(text) => Ok(vec![text]),
            Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect(),
            _ => Err(wrong()),
        }
    }

    /// The member names that `source` stands for; at least one.
    fn keys(&self, source: &Source) -> Result<Vec<String>, FillError> {
        let Origin::Keys(path) = &source.from else {
            return Err(FillError::Type(source.text.clone()));
        };
        let object = match path.as_slice() {
            [] => self.object,
            path => match self.member(path) {
                None => None,
                Some(Value::Object(object)) => Some(object),
                Some(_) => return Err(FillError::Type(source.text.clone())),
            },
        };
        let mut names: Vec<_> = object.ok_or_else(|| FillError::Missing(source.text.clone()))?.keys().cloned().collect();
        if names.is_empty() {
            return Err(FillError::Empty(source.text.clone()));
        }
        // The same object is the same detail, in whatever order it was written.
        names.sort_unstable();
        Ok(names)
    }

    fn member(&self, path: &[String]) -> Option<&'a Value> {
        let (first, inner) = path.split_first()?;
        inner.iter().try_fold(self.object?.get(first)?, |value, name| value.as_object()?.get(name))
    }

    fn attribute(&self, name: &str) -> Result<Value, FillError> {
        if name == "groups" && !self.attributes.groups.is_empty() {
            return Ok(self.attributes.groups.iter().map(String::as_str).collect());
        }
        match self.attributes.values.get(name) {
            None => Err(FillError::Attribute(name.to_owned())),
            // One that says nothing is none.
            Some(AttributeValue::Text(text)) if text.is_empty() => Err(FillError::Attribute(name.to_owned())),
            Some(AttributeValue::Set(items)) if items.is_empty() => Err(FillError::Attribute(name.to_owned())),
            Some(AttributeValue::Text(text)) => Ok(Value::from(text.as_str())),
            Some(AttributeValue::Integer(number)) => Ok(Value::from(*number)),
            Some(AttributeValue::Boolean(flag)) => Ok(Value::from(*flag)),
            Some(AttributeValue::Set(items)) => Ok(items.iter().map(String::as_str).collect()),
        }
    }
}

impl Source {
    /// Reads what stands between the braces.
    pub(super) fn parse(inside: &str, reads: &Reads) -> Result<Self, String> {
        let (path, keys) = match inside.strip_suffix(":keys") {
            Some(path) => (path, true),
            None => (inside, false),
        };
        let mut parts = path.split('.');
        let root = parts.next().unwrap_or_default();
        let rest: Vec<_> = parts.map(str::to_owned).collect();
        // What parts of a short form are split at does not stand in a name.
        let named = rest
            .iter()
            .all(|part| !part.is_empty() && !part.contains(['/', '?', '&', '=', ',', ':', '%', '{', ' ']));
        let only = rest.first().filter(|_| rest.len() == 1 && named && !keys);
        let from = match (root, reads, only) {
            ("subject", _, Some(name)) => Some(Origin::Subject(name.clone())),
            ("subject", ..) => None,
            ("arguments", Reads::Arguments, _) | ("body", Reads::Request(_), _) if named => match (keys, rest.is_empty()) {
                (true, _) => Some(Origin::Keys(rest)),
                (false, false) => Some(Origin::Member(rest)),
                (false, true) => None,
            },
            (_, Reads::Arguments, _) | ("body", ..) => None,
            ("query", _, Some(name)) => Some(Origin::Query(name.clone())),
            ("host", _, Some(label)) => (label == "1").then_some(Origin::Host),
            ("query" | "host", ..) => None,
            (name, Reads::Request(variables), _) => {
                (rest.is_empty() && !keys && variables.contains(name)).then(|| Origin::Path(name.to_owned()))
            }
        };
        let text = inside.to_owned();
        from.map(|from| Self { text, from }).ok_or_else(|| match reads {
            Reads::Arguments => {
                format!("`{{{inside}}}` is no value of a tool; there are {{arguments.a}} and {{subject.a}}, with :keys for member names")
            }
            Reads::Request(_) => format!(
                "`{{{inside}}}` is no value of this request; there are variables of its path, {{query.a}}, {{body.a}}, {{host.1}} and {{subject.a}}"
            ),
        })
    }

    /// Why its value does not fit: what a request says, it could say otherwise; what a subject is, it is.
    pub(super) fn wrong(&self) -> FillError {
        self.otherwise(FillError::Type(self.text.clone()))
    }

    /// `error`, unless it is an attribute that does not fit.
    pub(super) fn otherwise(&self, error: FillError) -> FillError {
        match &self.from {
            Origin::Subject(name) => FillError::Attribute(name.clone()),
            _ => error,
        }
    }

    /// What stands between the braces.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{{}}}", self.text)
    }
}
