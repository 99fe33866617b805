//! The configuration in force, and the moment at which a request is decided.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::audience::Audience;
use super::client::Client;
use super::issuer::TrustedIssuer;
use crate::details::{Detail, DetailTypes};
use crate::identity::OUR_NAME;
use crate::oauth::{AudienceId, ClientId, Scope};
use crate::revocation::View;
use crate::time::Timestamp;

/// Everything that the configuration says about parties, types and lifetimes. Immutable; swapped whole.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Our issuer identifier.
    pub issuer: String,
    /// The clients, by identifier.
    pub clients: BTreeMap<ClientId, Client>,
    /// The audiences, by identifier.
    pub audiences: BTreeMap<AudienceId, Audience>,
    /// The trusted issuers, by `iss`.
    pub issuers: BTreeMap<String, TrustedIssuer>,
    /// The declared detail types.
    pub types: DetailTypes,
    /// What each mapped scope amounts to.
    pub scopes: BTreeMap<Scope, Vec<Detail>>,
    /// Lifetimes of issued tokens.
    pub lifetimes: Lifetimes,
    /// The most `act` levels of an issued token.
    pub max_chain: usize,
    /// The version of the configuration that this was made from.
    pub config_version: String,
}

impl Snapshot {
    /// The trusted issuer with the name `name`.
    pub fn issuer_named(&self, name: &str) -> Option<&TrustedIssuer> {
        self.issuers.values().find(|issuer| issuer.name == name)
    }

    /// The issuer that the name `name` of a subject's issuer means: a trusted one, or ourselves.
    pub fn issuer_of_subjects(&self, name: &str) -> Option<&str> {
        match self.issuer_named(name) {
            Some(issuer) => Some(&issuer.issuer),
            None => (name == OUR_NAME).then_some(&*self.issuer),
        }
    }
}

/// Lifetimes of issued tokens.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// When the request does not say.
    pub default: Duration,
    /// No token lives longer, whatever an audience says.
    pub max: Duration,
    /// No task lives longer.
    pub task: Duration,
    /// No task for later work lives longer.
    pub deferred_task: Duration,
    /// No token of a task for later work lives longer.
    pub deferred_token: Duration,
}

/// The one point in time, configuration and view of revocations that a request is decided at.
///
/// Taken once for each request, so two checks of one request cannot disagree about any of the three.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Now; `iat` of what is minted.
    pub now: Timestamp,
    /// The configuration.
    pub snapshot: Arc<Snapshot>,
    /// What has been revoked or disabled.
    pub revocations: Arc<View>,
}
