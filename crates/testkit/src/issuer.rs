//! An issuer that signs exactly what it is told, right or wrong.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delegation::token::{Algorithm, KeySet};
use serde_json::{Value, json};

enum Pair {
    Ecdsa(EcdsaKeyPair, usize),
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// A key pair under an issuer's name.
pub struct FakeIssuer {
    /// Its `iss`.
    pub issuer: String,
    /// Its `kid`.
    pub kid: String,
    algorithm: Algorithm,
    pair: Pair,
}

impl std::fmt::Debug for FakeIssuer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("FakeIssuer").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl FakeIssuer {
    /// An issuer with a fresh key for `algorithm`.
    pub fn new(issuer: &str, kid: &str, algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let pair = match algorithm {
            Algorithm::Es256 => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
                Pair::Ecdsa(
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap(),
                    32,
                )
            }
            Algorithm::Es384 => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &random).unwrap();
                Pair::Ecdsa(
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, pkcs8.as_ref()).unwrap(),
                    48,
                )
            }
            Algorithm::EdDsa => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap())
            }
            _ => Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())),
        };
        Self {
            issuer: issuer.to_owned(),
            kid: kid.to_owned(),
            algorithm,
            pair,
        }
    }

    /// An ES256 issuer.
    pub fn es256(issuer: &str) -> Self {
        Self::new(issuer, "k1", Algorithm::Es256)
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::Ecdsa(pair, size) => {
                let point = pair.public_key().as_ref();
                let curve = if *size == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": text(&point[1..=*size]), "y": text(&point[size + 1..]) })
            }
            Pair::Ed25519(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                json!({ "kty": "RSA", "n": text(public.modulus().big_endian_without_leading_zero()), "e": text(public.exponent().big_endian_without_leading_zero()) })
            }
        };
        jwk["kid"] = json!(self.kid);
        jwk["alg"] = json!(self.algorithm.as_str());
        jwk["use"] = json!("sig");
        jwk
    }

    /// The public key as a set.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// The set as a verifier loads it.
    pub fn key_set(&self) -> KeySet {
        KeySet::parse(&self.issuer, self.jwks().to_string().as_bytes(), &[self.algorithm]).expect("a fake issuer's keys are right")
    }

    /// The header that a right token of this issuer has.
    pub fn header(&self, typ: &str) -> Value {
        json!({ "alg": self.algorithm.as_str(), "typ": typ, "kid": self.kid })
    }

    /// A right token.
    pub fn sign(&self, typ: &str, claims: &Value) -> String {
        self.sign_raw(self.header(typ).to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// A token of these very bytes, signed properly.
    pub fn sign_raw(&self, header: &[u8], payload: &[u8]) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(self.signature(input.as_bytes())))
    }

    /// The signature over any bytes.
    pub fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let padding = if self.algorithm == Algorithm::Ps256 {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }

    /// A token whose HMAC was made with `secret`: the classic confusion of a public key with a shared one.
    pub fn hs256(&self, secret: &[u8], claims: &Value) -> String {
        let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": self.kid }).to_string();
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }
}
