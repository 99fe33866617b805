//! Names made of digests.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// The entry of an outside token in `chain`: `o_` and the digest of its issuer and `jti`.
///
/// A token without `jti` is named by its first two segments, since a signature can have a twin.
pub fn chain_entry(iss: &str, jti: Option<&str>, signing_input: &str) -> String {
    let named = match jti {
        Some(jti) => sha256(format!("{iss}\n{jti}").as_bytes()),
        None => sha256(signing_input.as_bytes()),
    };
    format!("o_{}", URL_SAFE_NO_PAD.encode(named))
}
