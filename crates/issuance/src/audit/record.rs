//! One record of the log.

use std::net::IpAddr;

use delegation::authority::Authority;
use delegation::chain::Actor;
use delegation::details::Detail;
use delegation::identity::Subject;
use delegation::oauth::{AudienceId, ClientId, Reason};
use delegation::time::Timestamp;
use serde_json::{Map, Value};

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A token was asked for.
    Exchange,
    /// A client did not authenticate.
    ClientAuth,
    /// The configuration or the policies changed.
    Config,
    /// A signing key was made, rotated or retired.
    Key,
    /// The standing of a client or subject changed.
    Operator,
}

impl Kind {
    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::ClientAuth => "client_auth",
            Self::Config => "config",
            Self::Key => "key",
            Self::Operator => "operator",
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
    pub reason: String,
    pub subject: Option<Subject>,
    pub actor: Vec<Actor>,
    pub chain: Vec<String>,
    pub client: Option<ClientId>,
    pub requested_by: Option<String>,
    pub audience: Option<AudienceId>,
    pub txn: Option<String>,
    pub jti: Option<String>,
    pub parent_jti: Option<String>,
    pub asked: Authority,
    pub onward: Vec<Detail>,
    pub expires_in: Option<i64>,
    pub rules: Vec<String>,
    pub policy_version: String,
    pub config_version: String,
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
            reason: String::new(),
            subject: None,
            actor: Vec::new(),
            chain: Vec::new(),
            client: None,
            requested_by: None,
            audience: None,
            txn: None,
            jti: None,
            parent_jti: None,
            asked: Authority::default(),
            onward: Vec::new(),
            expires_in: None,
            rules: Vec::new(),
            policy_version: String::new(),
            config_version: String::new(),
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

    /// The members of the record without `index`, which the journal gives; absent ones are left out.
    ///
    /// `time` is in milliseconds since the epoch.
    pub fn to_json(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| {
            let empty = match &value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                _ => false,
            };
            if !empty {
                members.insert(name.to_owned(), value);
            }
        };
        let text = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::from);
        put("id", Value::from(self.id.as_str()));
        put("time", Value::from(self.time.millis()));
        put("kind", Value::from(self.kind.as_str()));
        put("decision", Value::from(self.decision.as_str()));
        put("reason", Value::from(self.reason.as_str()));
        put(
            "subject",
            self.subject.as_ref().map_or(Value::Null, |subject| pair(&subject.iss, &subject.sub)),
        );
        put("actor", self.actor.iter().map(|actor| pair(&actor.iss, &actor.sub)).collect());
        put("chain", Value::from(self.chain.clone()));
        put(
            "client",
            self.client.as_ref().map_or(Value::Null, |client| Value::from(client.as_str())),
        );
        put("requested_by", text(&self.requested_by));
        put(
            "audience",
            self.audience.as_ref().map_or(Value::Null, |audience| Value::from(audience.as_str())),
        );
        put("txn", text(&self.txn));
        put("jti", text(&self.jti));
        put("parent_jti", text(&self.parent_jti));
        put("authorization_details", self.asked.details.iter().map(Detail::to_json).collect());
        put(
            "scope",
            Value::from(self.asked.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")),
        );
        put("onward", self.onward.iter().map(Detail::to_json).collect());
        put("expires_in", self.expires_in.map_or(Value::Null, Value::from));
        put("rules", Value::from(self.rules.clone()));
        put("policy_version", Value::from(self.policy_version.as_str()));
        put("config_version", Value::from(self.config_version.as_str()));
        put(
            "client_ip",
            self.client_ip.map_or(Value::Null, |address| Value::from(address.to_string())),
        );
        put("inputs", self.inputs.clone());
        put("count", self.count.map_or(Value::Null, Value::from));
        members
    }
}

fn pair(iss: &str, sub: &str) -> Value {
    let mut members = Map::new();
    members.insert("iss".to_owned(), Value::from(iss));
    members.insert("sub".to_owned(), Value::from(sub));
    Value::Object(members)
}
