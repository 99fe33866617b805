//! The first proof: who signed it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::claims::TokenError;
use super::compact::Compact;
use super::digest::chain_entry;
use super::keys::KeySet;
use super::kind::TokenKind;
use crate::json;
use crate::registry::Moment;

/// How much deeper than the longest chain a payload may be nested.
const BESIDE_CHAIN: usize = 8;

/// A token that has the right shape, and says nothing yet.
pub struct Unverified<K: TokenKind> {
    compact: Arc<Compact>,
    issuer: String,
    kind: PhantomData<K>,
}

/// A token whose `typ` is right for `K` and that the issuer it names has signed, or that our own store keeps.
///
/// True for as long as the issuer's key set is, at any moment: times and revocation are asked in `at`.
///
/// ```
/// use delegation::token::{Authentic, SubjectToken};
/// fn whose(token: &Authentic<SubjectToken>) -> &str {
///     token.issuer()
/// }
/// ```
///
/// It cannot be made by hand:
///
/// ```compile_fail
/// use delegation::token::{Authentic, SubjectToken};
/// let forged: Authentic<SubjectToken> = Authentic { vouched: (), issuer: "corp".into(), kind: () };
/// ```
///
/// Nor is a token of one kind one of another:
///
/// ```compile_fail
/// use delegation::token::{Authentic, ClientAssertion, SubjectToken};
/// fn take(token: Authentic<SubjectToken>) {}
/// fn confuse(assertion: Authentic<ClientAssertion>) {
///     take(assertion)
/// }
/// ```
pub struct Authentic<K: TokenKind> {
    vouched: Vouched,
    issuer: String,
    kind: PhantomData<K>,
}

/// Who vouched for a token, without the token: good for telling whether it may be relied on again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voucher(Option<[u8; 32]>);

/// What stands for a token.
enum Vouched {
    /// The signature of its issuer.
    Signature {
        compact: Arc<Compact>,
        /// The identity of the key set that verified it.
        keys: [u8; 32],
    },
    /// Our own store, which keeps what the token does not say itself.
    Store {
        claims: Map<String, Value>,
        /// The size of the claims as they are kept.
        size: usize,
    },
}

/// Why a token is not authentic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticateError {
    /// It never can be: shape, `typ`, issuer or signature.
    #[error("{0}")]
    Bad(&'static str),
    /// The issuer's set has no key of this name; a fresh set might.
    #[error("the issuer's key set has no such key")]
    UnknownKey,
}

impl<K: TokenKind> Unverified<K> {
    /// Reads the shape of a token; nothing costly is done.
    pub fn parse(token: &str) -> Result<Self, AuthenticateError> {
        let compact = Compact::parse(token).map_err(|error| AuthenticateError::Bad(error.0))?;
        let typ = compact.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        if !K::TYP.contains(&typ) || (compact.typ.is_some() && typ.is_empty()) {
            return Err(AuthenticateError::Bad("its `typ` belongs to another kind of token"));
        }
        if K::REQUIRED.iter().any(|claim| !compact.claims.contains_key(*claim)) {
            return Err(AuthenticateError::Bad("a required claim is missing"));
        }
        let issuer = compact
            .claims
            .get("iss")
            .and_then(Value::as_str)
            .ok_or(AuthenticateError::Bad("`iss` is not a string"))?
            .to_owned();
        Ok(Self {
            compact: Arc::new(compact),
            issuer,
            kind: PhantomData,
        })
    }

    /// Whom the token names as its issuer: good for finding keys, and for nothing else.
    pub fn claimed_issuer(&self) -> &str {
        &self.issuer
    }

    /// The entry by which the `chain` of whatever comes of this token names it, if it is what it says; `ours` is the broker's issuer.
    ///
    /// Good for telling whether something else came of this very token, and for nothing else: nobody has vouched for it.
    pub fn would_be_named(&self, ours: &str) -> Option<String> {
        let jti = match self.compact.claims.get("jti") {
            None => None,
            Some(jti) => Some(jti.as_str()?).filter(|jti| !jti.is_empty()),
        };
        if self.issuer == ours {
            return jti.map(str::to_owned);
        }
        Some(chain_entry(&self.issuer, jti, &self.compact.signing_input))
    }

    /// Checks that `keys` are the named issuer's and that one of them made the signature.
    pub fn authenticate(&self, keys: &KeySet) -> Result<Authentic<K>, AuthenticateError> {
        let compact = &self.compact;
        if keys.issuer() != self.issuer {
            return Err(AuthenticateError::Bad("the keys are another issuer's"));
        }
        if compact.kid.as_deref().is_some_and(|kid| !keys.names(kid)) {
            return Err(AuthenticateError::UnknownKey);
        }
        if !keys.verifies(
            compact.kid.as_deref(),
            compact.algorithm,
            compact.signing_input.as_bytes(),
            &compact.signature,
        ) {
            return Err(AuthenticateError::Bad("the signature does not verify"));
        }
        Ok(Authentic {
            vouched: Vouched::Signature {
                compact: Arc::clone(compact),
                keys: *keys.identity(),
            },
            issuer: self.issuer.clone(),
            kind: PhantomData,
        })
    }
}

impl<K: TokenKind> Authentic<K> {
    /// One of our own that is kept, here or where it was asked for; `kept.rs` is its only maker.
    pub(super) fn kept(issuer: &str, claims: Map<String, Value>, size: usize) -> Self {
        Self {
            vouched: Vouched::Store { claims, size },
            issuer: issuer.to_owned(),
            kind: PhantomData,
        }
    }

    /// Who issued it.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether it is kept, and so in no form that a holder could read.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.vouched, Vouched::Store { .. })
    }

    /// The bytes that it was read from.
    pub fn size(&self) -> usize {
        match &self.vouched {
            Vouched::Signature { compact, .. } => compact.signing_input.len() + compact.signature.len(),
            Vouched::Store { size, .. } => *size,
        }
    }

    /// Refuses a payload that is nested deeper than the longest chain and what may hang on it.
    pub(super) fn refuse_deep(&self, moment: &Moment) -> Result<(), TokenError> {
        self.refuse_deeper(moment.snapshot.max_chain)
    }

    /// The same where the longest chain has `max_chain` levels.
    pub(super) fn refuse_deeper(&self, max_chain: usize) -> Result<(), TokenError> {
        if json::is_within(self.claims(), max_chain.saturating_add(BESIDE_CHAIN)) {
            Ok(())
        } else {
            Err(TokenError::Invalid("its payload is nested too deep"))
        }
    }

    /// Whether it may be relied on again under `keys`: if they are the very set that verified it. One that is kept needs none.
    pub fn holds_under(&self, keys: &KeySet) -> bool {
        self.voucher().holds_under(keys)
    }

    /// Who vouched for it.
    pub fn voucher(&self) -> Voucher {
        Voucher(match &self.vouched {
            Vouched::Signature { keys, .. } => Some(*keys),
            Vouched::Store { .. } => None,
        })
    }

    pub(super) fn claims(&self) -> &Map<String, Value> {
        match &self.vouched {
            Vouched::Signature { compact, .. } => &compact.claims,
            Vouched::Store { claims, .. } => claims,
        }
    }

    /// `typ` in lower case without `application/`; `""` if there is none. What is kept is an access token.
    pub(super) fn typ(&self) -> String {
        let Vouched::Signature { compact, .. } = &self.vouched else {
            return "at+jwt".to_owned();
        };
        let typ = compact.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
        typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
    }

    /// The first two segments of a signed token; what is kept has a `jti` and needs no other name.
    pub(super) fn signing_input(&self) -> &str {
        match &self.vouched {
            Vouched::Signature { compact, .. } => &compact.signing_input,
            Vouched::Store { .. } => "",
        }
    }
}

impl Voucher {
    /// Whether what it vouched for may be relied on again under `keys`: if they are the very set that verified it. What is kept needs none.
    pub fn holds_under(&self, keys: &KeySet) -> bool {
        self.0.is_none_or(|verified| verified == *keys.identity())
    }
}

// Neither shows the token: a debug line must not become a credential.
impl<K: TokenKind> fmt::Debug for Unverified<K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Unverified").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl<K: TokenKind> fmt::Debug for Authentic<K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Authentic").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
