//! A template as data, for programs in other languages that fill it themselves.

use serde_json::{Map, Value, json};

use super::{Item, Member, Piece, Template, Text};
use crate::route::values::{Origin, Source};

impl Template {
    /// `{fixed, identifier?, members}`: a detail as RFC 9396 JSON, and what the request adds to it.
    ///
    /// A text is an array of strings and of values in turn. A value is `{path: name}`, `{query: name}`, `{host: true}`,
    /// `{body: [name…]}` or `{keys: [name…]}`. A member is `{json: value}`, `{integer: value}`, `{text: text}` or `{list: [item…]}`,
    /// an item `{text: text}` or `{several: value}`.
    pub fn to_json(&self) -> Value {
        let mut fixed = self.sample.to_json();
        if let Some(members) = fixed.as_object_mut() {
            // What stands there is a sample of what the request will say.
            members.retain(|name, _| {
                let filled = self.members.iter().any(|(each, _)| each == name);
                !filled && (name != "identifier" || self.identifier.is_none())
            });
        }
        let members: Map<_, _> = self.members.iter().map(|(name, member)| (name.clone(), member.to_json())).collect();
        match &self.identifier {
            None => json!({ "fixed": fixed, "members": members }),
            Some(identifier) => json!({ "fixed": fixed, "identifier": identifier.to_json(), "members": members }),
        }
    }
}

impl Member {
    fn to_json(&self) -> Value {
        match self {
            Self::Json(source) => json!({ "json": source.to_json() }),
            Self::Integer(source) => json!({ "integer": source.to_json() }),
            Self::Text(text) => json!({ "text": text.to_json() }),
            Self::List(items) => json!({ "list": items.iter().map(Item::to_json).collect::<Vec<_>>() }),
        }
    }
}

impl Item {
    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => json!({ "text": text.to_json() }),
            Self::Several(source) => json!({ "several": source.to_json() }),
        }
    }
}

impl Text {
    fn to_json(&self) -> Value {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(literal) => Value::from(literal.as_str()),
            Piece::Value(source) => source.to_json(),
        };
        self.0.iter().map(piece).collect()
    }
}

impl Source {
    fn to_json(&self) -> Value {
        match &self.from {
            Origin::Path(name) => json!({ "path": name }),
            Origin::Query(name) => json!({ "query": name }),
            Origin::Host => json!({ "host": true }),
            Origin::Subject(name) => json!({ "subject": name }),
            Origin::Member(path) => json!({ "body": path }),
            Origin::Keys(path) => json!({ "keys": path }),
        }
    }
}
