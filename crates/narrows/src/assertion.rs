//! A client's side: its key, and the assertions that it signs (RFC 7523 §2.2).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// An ES256 key that signs for a client, or for the sample provider of the demo.
pub(crate) struct ClientKey {
    pair: EcdsaKeyPair,
    /// What the broker calls it.
    kid: Option<String>,
}

/// A key that could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("expected an ES256 private key in PEM (PKCS#8), as `narrows client add` writes it")]
pub(crate) struct BadKey;

impl ClientKey {
    /// Makes a key and its PEM text.
    pub(crate) fn generate() -> Result<(Self, String), BadKey> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).map_err(|_| BadKey)?;
        let body = STANDARD.encode(pkcs8.as_ref());
        let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
        let pem = format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"));
        Ok((Self::parse(&pem)?, pem))
    }

    /// Reads a key from its PEM text.
    pub(crate) fn parse(pem: &str) -> Result<Self, BadKey> {
        let body = pem.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).ok_or(BadKey)?.0;
        let body: String = body.split_whitespace().collect();
        let pkcs8 = STANDARD.decode(body).map_err(|_| BadKey)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map_err(|_| BadKey)?;
        let digest = delegation::token::sha256(pair.public_key().as_ref());
        let kid = URL_SAFE_NO_PAD.encode(digest.get(..9).unwrap_or_default());
        Ok(Self { pair, kid: Some(kid) })
    }

    /// The key by the name that it has in `published`, a JSON Web Key Set, or by none if it has none there. A set without it changes nothing.
    pub(crate) fn named_as_in(mut self, published: &Value) -> Self {
        let (x, y) = self.coordinates();
        let keys = published.get("keys").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
        let ours = |key: &&Value| text(key, "x").as_ref() == Some(&x) && text(key, "y").as_ref() == Some(&y);
        if let Some(key) = keys.iter().find(ours) {
            self.kid = text(key, "kid");
        }
        self
    }

    /// The two halves of its public point, as a JSON Web Key has them (RFC 7518 §6.2.1).
    fn coordinates(&self) -> (String, String) {
        let point = self.pair.public_key().as_ref();
        let part = |from: usize| URL_SAFE_NO_PAD.encode(point.get(from..from + 32).unwrap_or_default());
        (part(1), part(33))
    }

    /// The public half as a JSON Web Key Set.
    pub(crate) fn jwks(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid, "alg": "ES256", "use": "sig" }] })
    }

    /// Signs a JWT with `typ`.
    pub(crate) fn sign(&self, typ: &str, claims: &Value) -> Result<String, BadKey> {
        let header = match &self.kid {
            Some(kid) => json!({ "alg": "ES256", "typ": typ, "kid": kid }).to_string(),
            None => json!({ "alg": "ES256", "typ": typ }).to_string(),
        };
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), input.as_bytes()).map_err(|_| BadKey)?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// An assertion by which `client` authenticates at the broker `issuer`, good for a minute and for once.
    pub(crate) fn assertion(&self, client: &str, issuer: &str) -> Result<String, BadKey> {
        let now = jiff::Timestamp::now().as_second();
        let jti = uuid::Uuid::now_v7().to_string();
        self.sign(
            "client-authentication+jwt",
            &json!({ "iss": client, "sub": client, "aud": issuer, "iat": now, "exp": now + 60, "jti": jti }),
        )
    }
}

/// The claims of a token, read without checking it: for showing, never for deciding.
pub(crate) fn claims_of(token: &str) -> Option<Value> {
    segment(token, 1)
}

/// The header of a token, read without checking it.
pub(crate) fn header_of(token: &str) -> Option<Value> {
    segment(token, 0)
}

fn segment(token: &str, at: usize) -> Option<Value> {
    let segment = token.trim().split('.').nth(at)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
}
