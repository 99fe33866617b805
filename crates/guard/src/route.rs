//! Routes: which request needs which detail.

mod alike;
pub mod hosts;
pub mod pattern;
pub mod reading;
pub mod table;
pub mod template;
pub mod values;
mod written;

use std::collections::BTreeSet;
use std::time::Duration;

use delegation::oauth::{AudienceId, Scope};

use hosts::HostPattern;
use pattern::Pattern;
use reading::Reading;
pub use table::{Matched, Table, TableError};
use template::Template;
pub use written::RouteError;

/// A service, as a boundary or guard serves it.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name in the configuration.
    pub name: String,
    /// The hosts that are it.
    pub hosts: Vec<HostPattern>,
    /// The audience of its tokens; `None` where every route is public.
    pub audience: Option<AudienceId>,
    /// Its routes. What none of them matches is refused.
    pub routes: Vec<Route>,
}

/// A route: requests that need the same.
#[derive(Clone, Debug)]
pub struct Route {
    name: String,
    pattern: Pattern,
    rule: Rule,
    reading: Reading,
}

/// What a route asks of a request.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Nothing: no token, and no identity goes on.
    Public,
    /// A token that may do this.
    Needs(Box<Demand>),
}

/// What a token must be for, and how the request is served.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    /// The detail, with places for values of the request.
    pub detail: Option<Template>,
    /// A scope.
    pub scope: Option<Scope>,
    /// Details that are needed at later hops.
    pub onward: Vec<Template>,
    /// The longest time since the person signed in (RFC 9470).
    pub max_auth_age: Option<Duration>,
    /// How the person must have signed in (RFC 9470).
    pub acr: Option<String>,
    /// The upstream credential that the request is sent on with.
    pub connection: Option<String>,
    /// Whether the answer is a stream that may outlast the deadline of a request.
    pub stream: bool,
    /// The protocol that the connection may change to.
    pub upgrade: Option<Upgrade>,
    /// The largest body, in bytes.
    pub body_max: Option<usize>,
    /// Whether it observes or enforces, where it says so itself.
    pub mode: Option<Mode>,
    /// What becomes of members of a body that is read, and that no template names.
    pub body_rest: Rest,
    /// The same of a query that is read.
    pub query_rest: Rest,
    /// Members that may come besides those that are read; in a body, dots lead inwards.
    pub only: Vec<String>,
    /// Constraints that a token may bound less than this request needs.
    pub wider: BTreeSet<String>,
}

/// A protocol that a connection may change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// RFC 6455, RFC 8441.
    WebSocket,
}

/// Whether decisions bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What is refused does not go on.
    Enforce,
    /// What would be refused is recorded, and goes on.
    Observe,
}

/// What becomes of what is read and not named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// The request is refused.
    #[default]
    Refused,
    /// It goes on unread.
    Pass,
}

impl Route {
    /// A route named `name` for requests that match `pattern`.
    pub fn new(name: String, pattern: Pattern, rule: Rule) -> Self {
        let reading = match &rule {
            Rule::Public => Reading::default(),
            Rule::Needs(demand) => Reading::of(demand),
        };
        Self {
            name,
            pattern,
            rule,
            reading,
        }
    }

    /// Its name: in every record, and what a proxy may call it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The requests that it is for.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// What it asks of them.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Whether its requests must show a token.
    pub fn needs_token(&self) -> bool {
        matches!(self.rule, Rule::Needs(_))
    }

    /// Whether it says itself to observe or enforce.
    pub fn mode(&self) -> Option<Mode> {
        match &self.rule {
            Rule::Public => None,
            Rule::Needs(demand) => demand.mode,
        }
    }

    /// What of a request it looks into.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }
}
