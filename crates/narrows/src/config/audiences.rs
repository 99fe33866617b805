//! `[[audiences]]` and `[[scopes]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use delegation::details::{Detail, DetailTypes, Standing};
use delegation::oauth::{AudienceId, ClientId, Scope};
use delegation::registry::{Audience, OnDuplicate, TokenForm};

use super::duration;
use super::file::{self, File};
use super::problem::{Problem, Problems};

/// Every audience that is right.
pub(super) fn build(file: &File, types: &DetailTypes, problems: &mut Problems) -> Vec<Audience> {
    let mut built: Vec<Audience> = Vec::new();
    for (at, audience) in file.audiences.iter().enumerate() {
        let path = format!("audiences[{at}]");
        for name in audience.details.iter().filter(|name| types.get(name).is_none()) {
            problems.add(
                &format!("{path}.details"),
                format!("`{name}` is not declared; add it to [[detail_types]]"),
            );
        }
        let mut clients = BTreeSet::new();
        for name in audience.clients.iter().flatten() {
            if !file.clients.iter().any(|client| client.id == *name) {
                problems.add(&format!("{path}.clients"), format!("there is no client `{name}`"));
            }
            clients.extend(ClientId::parse(name));
        }
        let max_lifetime = audience.max_lifetime.as_deref().and_then(|text| {
            let parsed = duration::parse(text);
            if parsed.is_none() {
                problems.add(
                    &format!("{path}.max_lifetime"),
                    format!("expected a duration such as `2m`, found `{text}`"),
                );
            }
            parsed
        });
        let known = |claim: &String| {
            file.trusted_issuers
                .iter()
                .any(|issuer| issuer.attributes.iter().flatten().any(|(name, _)| name == claim))
        };
        if max_lifetime.is_some_and(|life| life < Duration::from_secs(1)) {
            problems.add(&format!("{path}.max_lifetime"), "expected more than nothing".to_owned());
        }
        for claim in audience.claims.iter().filter(|claim| !known(claim)) {
            problems.add(
                &format!("{path}.claims"),
                format!("`{claim}` is no mapped attribute; add it to `attributes` of an issuer"),
            );
        }
        let mut defaults = Vec::new();
        for (index, text) in audience.defaults.iter().enumerate() {
            match Detail::parse_short(text, types, Standing::Asked) {
                Ok(detail) if audience.details.iter().any(|name| name == detail.kind()) => defaults.push(detail),
                Ok(_) => problems.add(
                    &format!("{path}.defaults[{index}]"),
                    format!("`{text}` is of a type that is not among `details`"),
                ),
                Err(error) => problems.add(&format!("{path}.defaults[{index}]"), format!("`{text}`: {error}")),
            }
        }
        let Ok(id) = AudienceId::parse(&audience.id) else {
            problems.add(
                &format!("{path}.id"),
                "expected 1 to 1024 characters without control characters".to_owned(),
            );
            continue;
        };
        if let Some(other) = file.audiences.iter().take(at).position(|other| other.id == audience.id) {
            problems.add_twice(&format!("{path}.id"), &format!("audiences[{other}].id"), &audience.id);
        }
        let scopes = audience
            .scopes
            .iter()
            .filter_map(|text| super::scope(text, &format!("{path}.scopes"), problems))
            .collect();
        built.push(Audience {
            id,
            detail_types: audience.details.iter().cloned().collect(),
            scopes,
            clients: audience.clients.as_ref().map(|_| clients),
            max_lifetime,
            claims: audience.claims.iter().cloned().collect(),
            defaults,
            form: form(audience.token.as_deref(), &format!("{path}.token"), problems),
            single_use: single_use(file, audience, &format!("{path}.single_use"), problems),
            on_duplicate: on_duplicate(audience.on_duplicate.as_deref(), &format!("{path}.on_duplicate"), problems),
        });
    }
    built
}

/// The form of an audience's tokens.
fn form(word: Option<&str>, path: &str, problems: &mut Problems) -> TokenForm {
    match word {
        None | Some("jwt") => TokenForm::Jwt,
        Some("opaque") => TokenForm::Opaque,
        Some("txn") => TokenForm::Txn,
        Some(other) => {
            problems.add(path, format!("expected `jwt`, `opaque` or `txn`, found `{other}`"));
            TokenForm::Jwt
        }
    }
}

/// Whether the tokens of `audience` are good for one request alone; not where one token is for many by what it is.
fn single_use(file: &File, audience: &file::Audience, path: &str, problems: &mut Problems) -> bool {
    if audience.single_use && audience.token.as_deref() == Some("txn") {
        problems.add(
            path,
            "a transaction token is shown at every hop of its chain; remove `single_use`, or have `jwt` or `opaque` tokens".to_owned(),
        );
    }
    if audience.single_use && file.issuer.as_ref() == Some(&audience.id) {
        problems.add(
            path,
            "tokens for this broker are shown with each request to /v1; remove `single_use`".to_owned(),
        );
    }
    audience.single_use
}

/// What comes of a token that is shown from two places.
fn on_duplicate(word: Option<&str>, path: &str, problems: &mut Problems) -> OnDuplicate {
    match word {
        None | Some("report") => OnDuplicate::Report,
        Some("revoke") => OnDuplicate::Revoke,
        Some(other) => {
            problems.add(path, format!("expected `report` or `revoke`, found `{other}`"));
            OnDuplicate::Report
        }
    }
}

/// What each mapped scope amounts to.
pub(super) fn scopes(file: &File, types: &DetailTypes, problems: &mut Problems) -> BTreeMap<Scope, Vec<Detail>> {
    let mut built = BTreeMap::new();
    for (at, scope) in file.scopes.iter().enumerate() {
        let path = format!("scopes[{at}]");
        let mut details = Vec::new();
        for (index, text) in scope.details.iter().enumerate() {
            match Detail::parse_short(text, types, Standing::Ceiling) {
                Ok(detail) => details.push(detail),
                Err(error) => problems.add(&format!("{path}.details[{index}]"), format!("`{text}`: {error}")),
            }
        }
        if let Some(other) = file.scopes.iter().take(at).position(|other| other.name == scope.name) {
            problems.add_twice(&format!("{path}.name"), &format!("scopes[{other}].name"), &scope.name);
        } else if let Some(name) = super::scope(&scope.name, &format!("{path}.name"), problems) {
            built.insert(name, details);
        }
    }
    built
}

/// Scopes of audiences that no outside token can bring: an unmapped scope gives nothing.
///
/// A warning, since a client may still be given one for itself, where policy is the ceiling.
pub(super) fn unmapped(file: &File, problems: &Problems) -> Vec<Problem> {
    let mut issuers = file.trusted_issuers.iter().peekable();
    if issuers.peek().is_none() || issuers.any(|issuer| issuer.authority.as_deref() == Some("policy")) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, audience) in file.audiences.iter().enumerate() {
        for scope in audience.scopes.iter().filter(|scope| !file.scopes.iter().any(|mapped| mapped.name == **scope)) {
            found.push(problems.at(
                &format!("audiences[{at}].scopes"),
                format!("no token of an issuer brings `{scope}`; add it as [[scopes]] with `details = []`"),
            ));
        }
    }
    found
}
