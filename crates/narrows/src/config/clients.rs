//! `[[clients]]`: who may ask, and how each shows who it is.

use std::collections::BTreeSet;

use delegation::oauth::{ClientId, GrantType};
use delegation::registry::{AuthMethod, Client, ClientAuth, LabelValue, Receives, SecretDigest, WorkloadMatch};
use delegation::time::Timestamp;
use delegation::token::Algorithm;
use fetch::IssuerEntry;
use serde_json::Value;

use super::either::{self, OneOrMany};
use super::file::{Auth, File};
use super::issuers::{key_file, key_source};
use super::problem::Problems;

/// The methods by name; the last is known and not served yet.
const METHODS: [&str; 5] = [
    "private_key_jwt",
    "client_secret_basic",
    "client_secret_post",
    "workload_jwt",
    "tls_client_auth",
];

/// What a client's own assertions may be signed with.
const ASSERTION_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Es512,
    Algorithm::EdDsa,
    Algorithm::Rs256,
    Algorithm::Ps256,
];

/// Every client that is right, with the sources of their keys.
pub(super) fn build(file: &File, problems: &mut Problems) -> (Vec<Client>, Vec<IssuerEntry>) {
    let mut built: Vec<Client> = Vec::new();
    let mut keys = Vec::new();
    let mut workloads: Vec<(ClientId, WorkloadMatch)> = Vec::new();
    for (at, client) in file.clients.iter().enumerate() {
        let path = format!("clients[{at}]");
        let Ok(id) = ClientId::parse(&client.id) else {
            problems.add(&format!("{path}.id"), "expected 1 to 255 visible ASCII characters".to_owned());
            continue;
        };
        if let Some(other) = file.clients.iter().take(at).position(|other| other.id == client.id) {
            problems.add_twice(&format!("{path}.id"), &format!("clients[{other}].id"), &client.id);
        }
        if file.issuer.as_ref() == Some(&client.id) || file.trusted_issuers.iter().any(|issuer| issuer.issuer == client.id) {
            problems.add(
                &format!("{path}.id"),
                format!("`{id}` is also an issuer; its assertions would be taken for that issuer's tokens, so choose another"),
            );
        }
        let mut auth = Vec::new();
        let listed = client.auth.as_slice();
        if listed.is_empty() {
            problems.add(
                &format!("{path}.auth"),
                "names no method, so the client could never authenticate".to_owned(),
            );
        }
        for (index, each) in listed.iter().enumerate() {
            let path = match &client.auth {
                OneOrMany::One(_) => format!("{path}.auth"),
                OneOrMany::Many(_) => format!("{path}.auth[{index}]"),
            };
            let name = format!("client/{id}/{index}");
            let until = each.until.as_deref().and_then(|text| end_of_day(text, &format!("{path}.until"), problems));
            surplus(each, &path, problems);
            let Some(method) = method(each, file, &path, &name, problems) else {
                continue;
            };
            if let AuthMethod::PrivateKeyJwt { keys: name } = &method
                && let Some(source) = key_source(each.jwks_file.as_deref(), each.jwks_uri.as_deref(), &path, problems)
            {
                let entry = IssuerEntry {
                    name: name.clone(),
                    issuer: id.to_string(),
                    source,
                    algorithms: ASSERTION_ALGORITHMS.to_vec(),
                };
                key_file(&entry, &path, problems);
                keys.push(entry);
            }
            if let AuthMethod::WorkloadJwt(wanted) = &method {
                let other = workloads.iter().find(|(other, known)| *other != id && both_match(known, wanted));
                if let Some((other, _)) = other {
                    problems.add(
                        &path,
                        format!("one token may match this and client `{other}`; give a claim that tells them apart"),
                    );
                }
                workloads.push((id.clone(), wanted.clone()));
            }
            auth.push(ClientAuth { method, until });
        }
        let mut grants = BTreeSet::new();
        for grant in client
            .grants
            .clone()
            .unwrap_or_else(|| vec!["token_exchange".to_owned(), "client_credentials".to_owned()])
        {
            match grant.as_str() {
                "token_exchange" => grants.insert(GrantType::TokenExchange),
                "client_credentials" => grants.insert(GrantType::ClientCredentials),
                "jwt_bearer" => grants.insert(GrantType::JwtBearer),
                other => {
                    problems.add(
                        &format!("{path}.grants"),
                        format!("expected token_exchange, client_credentials or jwt_bearer, found `{other}`"),
                    );
                    false
                }
            };
        }
        let known = |name: &String| file.clients.iter().any(|other| other.id == *name);
        for name in client.delegates.iter().filter(|name| !known(name)) {
            problems.add(&format!("{path}.delegates"), format!("there is no client `{name}`"));
        }
        let receives = client.receives.iter().map(|each| match each {
            either::Receives::Any(audience) => Receives {
                issuer_name: None,
                audience: audience.clone(),
            },
            either::Receives::Bound(bound) => Receives {
                issuer_name: Some(bound.issuer.clone()),
                audience: bound.audience.clone(),
            },
        });
        let receives: Vec<_> = receives.collect();
        for each in receives.iter().filter_map(|each| each.issuer_name.as_ref()) {
            if !file.trusted_issuers.iter().any(|issuer| issuer.name == *each) {
                problems.add(&format!("{path}.receives"), format!("there is no trusted issuer `{each}`"));
            }
        }
        let mut labels = std::collections::BTreeMap::new();
        for (name, value) in &client.labels {
            let value = match value {
                Value::Bool(flag) => Some(LabelValue::Boolean(*flag)),
                Value::Number(number) => number.as_i64().map(LabelValue::Integer),
                Value::String(text) => Some(LabelValue::Text(text.clone())),
                _ => None,
            };
            match value {
                Some(value) if name != "owner" => {
                    labels.insert(name.clone(), value);
                }
                _ => problems.add(
                    &format!("{path}.labels.{name}"),
                    "expected a string, an integer or a boolean, under a name other than `owner`".to_owned(),
                ),
            }
        }
        built.push(Client {
            receives,
            grants,
            delegates: client.delegates.iter().filter_map(|name| ClientId::parse(name).ok()).collect(),
            data_plane: client.data_plane || fronts(file, &client.id),
            labels,
            owner: client.owner.clone(),
            ends: client.ends.as_deref().and_then(|text| end_of_day(text, &format!("{path}.ends"), problems)),
            auth,
            id,
        });
    }
    (built, keys)
}

/// Whether a boundary or a guard acts as this client, which makes it a data plane without saying so.
fn fronts(file: &File, id: &str) -> bool {
    let boundaries = file.boundaries.iter().map(|boundary| &boundary.client);
    let guards = file.guards.iter().map(|guard| &guard.client);
    boundaries.chain(guards).flatten().any(|client| client == id)
}

/// Whether there can be a token that matches both: no claim tells them apart.
fn both_match(left: &WorkloadMatch, right: &WorkloadMatch) -> bool {
    let apart = |(name, value): (&String, &Value)| right.claims.get(name).is_some_and(|other| other != value);
    left.issuer_name == right.issuer_name && left.subject == right.subject && !left.claims.iter().any(apart)
}

/// A key that the method does not read is a mistake: somebody relies on it.
fn surplus(auth: &Auth, path: &str, problems: &mut Problems) {
    let keys = [
        ("jwks_file", auth.jwks_file.is_some(), "private_key_jwt"),
        ("jwks_uri", auth.jwks_uri.is_some(), "private_key_jwt"),
        (
            "secret_sha256",
            auth.secret_sha256.is_some(),
            "client_secret_basic client_secret_post",
        ),
        ("issuer", auth.issuer.is_some(), "workload_jwt"),
        ("subject", auth.subject.is_some(), "workload_jwt"),
        ("claims", !auth.claims.is_empty(), "workload_jwt"),
        ("san_uri", auth.san_uri.is_some(), "tls_client_auth"),
    ];
    for (key, _, owners) in keys.iter().filter(|(_, there, _)| *there) {
        let known = METHODS.contains(&auth.method.as_str());
        if known && !owners.split(' ').any(|owner| owner == auth.method) {
            problems.add(
                &format!("{path}.{key}"),
                format!("is not read by `{}`; remove it or change the method", auth.method),
            );
        }
    }
}

fn method(auth: &Auth, file: &File, path: &str, name: &str, problems: &mut Problems) -> Option<AuthMethod> {
    match auth.method.as_str() {
        "private_key_jwt" => Some(AuthMethod::PrivateKeyJwt { keys: name.to_owned() }),
        "client_secret_basic" => secret(auth, path, problems).map(AuthMethod::SecretBasic),
        "client_secret_post" => secret(auth, path, problems).map(AuthMethod::SecretPost),
        "workload_jwt" => {
            let (Some(issuer), Some(subject)) = (&auth.issuer, &auth.subject) else {
                problems.add(path, "workload_jwt needs `issuer` and `subject`".to_owned());
                return None;
            };
            if !file.trusted_issuers.iter().any(|trusted| trusted.name == *issuer) {
                problems.add(path, format!("there is no trusted issuer `{issuer}`"));
            }
            if subject.contains('*') {
                problems.add(path, "`subject` is compared whole; a wildcard in it matches nothing".to_owned());
            }
            Some(AuthMethod::WorkloadJwt(WorkloadMatch {
                issuer_name: issuer.clone(),
                subject: subject.clone(),
                claims: auth.claims.clone(),
            }))
        }
        "tls_client_auth" => {
            let san = auth.san_uri.as_deref().unwrap_or_default();
            problems.add(
                path,
                format!("tls_client_auth (`{san}`) is not served yet; use private_key_jwt or workload_jwt"),
            );
            None
        }
        other => {
            problems.add(
                &format!("{path}.method"),
                format!("expected private_key_jwt, client_secret_basic, client_secret_post or workload_jwt, found `{other}`"),
            );
            None
        }
    }
}

fn secret(auth: &Auth, path: &str, problems: &mut Problems) -> Option<SecretDigest> {
    // Never repeated in a message: it may be the secret itself, pasted by mistake.
    let digits = auth.secret_sha256.as_deref().unwrap_or_default().as_bytes();
    let mut digest = [0; 32];
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let good = digits.len() == 64
        && digits.chunks(2).zip(&mut digest).all(|(pair, to)| {
            let values: Option<Vec<u8>> = pair.iter().map(digit).collect();
            values.is_some_and(|values| {
                *to = values.iter().fold(0, |value, digit| (value << 4) | digit);
                true
            })
        });
    if !good {
        problems.add(
            &format!("{path}.secret_sha256"),
            "expected 64 hexadecimal digits in lower case; `narrows client add` makes them".to_owned(),
        );
    }
    good.then(|| SecretDigest::from_bytes(digest))
}

/// The end of a day in UTC: the day itself still counts.
fn end_of_day(text: &str, path: &str, problems: &mut Problems) -> Option<Timestamp> {
    let end = text.parse::<jiff::civil::Date>().ok().and_then(|day| day.tomorrow().ok());
    let end = end.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
    if end.is_none() {
        problems.add(path, format!("expected a day such as `2027-06-30`, found `{text}`"));
    }
    end.map(|end| Timestamp::from_seconds(end.timestamp().as_second()))
}
