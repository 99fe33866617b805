//! `[[trusted_issuers]]`, and our own issuer identifier.

use std::path::PathBuf;
use std::time::Duration;

use delegation::identity::{AttributeRule, OUR_NAME, SubjectKind};
use delegation::oauth::{ClientId, TokenType};
use delegation::registry::{Ceiling, Profile, TrustedIssuer, TypRule};
use delegation::token::{Algorithm, KeySet};
use fetch::{IssuerEntry, KeySource};
use url::{Host, Url};

use super::duration;
use super::file::{self, File};
use super::problem::Problems;
use super::profile::{Presets, presets};

/// Every issuer that is right, with the sources of their keys.
pub(super) fn build(file: &File, problems: &mut Problems) -> (Vec<TrustedIssuer>, Vec<IssuerEntry>) {
    let mut built: Vec<TrustedIssuer> = Vec::new();
    let mut keys = Vec::new();
    for (at, issuer) in file.trusted_issuers.iter().enumerate() {
        let path = format!("trusted_issuers[{at}]");
        if issuer.name.is_empty() || issuer.name.contains('|') || issuer.name.starts_with("client/") || issuer.name == OUR_NAME {
            problems.add(
                &format!("{path}.name"),
                format!("`{}`: names have no `|`, and `{OUR_NAME}` is our own", issuer.name),
            );
        }
        let twin = file
            .trusted_issuers
            .iter()
            .take(at)
            .position(|other| other.name == issuer.name || other.issuer == issuer.issuer);
        if let Some(twin) = twin {
            let other = problems.source().place(&format!("trusted_issuers[{twin}]"));
            problems.add(
                &path,
                format!(
                    "name or issuer of `{}` is there twice, first at {other}; one entry for each issuer",
                    issuer.name
                ),
            );
        }
        if Some(&issuer.issuer) == file.issuer.as_ref() {
            problems.add(
                &format!("{path}.issuer"),
                "is this broker itself, whose tokens are known without an entry".to_owned(),
            );
        }
        let prefix = issuer.sub_prefix.clone().unwrap_or_default();
        if let Some(other) = built.iter().find(|other| other.sub_prefix == prefix) {
            problems.add(
                &format!("{path}.sub_prefix"),
                format!(
                    "`{prefix}` is also the prefix of `{}`; two people would be one, so give each its own",
                    other.name
                ),
            );
        }
        let one = one(file, issuer, &path, prefix, problems);
        let algorithms = algorithms(issuer, &presets(one.profile), &path, problems);
        let source = match (&issuer.jwks_file, &issuer.jwks_uri) {
            (None, None) => match issuer_url(&issuer.issuer) {
                Some(_) => Some(KeySource::Discovery),
                None => {
                    problems.add(
                        &format!("{path}.issuer"),
                        format!("expected an https URL for discovery, found `{}`; or name jwks_file", issuer.issuer),
                    );
                    None
                }
            },
            (file, uri) => key_source(file.as_deref(), uri.as_deref(), &path, problems),
        };
        if let Some(source) = source {
            let entry = IssuerEntry {
                name: issuer.name.clone(),
                issuer: issuer.issuer.clone(),
                source,
                algorithms,
            };
            key_file(&entry, &path, problems);
            keys.push(entry);
        }
        built.push(one);
    }
    (built, keys)
}

fn one(file: &File, issuer: &file::TrustedIssuer, path: &str, sub_prefix: String, problems: &mut Problems) -> TrustedIssuer {
    let profile = issuer.profile.as_deref().and_then(Profile::parse);
    if let (Some(name), None) = (&issuer.profile, profile) {
        let known: Vec<_> = Profile::ALL.iter().map(|(name, _)| *name).collect();
        problems.add(
            &format!("{path}.profile"),
            format!("expected one of {}, found `{name}`", known.join(", ")),
        );
    }
    let presets = presets(profile);
    let mut token_types = std::collections::BTreeSet::new();
    for word in issuer.token_types.clone().unwrap_or_else(|| words(presets.token_types)) {
        match word.as_str() {
            "access_token" => token_types.insert(TokenType::AccessToken),
            "id_token" => token_types.insert(TokenType::IdToken),
            "jwt" => token_types.insert(TokenType::Jwt),
            "id_jag" => token_types.insert(TokenType::IdJag),
            other => {
                problems.add(
                    &format!("{path}.token_types"),
                    format!("expected access_token, id_token, jwt or id_jag, found `{other}`"),
                );
                false
            }
        };
    }
    let subject = match issuer.subject.as_deref().unwrap_or(presets.subject) {
        "user" => SubjectKind::User,
        "workload" => SubjectKind::Workload,
        other => {
            problems.add(&format!("{path}.subject"), format!("expected user or workload, found `{other}`"));
            SubjectKind::User
        }
    };
    let ceiling = match issuer.authority.as_deref().unwrap_or("scope") {
        "scope" => Ceiling::Scope,
        "policy" => Ceiling::Policy,
        other => {
            problems.add(&format!("{path}.authority"), format!("expected scope or policy, found `{other}`"));
            Ceiling::Scope
        }
    };
    let mut typ = TypRule {
        at_jwt: false,
        jwt: false,
        absent: false,
    };
    for word in issuer.typ.clone().unwrap_or_else(|| words(presets.typ)) {
        match word.as_str() {
            "at+jwt" => typ.at_jwt = true,
            "JWT" => typ.jwt = true,
            "" => typ.absent = true,
            other => problems.add(
                &format!("{path}.typ"),
                format!("expected \"at+jwt\", \"JWT\" or \"\", found `{other}`"),
            ),
        }
    }
    for (key, names) in [("typ", &issuer.typ), ("token_types", &issuer.token_types)] {
        if names.as_ref().is_some_and(Vec::is_empty) {
            problems.add(
                &format!("{path}.{key}"),
                "names none, so no token would be taken; name one".to_owned(),
            );
        }
    }
    let mut exchangers = std::collections::BTreeSet::new();
    for name in issuer.exchangers.iter().flatten() {
        if !file.clients.iter().any(|client| client.id == *name) {
            problems.add(&format!("{path}.exchangers"), format!("there is no client `{name}`"));
        }
        exchangers.extend(ClientId::parse(name));
    }
    if issuer.audiences.as_ref().is_some_and(|audiences| !audiences.is_empty()) && exchangers.is_empty() {
        problems.add(
            &format!("{path}.audiences"),
            "nobody may exchange these; name the clients in `exchangers`".to_owned(),
        );
    }
    let mut attributes = std::collections::BTreeMap::new();
    for (name, word) in issuer.attributes.iter().flatten() {
        match AttributeRule::parse(word) {
            Some(rule) => {
                attributes.insert(name.clone(), rule);
            }
            None => problems.add(
                &format!("{path}.attributes.{name}"),
                format!("expected string, set, bool or long, perhaps with `?`, found `{word}`"),
            ),
        }
    }
    for (key, value) in [("act", &issuer.act), ("details", &issuer.details)] {
        if value.is_some() {
            problems.add(&format!("{path}.{key}"), "is not served yet; remove it".to_owned());
        }
    }
    let leeway = issuer.leeway.as_deref().unwrap_or("30s");
    let leeway = duration::parse(leeway).unwrap_or_else(|| {
        problems.add(
            &format!("{path}.leeway"),
            format!("expected a duration such as `30s`, found `{leeway}`"),
        );
        Duration::ZERO
    });
    let named_by_clients = |client: &file::Client| {
        client
            .auth
            .clone()
            .into_vec()
            .iter()
            .any(|auth| auth.method == "workload_jwt" && auth.issuer.as_ref() == Some(&issuer.name))
    };
    TrustedIssuer {
        name: issuer.name.clone(),
        issuer: issuer.issuer.clone(),
        profile,
        token_types,
        subject,
        sub_prefix,
        ceiling,
        audiences: issuer.audiences.iter().flatten().cloned().collect(),
        exchangers,
        typ,
        scope_claim: issuer.scope_claim.clone().unwrap_or_else(|| presets.scope_claim.to_owned()),
        client_claims: issuer.client_claims.clone().unwrap_or_else(|| words(presets.client_claims)),
        attributes,
        leeway,
        authenticates_workloads: file.clients.iter().any(named_by_clients),
    }
}

fn words(preset: &[&str]) -> Vec<String> {
    preset.iter().map(|word| (*word).to_owned()).collect()
}

fn algorithms(issuer: &file::TrustedIssuer, presets: &Presets, path: &str, problems: &mut Problems) -> Vec<Algorithm> {
    let names = issuer.algorithms.clone().unwrap_or_else(|| words(presets.algorithms));
    let parse = |name: &String| {
        let algorithm = Algorithm::parse(name);
        if algorithm.is_none() {
            problems.add(
                &format!("{path}.algorithms"),
                format!("`{name}` is no signature algorithm that is taken; symmetric ones never are"),
            );
        }
        algorithm
    };
    let algorithms: Vec<_> = names.iter().filter_map(parse).collect();
    if names.is_empty() {
        problems.add(
            &format!("{path}.algorithms"),
            "names none; name those that the issuer signs with".to_owned(),
        );
    }
    algorithms
}

/// A file or an address of keys, one of the two.
pub(super) fn key_source(file: Option<&str>, uri: Option<&str>, path: &str, problems: &mut Problems) -> Option<KeySource> {
    match (file, uri) {
        (Some(file), None) => Some(KeySource::File(PathBuf::from(file))),
        (None, Some(uri)) => match issuer_url(uri) {
            Some(url) => Some(KeySource::Uri(url)),
            None => {
                problems.add(&format!("{path}.jwks_uri"), format!("expected an https URL, found `{uri}`"));
                None
            }
        },
        _ => {
            problems.add(path, "needs either `jwks_file` or `jwks_uri`".to_owned());
            None
        }
    }
}

/// A file of keys is there and holds one that may be used.
pub(super) fn key_file(entry: &IssuerEntry, path: &str, problems: &mut Problems) {
    let KeySource::File(file) = &entry.source else { return };
    let path = format!("{path}.jwks_file");
    match std::fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            problems.add(&path, format!("there is no file `{}`", file.display()));
        }
        Err(error) => problems.add(&path, format!("`{}`: {error}", file.display())),
        Ok(bytes) => {
            if let Err(error) = KeySet::parse(&entry.issuer, &bytes, &entry.algorithms) {
                problems.add(&path, format!("`{}`: {error}", file.display()));
            }
        }
    }
}

/// An absolute URL with https, or with http towards loopback.
pub(super) fn issuer_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    url.host()?;
    matches!((url.scheme(), is_loopback(&url)), ("https", _) | ("http", true)).then_some(url)
}

/// Whether a URL leads no further than this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        None => false,
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
    }
}

/// Our own issuer identifier.
pub(super) fn our_issuer(file: &File, problems: &mut Problems) -> String {
    let issuer = file.issuer.clone().unwrap_or_default();
    let good = issuer_url(&issuer).is_some_and(|url| url.query().is_none() && url.fragment().is_none());
    if !good && file.issuer.is_some() {
        problems.add(
            "issuer",
            format!("expected an https URL without query, or http on loopback, found `{issuer}`"),
        );
    }
    issuer
}
