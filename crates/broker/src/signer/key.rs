//! One signing key and its one algorithm.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use delegation::token::{Algorithm, sha256};
use issuance::mint::KeyName;
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// A private key, ready to sign. It is never shown, copied or written.
pub(super) struct SigningKey {
    name: KeyName,
    pair: Pair,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SigningKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SigningKey {
    pub(super) fn from_pkcs8(kid: String, algorithm: Algorithm, pkcs8: &[u8]) -> Option<Self> {
        Some(Self {
            name: KeyName { kid, algorithm },
            pair: Pair::parse(algorithm, pkcs8)?,
        })
    }

    pub(super) fn name(&self) -> &KeyName {
        &self.name
    }

    /// The JWS signature of `message` (RFC 7518 §3).
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            Pair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let padding = if self.name.algorithm == Algorithm::Ps256 {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

impl Pair {
    fn parse(algorithm: Algorithm, pkcs8: &[u8]) -> Option<Self> {
        match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok().map(Self::Ecdsa),
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8(pkcs8).ok().map(Self::Ed25519),
            Algorithm::Rs256 | Algorithm::Ps256 => RsaKeyPair::from_pkcs8(pkcs8).ok().map(Self::Rsa),
            _ => None,
        }
    }

    /// The public half as a JWK, without name and use.
    fn public_jwk(&self) -> Option<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ecdsa(pair) => {
                let point = pair.public_key().as_ref();
                Some(json!({ "kty": "EC", "crv": "P-256", "x": text(point.get(1..33)?), "y": text(point.get(33..65)?) }))
            }
            Self::Ed25519(pair) => Some(json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })),
            Self::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                Some(
                    json!({ "kty": "RSA", "n": text(n.big_endian_without_leading_zero()), "e": text(e.big_endian_without_leading_zero()) }),
                )
            }
        }
    }
}

/// Makes a key: its `kid`, its private half as PKCS#8, and its public half as a JWK.
pub(super) fn generate(algorithm: Algorithm) -> Option<(String, Zeroizing<Vec<u8>>, Value)> {
    let random = SystemRandom::new();
    let pkcs8 = match algorithm {
        Algorithm::Es256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).ok()?.as_ref().to_vec(),
        Algorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(&random).ok()?.as_ref().to_vec(),
        Algorithm::Rs256 | Algorithm::Ps256 => RsaKeyPair::generate(KeySize::Rsa2048).ok()?.as_der().ok()?.as_ref().to_vec(),
        _ => return None,
    };
    let pkcs8 = Zeroizing::new(pkcs8);
    let mut jwk = Pair::parse(algorithm, &pkcs8)?.public_jwk()?;
    // Named after the public half, in a fixed length, so that no name tells when or in what order keys were made.
    let digest = URL_SAFE_NO_PAD.encode(sha256(jwk.to_string().as_bytes()));
    let kid = format!("nrw-{}", digest.get(..16)?);
    let members = jwk.as_object_mut()?;
    members.insert("kid".to_owned(), json!(kid));
    members.insert("alg".to_owned(), json!(algorithm.as_str()));
    members.insert("use".to_owned(), json!("sig"));
    Some((kid, pkcs8, jwk))
}
