//! The hosts that a service answers to.

use crate::hygiene::host::{Host, is_ipv6, is_name};

/// One of the `hosts` of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name.
    Exact(String),
    /// `*.name`: exactly one label before this name.
    Below(String),
}

/// Why a text is no host of a service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a host such as `tickets.internal`, or `*.tickets.internal`, without a port; found `{0}`")]
pub struct HostPatternError(String);

impl HostPattern {
    /// Reads one of `hosts`.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let name = text.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(parent) if is_name(parent) => Ok(Self::Below(parent.to_owned())),
            None if is_name(&name) || is_ipv6(&name) => Ok(Self::Exact(name)),
            _ => Err(HostPatternError(text.to_owned())),
        }
    }

    /// The patterns that `host` may match, the one that goes before the other first.
    pub(super) fn of(host: &Host) -> impl Iterator<Item = Self> {
        let parent = host.name().split_once('.').map(|(_, parent)| Self::Below(parent.to_owned()));
        [Self::Exact(host.name().to_owned())].into_iter().chain(parent)
    }
}

/// The pattern as the configuration writes it.
impl std::fmt::Display for HostPattern {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => out.write_str(name),
            Self::Below(parent) => write!(out, "*.{parent}"),
        }
    }
}
