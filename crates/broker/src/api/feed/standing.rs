//! `standing` in the feed: who is disabled. All of them as a stream begins, then whoever comes and goes.

use std::iter::from_fn;

use delegation::revocation::{Disabled, Party};
use serde_json::{Value, json};

/// So many parties are in one event, which readers have to hold whole.
const PAGE: usize = 256;
/// What a stream has told before it told anything.
static NOBODY: Disabled = Disabled::nobody();

/// What makes of what was `told`, if anything was, what is so `now`. The first page of a stream says that it begins.
pub(super) fn pages<'d>(told: Option<&'d Disabled>, now: &'d Disabled) -> impl Iterator<Item = Value> + 'd {
    let mut begins = told.is_none();
    let mut changes = now.since(told.unwrap_or(&NOBODY));
    from_fn(move || {
        let page: Vec<_> = changes.by_ref().take(PAGE).collect();
        let is_first = std::mem::take(&mut begins);
        let with = |wanted| page.iter().filter(move |(_, is_disabled)| *is_disabled == wanted).map(|(party, _)| said(party));
        let said = || json!({ "begins": is_first, "disabled": Value::from_iter(with(true)), "enabled": Value::from_iter(with(false)) });
        (is_first || !page.is_empty()).then(said)
    })
}

fn said((kind, key): &Party) -> Value {
    let key: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "kind": kind.as_str(), "key": key })
}
