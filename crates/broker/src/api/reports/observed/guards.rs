//! What a guard would have refused: there the token was made already, and what it allows is beside what the request needed.

use std::collections::BTreeSet;

use delegation::details::DetailTypes;
use narrows_guard::surplus::wider;
use serde_json::Value;

use super::mend::Paste;

/// So many pieces are named in a note at most.
const MOST_NAMED: usize = 3;

/// The service that the guard stands before; empty in a record of somebody else.
pub(super) fn service(record: &Value) -> &str {
    let is_guards = record.get("kind").and_then(Value::as_str) == Some("guard");
    record.pointer("/inputs/service").and_then(Value::as_str).filter(|_| is_guards).unwrap_or_default()
}

/// The scopes that the request needed.
pub(super) fn needed_scopes(record: &Value) -> impl Iterator<Item = &str> {
    pieces(record, "required").filter_map(|piece| piece.strip_prefix("scope "))
}

/// Type and action of everything that the request needed; scopes have neither.
pub(super) fn needs(record: &Value) -> BTreeSet<(String, String)> {
    let named = pieces(record, "required").filter_map(|piece| piece.split_once(':'));
    let each = |(kind, rest): (&str, &str)| {
        let actions = rest.split(['/', '?']).next().unwrap_or_default().to_owned();
        let kind = kind.to_owned();
        actions.split(',').map(|action| (kind.clone(), action.to_owned())).collect::<Vec<_>>()
    };
    named.flat_map(each).collect()
}

/// A token that does not allow the request: nothing here can mend that.
pub(super) fn too_narrow(record: &Value) -> String {
    format!(
        "the request needs {}, and the token allows {}: its client must ask the broker for what the request needs",
        listed(record, "required"),
        listed(record, "presented")
    )
}

/// A token that allows more, and what to paste if it differs in constraints alone that may be wider.
pub(super) fn too_broad(record: &Value, line: &str, types: &DetailTypes) -> (Vec<Paste>, String) {
    let note = format!(
        "the token allows {} beside what the request needs: let its client ask for this request alone, or choose another `excess` of the guard",
        listed(record, "surplus")
    );
    let Some(wider) = wider(pieces(record, "required"), pieces(record, "surplus"), types) else {
        return (Vec::new(), note);
    };
    let paste = Paste {
        into: format!("the route for {line} in [services.routes] of service {}", service(record)),
        text: format!("wider = {}", Value::from(wider.into_iter().collect::<Vec<_>>())),
    };
    (
        vec![paste],
        format!("{note}; with `wider` it may bound less than the request needs"),
    )
}

fn pieces<'r>(record: &'r Value, of: &str) -> impl Iterator<Item = &'r str> {
    let listed = record.get("inputs").and_then(|inputs| inputs.get(of)).and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str)
}

fn listed(record: &Value, of: &str) -> String {
    let pieces: Vec<_> = pieces(record, of).map(|piece| format!("`{piece}`")).collect();
    match pieces.split_at_checked(MOST_NAMED) {
        _ if pieces.is_empty() => "nothing".to_owned(),
        Some((named, others)) if !others.is_empty() => format!("{} and {} more", named.join(", "), others.len()),
        _ => pieces.join(", "),
    }
}
