//! Encryption at rest, with keys from files.

use std::path::PathBuf;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("key_file `{path}`: {cause}")]
pub struct KeyFileError {
    path: String,
    cause: String,
}

/// The key files: the first encrypts, all decrypt.
pub(crate) struct Sealing(Vec<LessSafeKey>);

impl std::fmt::Debug for Sealing {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Sealing(..)")
    }
}

impl Sealing {
    pub(crate) fn load(files: &[PathBuf]) -> Result<Self, KeyFileError> {
        let key = |path: &PathBuf| {
            let failed = |cause: String| KeyFileError {
                path: path.display().to_string(),
                cause,
            };
            let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?);
            let bytes = STANDARD.decode(text.trim()).map(Zeroizing::new);
            let bytes = bytes.map_err(|_| failed("expected one line of base64, as `narrows init` writes it".to_owned()))?;
            let key = UnboundKey::new(&AES_256_GCM, &bytes);
            let key = key.map_err(|_| failed(format!("expected 32 bytes in base64, found {}", bytes.len())))?;
            Ok(LessSafeKey::new(key))
        };
        files.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Encrypts `secret` for the place `name`: what is sealed for one name does not open for another.
    pub(crate) fn seal(&self, name: &str, secret: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = secret.to_vec();
        self.0
            .first()?
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()), &mut sealed)
            .ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what was sealed for the place `name`, with whichever key fits.
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.0.iter().find_map(|key| open_with(key, name, sealed))
    }

    /// Whether there is but one key, so that whatever opens at all was sealed by the first.
    pub(crate) fn is_single(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether the first key sealed it.
    pub(crate) fn is_first(&self, name: &str, sealed: &[u8]) -> bool {
        self.0.first().is_some_and(|key| open_with(key, name, sealed).is_some())
    }
}

fn open_with(key: &LessSafeKey, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
    let mut bytes = Zeroizing::new(body.to_vec());
    let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(name.as_bytes()), &mut bytes);
    opened.ok().map(|plain| Zeroizing::new(plain.to_vec()))
}
