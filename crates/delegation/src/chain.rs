//! The chain of actors: who acts for the subject, newest first (RFC 8693 §4.1).

use serde_json::{Map, Value};

/// One party that acted: an issuer and a subject there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// The issuer that names the party.
    pub iss: String,
    /// The party's name there.
    pub sub: String,
}

/// The actors of a token, newest first; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorChain(Vec<Actor>);

/// An `act` claim that is not a chain of `{iss, sub}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed actor chain")]
pub struct MalformedChain;

impl ActorChain {
    /// The chain in which `actor` acts now, and all of `before` acted earlier.
    pub fn extend(before: Option<&Self>, actor: Actor) -> Self {
        let mut actors = vec![actor];
        actors.extend(before.into_iter().flat_map(|chain| chain.0.iter().cloned()));
        Self(actors)
    }

    /// Takes an `act` claim of ours: nested objects of exactly `iss` and `sub`, no deeper than `most` levels.
    pub fn from_claim(claim: &Value, most: usize) -> Result<Self, MalformedChain> {
        // Most have one, and are kept.
        let mut actors = Vec::with_capacity(1);
        let mut level = Some(claim);
        while let Some(value) = level {
            let members = value.as_object().ok_or(MalformedChain)?;
            let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
            let (Some(iss), Some(sub)) = (text("iss"), text("sub")) else {
                return Err(MalformedChain);
            };
            actors.push(Actor {
                iss: iss.to_owned(),
                sub: sub.to_owned(),
            });
            if actors.len() > most || members.keys().any(|name| !matches!(name.as_str(), "iss" | "sub" | "act")) {
                return Err(MalformedChain);
            }
            level = members.get("act");
        }
        Ok(Self(actors))
    }

    /// The nested `act` claim, newest outermost.
    pub fn to_claim(&self) -> Value {
        let nest = |inner: Option<Value>, actor: &Actor| {
            let mut level = Map::new();
            level.insert("iss".to_owned(), Value::from(actor.iss.as_str()));
            level.insert("sub".to_owned(), Value::from(actor.sub.as_str()));
            level.extend(inner.map(|inner| ("act".to_owned(), inner)));
            Some(Value::Object(level))
        };
        self.0.iter().rev().fold(None, nest).unwrap_or_default()
    }

    /// How many levels the chain has.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// The actors, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Actor> {
        self.0.iter()
    }
}
