//! The tokens of known vendors, as `vectors/idp/*.json` writes them down; the format is explained there.

use std::collections::BTreeMap;
use std::path::Path;

use delegation::token::Algorithm;
use serde_json::{Map, Value, json};

use crate::FakeIssuer;

/// The claims that hold dates.
const DATES: [&str; 4] = ["iat", "nbf", "exp", "auth_time"];

/// One vendor's file: an issuer's entry, and tokens that it is shown.
#[derive(Debug)]
pub struct VendorFile {
    /// The profile's word.
    pub profile: String,
    /// The cases, in the order of the file.
    pub cases: Vec<VendorCase>,
    /// The second at which the cases are judged.
    pub now: i64,
    document: Value,
    keys: BTreeMap<(String, String), FakeIssuer>,
}

/// A token, how it is shown, and what must come of it.
#[derive(Debug)]
pub struct VendorCase {
    /// What is special about it.
    pub name: String,
    /// The declared token type, or `client_assertion`.
    pub shown_as: String,
    /// Whether the entry is another one for this case.
    pub changes_entry: bool,
    /// What must come of it.
    pub expect: Value,
    case: Value,
}

/// Every file, with fresh keys.
pub fn vendor_files() -> Vec<VendorFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/idp");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| VendorFile::read(path)).collect()
}

impl VendorCase {
    /// The same token, shown as another type to an entry with these members instead.
    #[must_use]
    pub fn shown(&self, shown_as: &str, entry: &[(&str, Value)]) -> Self {
        let mut case = self.case.clone();
        for (name, value) in entry {
            case["entry"][*name] = value.clone();
        }
        Self {
            name: format!("{}, as {shown_as} with {}", self.name, case["entry"]),
            shown_as: shown_as.to_owned(),
            changes_entry: true,
            expect: self.expect.clone(),
            case,
        }
    }
}

impl VendorFile {
    fn read(path: &Path) -> Self {
        let document: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let mut keys = BTreeMap::new();
        let mut cases = Vec::new();
        for case in document["cases"].as_array().unwrap() {
            let (kid, alg) = key_of(case);
            let issuer = || FakeIssuer::new(text(&document["entry"]["issuer"]), &kid, Algorithm::parse(&alg).unwrap());
            keys.entry((kid.clone(), alg.clone())).or_insert_with(issuer);
            cases.push(VendorCase {
                name: text(&case["name"]).to_owned(),
                shown_as: text(&case["shown_as"]).to_owned(),
                changes_entry: case.get("entry").is_some(),
                expect: case["expect"].clone(),
                case: case.clone(),
            });
        }
        Self {
            profile: text(&document["profile"]).to_owned(),
            cases,
            now: document["now"].as_i64().unwrap(),
            document,
            keys,
        }
    }

    /// The issuer's name in the configuration.
    pub fn name(&self) -> &str {
        text(&self.document["entry"]["name"])
    }

    /// The issuer's key set.
    pub fn jwks(&self) -> Value {
        json!({ "keys": self.keys.values().map(FakeIssuer::jwk).collect::<Vec<_>>() })
    }

    /// The scopes that the configuration maps.
    pub fn mapped_scopes(&self) -> Vec<String> {
        self.document["mapped_scopes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|scope| text(scope).to_owned())
            .collect()
    }

    /// The client that a workload's tokens denote.
    pub fn client(&self) -> Option<Value> {
        self.document.get("client").cloned()
    }

    /// The issuer's entry as `case` asks for it, its keys in `jwks_file`.
    pub fn entry(&self, case: Option<&VendorCase>, jwks_file: &str) -> Value {
        let mut entry = self.document["entry"].clone();
        entry["profile"] = json!(self.profile);
        entry["jwks_file"] = json!(jwks_file);
        for (name, value) in case.and_then(|case| case.case["entry"].as_object()).into_iter().flatten() {
            entry[name] = value.clone();
        }
        entry
    }

    /// The token of `case`, signed, for the broker of this issuer identifier, `later` seconds after the file's now.
    pub fn token(&self, case: &VendorCase, broker: &str, later: i64) -> String {
        let claims = case.case["claims"].to_string().replace("{broker}", broker);
        let mut claims: Map<String, Value> = serde_json::from_str(&claims).unwrap();
        for name in DATES {
            if let Some(date) = claims.get(name).and_then(Value::as_i64) {
                claims.insert(name.to_owned(), json!(date + later));
            }
        }
        let header = case.case["header"].to_string();
        self.keys[&key_of(&case.case)].sign_raw(header.as_bytes(), Value::Object(claims).to_string().as_bytes())
    }
}

fn key_of(case: &Value) -> (String, String) {
    let header = |name: &str| text(&case["header"][name]).to_owned();
    (header("kid"), header("alg"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
