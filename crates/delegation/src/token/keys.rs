//! Verification keys: each belongs to one issuer and one algorithm (RFC 7517, RFC 7518, RFC 8725 §3.1).

use std::collections::BTreeSet;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{self, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::digest::sha256;
use crate::json;

mod roca;

/// No more keys in one set than this are looked at.
const MOST: usize = 100;

/// A signature algorithm. All are asymmetric; there is no `none` and no HMAC to be confused with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are those of RFC 7518 and RFC 8037")]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    pub(super) const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The algorithm by its `alg` name, compared byte for byte; `Ed25519` (RFC 9864) is `EdDSA`.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// The `alg` name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    fn is_rsa(self) -> bool {
        matches!(
            self,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512
        )
    }
}

/// One public key, usable with one algorithm.
#[derive(Debug)]
struct VerifyingKey {
    kid: Option<String>,
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

/// The keys of one issuer.
///
/// A key is found by issuer, `kid` and algorithm together, never by `kid` alone; where two keys fit, none does.
#[derive(Debug)]
pub struct KeySet {
    issuer: String,
    identity: [u8; 32],
    keys: Vec<VerifyingKey>,
}

/// A key set of which nothing can be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not JSON, or no `keys` in it.
    #[error("expected a JSON Web Key Set, an object with an array `keys`")]
    NotASet,
    /// No key that this issuer may sign with.
    #[error("no usable key among {0}: each needs a known type, enough strength and an algorithm that the configuration allows")]
    NoUsableKey(usize),
    /// A shared secret was published beside or instead of public keys.
    #[error("the set holds a shared secret (`kty` is `oct`): whoever reads the set could sign")]
    SharedSecret,
    /// Two usable keys have one `kid`.
    #[error("two usable keys of the set have one `kid`: which of them is meant cannot be told")]
    OneNameTwice,
}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517 §5) as `issuer`'s, for the algorithms that `issuer` may use.
    ///
    /// A key that is unfit (another use, unknown type, a point off its curve, RSA below 2,048 bits, with an exponent
    /// below 65,537 or factorable by ROCA, a private key that was published) is left out; if none is left the set is
    /// refused. So is a set that holds a shared secret, or in which two usable keys have one `kid`: providers keep
    /// encryption keys and algorithms that are not asked for under the same name, and those do not count.
    pub fn parse(issuer: &str, jwks: &[u8], algorithms: &[Algorithm]) -> Result<Self, KeySetError> {
        let set = json::parse_object(jwks, 16).map_err(|_| KeySetError::NotASet)?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NotASet)?;
        if listed.iter().any(|key| key.get("kty").is_some_and(|kty| kty == "oct")) {
            return Err(KeySetError::SharedSecret);
        }
        let usable = |key: &Value| key.as_object().and_then(|key| VerifyingKey::from_jwk(key, algorithms));
        let keys: Vec<_> = listed.iter().take(MOST).filter_map(usable).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey(listed.len()));
        }
        let mut names = BTreeSet::new();
        if !keys.iter().filter_map(|key| key.kid.as_deref()).all(|kid| names.insert(kid)) {
            return Err(KeySetError::OneNameTwice);
        }
        Ok(Self {
            identity: identity(issuer, jwks, algorithms),
            issuer: issuer.to_owned(),
            keys,
        })
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none; never true of a set that was parsed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whose keys these are: the `iss` of tokens that they may verify.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What tells this set from every other: equal for the same bytes of the same issuer under the same algorithms,
    /// and for nothing else. A set that lost or gained a key has another one.
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// Whether a key is named `kid`, whatever its algorithm.
    pub(super) fn names(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// Whether exactly one key fits and its signature over `message` is `signature`.
    pub(super) fn verifies(&self, kid: Option<&str>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let fits = |key: &&VerifyingKey| key.algorithm == algorithm && (kid.is_none() || key.kid.as_deref() == kid);
        let mut fitting = self.keys.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => only.key.verify_sig(message, signature).is_ok(),
            _ => false,
        }
    }
}

impl VerifyingKey {
    fn from_jwk(jwk: &Map<String, Value>, algorithms: &[Algorithm]) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|value| URL_SAFE_NO_PAD.decode(value).ok());
        let signs = jwk.get("use").is_none_or(|usage| usage == "sig");
        let verifies = match jwk.get("key_ops") {
            None => true,
            Some(operations) => operations.as_array()?.iter().any(|operation| operation == "verify"),
        };
        if !signs || !verifies || jwk.contains_key("d") {
            return None;
        }
        let kid = match jwk.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str()?.to_owned()),
        };
        let natural = match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("EC", Some("P-384")) => Algorithm::Es384,
            ("EC", Some("P-521")) => Algorithm::Es512,
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            ("RSA", _) => Algorithm::Rs256,
            _ => return None,
        };
        let algorithm = match jwk.get("alg") {
            Some(name) => Algorithm::parse(name.as_str()?)?,
            None if natural.is_rsa() => only_rsa(algorithms)?,
            None => natural,
        };
        // What a key says of its type, curve and algorithm agrees, or nothing that it says can be relied on.
        let agrees = algorithm == natural || (algorithm.is_rsa() && natural.is_rsa());
        if !agrees || !algorithms.contains(&algorithm) {
            return None;
        }
        let key = match natural {
            Algorithm::EdDsa => parse_raw(algorithm, &bytes("x")?)?,
            natural if natural.is_rsa() => parse_rsa(algorithm, bytes("n")?, bytes("e")?)?,
            _ => parse_raw(algorithm, &uncompressed_point(algorithm, &bytes("x")?, &bytes("y")?)?)?,
        };
        Some(Self { kid, algorithm, key })
    }
}

/// Each part with its length before it, so that no two sets run together.
fn identity(issuer: &str, jwks: &[u8], algorithms: &[Algorithm]) -> [u8; 32] {
    let mut bytes = Vec::new();
    let names = algorithms.iter().map(|algorithm| algorithm.as_str().as_bytes());
    for part in [issuer.as_bytes(), jwks].into_iter().chain(names) {
        bytes.extend_from_slice(&part.len().to_be_bytes());
        bytes.extend_from_slice(part);
    }
    sha256(&bytes)
}

/// An RSA key that does not name its algorithm gets the issuer's only one, so that a key has one algorithm.
fn only_rsa(algorithms: &[Algorithm]) -> Option<Algorithm> {
    let mut rsa = algorithms.iter().filter(|algorithm| algorithm.is_rsa());
    match (rsa.next(), rsa.next()) {
        (Some(only), None) => Some(*only),
        _ => None,
    }
}

/// RFC 7518 §6.2.1.2: both coordinates have the full length of the curve's field.
fn uncompressed_point(algorithm: Algorithm, x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    let length = match algorithm {
        Algorithm::Es256 => 32,
        Algorithm::Es384 => 48,
        Algorithm::Es512 => 66,
        _ => return None,
    };
    (x.len() == length && y.len() == length).then(|| [&[4], x, y].concat())
}

fn parse_raw(algorithm: Algorithm, bytes: &[u8]) -> Option<ParsedPublicKey> {
    match algorithm {
        Algorithm::Es256 => ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, bytes).ok(),
        Algorithm::Es384 => ParsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, bytes).ok(),
        Algorithm::Es512 => ParsedPublicKey::new(&signature::ECDSA_P521_SHA512_FIXED, bytes).ok(),
        Algorithm::EdDsa if bytes.len() == 32 && !is_small_order(bytes) => ParsedPublicKey::new(&signature::ED25519, bytes).ok(),
        _ => None,
    }
}

fn parse_rsa(algorithm: Algorithm, n: Vec<u8>, e: Vec<u8>) -> Option<ParsedPublicKey> {
    let exponent = e.iter().try_fold(0_u64, |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)))?;
    let padded = [&n, &e].iter().any(|number| number.first() == Some(&0));
    if exponent < 65_537 || padded || !(256..=1024).contains(&n.len()) || roca::fits(&n) {
        return None;
    }
    let key = PublicKeyComponents { n, e };
    match algorithm {
        Algorithm::Rs256 => key.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256).ok(),
        Algorithm::Rs384 => key.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA384).ok(),
        Algorithm::Rs512 => key.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA512).ok(),
        Algorithm::Ps256 => key.to_parsed_public_key(&signature::RSA_PSS_2048_8192_SHA256).ok(),
        Algorithm::Ps384 => key.to_parsed_public_key(&signature::RSA_PSS_2048_8192_SHA384).ok(),
        Algorithm::Ps512 => key.to_parsed_public_key(&signature::RSA_PSS_2048_8192_SHA512).ok(),
        _ => None,
    }
}

/// Whether an Ed25519 key is one of the points of order 8 or less, for which one signature fits many messages.
///
/// Compared by the y coordinate, the sign bit aside: 0, 1, −1, the two of order 8, and the encodings of 0 and 1
/// that are not reduced modulo p.
fn is_small_order(key: &[u8]) -> bool {
    const ORDER_EIGHT: [&str; 2] = [
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    ];
    let mut y = key.to_vec();
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    let hex: String = y.iter().map(|byte| format!("{byte:02x}")).collect();
    let middle = |first: &str, fill: &str, last: &str| format!("{first}{}{last}", fill.repeat(30));
    let small = [
        middle("00", "00", "00"),
        middle("01", "00", "00"),
        middle("ec", "ff", "7f"),
        middle("ed", "ff", "7f"),
        middle("ee", "ff", "7f"),
    ];
    ORDER_EIGHT.contains(&hex.as_str()) || small.contains(&hex)
}
