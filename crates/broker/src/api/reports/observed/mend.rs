//! What to paste so that a request that would have been refused is let through, if it is to be.

use std::collections::BTreeSet;

use delegation::details::Detail;
use delegation::oauth::Scope;
use delegation::registry::Snapshot;
use narrows_guard::learn::{Identifier, Proposal};
use serde_json::Value;

use super::covered::Today;
use super::groups::Group;
use super::guards;
use crate::api::reports::rule_ids::RuleId;
use crate::api::reports::short;

/// So many groups are named in a rule at most.
const MOST_GROUPS: usize = 3;

/// Some lines, and where they belong.
#[derive(Debug)]
pub(super) struct Paste {
    pub(super) into: String,
    pub(super) text: String,
}

/// Type and action of everything that the request needed, or was asked about.
pub(super) fn needs(record: &Value) -> BTreeSet<(String, String)> {
    if !guards::service(record).is_empty() {
        return guards::needs(record);
    }
    let mut needs = BTreeSet::new();
    for member in ["authorization_details", "onward"] {
        for detail in record.get(member).and_then(Value::as_array).into_iter().flatten() {
            let kind = detail.get("type").and_then(Value::as_str).unwrap_or_default();
            let actions = detail.get("actions").and_then(Value::as_array).into_iter().flatten();
            needs.extend(actions.filter_map(Value::as_str).map(|action| (kind.to_owned(), action.to_owned())));
        }
    }
    needs
}

/// The lines, and a word about them.
pub(super) fn of(group: &Group, method: &str, host: &str, shape: &str, today: &Today<'_>) -> (Vec<Paste>, String) {
    let snapshot = today.snapshot;
    let text = |name: &str| group.record.get(name).and_then(Value::as_str).unwrap_or_default();
    let nothing = |note: &str| (Vec::new(), note.to_owned());
    let is_guards = !guards::service(&group.record).is_empty();
    match text("reason") {
        "no_route" => match Proposal::of_shape(method, shape) {
            Some(route) => route_for(&route, host, snapshot),
            None => nothing("no route can be for this: the caller must write it in another way"),
        },
        "scope_not_mapped" => (
            mapping(&group.record).into_iter().collect(),
            "the subject token carries a scope that nothing maps".to_owned(),
        ),
        "policy_denied" => {
            let text = permits(group, text("client"), today);
            let into = "a file of `policies`".to_owned();
            (
                vec![Paste { into, text }],
                "no permit helps where a `forbid` refuses: `narrows why` with the `decision_id` says".to_owned(),
            )
        }
        "wider_than_subject" if is_guards => nothing(&guards::too_narrow(&group.record)),
        "wider_than_subject" => wider(&group.record, snapshot),
        "overbroad_token" => guards::too_broad(&group.record, &format!("{method} {host}{shape}"), &snapshot.types),
        "no_token" => nothing("no token came: let the caller show one, or make the route \"public\" if anybody may"),
        "unread_input" => nothing("the route reads the query or body and not all of it: `only`, `query_rest` or `body_rest` let more pass"),
        "too_large" => nothing("raise `body_max` of the route"),
        "malformed_request" => {
            nothing("two programs could read this in two ways, or the token is not where it belongs: the caller must change")
        }
        reason if reason.starts_with("subject_token") => {
            nothing("the token is not good here: `narrows why` with the `decision_id` says why")
        }
        "insufficient_user_authentication" => {
            nothing("the person must sign in again, or in another way: see `max_auth_age` and `acr` of the route")
        }
        _ => nothing("`narrows why` with the `decision_id` says more"),
    }
}

/// A route, and the type that it needs where that is not declared.
fn route_for(route: &Proposal, host: &str, snapshot: &Snapshot) -> (Vec<Paste>, String) {
    let (kind, action) = (&route.kind, &route.action);
    let mut paste = vec![Paste {
        into: format!("[services.routes] of the service for {host}"),
        text: format!("\"{}\" = \"{}\"", route.key, route.detail()),
    }];
    let identifier = match route.says_which() {
        Identifier::Required => "required",
        Identifier::None => "none",
    };
    let mut note = "name the detail as you mean it".to_owned();
    match snapshot.types.get(kind) {
        None => paste.push(Paste {
            into: "narrows.toml".to_owned(),
            text: format!("[[detail_types]]\ntype = \"{kind}\"\nactions.{action} = {{ identifier = \"{identifier}\" }}"),
        }),
        Some(declared) if !declared.actions.contains_key(action) => {
            note = format!("add the action `{action}` to detail type `{kind}`, or name one that it has");
        }
        Some(_) => {}
    }
    let is_for_any = snapshot.audiences.values().any(|audience| audience.detail_types.contains(kind));
    if !is_for_any {
        note = format!("{note}; add \"{kind}\" to `details` of the service's audience");
    }
    (paste, note)
}

/// Types and actions that no scope of the token amounts to, added to one of its scopes.
fn wider(record: &Value, snapshot: &Snapshot) -> (Vec<Paste>, String) {
    let carried = record.pointer("/inputs/ceiling/scopes").and_then(Value::as_array).into_iter().flatten();
    let carried = carried.filter_map(|scope| Scope::parse(scope.as_str()?).ok());
    let carried: Vec<_> = carried.filter_map(|scope| snapshot.scopes.get_key_value(&scope)).collect();
    let is_had = |kind: &str, action: &str| {
        let amounts = carried.iter().flat_map(|(_, details)| details.iter());
        let mut whole = amounts.filter(|detail| detail.kind() == kind && detail.identifier().is_none());
        whole.any(|detail| detail.actions().iter().any(|each| each == action))
    };
    let lacking: Vec<_> = needs(record).into_iter().filter(|(kind, action)| !is_had(kind, action)).collect();
    let short: Vec<_> = lacking.iter().map(|(kind, action)| short(kind, &[action])).collect();
    let chain = record.get("chain").and_then(Value::as_array);
    let shown = chain.and_then(|chain| chain.last()?.as_str()).unwrap_or_default();
    if short.is_empty() || !shown.starts_with("o_") {
        let missing = record.pointer("/inputs/uncovered").and_then(Value::as_str).unwrap_or("what was asked");
        return (
            Vec::new(),
            format!("the token that came does not allow `{missing}`: who made it must ask for that too"),
        );
    }
    let is_of = |details: &[Detail]| details.iter().any(|detail| lacking.iter().any(|(kind, _)| kind == detail.kind()));
    let Some((scope, details)) = carried.iter().find(|(_, details)| is_of(details)).or_else(|| carried.first()) else {
        let note = format!(
            "no scope of the token that came is mapped: let it carry one, mapped to `{}` in [[scopes]]",
            short.join("`, `")
        );
        return (Vec::new(), note);
    };
    let details: Vec<_> = details.iter().map(ToString::to_string).chain(short).collect();
    let paste = Paste {
        into: format!("narrows.toml, in place of the [[scopes]] entry of {scope}"),
        text: format!(
            "[[scopes]]\nname    = {}\ndetails = {}",
            Value::from(scope.as_str()),
            Value::from(details)
        ),
    };
    (
        vec![paste],
        format!("the token that came carries too little; so all with `{scope}` may have this too"),
    )
}

/// A scope of the token, as what was asked for.
fn mapping(record: &Value) -> Option<Paste> {
    let carried = record.pointer("/inputs/unmapped_scopes")?.as_array()?;
    let wanted = record.get("scope").and_then(Value::as_str).unwrap_or_default();
    let is_wanted = |scope: &&Value| scope.as_str().is_some_and(|scope| wanted.split(' ').any(|wanted| wanted == scope));
    let scope = carried.iter().find(is_wanted).or_else(|| carried.first())?;
    let details: Vec<_> = needs(record).iter().map(|(kind, action)| short(kind, &[action])).collect();
    Some(Paste {
        into: "narrows.toml".to_owned(),
        text: format!("[[scopes]]\nname    = {scope}\ndetails = {}", Value::from(details)),
    })
}

/// A permit for each action that was asked about, for those whom all these requests were made for.
fn permits(group: &Group, client: &str, today: &Today<'_>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.escape_debug());
    let whom: Vec<_> = match &group.subjects {
        Some(groups) if !groups.is_empty() => {
            let groups = groups.iter().take(MOST_GROUPS);
            groups.map(|group| format!("context.subject in Group::{}", quoted(group))).collect()
        }
        _ => subject(&group.record)
            .map(|subject| format!("context.subject == Subject::{}", quoted(&subject)))
            .into_iter()
            .collect(),
    };
    let when = if whom.is_empty() {
        String::new()
    } else {
        format!("\nwhen {{ {} }}", whom.join(" && "))
    };
    let rule = |name: &str, action: &str, resource: &str| {
        let (client_id, action) = (quoted(client), quoted(action));
        let rule = format!("permit (principal == Workload::{client_id}, action == Action::{action}, resource is {resource}){when};");
        let RuleId { id, .. } = today.ids.give(&format!("observed-{client}-{name}"), &rule);
        format!("@id(\"{id}\")\n{rule}")
    };
    let details = needs(&group.record).into_iter().filter_map(|(kind, action)| {
        let entity = &today.snapshot.types.get(&kind)?.entity;
        Some(rule(
            &format!("{kind}-{action}"),
            &format!("{kind}:{action}"),
            &format!("Detail::{entity}"),
        ))
    });
    let scopes = needed_scopes(&group.record)
        .into_iter()
        .map(|scope| rule(&format!("scope-{scope}"), &format!("scope:{scope}"), "Scope"));
    details.chain(scopes).collect::<Vec<_>>().join("\n")
}

/// The scopes of everything that the request needed, or was asked about.
fn needed_scopes(record: &Value) -> Vec<&str> {
    if !guards::service(record).is_empty() {
        return guards::needed_scopes(record).collect();
    }
    record.get("scope").and_then(Value::as_str).unwrap_or_default().split_whitespace().collect()
}

/// The subject, as policy names it.
fn subject(record: &Value) -> Option<String> {
    let inputs = record.get("inputs")?;
    Some(format!("{}|{}", inputs.get("issuer_name")?.as_str()?, inputs.get("sub")?.as_str()?))
}
