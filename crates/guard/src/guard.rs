//! A guard: in front of a backend, or in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use delegation::details::DetailTypes;
use delegation::oauth::AudienceId;
use delegation::token::KeySet;
use http::HeaderMap;
use serde_json::Value;

use crate::call::Call;
use crate::check::{self, At, Refusal, Shown, Verdict};
use crate::route::{Route, Service, Table, TableError};
use crate::surplus::{Compared, Excess, Fixed, FixedError};

/// What a guard is built from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The service whose backend it stands before.
    pub service: Service,
    /// The types of its details.
    pub types: DetailTypes,
    /// Whose tokens are taken: the broker, as `iss` names it.
    pub issuer: String,
    /// Whom they must be for.
    pub audience: AudienceId,
    /// The longest life of such a token.
    pub max_lifetime: Duration,
    /// The most `act` levels of one.
    pub max_chain: usize,
    /// How old the view of revocations may be.
    pub max_age: Duration,
    /// What a token must be bound to.
    pub sender: Sender,
    /// Whether each is good for one request, also where it does not say so itself: it may be from before that was asked for.
    pub single_use: bool,
    /// What a token may hold beyond its request.
    pub excess: Excess,
    /// Values of `equal` constraints that the request cannot name.
    pub fixed: BTreeMap<String, Value>,
}

/// What the tokens of an audience are bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// Nothing: whoever bears one may use it.
    #[default]
    None,
    /// A DPoP key (RFC 9449).
    Dpop,
    /// A client certificate (RFC 8705).
    Mtls,
}

/// Decides for one service which requests its backend sees.
///
/// It is pure: time, keys and the view of revocations are handed in. A clone is the same guard.
#[derive(Clone, Debug)]
pub struct Guard {
    rules: Arc<Rules>,
    keys: Arc<KeySet>,
}

/// What does not change while a guard lives.
#[derive(Debug)]
pub(crate) struct Rules {
    table: Table,
    pub(crate) issuer: String,
    pub(crate) audience: AudienceId,
    pub(crate) max_lifetime: Duration,
    pub(crate) max_chain: usize,
    pub(crate) max_age: Duration,
    pub(crate) single_use: bool,
    pub(crate) excess: Excess,
    pub(crate) fixed: Fixed,
}

/// Why a guard is not built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// Keys that are not the broker's.
    #[error("the keys are those of `{found}`, and tokens are taken from `{expected}`")]
    Issuer {
        /// Whose tokens are taken.
        expected: String,
        /// Whose keys were given.
        found: String,
    },
    /// A service whose tokens are for somebody else.
    #[error("tokens of service `{service}` are for `{found}`, and this guard takes those for `{expected}`")]
    Audience {
        /// The service.
        service: String,
        /// The guard's own.
        expected: String,
        /// The service's.
        found: String,
    },
    /// Proofs of keys are not taken yet.
    #[error("tokens of this audience are bound to a key (`sender`), and this guard takes no proofs of keys; set sender = \"none\"")]
    Sender,
    /// A route that reads what a guard does not know.
    #[error("`{0}` reads an attribute of the subject; at a guard a detail is made of the request alone")]
    Attribute(String),
    /// Routes that cannot be served together.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A value that cannot be fixed.
    #[error(transparent)]
    Fixed(#[from] FixedError),
}

impl Guard {
    /// Builds a guard that verifies with `keys`.
    pub fn build(settings: Settings, keys: Arc<KeySet>) -> Result<Self, GuardError> {
        if keys.issuer() != settings.issuer {
            return Err(GuardError::Issuer {
                expected: settings.issuer,
                found: keys.issuer().to_owned(),
            });
        }
        let rules = Arc::new(Rules::build(settings)?);
        Ok(Self { rules, keys })
    }

    /// The same guard with other keys of the same issuer, after a rotation.
    pub fn with_keys(&self, keys: Arc<KeySet>) -> Result<Self, GuardError> {
        if keys.issuer() != self.keys.issuer() {
            return Err(GuardError::Issuer {
                expected: self.keys.issuer().to_owned(),
                found: keys.issuer().to_owned(),
            });
        }
        Ok(Self {
            rules: Arc::clone(&self.rules),
            keys,
        })
    }

    /// Decides about `call` with its `headers` at one moment.
    pub fn check<'m>(&self, call: &Call, headers: &HeaderMap, at: &'m At) -> Verdict<'m> {
        check::check(self, call, headers, at).unwrap_or_else(Verdict::Refused)
    }

    /// What `call` needs beside what its token allows, fitting or not; `None` for a public route.
    ///
    /// A token that does not hold is not explained: nobody may rely on a word of it.
    pub fn explain(&self, call: &Call, headers: &HeaderMap, at: &At) -> Result<Option<Compared>, Refusal> {
        let Some(shown) = Shown::of(&self.rules, call, headers)? else {
            return Ok(None);
        };
        let examined = shown.examine(&shown.known(Some(&self.keys))?, at)?;
        Ok(examined.map(|examined| examined.verified.compared(&self.rules, &examined.needs)))
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn keys(&self) -> &KeySet {
        &self.keys
    }
}

impl Rules {
    pub(crate) fn build(settings: Settings) -> Result<Self, GuardError> {
        if settings.sender != Sender::None {
            return Err(GuardError::Sender);
        }
        let service = settings.service;
        if let Some(found) = service.audience.as_ref().filter(|audience| **audience != settings.audience) {
            return Err(GuardError::Audience {
                found: found.to_string(),
                expected: settings.audience.to_string(),
                service: service.name,
            });
        }
        if let Some(route) = service.routes.iter().find(|route| route.reading().reads_attributes()).map(Route::name) {
            return Err(GuardError::Attribute(route.to_owned()));
        }
        let fixed = Fixed::of(&settings.fixed, &settings.types)?;
        Ok(Self {
            table: Table::build(vec![service], settings.types)?,
            issuer: settings.issuer,
            audience: settings.audience,
            max_lifetime: settings.max_lifetime,
            max_chain: settings.max_chain,
            max_age: settings.max_age,
            single_use: settings.single_use,
            excess: settings.excess,
            fixed,
        })
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn types(&self) -> &DetailTypes {
        self.table.types()
    }
}
