//! The mend of what a guard refused: it makes no tokens and takes none but the broker's, so what helps is another one than at a boundary.

use delegation::authority::Authority;
use delegation::details::{Detail, DetailTypes, Standing};
use delegation::oauth::Scope;
use narrows_guard::route::Table;
use narrows_guard::surplus::{Excess, wider};
use serde_json::Value;

use super::{asked, line, near, of_reason};
use crate::config::Loaded;

/// The lines that tell what helps.
pub(super) fn mend(record: &Value, loaded: &Loaded) -> Vec<String> {
    let reason = record.get("reason").and_then(Value::as_str).unwrap_or_default();
    if reason == "no_route" {
        return routes(record, loaded);
    }
    let told = of(reason, record, loaded);
    if told.is_empty() { Vec::new() } else { vec![line("mend", &told)] }
}

fn of(reason: &str, record: &Value, loaded: &Loaded) -> String {
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let guarded = loaded.guarded.get(text("/inputs/service"));
    let audience = guarded.map_or("the audience of the service", |guarded| guarded.audience.as_str());
    let told = match reason {
        "wider_than_subject" => return lacking(record, &loaded.snapshot.types),
        "overbroad_token" => return surplus(record, loaded),
        "subject_token_not_for_client" => {
            return format!(
                "ask for a token for {audience}; this one is for {}, and a guard takes nobody else's",
                text("/audience")
            );
        }
        "subject_token_invalid" if text("/jti").is_empty() => {
            return format!(
                "send a token that the broker made for {audience} (`narrows inspect` shows whose it is); an identity provider's own is none, \
                 and is exchanged first"
            );
        }
        "subject_token_invalid" => {
            return format!(
                "it is ours, and not one that this guard takes, such as one that lives longer than `max_lifetime` of {audience} now says: ask for another"
            );
        }
        "malformed_request" => {
            "send it in the one form that every reader takes for the same; `narrows explain METHOD URL`, with the same headers and body, tells \
             the cause before it is sent"
        }
        "revocation_view_stale" => {
            "the guard had not heard from its broker for longer than `revocation.max_age`: its log and `/readyz` say since when, and whether \
             `[broker] urls` are reached from there; in `narrows serve`, the store does not answer in time, or the guard's own client is disabled \
             (`refused_clients` of `/readyz`, `narrows client list`)"
        }
        "store_unavailable" => {
            "the guard had to ask its broker (a single use, an opaque token, `recheck`), and had no answer in time, or was not listened to: its \
             log says which; `narrows client list` shows whether its client is disabled"
        }
        "issuer_unavailable" => {
            "the guard had no keys of its broker: `/readyz` of `narrows guard` shows them; look whether `[broker] urls` are reached from there"
        }
        "client_authentication_failed" => "the client of the guard is not known to the broker, or is disabled: `narrows client list`",
        "rate_limited" => {
            "ask more slowly: a guard asks about opaque tokens that are none only so often for one address, and the broker decides on only so \
             many requests at a time"
        }
        other => of_reason(other),
    };
    told.to_owned()
}

/// What the record has under this name of a token beside its request.
fn pieces<'r>(record: &'r Value, name: &str) -> Vec<&'r str> {
    let all = record.pointer(&format!("/inputs/{name}")).and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What helps a token that allows too much. A route's `wider` does where it is wider in constraints alone, at a guard that goes by it.
fn surplus(record: &Value, loaded: &Loaded) -> String {
    let service = record.pointer("/inputs/service").and_then(Value::as_str).unwrap_or_default();
    let mut posts = loaded.posts.iter().filter(|post| post.settings.service == service).peekable();
    let goes_by_it = posts.peek().is_none() || posts.any(|post| post.excess == Excess::SameResource);
    match wider(pieces(record, "required"), pieces(record, "surplus"), &loaded.snapshot.types) {
        Some(names) if goes_by_it => {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let names = names.join(", ");
            format!(
                "ask for a token for this request alone; or list {names} in `wider` of the route, or choose another `excess` for the guard"
            )
        }
        _ => of_reason("overbroad_token").to_owned(),
    }
}

/// What the request needs and its token does not allow.
fn lacking(record: &Value, types: &DetailTypes) -> String {
    let (required, presented) = (pieces(record, "required"), pieces(record, "presented"));
    let held = authority(&presented, types).unwrap_or_default();
    // What is not known here, nothing here allows.
    let is_missing = |piece: &&&str| authority(&[**piece], types).is_none_or(|needed| needed.is_within(&held, types).is_err());
    let missing: Vec<_> = required.iter().filter(is_missing).map(|piece| format!("`{piece}`")).collect();
    if missing.is_empty() && !required.is_empty() {
        return "none by another token: the request names another value than the guard has `fixed`".to_owned();
    }
    if missing.is_empty() {
        return "ask for a token that allows this request".to_owned();
    }
    format!(
        "ask for a token that allows this request: the one that came with it does not allow {}",
        missing.join(", ")
    )
}

/// Details in their short form, and scopes; `None` where one is not known here.
fn authority(pieces: &[&str], types: &DetailTypes) -> Option<Authority> {
    let mut authority = Authority::default();
    for piece in pieces {
        match piece.strip_prefix("scope ") {
            Some(scope) => drop(authority.scopes.insert(Scope::parse(scope).ok()?)),
            None => authority.details.push(Detail::parse_short(piece, types, Standing::Ceiling).ok()?),
        }
    }
    Some(authority)
}

/// The routes of the guard's service that are nearest to a request which has none.
fn routes(record: &Value, loaded: &Loaded) -> Vec<String> {
    let service = record.pointer("/inputs/service").and_then(Value::as_str).unwrap_or_default();
    let backend = loaded.backends.iter().find(|backend| backend.service.name == service);
    let table = backend.and_then(|backend| Table::build(vec![backend.service.clone()], loaded.snapshot.types.clone()).ok());
    let (Some(table), Some(call)) = (table, asked(record)) else {
        return vec![line("mend", of_reason("no_route"))];
    };
    if let Some(matched) = table.find(&call) {
        let route = matched.route().pattern();
        return vec![line("mend", &format!("`{route}` is for it, and was added since: ask again"))];
    }
    let mut lines = near(loaded, &table, &call);
    let told = if lines.is_empty() {
        format!("service `{service}` has no such host: send it where it belongs, or add that to its `hosts`")
    } else {
        of_reason("no_route").to_owned()
    };
    lines.push(line("mend", &told));
    lines
}
