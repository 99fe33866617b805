//! What policy is told, and what it is asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use delegation::details::{Detail, DetailTypes, Standing};
use delegation::identity::{Attributes, Risk, Subject, SubjectKind};
use delegation::oauth::{ClientId, Scope};
use delegation::registry::{Client, LabelValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that policy sees of one request: enough to decide it again.
#[derive(Clone, Debug)]
pub struct Inquiry {
    /// The requesting client.
    pub client: ClientFacts,
    /// Whom the token is about.
    pub subject: SubjectFacts,
    /// The audience of the token that is asked for.
    pub audience: String,
    /// Now, in milliseconds since the epoch.
    pub now_millis: i64,
    /// The life of the token that is asked for, in seconds.
    pub expires_in: i64,
    /// Seconds since the subject's attributes were read.
    pub subject_age_seconds: i64,
    /// The outside client that the subject's token was issued to.
    pub requested_by: Option<String>,
    /// The clients that acted before, newest first, without the requesting one.
    pub chain: Vec<ClientId>,
    /// The requester's address, where the door knows it.
    pub client_ip: Option<IpAddr>,
    /// Whether the token will be bound to a key.
    pub sender_constrained: bool,
    /// Seconds since the subject authenticated.
    pub auth_age_seconds: Option<i64>,
    /// How the subject authenticated.
    pub acr: Option<String>,
    /// The task that the token will hang from, or that is to be opened.
    pub task: Option<TaskFacts>,
    /// What is asked, in the order of the request: the task, details, `onward`, scopes.
    pub questions: Vec<Question>,
}

/// Noon of a Wednesday in UTC, 2026-01-07, in milliseconds since the epoch.
const A_NOON: i64 = 1_767_787_200_000;

impl Inquiry {
    /// An inquiry by `client` for `subject` in the plainest circumstances, as a case of `policy test` has them where it says nothing else:
    /// straight from the subject, in no task, for two minutes, at noon of a Wednesday. It asks nothing yet.
    pub fn plain(client: ClientFacts, subject: SubjectFacts, audience: String) -> Self {
        Self {
            client,
            subject,
            audience,
            now_millis: A_NOON,
            expires_in: 120,
            subject_age_seconds: 0,
            requested_by: None,
            chain: Vec::new(),
            client_ip: None,
            sender_constrained: false,
            auth_age_seconds: None,
            acr: None,
            task: None,
            questions: Vec::new(),
        }
    }
}

/// What policy may read about the requesting client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFacts {
    /// Its identifier.
    pub id: ClientId,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, LabelValue>,
}

impl From<&Client> for ClientFacts {
    fn from(client: &Client) -> Self {
        Self {
            id: client.id.clone(),
            owner: client.owner.clone(),
            labels: client.labels.clone(),
        }
    }
}

/// What policy may read about the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectFacts {
    /// Who it is.
    pub subject: Subject,
    /// A person or a program.
    pub kind: SubjectKind,
    /// Attributes and groups, as read when the transaction began.
    pub attributes: Attributes,
    /// How risky it is to act for the subject, where standing says so; it counts in place of the attribute.
    pub risk: Option<Risk>,
}

/// What policy may read about a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// Its id.
    pub id: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// Seconds since it was opened.
    pub age_seconds: i64,
    /// How often it was redeemed before.
    pub tokens: i64,
    /// Whether it is for later work.
    pub deferred: bool,
    /// The client that may redeem it.
    pub actor: String,
    /// What is left of its life, in seconds.
    pub expires_in: i64,
}

impl TaskFacts {
    /// Whether it is the same task, but for what time and redemptions alone change.
    fn is_same(&self, other: &Self) -> bool {
        let Self {
            id,
            purpose,
            age_seconds: _,
            tokens: _,
            deferred,
            actor,
            expires_in: _,
        } = self;
        *id == other.id && *purpose == other.purpose && *deferred == other.deferred && *actor == other.actor
    }
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// May this action of this detail be done?
    Detail {
        /// The detail.
        detail: Detail,
        /// One of its actions.
        action: String,
        /// Whether it is asked as `onward`: to be asked for at a later hop, not to be used.
        onward: bool,
    },
    /// May the token carry this scope?
    Scope(Scope),
    /// May there be such a task?
    Task,
    /// May its work be done later?
    Defer,
}

/// The JSON form of an inquiry: the `inputs` of a record.
#[derive(Serialize, Deserialize)]
struct Inputs {
    client: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, Value>,
    issuer_name: String,
    iss: String,
    sub: String,
    kind: String,
    attributes: Attributes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    risk: Option<String>,
    audience: String,
    now: i64,
    expires_in: i64,
    subject_age_seconds: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requested_by: Option<String>,
    chain: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_ip: Option<IpAddr>,
    sender_constrained: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth_age_seconds: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    acr: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskFacts>,
    questions: Vec<AskedAs>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AskedAs {
    Detail {
        detail: Value,
        action: String,
        #[serde(default)]
        onward: bool,
    },
    Scope {
        scope: String,
    },
    Task {
        action: TaskAction,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TaskAction {
    Task,
    Defer,
}

impl Inquiry {
    /// The inquiry as the `inputs` of a record.
    pub fn to_json(&self) -> Value {
        let label = |value: &LabelValue| match value {
            LabelValue::Boolean(flag) => Value::from(*flag),
            LabelValue::Integer(number) => Value::from(*number),
            LabelValue::Text(text) => Value::from(text.as_str()),
        };
        let asked = |question: &Question| match question {
            Question::Detail { detail, action, onward } => AskedAs::Detail {
                detail: detail.to_json(),
                action: action.clone(),
                onward: *onward,
            },
            Question::Scope(scope) => AskedAs::Scope { scope: scope.to_string() },
            Question::Task => AskedAs::Task { action: TaskAction::Task },
            Question::Defer => AskedAs::Task { action: TaskAction::Defer },
        };
        let inputs = Inputs {
            client: self.client.id.to_string(),
            owner: self.client.owner.clone(),
            labels: self.client.labels.iter().map(|(name, value)| (name.clone(), label(value))).collect(),
            issuer_name: self.subject.subject.issuer_name.clone(),
            iss: self.subject.subject.iss.clone(),
            sub: self.subject.subject.sub.clone(),
            kind: self.subject.kind.as_str().to_owned(),
            attributes: self.subject.attributes.clone(),
            risk: self.subject.risk.map(|risk| risk.as_str().to_owned()),
            audience: self.audience.clone(),
            now: self.now_millis,
            expires_in: self.expires_in,
            subject_age_seconds: self.subject_age_seconds,
            requested_by: self.requested_by.clone(),
            chain: self.chain.iter().map(ToString::to_string).collect(),
            client_ip: self.client_ip,
            sender_constrained: self.sender_constrained,
            auth_age_seconds: self.auth_age_seconds,
            acr: self.acr.clone(),
            task: self.task.clone(),
            questions: self.questions.iter().map(asked).collect(),
        };
        serde_json::to_value(inputs).unwrap_or_default()
    }

    /// Whether policy would be told the same, but for what the clock alone changes.
    pub(crate) fn equals_but_for_time(&self, other: &Self) -> bool {
        // Taken apart by name, so that a member that is added must be thought about here.
        let Self {
            client,
            subject,
            audience,
            now_millis: _,
            expires_in: _,
            subject_age_seconds: _,
            requested_by,
            chain,
            client_ip,
            sender_constrained,
            auth_age_seconds: _,
            acr,
            task,
            questions,
        } = self;
        let same_task = match (task, &other.task) {
            (None, None) => true,
            (Some(task), Some(other)) => task.is_same(other),
            _ => false,
        };
        *client == other.client
            && *subject == other.subject
            && *audience == other.audience
            && *requested_by == other.requested_by
            && *chain == other.chain
            && *client_ip == other.client_ip
            && *sender_constrained == other.sender_constrained
            && *acr == other.acr
            && same_task
            && *questions == other.questions
    }

    /// Reads the `inputs` of a record again; `None` if they name a type, action or form that is not declared now.
    pub fn from_json(inputs: &Value, types: &DetailTypes) -> Option<Self> {
        let inputs = Inputs::deserialize(inputs).ok()?;
        let label = |value: Value| match value {
            Value::Bool(flag) => Some(LabelValue::Boolean(flag)),
            Value::Number(number) => number.as_i64().map(LabelValue::Integer),
            Value::String(text) => Some(LabelValue::Text(text)),
            _ => None,
        };
        let question = |asked: AskedAs| match asked {
            AskedAs::Detail { detail, action, onward } => {
                let detail = Detail::from_json(&detail, types, Standing::Asked).ok()?;
                Some(Question::Detail { detail, action, onward })
            }
            AskedAs::Scope { scope } => Scope::parse(&scope).ok().map(Question::Scope),
            AskedAs::Task { action: TaskAction::Task } => Some(Question::Task),
            AskedAs::Task { action: TaskAction::Defer } => Some(Question::Defer),
        };
        let labels = inputs.labels.into_iter().map(|(name, value)| Some((name, label(value)?)));
        Some(Self {
            client: ClientFacts {
                id: ClientId::parse(&inputs.client).ok()?,
                owner: inputs.owner,
                labels: labels.collect::<Option<_>>()?,
            },
            subject: SubjectFacts {
                subject: Subject {
                    issuer_name: inputs.issuer_name,
                    iss: inputs.iss,
                    sub: inputs.sub,
                },
                kind: SubjectKind::parse(&inputs.kind)?,
                attributes: inputs.attributes,
                risk: match inputs.risk {
                    None => None,
                    Some(word) => Some(Risk::parse(&word)?),
                },
            },
            audience: inputs.audience,
            now_millis: inputs.now,
            expires_in: inputs.expires_in,
            subject_age_seconds: inputs.subject_age_seconds,
            requested_by: inputs.requested_by,
            chain: inputs.chain.iter().map(|id| ClientId::parse(id).ok()).collect::<Option<_>>()?,
            client_ip: inputs.client_ip,
            sender_constrained: inputs.sender_constrained,
            auth_age_seconds: inputs.auth_age_seconds,
            acr: inputs.acr,
            task: inputs.task,
            questions: inputs.questions.into_iter().map(question).collect::<Option<_>>()?,
        })
    }
}
