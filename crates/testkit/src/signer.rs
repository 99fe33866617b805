//! A signer in memory.

use delegation::token::Algorithm;
use issuance::mint::{KeyName, Signer, SignerUnavailable};

use crate::issuer::FakeIssuer;

/// A [`Signer`] that is one fake issuer, or is down.
#[derive(Debug)]
pub struct MemorySigner {
    /// The issuer that signs.
    pub issuer: FakeIssuer,
    up: bool,
}

impl MemorySigner {
    /// A signer for the issuer identifier `issuer`.
    pub fn new(issuer: &str) -> Self {
        Self {
            issuer: FakeIssuer::new(issuer, "nrw-test", Algorithm::Es256),
            up: true,
        }
    }

    /// One that is down.
    pub fn down(issuer: &str) -> Self {
        Self {
            up: false,
            ..Self::new(issuer)
        }
    }
}

impl Signer for MemorySigner {
    fn current(&self) -> KeyName {
        KeyName {
            kid: self.issuer.kid.clone(),
            algorithm: Algorithm::Es256,
        }
    }

    async fn sign(&self, _: &KeyName, message: &[u8]) -> Result<Vec<u8>, SignerUnavailable> {
        if self.up {
            Ok(self.issuer.signature(message))
        } else {
            Err(SignerUnavailable)
        }
    }
}
