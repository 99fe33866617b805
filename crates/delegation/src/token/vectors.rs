//! Published test vectors against the parts below the claims: the JWS reader and the key set.
//!
//! They lie below the claims because the vectors' payloads are no claims sets; through the public door every one would
//! be refused, and nothing be learnt.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod jose;
mod raw;
mod rfc;

use serde_json::Value;

use super::compact::Jws;
use super::keys::{Algorithm, KeySet};

/// Whether `jws` verifies with one key of `jwks`, every algorithm being allowed.
fn accepted(jwks: &Value, jws: &str) -> bool {
    let set = if jwks.get("keys").is_some() {
        jwks.clone()
    } else {
        serde_json::json!({ "keys": [jwks] })
    };
    let (Ok(keys), Ok(jws)) = (KeySet::parse("", set.to_string().as_bytes(), &Algorithm::ALL), Jws::parse(jws)) else {
        return false;
    };
    keys.verifies(jws.kid.as_deref(), jws.algorithm, jws.signing_input.as_bytes(), &jws.signature)
}
