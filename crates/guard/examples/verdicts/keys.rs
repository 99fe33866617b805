//! Keys that a set may hold beside those that sign, with something wrong or odd about each.

use delegation::token::Algorithm;
use serde_json::{Value, json};
use testkit::FakeIssuer;

/// What is published of a key in place of what it is; `null` takes a member away.
fn odd() -> Vec<(&'static str, Algorithm, Value)> {
    use Algorithm::{EdDsa, Es256, Es384, Ps256, Rs256};
    vec![
        ("a key for encryption", Es256, json!({ "use": "enc" })),
        ("a key without a use", Es256, json!({ "use": null })),
        ("a key that was published whole", Es256, json!({ "d": "AAAA" })),
        ("a key that only signs", Es256, json!({ "key_ops": ["sign"] })),
        ("a key that verifies", Es256, json!({ "key_ops": ["verify"] })),
        ("a key whose operations are a text", Es256, json!({ "key_ops": "verify" })),
        ("a key without an algorithm", Es256, json!({ "alg": null })),
        ("a key with the algorithm of another curve", Es256, json!({ "alg": "ES384" })),
        ("a key with the algorithm of another type", Es256, json!({ "alg": "RS256" })),
        ("a key with an algorithm that is a number", Es256, json!({ "alg": 1 })),
        ("a key of another curve", Es384, json!({})),
        ("a key that names another curve", Es256, json!({ "crv": "P-384" })),
        ("a key with a short coordinate", Es256, json!({ "x": "AAAA" })),
        ("a key off its curve", Es256, json!({ "x": "A".repeat(43) })),
        ("an Edwards key without an algorithm", EdDsa, json!({ "alg": null })),
        ("an Edwards key by its newer name", EdDsa, json!({ "alg": "Ed25519" })),
        ("an RSA key without an algorithm", Rs256, json!({ "alg": null })),
        ("an RSA key for another padding", Rs256, json!({ "alg": "PS256" })),
        ("an RSA key with a small exponent", Ps256, json!({ "e": "Aw" })),
        ("an RSA key that is short", Rs256, json!({ "n": "u".repeat(171) })),
    ]
}

/// Pairs whose `kid` is what is odd about them.
pub(crate) fn unfit(issuer: &str) -> Vec<FakeIssuer> {
    odd().into_iter().map(|(kid, algorithm, _)| FakeIssuer::new(issuer, kid, algorithm)).collect()
}

/// What is published of such a pair.
pub(crate) fn published(key: &FakeIssuer) -> Value {
    let mut jwk = key.jwk();
    let odd = odd();
    let (_, _, changes) = odd.iter().find(|(kid, ..)| *kid == key.kid).unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            jwk.as_object_mut().unwrap().remove(name);
        } else {
            jwk[name] = value.clone();
        }
    }
    jwk
}
