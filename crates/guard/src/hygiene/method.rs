//! Names under which some programs look for another method than that of the request.
//!
//! A header that says one is taken off. A query and a form go on as they came, so a request that says one there goes nowhere.

use super::Malformed;
use crate::call::{Body, Call};

/// The names, with `_` for every character that is no letter or digit.
const NAMES: [&str; 2] = ["_method", "x_http_method_override"];

/// Refuses a request of which some program would make one with another method: its query names one, unless that is what its route
/// `reads` and so is decided on, or its form does, as far as that is shown.
pub(crate) fn refuse_another(call: &Call, reads: impl Fn(&str) -> bool) -> Result<(), Malformed> {
    if named(call).any(|name| !reads(&name)) {
        return Err(Malformed("the query names another method than the request has"));
    }
    match (call.form(), call.body()) {
        (Some(form), Body::Whole(bytes)) if form.may_name_method(bytes) => {
            Err(Malformed("the form names another method than its request, or may"))
        }
        _ => Ok(()),
    }
}

/// Whether the query of `call` says another method, as some programs take it from there.
pub fn names_method(call: &Call) -> bool {
    named(call).next().is_some()
}

/// The names in the query that some program may take for that of a method.
fn named(call: &Call) -> impl Iterator<Item = String> {
    let parts = call.query().unwrap_or_default().split(['&', ';']);
    let names = parts.flat_map(|part| url::form_urlencoded::parse(part.as_bytes()).map(|(name, _)| name.into_owned()));
    names.filter(|name| is_method(name))
}

/// Whether a program may take the field `name` for `_method` or `X-HTTP-Method-Override`: some write `_` for a character that their names
/// cannot have, and to some what stands before a bracket or a NUL is the name.
pub(super) fn is_method(name: &str) -> bool {
    let name = name.trim();
    let stem = name.trim_start_matches('[').split(['[', ']', '\0']).next().unwrap_or_default();
    let is_one = |name: &str| {
        let folded = name.chars().map(|each| if each.is_alphanumeric() { each.to_ascii_lowercase() } else { '_' });
        NAMES.iter().any(|known| folded.clone().eq(known.chars()))
    };
    is_one(name) || is_one(stem)
}
