//! Operators: people who may look, and people who may decide.

use std::collections::BTreeSet;

use delegation::time::Timestamp;

/// What an operator may do. None includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads everything, changes nothing.
    Auditor,
    /// Reads and decides tasks, exceptions and approvals.
    Approver,
    /// Breaks the glass.
    Responder,
    /// Changes all the rest; does not approve.
    Admin,
}

impl Role {
    /// Every role, with its word.
    pub const ALL: [(&'static str, Self); 4] = [
        ("auditor", Self::Auditor),
        ("approver", Self::Approver),
        ("responder", Self::Responder),
        ("admin", Self::Admin),
    ];

    /// The role by its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, role)| role)
    }

    /// Its word.
    pub fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }
}

/// The name of an operator: 1 to 64 letters, digits, `.`, `_`, `-` and `@`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperatorName(String);

/// A text that is no operator's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 64 letters, digits, `.`, `_`, `-` and `@`")]
pub struct BadOperatorName;

impl OperatorName {
    /// Takes a name that may be one.
    pub fn parse(text: &str) -> Result<Self, BadOperatorName> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadOperatorName)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for OperatorName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// An operator, without the token that shows who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The name in every record of what it does.
    pub name: OperatorName,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Who it is for an issuer, as (`iss`, `sub`): nobody approves what is done in their own name.
    pub subject: Option<(String, String)>,
    /// Since when.
    pub added_at: Timestamp,
}
