//! A client: a workload that may ask for tokens.

use std::collections::{BTreeMap, BTreeSet};

use crate::oauth::{ClientId, GrantType};
use crate::time::Timestamp;

/// One `[[clients]]` entry.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// The `aud` values that mean this client.
    pub receives: Vec<Receives>,
    /// The grants that it may use.
    pub grants: BTreeSet<GrantType>,
    /// Clients that may be named actor of a task that this client creates.
    pub delegates: BTreeSet<ClientId>,
    /// Whether it may read the feed of revocations and report what its guards see.
    pub data_plane: bool,
    /// What policy may read about it.
    pub labels: BTreeMap<String, LabelValue>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The end of its last day; from then on it does not authenticate.
    pub ends: Option<Timestamp>,
    /// The ways in which it may authenticate: more than one during a rotation.
    pub auth: Vec<ClientAuth>,
}

impl Client {
    /// Whether the secret with this SHA-256 is one of the client's.
    pub fn has_secret(&self, digest: &[u8; 32]) -> bool {
        let is_that = |auth: &ClientAuth| matches!(&auth.method, AuthMethod::SecretBasic(known) | AuthMethod::SecretPost(known) if known.0 == *digest);
        self.auth.iter().any(is_that)
    }
}

/// An `aud` value that means a client, perhaps only in tokens of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receives {
    /// The issuer's name, if the value is bound to one.
    pub issuer_name: Option<String>,
    /// The `aud` value.
    pub audience: String,
}

impl Receives {
    /// Whether `audience`, in a token of the issuer of this name (`None` for our own), means the client.
    pub fn means(&self, audience: &str, from: Option<&str>) -> bool {
        self.audience == audience && self.issuer_name.as_deref().is_none_or(|name| Some(name) == from)
    }
}

/// A label of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelValue {
    /// A boolean.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A string.
    Text(String),
}

/// One way to authenticate, perhaps with an end.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// The way.
    pub method: AuthMethod,
    /// When it stops to be taken.
    pub until: Option<Timestamp>,
}

/// How a client shows who it is.
#[derive(Clone, Debug)]
pub enum AuthMethod {
    /// `private_key_jwt` (RFC 7523 §2.2); the keys are held under this name.
    PrivateKeyJwt {
        /// The name under which the client's key set is found.
        keys: String,
    },
    /// `client_secret_basic` (RFC 6749 §2.3.1).
    SecretBasic(SecretDigest),
    /// `client_secret_post` (RFC 6749 §2.3.1).
    SecretPost(SecretDigest),
    /// `workload_jwt`: the workload's own OpenID token.
    WorkloadJwt(WorkloadMatch),
}

/// The SHA-256 of a client secret of 256 random bits.
#[derive(Clone)]
pub struct SecretDigest(pub(super) [u8; 32]);

impl SecretDigest {
    /// Takes the digest itself.
    pub fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

impl std::fmt::Debug for SecretDigest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("SecretDigest(..)")
    }
}

/// What a workload's token must say to be a client's.
#[derive(Clone, Debug)]
pub struct WorkloadMatch {
    /// The trusted issuer's name.
    pub issuer_name: String,
    /// The `sub`.
    pub subject: String,
    /// Further claims; dots lead inwards, the longest literal member first.
    pub claims: BTreeMap<String, serde_json::Value>,
}
