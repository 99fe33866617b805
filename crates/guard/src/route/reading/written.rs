//! What a route reads as data, for programs in other languages that read it themselves.

use serde_json::{Map, Value, json};

use super::{Reading, Shape};
use crate::route::Rest;

impl Reading {
    /// `{query: [name…], query_only: [name…], query_pass, body: shape or null, body_pass}`; a shape is `{names, whole, members: {name:
    /// shape}}`.
    pub fn to_json(&self) -> Value {
        json!({
            "query": self.query,
            "query_only": self.query_only,
            "query_pass": self.query_rest == Rest::Pass,
            "body": self.object.as_ref().map(Shape::to_json),
            "body_pass": self.object_rest == Rest::Pass,
        })
    }
}

impl Shape {
    fn to_json(&self) -> Value {
        let members: Map<_, _> = self.members.iter().map(|(name, shape)| (name.clone(), shape.to_json())).collect();
        json!({ "names": self.names, "whole": self.whole, "members": members })
    }
}
