//! What a middleware goes by: routes, types and words of refusals, as JSON.
//!
//! Nothing but ASCII without quotes of any kind stands in it, so that it can stand in a text of any of the languages.

use std::time::Duration;

use boundary::LARGEST_BODY;
use delegation::details::{DetailType, IdentifierRule};
use delegation::oauth::{AudienceId, Reason};
use narrows_guard::check::Refusal;
use narrows_guard::hygiene::names::{ADDRESSES, ANOTHER_REQUEST, CERTIFICATES, COMMANDS, OF_PROXIES, OURS, PERSONS};
use narrows_guard::route::{Demand, Route, Rule, Table};
use narrows_guard::surplus::{Excess, Fixed};
use serde_json::{Value, json};

use crate::config::{Backend, Loaded};

/// What our keys may be for (`tokens.algorithm`): after a change of it both the old and the new one are met.
const ALGORITHMS: [&str; 4] = ["ES256", "EdDSA", "RS256", "PS256"];

/// Every refusal that a middleware knows.
const REASONS: [Reason; 15] = [
    Reason::NoToken,
    Reason::NoRoute,
    Reason::MalformedRequest,
    Reason::MalformedDetails,
    Reason::UnreadInput,
    Reason::TooLarge,
    Reason::RateLimited,
    Reason::SubjectTokenInvalid,
    Reason::SubjectTokenExpired,
    Reason::SubjectTokenNotForClient,
    Reason::InvalidDpopProof,
    Reason::WiderThanSubject,
    Reason::InsufficientUserAuthentication,
    Reason::OverbroadToken,
    Reason::IssuerUnavailable,
];

/// Headers that are decided on, which `Connection` may not name.
const DECIDED_ON: &str = "authorization|content-(encoding|length|type)|cookie|host|dpop";

/// The rules of one service.
pub(super) struct Rules<'l> {
    backend: &'l Backend,
    loaded: &'l Loaded,
    audience: &'l AudienceId,
}

impl<'l> Rules<'l> {
    pub(super) fn of(backend: &'l Backend, loaded: &'l Loaded) -> Result<Self, String> {
        let service = &backend.service;
        let audience = service.audience.as_ref();
        let audience = audience.ok_or_else(|| format!("service `{}` has no `audience`: there is nothing to check", service.name))?;
        // What a guard would not be built from is no middleware either.
        Table::build(vec![service.clone()], loaded.snapshot.types.clone()).map_err(|error| error.to_string())?;
        Fixed::of(&backend.fixed, &loaded.snapshot.types).map_err(|error| error.to_string())?;
        Ok(Self { backend, loaded, audience })
    }

    pub(super) fn audience(&self) -> &str {
        self.audience.as_str()
    }

    /// The mode, by its word.
    pub(super) fn excess(&self) -> &'static str {
        let word = Excess::ALL.into_iter().find(|(_, excess)| *excess == self.backend.excess);
        word.map_or("", |(word, _)| word)
    }

    /// In seconds.
    pub(super) fn max_lifetime(&self) -> u64 {
        let most = self.loaded.snapshot.lifetimes.max;
        let own = self.loaded.snapshot.audiences.get(self.audience).and_then(|audience| audience.max_lifetime);
        own.unwrap_or(Duration::MAX).min(most).as_secs()
    }

    /// One object, a line for each route, type and refusal.
    pub(super) fn lines(&self) -> Vec<String> {
        let snapshot = &self.loaded.snapshot;
        let issuer = &snapshot.issuer;
        let hosts: Vec<_> = self.backend.service.hosts.iter().map(ToString::to_string).collect();
        let single = [
            ("issuer", json!(issuer)),
            ("jwks_uri", json!(format!("{}/oauth2/jwks", issuer.trim_end_matches('/')))),
            ("audience", json!(self.audience())),
            ("hosts", json!(hosts)),
            ("max_lifetime", json!(self.max_lifetime())),
            ("max_chain", json!(snapshot.max_chain)),
            ("excess", json!(self.excess())),
            ("fixed", json!(self.backend.fixed)),
            ("algorithms", json!(ALGORITHMS)),
            ("forged", json!(forged())),
            ("decided_on", json!(DECIDED_ON)),
            ("of_proxies", json!(of_proxies())),
        ];
        let mut lines = vec!["{".to_owned()];
        lines.extend(single.iter().map(|(name, value)| format!("  \"{name}\": {},", plain(value))));
        let types: Vec<_> = snapshot.types.iter().map(|each| member(&each.name, &detail_type(each))).collect();
        lines.extend(block("\"types\": {", types, "},"));
        let mut routes: Vec<_> = self.backend.service.routes.iter().collect();
        // The first that matches is the one.
        routes.sort_by_key(|route| route.pattern().precedence());
        lines.extend(block("\"routes\": [", routes.iter().map(|own| route(own, &routes)).collect(), "],"));
        lines.extend(block("\"refusals\": {", REASONS.into_iter().map(refusal).collect(), "}"));
        lines.push("}".to_owned());
        lines
    }
}

/// Headers with which no request goes on, as a guard takes them off. Other programs than a guard have no business with them, be it to say
/// who asks or to name another method, path or host.
fn forged() -> String {
    alternatives(&[&OURS, &ANOTHER_REQUEST, &COMMANDS, &PERSONS])
}

/// What a proxy in front may say. It stays: whoever is no proxy's backend does not believe it.
fn of_proxies() -> String {
    alternatives(&[&OF_PROXIES, &CERTIFICATES, &ADDRESSES])
}

/// An expression for all of these names and families.
fn alternatives(lists: &[&[&str]]) -> String {
    let one = |name: &&str| match name.strip_suffix('-') {
        Some(stem) => format!("{stem}(-.*)?"),
        None => (*name).to_owned(),
    };
    lists.iter().flat_map(|names| names.iter().map(one)).collect::<Vec<_>>().join("|")
}

fn block(open: &str, items: Vec<String>, close: &str) -> Vec<String> {
    let last = items.len();
    let comma = |at: usize| if at + 1 < last { "," } else { "" };
    let items = items.into_iter().enumerate().map(|(at, item)| format!("    {item}{}", comma(at)));
    [format!("  {open}")].into_iter().chain(items).chain([format!("  {close}")]).collect()
}

fn member(name: &str, value: &Value) -> String {
    format!("{}: {}", plain(&json!(name)), plain(value))
}

fn detail_type(declared: &DetailType) -> Value {
    let identifier = |rule| match rule {
        IdentifierRule::Required => "required",
        IdentifierRule::Optional => "optional",
        IdentifierRule::None => "none",
    };
    let actions = declared.actions.iter().map(|(name, rule)| {
        let rule = json!({ "identifier": identifier(rule.identifier), "constraints": rule.constraints });
        (name.clone(), rule)
    });
    let orders = declared.constraints.iter().map(|(name, order)| (name.clone(), json!(order.as_str())));
    json!({ "actions": actions.collect::<serde_json::Map<_, _>>(), "constraints": orders.collect::<serde_json::Map<_, _>>() })
}

/// One route of `all`, what it is for before what it needs.
fn route(route: &Route, all: &[&Route]) -> String {
    let unlike: Vec<_> = all.iter().enumerate().filter(|(_, other)| is_taken_first(other, route)).map(|(at, _)| at).collect();
    let key = [
        member("route", &json!(route.name())),
        member("method", &json!(route.pattern().method())),
        member("path", &route.pattern().to_json()),
        member("unlike", &json!(unlike)),
    ];
    let asks = match route.rule() {
        Rule::Public => vec![member("public", &json!(true))],
        Rule::Needs(demand) => [
            needs(route, demand),
            vec![member("body_max", &json!(demand.body_max.unwrap_or(LARGEST_BODY)))],
        ]
        .concat(),
    };
    format!("{{{}}}", [key.as_slice(), asks.as_slice()].concat().join(", "))
}

/// Whether a less strict reader may take a request of `own` for one of `other` first, which asks for something else: one to whom case, a
/// slash at the end and an extension are of no account, and who answers `HEAD` by what there is for `GET`.
fn is_taken_first(other: &Route, own: &Route) -> bool {
    let (method, others) = (own.pattern().method(), other.pattern().method());
    let answers = method == others || (method == "HEAD" && others == "GET");
    answers && own.pattern().hides(other.pattern()) && ranks(other) < ranks(own) && !other.asks_like(own)
}

/// What goes before what, where a slash at the end is of no account.
fn ranks(route: &Route) -> Vec<u8> {
    let mut ranks = route.pattern().precedence();
    let pieces = route.pattern().to_json();
    if pieces.as_array().and_then(|pieces| pieces.last()).is_some_and(|last| last == "") {
        ranks.pop();
    }
    ranks
}

fn needs(route: &Route, demand: &Demand) -> Vec<String> {
    let scopes: Vec<_> = demand.scope.iter().map(|scope| scope.as_str()).collect();
    let onward: Vec<_> = demand.onward.iter().map(|template| template.to_json()).collect();
    vec![
        member("public", &json!(false)),
        member("detail", &json!(demand.detail.as_ref().map(|template| template.to_json()))),
        member("onward", &json!(onward)),
        member("scopes", &json!(scopes)),
        member("wider", &json!(demand.wider)),
        member("max_auth_age", &json!(demand.max_auth_age.map(|age| age.as_secs()))),
        member("acr", &json!(demand.acr)),
        member("reads", &route.reading().to_json()),
    ]
}

/// Status, error word and description, as the guard's own.
fn refusal(reason: Reason) -> String {
    let refusal = Refusal::from(reason);
    let (status, error) = match reason {
        // The broker's keys are the middleware's own affair, and so is the room for a body.
        Reason::IssuerUnavailable => (503, None),
        Reason::TooLarge => (413, None),
        Reason::RateLimited => (429, None),
        _ => (refusal.status().as_u16(), refusal.error()),
    };
    member(reason.as_str(), &json!([status, error, refusal.description()]))
}

/// JSON that no quote of a language ends, and that means the same in every encoding.
fn plain(value: &Value) -> String {
    let mut out = String::new();
    for each in value.to_string().chars() {
        if each.is_ascii() && !each.is_ascii_control() && !"'`$<>".contains(each) {
            out.push(each);
        } else {
            let mut units = [0; 2];
            for unit in each.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::plain;

    #[test]
    fn nothing_in_the_rules_ends_the_text_that_they_stand_in() {
        let value = json!({ "a'''b": "`${x}`", "\u{e9}\u{1f600}": "<<each>>\u{7f}\"\\" });
        let written = plain(&value);
        assert!(
            written.is_ascii() && !written.contains(['\'', '`', '$', '<', '>', '\u{7f}']),
            "{written}"
        );
        assert_eq!(serde_json::from_str::<Value>(&written).ok(), Some(value));
    }
}
