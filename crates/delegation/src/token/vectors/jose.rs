//! Wycheproof's JOSE files: nothing invalid is accepted, and each valid thing that is refused is in a reviewed table.
//!
//! The vectors are read from the folder `NARROWS_VECTORS` or `../shared/vectors/wycheproof` beside the repository. Where
//! they are missing each test says so on standard error and returns; `scripts/test` leaves these tests out instead, so
//! that its count calls them skipped.
#![expect(clippy::disallowed_methods, reason = "the vectors are files outside the repository")]

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use testkit::FakeIssuer;

use super::accepted;

/// Why valid cases are refused. Reviewed by hand; a case that is not here, or here and accepted, fails the test.
const NO_HMAC: &str = "its key is a shared secret: HMAC is not spoken here";
const ONE_ALGORITHM: &str = "the key is for PS256, the token says PS384: a key has one algorithm";
const UNREGISTERED: &str = "the key names `ES521`, which is not a registered algorithm";
const NO_JWE: &str = "encrypted tokens are not taken";

const SIGNATURE_REFUSALS: [(&[u64], &str); 3] = [
    (&[1, 348, 352, 357, 358, 359, 372, 373, 376, 377], NO_HMAC),
    (&[346, 350], ONE_ALGORITHM),
    (&[347, 351], UNREGISTERED),
];
const KEY_REFUSALS: [(&[u64], &str); 1] = [(&[2, 13, 14, 15], NO_HMAC)];
const CRYPTO_REFUSALS: [(&[u64], &str); 2] = [(&[1, 48], NO_HMAC), (&[50, 67], NO_JWE)];

/// One file of the vectors; none, and a line that says so, where there are none.
fn read(name: &str) -> Option<Value> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/wycheproof");
    let folder = std::env::var("NARROWS_VECTORS").unwrap_or_else(|_| beside.to_owned());
    let Ok(bytes) = std::fs::read(Path::new(&folder).join(name)) else {
        eprintln!("SKIPPED: no {name}: set NARROWS_VECTORS to the folder of Wycheproof's JOSE vectors");
        return None;
    };
    Some(serde_json::from_slice(&bytes).unwrap())
}

/// Every case of `file` with its group's keys: (id, keys, text, whether it is valid).
fn cases(file: &Value) -> Vec<(u64, &Value, String, bool)> {
    let mut found = Vec::new();
    for group in file["testGroups"].as_array().unwrap() {
        let keys = group.get("public").or_else(|| group.get("private")).unwrap();
        for case in group["tests"].as_array().unwrap() {
            let token = case.get("jws").or_else(|| case.get("jwe")).unwrap();
            // A token in the JSON serialization is shown as that JSON.
            let text = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
            found.push((case["tcId"].as_u64().unwrap(), keys, text, case["result"] == "valid"));
        }
    }
    assert_eq!(found.len(), usize::try_from(file["numberOfTests"].as_u64().unwrap()).unwrap());
    found
}

/// Runs a file; gives the number of cases that were rightly accepted.
fn check(name: &str, refusals: &[(&[u64], &str)]) -> Option<usize> {
    let file = read(name)?;
    let reviewed: BTreeMap<u64, &str> = refusals.iter().flat_map(|(ids, why)| ids.iter().map(|id| (*id, *why))).collect();
    let mut right = 0;
    for (id, keys, text, valid) in cases(&file) {
        match (accepted(keys, &text), valid) {
            (true, false) => panic!("{name} {id}: accepted, and it is invalid"),
            (true, true) => {
                assert!(!reviewed.contains_key(&id), "{name} {id} is accepted: strike it off the table");
                right += 1;
            }
            (false, true) => assert!(reviewed.contains_key(&id), "{name} {id}: refused without a reviewed reason"),
            (false, false) => assert!(!reviewed.contains_key(&id), "{name} {id} is invalid and needs no reason"),
        }
    }
    Some(right)
}

#[test]
fn of_wycheproofs_signatures_no_invalid_one_is_accepted() {
    if let Some(right) = check("json_web_signature_test.json", &SIGNATURE_REFUSALS) {
        assert_eq!(right, 32);
    }
}

#[test]
fn of_wycheproofs_keys_no_invalid_one_is_used() {
    if let Some(right) = check("json_web_key_test.json", &KEY_REFUSALS) {
        assert_eq!(right, 1);
    }
}

#[test]
fn of_wycheproofs_mixed_cases_no_invalid_one_is_accepted() {
    if let Some(right) = check("json_web_crypto_test.json", &CRYPTO_REFUSALS) {
        assert_eq!(right, 2);
    }
}

/// The group `base64` is made with HMAC, so it would be refused for that alone. Here each case is signed again with
/// ES256: the header's algorithm is replaced, the spelling that is under test is kept, and the signature covers the
/// bytes as they are.
#[test]
fn misspelt_base64_is_refused_under_a_signature_too() {
    let Some(file) = read("json_web_signature_test.json") else { return };
    let issuer = FakeIssuer::es256("");
    let mut jwk = issuer.jwk();
    jwk["kid"] = "hs256-key".into();
    let (mut accepts, mut refusals) = (Vec::new(), Vec::new());
    let groups = file["testGroups"].as_array().unwrap();
    let group = groups.iter().find(|group| group["comment"] == "base64").unwrap();
    for case in group["tests"].as_array().unwrap() {
        let (id, text) = (case["tcId"].as_u64().unwrap(), case["jws"].as_str().unwrap());
        let parts: Vec<&str> = text.split('.').collect();
        let [header, payload, tag] = parts.as_slice() else { panic!("{id}") };
        let odd = |text: &str| {
            text.chars()
                .filter(|each| !each.is_ascii_alphanumeric() && !"-_".contains(*each))
                .collect::<String>()
        };
        // A header is decoded without its odd characters, changed, and gets them back where they were: inside or behind.
        let plain: String = header.chars().filter(|each| !odd(header).contains(*each)).collect();
        let json = String::from_utf8(URL_SAFE_NO_PAD.decode(&plain).unwrap()).unwrap();
        let mut header_again = URL_SAFE_NO_PAD.encode(json.replace("HS256", "ES256"));
        let place = header.find(|each| odd(header).contains(each)).unwrap_or(0).min(header_again.len());
        header_again.insert_str(place, &odd(header));
        let signed = format!("{header_again}.{payload}");
        let mut signature = URL_SAFE_NO_PAD.encode(issuer.signature(signed.as_bytes()));
        // The same oddity at the same end of the signature.
        let strange = odd(tag);
        if tag.starts_with(|each| strange.contains(each)) {
            signature.insert_str(0, &strange);
        } else {
            signature.push_str(&strange);
        }
        if accepted(&jwk, &format!("{signed}.{signature}")) {
            accepts.push(id);
        } else {
            refusals.push(id);
        }
    }
    // 367 and 370 are the cases of padding; their published text has lost it, so they are well spelt here and padded below.
    assert_eq!(accepts, [357, 358, 359, 367, 370, 376, 377]);
    assert_eq!(refusals, [360, 361, 362, 363, 364, 365, 366, 368, 369, 371, 372, 373, 374, 375]);
    let header = URL_SAFE_NO_PAD.encode(r#"{"kid":"hs256-key","alg":"ES256"}"#);
    for (header, payload) in [(format!("{header}="), "VGVzdA"), (header.clone(), "VGVzdA=="), (header, "VGVzdA=")] {
        let signed = format!("{header}.{payload}");
        let signature = URL_SAFE_NO_PAD.encode(issuer.signature(signed.as_bytes()));
        assert!(!accepted(&jwk, &format!("{signed}.{signature}")), "{signed}");
    }
}
