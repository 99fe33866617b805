//! The smallest mend of a refusal.

mod guard;
pub(super) mod policy;

use http::HeaderMap;
use narrows_guard::route::Table;
use narrows_guard::{Body, Call, Refused};
use serde_json::Value;

use super::super::explain::{RESEMBLES, nearest};
use crate::config::Loaded;

/// The lines that tell what helps where policy did not decide; of a request without a route, after the routes that are nearest to it.
pub(super) fn mend(record: &Value, loaded: &Loaded) -> Vec<String> {
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (reason, call) = (text("/reason"), asked(record));
    if reason == "malformed_request"
        && let Some(refused) = call.as_ref().and_then(|call| resembles(record, loaded, call))
    {
        return vec![line("between", &refused.to_string()), line("mend", RESEMBLES)];
    }
    if text("/kind") == "guard" {
        return guard::mend(record, loaded);
    }
    let mut lines = Vec::new();
    let front = loaded.fronts.iter().find(|front| front.settings.name == text("/boundary"));
    if let (Some(front), "no_route", Some(call)) = (front, reason, call) {
        if let Some(matched) = front.settings.table.find(&call) {
            let route = matched.route().pattern();
            let why = format!(
                "`{route}` is for it: if the route has `connection`, other proxies' doors answer no_route, so send it to `proxy`; \
                 else it was added since, or the door named another route"
            );
            return vec![line("mend", &why)];
        }
        lines.extend(near(loaded, &front.settings.table, &call));
    }
    // The caller is told `store_unavailable` too where the store is well and holds no credential to go on with.
    let told = if reason == "store_unavailable" && !text("/inputs/credential").is_empty() {
        "see `not sent on`: `narrows connection list` shows what is kept"
    } else if reason == "client_authentication_failed" && !text("/boundary").is_empty() {
        "the client of the boundary is not known to the broker, or is disabled: `narrows client list`"
    } else {
        of_reason(reason)
    };
    if !told.is_empty() {
        lines.push(line("mend", told));
    }
    lines
}

fn line(label: &str, value: &str) -> String {
    format!("{label:<12} {value}")
}

/// The request, if it could be read.
fn asked(record: &Value) -> Option<Call> {
    let part = |name: &str| record.get("request")?.get(name)?.as_str();
    let (method, host, path) = (part("method")?, part("host")?, part("path")?);
    Call::parse(method, host.as_bytes(), path.as_bytes(), &HeaderMap::new(), Body::Absent).ok()
}

/// The routes of `table` that are nearest to `call`.
fn near(loaded: &Loaded, table: &Table, call: &Call) -> Vec<String> {
    let told = |(route, place): &(String, String)| line("near it", &format!("{route}  at {place}"));
    nearest(loaded, table, call).iter().map(told).collect()
}

/// Which routes `call` stands between, if it does, where it was refused.
fn resembles(record: &Value, loaded: &Loaded, call: &Call) -> Option<Refused> {
    let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let refused = match loaded.fronts.iter().find(|front| front.settings.name == text("/boundary")) {
        Some(front) => front.settings.table.only(call).err(),
        None => {
            let guarded = loaded.backends.iter().find(|backend| backend.service.name == text("/inputs/service"))?;
            let table = Table::build(vec![guarded.service.clone()], loaded.snapshot.types.clone()).ok()?;
            table.only(call).err()
        }
    };
    refused.filter(|refused| matches!(refused, Refused::Resembles { .. }))
}

/// What helps against `reason`; nothing for `policy_denied`, whose mend is in the policies.
fn of_reason(reason: &str) -> &'static str {
    match reason {
        "client_authentication_failed" => {
            "check the client's key or secret, the assertion's `aud` (our issuer alone), `jti` (once) and life (300 s); `narrows client list` shows standing"
        }
        "subject_token_not_for_client" => {
            "none if the token strayed, or if it is an ID-JAG for another client; if this client is meant to get it, put its `aud` into the client's `receives`, or into the issuer's `audiences` with the client in `exchangers`"
        }
        "subject_token_invalid" => {
            "compare the token (`narrows inspect`) with the issuer's entry: `issuer`, `algorithms`, `typ`, `token_types`, `attributes`; an ID-JAG is for our issuer alone and is taken once"
        }
        "subject_token_expired" => "ask with a fresh token; there is no leeway on `exp`",
        "subject_token_revoked" | "actor_token_revoked" => {
            "ask with a token that was issued after the revocation, or enable the client in it that is disabled: `narrows client list`"
        }
        "actor_token_invalid" | "actor_token_expired" | "actor_token_not_for_client" => {
            "show an actor token that was issued to the very client that asks, and has not expired; or none"
        }
        "may_act_mismatch" => "ask as the client that `may_act` of the subject token names",
        "unknown_audience" => "`audience` is compared byte for byte with [[audiences]]",
        "several_audiences" => "ask once for each audience",
        "audience_closed" => "add the client to the audience's `clients`; an ID-JAG that names a `resource` is good there alone",
        "unknown_type" => "add the type to the audience's `details`, or declare it in [[detail_types]]",
        "unknown_action" | "unknown_member" => "declare it for the type in [[detail_types]], or ask without it",
        "malformed_details" => "send what the detail's type takes, such as its identifier; at a boundary, or mend the route's template",
        "nothing_asked" => "name authorization_details or scope, or give the audience `defaults`",
        "scope_not_mapped" => "map a scope of the subject token in [[scopes]]",
        "wider_than_subject" => {
            "the audience takes no such scope: ask for another, or add it to the audience's `scopes`; at a boundary, the subject may lack the attribute that the route reads"
        }
        "chain_too_long" => "raise tokens.max_chain, or shorten the chain",
        "task_completed" | "task_cancelled" => "the task is over for good: `narrows task show` tells how; open another",
        "task_expired" => "open the task for longer (`expires_in`, `[tasks]`), or another one",
        "task_exhausted" => "open it with a larger `max_tokens`; a redelivery names its `attempt_id`",
        "task_payload_mismatch" => "the payload is not the one that the task was opened for: look at what changed it",
        "subject_disabled" => "`narrows subject enable` takes it back",
        "no_route" => {
            "ask for a route that there is, or add this one to `[services.routes]`; methods have no stand-in, and `HEAD` is not `GET`"
        }
        "no_token" => {
            "send the caller's access token as `Authorization: Bearer`, or, if everybody may have it, make the route `\"public\"`"
        }
        "malformed_request" => {
            "send it in the one form that every reader takes for the same; `narrows explain METHOD URL`, with the same headers, says what is wrong"
        }
        "unread_input" => {
            "name what the request holds in the route (`only`, or `pass` with `query_rest` or `body_rest`), or leave it out; a proxy in front must show the body whole"
        }
        "insufficient_user_authentication" => {
            "let the person sign in again, as `max_auth_age` and `acr` of the route ask; a token without `auth_time` or `acr` counts as one that is too old"
        }
        "overbroad_token" => "ask for a token for this request alone, without what is surplus; or choose another `excess` for the guard",
        "token_used" => "ask for another token: one of an audience with `single_use` is good for one request, or for one exchange",
        "too_large" => "send less, or raise `body_max` of the route",
        "rate_limited" => "ask more slowly, or raise `[limits]`",
        "store_unavailable" => "`/readyz` and the log of the broker say what the store lacks; ask again when it is back",
        "issuer_unavailable" => "`/readyz` names the issuer whose keys cannot be had; look at its `jwks_uri` from this machine",
        "revocation_view_stale" => "the store does not answer in time: `/readyz` says since when",
        "invalid_dpop_proof" => "send a token that is bound to no key as `Authorization: Bearer`; DPoP is not served",
        "unsupported_token_type" => "name a token type that is served; `narrows exchange --help` lists them",
        "unsupported_grant_type" => "use token exchange, client credentials or JWT bearer",
        "unauthorized_client" => "add the grant to the client's `grants`",
        "invalid_grant" => "ask as the client that the token was issued to",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use delegation::oauth::Reason;

    #[test]
    fn every_reason_but_that_of_policy_has_a_mend() {
        for reason in Reason::ALL {
            let is_of_policy = reason == Reason::PolicyDenied;
            assert_eq!(super::of_reason(reason.as_str()).is_empty(), is_of_policy, "{reason:?}");
        }
    }
}
