//! One record of the log.

use std::net::IpAddr;

use delegation::authority::Authority;
use delegation::chain::Actor;
use delegation::details::Detail;
use delegation::identity::Subject;
use delegation::oauth::{AudienceId, ClientId, Reason};
use delegation::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A token was asked for, or what would come of that.
    Exchange,
    /// A client did not authenticate.
    ClientAuth,
    /// A token was asked about.
    Introspection,
    /// Something was ended before its time.
    Revocation,
    /// A token was reported as leaked.
    Leak,
    /// A task was opened, or ended.
    Task,
    /// The configuration or the policies changed.
    Config,
    /// A signing key was made, rotated or retired.
    Key,
    /// The standing of a client or subject changed.
    Operator,
    /// An upstream credential was added, replaced or removed, or an upstream echoed one.
    Connection,
    /// A guard refused, asked or saw something.
    Guard,
}

impl Kind {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::ClientAuth => "client_auth",
            Self::Introspection => "introspection",
            Self::Revocation => "revocation",
            Self::Leak => "leak",
            Self::Task => "task",
            Self::Config => "config",
            Self::Key => "key",
            Self::Operator => "operator",
            Self::Connection => "connection",
            Self::Guard => "guard",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed.
    Allow,
    /// Refused.
    Deny,
    /// Done, where nothing was decided.
    Done,
}

impl Decision {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Done => "done",
        }
    }
}

/// What came of a decision, where that is not what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// None: the request went on as it came, whatever was decided, and nothing was minted.
    Observed,
}

impl Effect {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
        }
    }
}

/// The request that a boundary decided on: its line, without the query, which may hold anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RequestLine {
    /// The method.
    pub method: String,
    /// The host, without its port.
    pub host: String,
    /// The path, as it was sent.
    pub path: String,
}

/// One record: filled as a request becomes known, so that a refusal at any step says what was known by then.
///
/// It never holds a token, only `jti`s.
#[derive(Clone, Debug)]
#[expect(
    missing_docs,
    reason = "the members are those of the log format, which docs/audit-records.md explains"
)]
pub struct Record {
    pub id: String,
    pub time: Timestamp,
    pub kind: Kind,
    pub decision: Decision,
    /// Only where it is another than the decision's.
    pub effect: Option<Effect>,
    pub reason: String,
    pub subject: Option<Subject>,
    pub actor: Vec<Actor>,
    pub chain: Vec<String>,
    pub client: Option<ClientId>,
    pub requested_by: Option<String>,
    pub audience: Option<AudienceId>,
    pub task: Option<String>,
    pub txn: Option<String>,
    pub jti: Option<String>,
    pub parent_jti: Option<String>,
    pub asked: Authority,
    pub onward: Vec<Detail>,
    pub expires_in: Option<i64>,
    pub rules: Vec<String>,
    pub policy_version: String,
    pub config_version: String,
    /// The boundary that the request came to.
    pub boundary: Option<String>,
    /// The request that was decided on there.
    pub request: Option<RequestLine>,
    pub client_ip: Option<IpAddr>,
    pub inputs: Value,
    pub count: Option<u64>,
}

impl Record {
    /// A record of which no more is known yet; it stands for a refusal until something allows.
    pub fn new(id: String, time: Timestamp, kind: Kind) -> Self {
        Self {
            id,
            time,
            kind,
            decision: Decision::Deny,
            effect: None,
            reason: String::new(),
            subject: None,
            actor: Vec::new(),
            chain: Vec::new(),
            client: None,
            requested_by: None,
            audience: None,
            task: None,
            txn: None,
            jti: None,
            parent_jti: None,
            asked: Authority::default(),
            onward: Vec::new(),
            expires_in: None,
            rules: Vec::new(),
            policy_version: String::new(),
            config_version: String::new(),
            boundary: None,
            request: None,
            client_ip: None,
            inputs: Value::Null,
            count: None,
        }
    }

    /// This record as a refusal for `reason`.
    #[must_use]
    pub fn denied(mut self, reason: Reason) -> Self {
        self.decision = Decision::Deny;
        self.reason = reason.as_str().to_owned();
        self
    }

    /// The record as the log keeps it at `index`: one line of JSON, absent members left out.
    ///
    /// `time` is in milliseconds since the epoch.
    pub fn to_line(&self, index: i64) -> String {
        let scopes: Vec<_> = self.asked.scopes.iter().map(|scope| scope.as_str()).collect();
        let line = Line {
            index,
            time: self.time.millis(),
            id: &self.id,
            kind: self.kind.as_str(),
            decision: self.decision.as_str(),
            effect: self.effect.map(Effect::as_str),
            reason: &self.reason,
            subject: self.subject.as_ref().map(|subject| Pair {
                iss: &subject.iss,
                sub: &subject.sub,
            }),
            actor: self.actor.iter().map(|Actor { iss, sub }| Pair { iss, sub }).collect(),
            chain: &self.chain,
            client: self.client.as_ref().map(ClientId::as_str),
            requested_by: self.requested_by.as_deref(),
            audience: self.audience.as_ref().map(AudienceId::as_str),
            task: self.task.as_deref(),
            txn: self.txn.as_deref(),
            jti: self.jti.as_deref(),
            parent_jti: self.parent_jti.as_deref(),
            authorization_details: self.asked.details.iter().map(Detail::to_json).collect(),
            scope: scopes.join(" "),
            onward: self.onward.iter().map(Detail::to_json).collect(),
            expires_in: self.expires_in,
            rules: &self.rules,
            policy_version: &self.policy_version,
            config_version: &self.config_version,
            boundary: self.boundary.as_deref(),
            request: self.request.as_ref(),
            client_ip: self.client_ip,
            inputs: &self.inputs,
            count: self.count,
        };
        // No member can fail to be written: all are strings, numbers, lists of them, and JSON.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// The members of the log format.
#[derive(Serialize)]
struct Line<'r> {
    index: i64,
    time: i64,
    id: &'r str,
    kind: &'r str,
    decision: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<&'r str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Pair<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actor: Vec<Pair<'r>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    chain: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_by: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    txn: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_jti: Option<&'r str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_details: Vec<Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    scope: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    onward: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rules: &'r [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    policy_version: &'r str,
    #[serde(skip_serializing_if = "str::is_empty")]
    config_version: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    boundary: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'r RequestLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Value::is_null")]
    inputs: &'r Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

#[derive(Serialize)]
struct Pair<'r> {
    iss: &'r str,
    sub: &'r str,
}
