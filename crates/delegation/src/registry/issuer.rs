//! A trusted issuer: whose tokens are evidence, and of what.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::identity::{AttributeRule, SubjectKind};
use crate::oauth::{ClientId, TokenType};

/// One `[[trusted_issuers]]` entry, its profile's presets applied.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// Its name in the configuration.
    pub name: String,
    /// Its identifier: `iss` compares with it byte for byte.
    pub issuer: String,
    /// The profile, for the marks that only a profile knows.
    pub profile: Option<Profile>,
    /// The token types that are taken from it.
    pub token_types: BTreeSet<TokenType>,
    /// Whether its subjects are people or programs.
    pub subject: SubjectKind,
    /// What is put before an outside `sub`.
    pub sub_prefix: String,
    /// What bounds its tokens.
    pub ceiling: Ceiling,
    /// `aud` values that mean our edge.
    pub audiences: BTreeSet<String>,
    /// The clients that may exchange tokens with such an `aud`.
    pub exchangers: BTreeSet<ClientId>,
    /// The `typ` values of its access tokens.
    pub typ: TypRule,
    /// The claim that holds scopes.
    pub scope_claim: String,
    /// Claims that name the outside client, first that is there.
    pub client_claims: Vec<String>,
    /// Claims that policy may read, by name.
    pub attributes: BTreeMap<String, AttributeRule>,
    /// Tolerance for `nbf` and `iat`; `exp` has none.
    pub leeway: Duration,
    /// Whether a client's `workload_jwt` names it: then its tokens with our issuer as `aud` are no subject tokens.
    pub authenticates_workloads: bool,
}

/// Presets by the kind of issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// All of RFC 9068.
    Rfc9068,
    /// Okta.
    Okta,
    /// Microsoft Entra.
    Entra,
    /// Auth0.
    Auth0,
    /// Amazon Cognito.
    Cognito,
    /// Keycloak.
    Keycloak,
    /// Google.
    Google,
    /// Kubernetes service accounts.
    Kubernetes,
    /// GitHub Actions.
    Github,
}

impl Profile {
    /// Every profile with its word in the configuration.
    pub const ALL: [(&'static str, Self); 9] = [
        ("rfc9068", Self::Rfc9068),
        ("okta", Self::Okta),
        ("entra", Self::Entra),
        ("auth0", Self::Auth0),
        ("cognito", Self::Cognito),
        ("keycloak", Self::Keycloak),
        ("google", Self::Google),
        ("kubernetes", Self::Kubernetes),
        ("github", Self::Github),
    ];

    /// The profile by its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, profile)| profile)
    }

    /// Its word in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }
}

/// What bounds an outside token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// What its scopes map to, and those scopes themselves.
    Scope,
    /// Policy alone.
    Policy,
}

/// The `typ` header values of an issuer's access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypRule {
    /// `at+jwt`.
    pub at_jwt: bool,
    /// `JWT`.
    pub jwt: bool,
    /// No `typ`.
    pub absent: bool,
}
