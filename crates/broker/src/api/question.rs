//! From a question to an answer that is on record: whom it may be about, what it says of the circumstances, and the decision.

use std::net::IpAddr;

use delegation::oauth::{ClientId, Reason};
use delegation::registry::Moment;
use issuance::audit::{self, Decision, Entry, Journal, Kind, Record, commit_denial};
use issuance::evaluation::{Evaluation, NotAsked, StatedCircumstances, Statement};
use issuance::policy::{self, Permit, Policy};
use serde_json::{Map, Value};

use super::caller::Caller;
use super::problem::Problem;
use crate::broker::{Broker, InForce};
use crate::ids;

/// Where a record says what its client was told in place of the reason.
pub(super) const TOLD: &str = "told";

/// Whether a record's `asked` names a door where one only asks.
pub(super) fn is_door(asked: &str) -> bool {
    asked.starts_with("POST /access/v1/") || asked == "POST /v1/explain"
}

/// Who asks, and where.
pub(super) struct Asker {
    pub(super) caller: Caller,
    pub(super) client_ip: Option<IpAddr>,
    /// The method and path.
    pub(super) door: &'static str,
}

/// One question, and about which client.
pub(super) struct Question {
    pub(super) client: ClientId,
    pub(super) statement: Statement,
}

/// What was decided about one question, before anybody knows.
pub(super) enum Decided {
    Permitted(Box<Permit<Evaluation>>),
    Denied {
        reason: Reason,
        /// What the asker is told.
        told: Reason,
    },
    /// It is no question.
    Malformed(Problem),
}

/// What is on record, and may be told.
pub(super) struct Told {
    pub(super) decision_id: String,
    /// Why not; `None` for a permit.
    pub(super) against: Option<Against>,
}

/// What stands against a question.
pub(super) enum Against {
    Reason(Reason),
    Problem(Problem),
}

impl Told {
    pub(super) fn reason(&self) -> Option<&'static str> {
        self.against.as_ref().map(|against| match against {
            Against::Reason(reason) => reason.as_str(),
            Against::Problem(problem) => problem.reason(),
        })
    }
}

impl Asker {
    /// The client that `words` are about, and its address as far as it is known here.
    pub(super) fn client(&self, words: &Map<String, Value>) -> Result<(ClientId, Option<IpAddr>), Problem> {
        let named = optional_text(words, "client")?;
        let named = named.map(|id| ClientId::parse(&id).map_err(|_| Problem::Malformed("`client` is no client identifier")));
        match (&self.caller, named.transpose()?) {
            (Caller::Client { id, .. }, None) => Ok((id.clone(), self.client_ip)),
            (Caller::Client { id, .. }, Some(named)) if named == *id => Ok((named, self.client_ip)),
            // What is decided about others is not theirs to know.
            (Caller::Client { .. }, Some(_)) => Err(Problem::NotPermitted),
            (Caller::Operator(_), Some(named)) => Ok((named, None)),
            (Caller::Operator(_), None) => Err(Problem::Malformed("name the client that would ask as `client`")),
        }
    }

    /// Decides one question at `moment`. Nothing of it is known to anybody before the record is durable.
    pub(super) fn decide(&self, in_force: &InForce, moment: &Moment, question: Result<Question, Problem>) -> (Decided, Record) {
        let mut record = Record::new(ids::decision(), moment.now, Kind::Exchange);
        record.client_ip = self.client_ip;
        record.config_version.clone_from(&moment.snapshot.config_version);
        record.policy_version = in_force.policy.version().to_owned();
        let decided = match question {
            Err(problem) => Decided::Malformed(problem),
            Ok(question) => {
                let proposed = Evaluation::propose(moment, &question.client, &question.statement, &mut record);
                let decided = proposed.and_then(|proposed| Ok(policy::decide(&in_force.policy, proposed, &mut record)?));
                match decided {
                    Ok(permit) => Decided::Permitted(Box::new(permit)),
                    Err(not_asked) => self.denied(&not_asked, &mut record),
                }
            }
        };
        note(&mut record, "asked", self.door);
        match &self.caller {
            Caller::Client { id, .. } => record.client = Some(id.clone()),
            // It is no client's request, whichever client it is about.
            Caller::Operator(operator) => note(&mut record, "operator", operator.name.as_str()),
        }
        (decided, record)
    }

    /// An operator is told what the record says. What a client is told in place of that is noted beside it.
    fn denied(&self, not_asked: &NotAsked, record: &mut Record) -> Decided {
        let reason = not_asked.reason;
        let told = match self.caller {
            Caller::Operator(_) => reason,
            Caller::Client { .. } => not_asked.told,
        };
        if told != reason {
            note(record, TOLD, told.as_str());
        }
        Decided::Denied { reason, told }
    }

    /// The questions that a client is shown as refused, though policy was not asked.
    pub(super) fn looks_refused<'n>(&self, not_asked: &'n NotAsked) -> &'n [policy::Question] {
        match self.caller {
            Caller::Operator(_) => &[],
            Caller::Client { .. } => &not_asked.questions,
        }
    }
}

impl Decided {
    /// Makes the decision durable, and gives what may be told then.
    pub(super) async fn recorded(self, broker: &Broker, mut record: Record) -> Result<Told, Problem> {
        let decision_id = record.id.clone();
        let (committed, against) = match self {
            Self::Permitted(permit) => (audit::commit(broker.journal(), *permit, record).await.map(drop), None),
            Self::Denied { reason, told } => {
                broker.telemetry().refused(reason.as_str());
                let committed = commit_denial(broker.journal(), reason, record, Vec::new()).await.map(drop);
                (committed, Some(Against::Reason(told)))
            }
            Self::Malformed(problem) => {
                record.decision = Decision::Deny;
                problem.reason().clone_into(&mut record.reason);
                let committed = broker.journal().commit(Entry::of(record)).await.map(drop);
                (committed, Some(Against::Problem(problem)))
            }
        };
        let told = Told { decision_id, against };
        committed.map(|()| told).map_err(|_| Problem::StoreUnavailable)
    }
}

/// What `words` say of what policy calls the circumstances; where they do not say the address, it is the one that was `seen`.
/// Time is not among it: that is ours.
pub(super) fn circumstances(words: &Map<String, Value>, seen: Option<IpAddr>) -> Result<StatedCircumstances, Problem> {
    let client_ip = match optional_text(words, "client_ip")? {
        None => seen,
        Some(text) => Some(text.parse().map_err(|_| Problem::Malformed("`client_ip` is no address"))?),
    };
    let chain = match words.get("chain") {
        None => Vec::new(),
        Some(Value::Array(chain)) => {
            let client = |each: &Value| each.as_str().and_then(|id| ClientId::parse(id).ok());
            let chain: Option<_> = chain.iter().map(client).collect();
            chain.ok_or(Problem::Malformed("`chain` must hold client identifiers"))?
        }
        Some(_) => return Err(Problem::Malformed("`chain` must be an array")),
    };
    let age = |name| match seconds(words, name)? {
        None => Ok(None),
        Some(seconds) => i64::try_from(seconds).map(Some).map_err(|_| NO_SECONDS),
    };
    Ok(StatedCircumstances {
        client_ip: client_ip.map(|address| address.to_canonical()),
        chain,
        requested_by: optional_text(words, "requested_by")?,
        acr: optional_text(words, "acr")?,
        auth_age_seconds: age("auth_age_seconds")?,
        subject_age_seconds: age("subject_age_seconds")?.unwrap_or(0),
        expires_in: match seconds(words, "expires_in")? {
            Some(0) => return Err(NO_SECONDS),
            life => life,
        },
    })
}

const NO_SECONDS: Problem = Problem::Malformed("a number of seconds must be a whole one, and a life more than none");

fn seconds(words: &Map<String, Value>, name: &str) -> Result<Option<u64>, Problem> {
    words.get(name).map(|value| value.as_u64().ok_or(NO_SECONDS)).transpose()
}

/// A member that is an object, if it is there.
pub(super) fn object<'w>(words: &'w Map<String, Value>, name: &str) -> Result<Option<&'w Map<String, Value>>, Problem> {
    let value = words
        .get(name)
        .map(|value| value.as_object().ok_or(Problem::Malformed("a member that must be an object is none")));
    value.transpose()
}

/// A text that must be there and not empty.
pub(super) fn text(words: &Map<String, Value>, name: &str) -> Result<String, Problem> {
    let text = words.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or(Problem::Malformed(
        "a text that is required is missing: the `type` and `id` of a subject or resource, the `name` of an action, an `audience`",
    ))
}

pub(super) fn optional_text(words: &Map<String, Value>, name: &str) -> Result<Option<String>, Problem> {
    let text = words
        .get(name)
        .map(|value| value.as_str().ok_or(Problem::Malformed("a member that must be a text is none")));
    Ok(text.transpose()?.map(str::to_owned))
}

/// Puts a member beside what policy saw.
fn note(record: &mut Record, name: &str, value: &str) {
    if !record.inputs.is_object() {
        record.inputs = Value::Object(Map::new());
    }
    if let Some(inputs) = record.inputs.as_object_mut() {
        inputs.insert(name.to_owned(), Value::from(value));
    }
}
