//! Names with rules: a value of one of these types has kept them.

use std::collections::BTreeSet;
use std::fmt;

/// A name that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct InvalidName {
    expected: &'static str,
}

/// A client identifier (RFC 6749 §2.2): 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(String);

impl ClientId {
    /// Takes `text` as a client identifier.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let good = (1..=255).contains(&text.len()) && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                expected: "1 to 255 visible ASCII characters",
            })
        }
    }

    /// The identifier as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The identifier of an audience, compared byte for byte with `audience` and `resource` (RFC 8693 §2.1, RFC 8707 §2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudienceId(String);

impl AudienceId {
    /// Takes `text` as an audience's identifier: 1 to 1,024 characters, none of them a control character.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let good = (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control);
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                expected: "1 to 1024 characters without control characters",
            })
        }
    }

    /// The identifier as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AudienceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One scope token (RFC 6749 §3.3). A wildcard in it is an ordinary character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(String);

impl Scope {
    /// Takes `text` as one scope token.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let good = (1..=255).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName {
                expected: "a scope token of RFC 6749, section 3.3",
            })
        }
    }

    /// The scope as it stands on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Parses a `scope` value: scope tokens with one space between two (RFC 6749 §3.3). One named twice counts once.
pub fn parse_scope(text: &str) -> Result<BTreeSet<Scope>, InvalidName> {
    text.split(' ').map(Scope::parse).collect()
}

/// A `grant_type` that this broker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GrantType {
    /// `urn:ietf:params:oauth:grant-type:token-exchange`, RFC 8693.
    TokenExchange,
    /// `client_credentials`, RFC 6749 §4.4.
    ClientCredentials,
    /// `urn:ietf:params:oauth:grant-type:jwt-bearer`, RFC 7523 §2.1; with an ID-JAG and no other assertion.
    JwtBearer,
}

impl GrantType {
    /// The grant by its name on the wire.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::TokenExchange, Self::ClientCredentials, Self::JwtBearer]
            .into_iter()
            .find(|grant| grant.as_str() == text)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::ClientCredentials => "client_credentials",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
        }
    }
}

/// A token type (RFC 8693 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenType {
    /// `…:access_token`.
    AccessToken,
    /// `…:id_token`.
    IdToken,
    /// `…:jwt`: either of the two above, with the authority of what it is.
    Jwt,
    /// `…:id-jag`: comes as the assertion of its own grant, and never as a subject or actor token.
    IdJag,
    /// `…:txn_token`: a transaction token, which is no access token.
    TxnToken,
    /// `urn:narrows:params:oauth:token-type:task`: a task that this broker keeps, by its opaque token.
    Task,
}

impl TokenType {
    /// The type that a token is declared as or asked for, by its URI; types that no request may name are `None` like unknown
    /// ones.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::AccessToken, Self::IdToken, Self::Jwt, Self::TxnToken, Self::Task]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// The URI on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::IdJag => "urn:ietf:params:oauth:token-type:id-jag",
            Self::TxnToken => "urn:ietf:params:oauth:token-type:txn_token",
            Self::Task => "urn:narrows:params:oauth:token-type:task",
        }
    }

    /// The short word that the configuration uses.
    pub fn word(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::IdToken => "id_token",
            Self::Jwt => "jwt",
            Self::IdJag => "id_jag",
            Self::TxnToken => "txn_token",
            Self::Task => "task",
        }
    }
}
