//! What was needed, what was shown, and what of it is surplus, in words.

use std::collections::BTreeSet;
use std::fmt;

use delegation::authority::{Authority, Uncovered};
use serde_json::{Value, json};

use super::{Differs, Surplus};

/// A token beside the request that it was shown with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The route of the request.
    pub route: String,
    /// What the request needs, with what is fixed.
    pub required: Authority,
    /// What the token allows.
    pub presented: Authority,
    /// The exception that the token lives by.
    pub exception: Option<String>,
    /// The first thing that the request needs and the token does not allow.
    pub missing: Option<Uncovered>,
    /// What the token allows and the mode of the guard does not let it have.
    pub surplus: Vec<Surplus>,
}

impl Compared {
    /// Whether the token may go with the request.
    pub fn fits(&self) -> bool {
        self.missing.is_none() && self.surplus.is_empty()
    }

    /// For whoever runs the guard: what differs and what to do about it. It names no token, and whose it is only by its details.
    pub fn for_operator(&self) -> String {
        let needed = listed(&self.required);
        if let Some(missing) = &self.missing {
            return format!("the request needs {needed}, and the token does not allow {}", missing_text(missing));
        }
        if self.surplus.is_empty() {
            return format!("the request needs {needed}, and the token holds no more than it may");
        }
        let surplus: Vec<_> = self.surplus.iter().map(ToString::to_string).collect();
        format!(
            "the request needs {needed}, and the token allows more: {}; let the client ask for this request alone, {}or choose another `excess`",
            surplus.join(", "),
            self.listable()
        )
    }

    /// What could stand in the route's `wider`, where that alone is surplus.
    fn listable(&self) -> String {
        let wider = |surplus: &Surplus| match surplus {
            Surplus::Detail {
                why: Differs::Wider(name), ..
            } => Some(format!("`{name}`")),
            _ => None,
        };
        let wider: Option<BTreeSet<_>> = self.surplus.iter().map(wider).collect();
        let names = wider.map(|wider| wider.into_iter().collect::<Vec<_>>().join(", "));
        names.map(|names| format!("list {names} in the route's `wider`, ")).unwrap_or_default()
    }

    /// For the record.
    pub fn to_json(&self) -> Value {
        json!({
            "required": texts(&self.required),
            "presented": texts(&self.presented),
            "exception": self.exception,
            "missing": self.missing.as_ref().map(missing_text),
            "surplus": self.surplus.iter().map(Surplus::piece).collect::<Vec<_>>(),
        })
    }
}

impl Surplus {
    /// The piece itself, as it is asked for.
    fn piece(&self) -> String {
        match self {
            Self::Detail { held, .. } => held.clone(),
            Self::Scope(scope) => format!("scope {scope}"),
        }
    }
}

impl fmt::Display for Surplus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detail { held, why } => write!(out, "`{held}` ({why})"),
            Self::Scope(scope) => write!(out, "scope `{scope}`"),
        }
    }
}

impl fmt::Display for Differs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type => out.write_str("another type"),
            Self::Identifier => out.write_str("another identifier"),
            Self::Value(name) => write!(out, "another value of `{name}`"),
            Self::Wider(name) => write!(out, "wider in `{name}`"),
            Self::Action => out.write_str("another action"),
            Self::Narrower(name) => write!(out, "narrower in `{name}`"),
        }
    }
}

/// Details in their short form, and scopes.
fn texts(authority: &Authority) -> Vec<String> {
    let scopes = authority.scopes.iter().map(|scope| format!("scope {scope}"));
    authority.details.iter().map(ToString::to_string).chain(scopes).collect()
}

fn listed(authority: &Authority) -> String {
    let quoted: Vec<_> = texts(authority).into_iter().map(|text| format!("`{text}`")).collect();
    if quoted.is_empty() {
        "nothing".to_owned()
    } else {
        quoted.join(", ")
    }
}

fn missing_text(missing: &Uncovered) -> String {
    match missing {
        Uncovered::Detail(detail) => detail.clone(),
        Uncovered::Scope(scope) => format!("scope {scope}"),
    }
}
