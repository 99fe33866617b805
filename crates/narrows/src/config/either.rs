//! Values that may be written in two ways. A mistake inside one is named with its own key.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::file::{Action, RouteRule};

/// One value or several.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// An `aud` value that means a client.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Receives {
    /// From any issuer.
    Any(String),
    /// From one issuer.
    Bound(Bound),
}

impl Receives {
    /// The `aud` value.
    pub(crate) fn audience(&self) -> &String {
        match self {
            Self::Any(audience) => audience,
            Self::Bound(bound) => &bound.audience,
        }
    }
}

/// An `aud` value of one issuer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bound {
    pub(crate) issuer: String,
    pub(crate) audience: String,
}

/// Actions: a list, or a table of each.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Actions {
    /// The same for all.
    List(Vec<String>),
    /// Each by itself.
    Table(BTreeMap<String, Action>),
}

/// What a route or a tool needs.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(crate) enum Rule {
    /// `public`, or a detail in short form with `{…}` for values of the request.
    Short(String),
    /// With more to say.
    Long(Box<RouteRule>),
}

/// A value that looks at the notation before it is read. An untagged enum would forget which part was wrong.
trait Either<'de>: Sized {
    const EXPECTED: &'static str;

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Err(E::custom(format!("expected {}, found `{text}`", Self::EXPECTED)))
    }

    fn from_list<A: SeqAccess<'de>>(_list: A) -> Result<Self, A::Error> {
        Err(A::Error::custom(format!("expected {}, found a list", Self::EXPECTED)))
    }

    fn from_table<A: MapAccess<'de>>(_table: A) -> Result<Self, A::Error> {
        Err(A::Error::custom(format!("expected {}, found a table", Self::EXPECTED)))
    }
}

struct Notation<E>(PhantomData<E>);

impl<'de, E: Either<'de>> Visitor<'de> for Notation<E> {
    type Value = E;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(E::EXPECTED)
    }

    fn visit_str<F: Error>(self, text: &str) -> Result<E, F> {
        E::from_text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<E, A::Error> {
        E::from_list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<E, A::Error> {
        E::from_table(table)
    }
}

impl<'de, T: Deserialize<'de>> Either<'de> for OneOrMany<T> {
    const EXPECTED: &'static str = "one value or a list";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        T::deserialize(text.into_deserializer()).map(Self::One)
    }

    fn from_list<A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Self::Many)
    }

    fn from_table<A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(table)).map(Self::One)
    }
}

impl<'de> Either<'de> for Receives {
    const EXPECTED: &'static str = "a string or `{ issuer = \"…\", audience = \"…\" }`";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Any(text.to_owned()))
    }

    fn from_table<A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        Bound::deserialize(MapAccessDeserializer::new(table)).map(Self::Bound)
    }
}

impl<'de> Either<'de> for Actions {
    const EXPECTED: &'static str = "a list of actions, or a table such as `actions.read = { identifier = \"required\" }`";

    fn from_list<A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Self::List)
    }

    fn from_table<A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        BTreeMap::deserialize(MapAccessDeserializer::new(table)).map(Self::Table)
    }
}

impl<'de> Either<'de> for Rule {
    const EXPECTED: &'static str = "\"public\", a detail such as `ticket:read/{id}`, or a table";

    fn from_text<E: Error>(text: &str) -> Result<Self, E> {
        Ok(Self::Short(text.to_owned()))
    }

    fn from_table<A: MapAccess<'de>>(table: A) -> Result<Self, A::Error> {
        RouteRule::deserialize(MapAccessDeserializer::new(table)).map(|rule| Self::Long(Box::new(rule)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Notation(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Receives {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Notation(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Actions {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Notation(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Notation(PhantomData))
    }
}
