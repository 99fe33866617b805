//! Tokens: from bytes to proofs.
//!
//! [`Unverified`] has the shape of a token. [`Authentic`] was signed by the issuer that it names. [`Verified`]
//! also holds at one [`Moment`](crate::registry::Moment). Nothing reads a claim before the signature is checked,
//! save the issuer's name, which says whose keys to check with.

mod access;
mod active;
mod assertion;
mod authentic;
mod claims;
mod compact;
mod digest;
mod ended;
mod id_jag;
mod introspected;
mod kept;
mod keys;
mod kind;
mod lineage;
mod opaque_form;
mod outside;
mod own;
mod security_event;
mod signal;
mod subject;
#[cfg(test)]
mod vectors;
mod vendor;
mod verified;

pub use access::{AccessClaims, Excepted};
pub use active::Active;
pub use assertion::{AssertedClient, AssertedWorkload};
pub use authentic::{Authentic, AuthenticateError, Unverified, Voucher};
pub use claims::TokenError;
pub use digest::{chain_entry, sha256};
pub use ended::refuse_ended;
pub use id_jag::GrantEvidence;
pub use introspected::{Introspected, OpaqueToken};
pub use kept::KeptToken;
pub use keys::{Algorithm, KeySet, KeySetError};
pub use kind::{
    AccessToken, ActorToken, ClientAssertion, IdJag, Issued, SecurityEvent, SubjectToken, TokenKind, TxnToken, WorkloadAssertion,
};
pub use lineage::Lineage;
pub use opaque_form::{OpaqueForm, OpaqueFormError, OpaqueKind};
pub use outside::StatedSubject;
pub use security_event::{SecurityEventError, Signal};
pub use subject::{ActorEvidence, MayAct, Origin, OutsideFacts, SubjectEvidence};
pub use verified::{Holds, Verified};
