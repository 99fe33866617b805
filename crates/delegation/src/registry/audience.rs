//! An audience: a resource server that tokens are made for.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::details::Detail;
use crate::oauth::{AudienceId, ClientId, Scope};

/// One `[[audiences]]` entry.
#[derive(Clone, Debug)]
pub struct Audience {
    /// Its identifier: `aud` of its tokens.
    pub id: AudienceId,
    /// The detail types that it understands.
    pub detail_types: BTreeSet<String>,
    /// The scopes that it understands.
    pub scopes: BTreeSet<Scope>,
    /// The clients that may ask for it; `None` for all.
    pub clients: Option<BTreeSet<ClientId>>,
    /// The longest life of its tokens; the broker's `max_lifetime` bounds it too.
    pub max_lifetime: Option<Duration>,
    /// Mapped attributes that its tokens carry.
    pub claims: BTreeSet<String>,
    /// What a request that asks for nothing gets.
    pub defaults: Vec<Detail>,
    /// The form of its tokens.
    pub form: TokenForm,
    /// Whether each of its tokens is good for one request alone.
    pub single_use: bool,
    /// What comes of a token of its that is shown from two places.
    pub on_duplicate: OnDuplicate,
}

/// What comes of a token that is shown from two places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDuplicate {
    /// A record.
    #[default]
    Report,
    /// It is revoked too, with all that came from it.
    Revoke,
}

/// What an issued token looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenForm {
    /// Signed, for whoever has our keys to read (RFC 9068).
    #[default]
    Jwt,
    /// A secret that says nothing: what it stands for is asked by introspection (RFC 7662).
    Opaque,
    /// A transaction token: signed, in a header of its own, for a call chain (draft-ietf-oauth-transaction-tokens).
    Txn,
}
