//! A configuration that uses every key there is.

use std::collections::BTreeSet;
use std::path::Path;

use crate::run::narrows;

/// Keys that are not served yet and refuse to start, since somebody would rely on them.
const REFUSED: [&str; 2] = ["act", "san_uri"];

/// A folder with the configuration and what it names.
pub(crate) fn installation() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    // The rule that `init` writes speaks of another shop.
    std::fs::write(folder.path().join("policies/first.cedar"), "").unwrap();
    std::fs::write(folder.path().join("narrows.toml"), include_str!("every_key.toml")).unwrap();
    let authority = testkit::CertificateAuthority::new("test authority");
    let (listener, to_backend) = (authority.server(), authority.client("parcels"));
    for (name, text) in [
        ("tls.crt", &listener.certificate),
        ("tls.key", &listener.key),
        ("ca.pem", &authority.pem),
        ("backend.crt", &to_backend.certificate),
        ("backend.key", &to_backend.key),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn shown(folder: &Path) -> toml::Table {
    let ran = narrows(folder, &["config", "show", "--json"], "");
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    serde_json::from_value(shown.get("config").unwrap().clone()).unwrap()
}

fn keys_of_schema(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    match schema {
        serde_json::Value::Object(members) => {
            if let Some(properties) = members.get("properties").and_then(|properties| properties.as_object()) {
                found.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| keys_of_schema(member, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| keys_of_schema(item, found)),
        _ => {}
    }
}

fn keys_of_table(value: &toml::Value, found: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            found.extend(table.keys().cloned());
            table.values().for_each(|value| keys_of_table(value, found));
        }
        toml::Value::Array(items) => items.iter().for_each(|item| keys_of_table(item, found)),
        _ => {}
    }
}

#[test]
fn a_configuration_with_every_key_is_right() {
    let folder = installation();
    let ran = narrows(folder.path(), &["check", "--json"], "");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let ran: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let warned = |key: &str| {
        let warnings = ran.get("warnings").unwrap().as_array().unwrap();
        warnings.iter().any(|warning| warning.get("key").unwrap() == key)
    };
    for key in [
        "boundaries[0].observe_until",
        "guards[0].observe_until",
        "mcp",
        "exceptions",
        "notify",
        "audit",
        "operators",
        "policy.shadow",
    ] {
        assert!(warned(key), "{key} does nothing, yet or any more, and that is said");
    }
    for key in ["ext_authz_grpc", "ext_authz_http", "forward_auth", "proxy"] {
        assert!(!warned(&format!("boundaries[0].{key}")), "{key} serves");
    }
}

#[test]
fn no_key_of_the_schema_is_missing_here() {
    let folder = installation();
    let schema = narrows(folder.path(), &["check", "--schema"], "");
    let mut known = BTreeSet::new();
    keys_of_schema(&serde_json::from_str(&schema.out).unwrap(), &mut known);
    let mut used = BTreeSet::new();
    keys_of_table(&toml::Value::Table(include_str!("every_key.toml").parse().unwrap()), &mut used);
    let missing: BTreeSet<_> = known.difference(&used).map(String::as_str).collect();
    assert_eq!(missing, BTreeSet::from(REFUSED));
}

#[test]
fn no_secret_is_shown() {
    let folder = installation();
    let path = std::env::var("PATH").unwrap();
    let ran = narrows(folder.path(), &["config", "show", "--effective"], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.out.contains("00112233") && !ran.out.contains(&path), "{}", ran.out);
    let pem = std::fs::read_to_string(folder.path().join("edge.key")).unwrap();
    assert!(!ran.out.contains(&pem));
    let text = include_str!("every_key.toml").replace("key      = { file = \"edge.key\" }", &format!("key = \"\"\"\n{pem}\"\"\""));
    assert!(text.contains(&pem));
    std::fs::write(folder.path().join("narrows.toml"), text).unwrap();
    assert_eq!(
        shown(folder.path()).get("broker").unwrap().get("key").unwrap().as_str(),
        Some("***")
    );
}

#[test]
fn a_key_set_that_changed_is_another_version() {
    let folder = installation();
    let version = || {
        let ran = narrows(folder.path(), &["config", "show"], "");
        let line = ran.out.lines().find(|line| line.starts_with("# config_version")).unwrap().to_owned();
        line.split(',').next().unwrap().to_owned()
    };
    let before = version();
    let keys = folder.path().join("edge.jwks.json");
    let text = std::fs::read_to_string(&keys).unwrap();
    assert_eq!(version(), before);
    std::fs::write(keys, format!("{text}\n")).unwrap();
    assert_ne!(version(), before);
}
