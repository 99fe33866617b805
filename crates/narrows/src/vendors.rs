//! `vectors/idp/*.json`: the tokens of every vendor, judged by the configuration that its profile makes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use delegation::identity::AttributeValue;
use delegation::oauth::TokenType;
use delegation::registry::{AuthenticatedClient, Moment};
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::{AuthenticateError, KeySet, SubjectEvidence, SubjectToken, TokenKind, Unverified, WorkloadAssertion};
use serde_json::{Value, json};
use testkit::{VendorCase, VendorFile, vendor_files};

use crate::config::{self, Loaded};
use crate::serving;

const BROKER: &str = "http://127.0.0.1:8420";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE: &str = "urn:ietf:params:oauth:token-type:";
/// The secret of the client `edge`.
const SECRET: &str = "edge-secret";

/// Writes a configuration that trusts these issuers, and gives its path.
fn install(folder: &Path, files: &[(&VendorFile, Option<&VendorCase>)]) -> std::path::PathBuf {
    let digest: String = delegation::token::sha256(SECRET.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut issuers = Vec::new();
    let mut clients = vec![json!({ "id": "edge", "auth": { "method": "client_secret_post", "secret_sha256": digest } })];
    let mut scopes = Vec::new();
    for (file, case) in files {
        let keys = format!("{}.jwks.json", file.name());
        std::fs::write(folder.join(&keys), file.jwks().to_string()).unwrap();
        let mut entry = file.entry(*case, &keys);
        if files.len() > 1 {
            entry["sub_prefix"] = json!(format!("{}:", file.name()));
        }
        issuers.push(entry);
        clients.extend(file.client());
        scopes.extend(file.mapped_scopes());
    }
    scopes.sort();
    scopes.dedup();
    let mapped: Vec<_> = scopes.iter().map(|name| json!({ "name": name, "details": [] })).collect();
    let document = json!({
        "issuer": BROKER, "listen": "127.0.0.1:0", "store": "sqlite:narrows.db", "policies": ["*.cedar"], "key_file": "narrows.key",
        "trusted_issuers": issuers, "clients": clients, "scopes": mapped,
        "audiences": [{ "id": "https://orders.internal", "scopes": scopes, "details": ["order"] }],
        "detail_types": [{ "type": "order", "actions": ["list"], "identifier": "none" }],
    });
    let rule = "@id(\"all\") permit (principal, action, resource);";
    std::fs::write(folder.join("all.cedar"), rule).unwrap();
    std::fs::write(folder.join("narrows.key"), STANDARD.encode([7; 32])).unwrap();
    let path = folder.join("narrows.toml");
    std::fs::write(&path, toml::to_string(&document).unwrap()).unwrap();
    path
}

fn load(path: &Path) -> Loaded {
    config::load(&[path.to_owned()]).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Parses and authenticates as the token endpoint does, with the keys of the issuer that the token names.
fn authentic<K: TokenKind>(loaded: &Loaded, token: &str) -> Result<delegation::token::Authentic<K>, AuthenticateError> {
    let token = Unverified::<K>::parse(token)?;
    let entry = loaded.keys.iter().find(|entry| entry.issuer == token.claimed_issuer());
    let entry = entry.ok_or(AuthenticateError::Bad("its issuer is not trusted"))?;
    let fetch::KeySource::File(path) = &entry.source else {
        panic!("keys lie in files here")
    };
    let keys = KeySet::parse(&entry.issuer, &std::fs::read(path).unwrap(), &entry.algorithms).unwrap();
    token.authenticate(&keys)
}

/// What was read, in the words of the vectors.
fn in_words(evidence: &SubjectEvidence) -> Value {
    let facts = evidence.facts.as_ref().unwrap();
    let scopes: Vec<_> = evidence.authority.scopes.iter().map(ToString::to_string).collect();
    let attributes: serde_json::Map<_, _> = facts
        .attributes
        .values
        .iter()
        .map(|(name, value)| {
            let value = match value {
                AttributeValue::Boolean(flag) => json!(flag),
                AttributeValue::Integer(number) => json!(number),
                AttributeValue::Text(text) => json!(text),
                AttributeValue::Set(items) => json!(items),
            };
            (name.clone(), value)
        })
        .collect();
    let mut words = json!({
        "outcome": "holds", "subject": evidence.subject.sub, "kind": facts.kind.as_str(), "scopes": scopes,
        "groups": facts.attributes.groups, "attributes": attributes,
    });
    if let Some(client) = &facts.requested_by {
        words["client"] = json!(client);
    }
    words
}

fn outcome(loaded: &Loaded, file: &VendorFile, case: &VendorCase) -> Value {
    let moment = Moment {
        now: Timestamp::from_seconds(file.now),
        snapshot: Arc::clone(&loaded.snapshot),
        revocations: Arc::new(View::default()),
    };
    let token = file.token(case, BROKER, 0);
    if case.shown_as == "client_assertion" {
        let authentic = authentic::<WorkloadAssertion>(loaded, &token);
        let verified = authentic.ok().and_then(|authentic| authentic.at(&moment).ok());
        let client = verified.and_then(|verified| AuthenticatedClient::by_workload(&moment, &verified).ok());
        return client.map_or_else(
            || json!({ "outcome": "client_authentication_failed" }),
            |client| json!({ "outcome": "client", "client": client.id().as_str() }),
        );
    }
    let declared = TokenType::parse(&format!("{TYPE}{}", case.shown_as)).unwrap();
    let authentic = authentic::<SubjectToken>(loaded, &token);
    let verified = authentic
        .ok()
        .and_then(|authentic| authentic.at(&moment, declared).ok().map(|verified| in_words(&verified)));
    verified.unwrap_or_else(|| json!({ "outcome": "subject_token_invalid" }))
}

/// Sets compare without order.
fn sorted(mut expect: Value) -> Value {
    for name in ["scopes", "groups"] {
        if let Some(items) = expect.get_mut(name).and_then(Value::as_array_mut) {
            items.sort_by_key(ToString::to_string);
        }
    }
    expect
}

/// CLI-022: among them a repository whose name begins like the one that is meant.
#[test]
fn every_vendors_tokens_are_taken_and_refused_as_the_vectors_say() {
    let (mut judged, mut wrong) = (0, String::new());
    for file in vendor_files() {
        // To whom a token is addressed is the exchange's question, which the broker is asked below.
        for case in file.cases.iter().filter(|case| case.expect["outcome"] != "subject_token_not_for_client") {
            let folder = tempfile::tempdir().unwrap();
            let loaded = load(&install(folder.path(), &[(&file, Some(case))]));
            let (found, expected) = (outcome(&loaded, &file, case), sorted(case.expect.clone()));
            if found != expected {
                wrong.push_str(&format!("\n{}: {}\n  found {found}\n  not   {expected}", file.profile, case.name));
            }
            judged += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(judged > 130, "{judged} cases");
}

/// Neither the type that it is declared as nor the ceiling of its issuer makes a person of an application.
#[test]
fn an_application_is_no_person_whatever_its_token_is_shown_as() {
    let (mut judged, mut taken) = (0, String::new());
    for file in vendor_files() {
        let of_application =
            |case: &&VendorCase| case.name.contains("application token") && case.expect["outcome"] == "subject_token_invalid";
        for case in file.cases.iter().filter(of_application) {
            for shown_as in ["access_token", "id_token", "jwt"] {
                for authority in ["scope", "policy"] {
                    let all = json!(["access_token", "id_token", "jwt"]);
                    let case = case.shown(shown_as, &[("authority", json!(authority)), ("token_types", all)]);
                    let folder = tempfile::tempdir().unwrap();
                    let loaded = load(&install(folder.path(), &[(&file, Some(&case))]));
                    if outcome(&loaded, &file, &case) != case.expect {
                        taken.push_str(&format!("\n{}: {}", file.profile, case.name));
                    }
                    judged += 1;
                }
            }
        }
    }
    assert!(taken.is_empty(), "{taken}");
    assert!(judged > 100, "{judged} cases");
}

#[test]
fn every_profile_has_a_file_with_the_cases_that_every_vendor_has() {
    let files = vendor_files();
    let known: Vec<_> = delegation::registry::Profile::ALL.iter().map(|(name, _)| *name).collect();
    for name in known {
        let file = files.iter().find(|file| file.profile == name).unwrap_or_else(|| panic!("no file for {name}"));
        for part in ["good", "shown as access token", "other tenant"] {
            assert!(file.cases.iter().any(|case| case.name.contains(part)), "{name}: {part}");
        }
        let workloads = ["kubernetes", "github"].contains(&name);
        for part in ["logout token", "application token"] {
            assert!(
                workloads || file.cases.iter().any(|case| case.name.contains(part)),
                "{name}: {part}"
            );
        }
    }
}

#[tokio::test]
async fn the_broker_answers_over_http_as_the_vectors_say() {
    let folder = tempfile::tempdir().unwrap();
    let files = vendor_files();
    let all: Vec<_> = files.iter().map(|file| (file, None)).collect();
    let running = serving::start(vec![install(folder.path(), &all)]).await.unwrap();
    let address = format!("http://{}/oauth2/token", running.address);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    for file in &files {
        for case in file.cases.iter().filter(|case| !case.changes_entry) {
            let what = format!("{}: {}", file.profile, case.name);
            let token = file.token(case, BROKER, now - file.now);
            let expect = &case.expect;
            let body = if case.shown_as == "client_assertion" {
                form(&[
                    ("grant_type", "client_credentials"),
                    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                    ("client_assertion", &token),
                    ("audience", "https://orders.internal"),
                    ("authorization_details", r#"[{"type":"order","actions":["list"]}]"#),
                ])
            } else {
                // What its scopes do not cover is asked of policy alone, where the entry says so.
                let scope = expect["scopes"].as_array().and_then(|scopes| scopes.first()).and_then(Value::as_str);
                let asked = scope.map_or(("authorization_details", r#"[{"type":"order","actions":["list"]}]"#), |scope| {
                    ("scope", scope)
                });
                form(&[
                    ("grant_type", EXCHANGE),
                    ("client_id", "edge"),
                    ("client_secret", SECRET),
                    ("subject_token", &token),
                    ("subject_token_type", &format!("{TYPE}{}", case.shown_as)),
                    ("audience", "https://orders.internal"),
                    asked,
                ])
            };
            let request = http.post(&address).header("content-type", "application/x-www-form-urlencoded");
            let response = request.body(body).send().await.unwrap();
            let reply: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            let claims = crate::assertion::claims_of(reply["access_token"].as_str().unwrap_or_default()).unwrap_or_default();
            match expect["outcome"].as_str().unwrap() {
                // An id_token holds, and under `scope` it has no authority.
                "holds" if expect["scopes"] == json!([]) && file.entry(None, "")["authority"] != "policy" => {
                    assert_eq!(reply["reason"], "wider_than_subject", "{what}: {reply}");
                }
                "holds" => {
                    let issuer = &file.entry(None, "")["issuer"];
                    assert_eq!(claims["sub_id"]["sub"], expect["subject"], "{what}: {reply}");
                    assert_eq!(claims["sub_id"]["iss"], *issuer, "{what}");
                }
                "client" => assert_eq!(claims["client_id"], expect["client"], "{what}: {reply}"),
                reason => assert_eq!(reply["reason"], reason, "{what}: {reply}"),
            }
        }
    }
    running.stop().await;
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
