//! The exchange for a front door in this process: the token endpoint's steps, without its protocol.

use std::net::IpAddr;
use std::sync::Arc;

use delegation::oauth::{ClientId, Form, Reason};
use issuance::audit::{Kind, Record, RequestLine};
use issuance::mint::Minted;
use issuance::policy::Policy;
use serde_json::json;

use crate::broker::Broker;
use crate::denied::Denied;
use crate::ids;
use crate::overload::Overloaded;
use crate::reuse::Door;
use crate::token_endpoint::{Answer, decide};

/// A refusal, on record under `decision_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// The id of its record.
    pub decision_id: String,
}

/// A request that came to a boundary.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The boundary's name.
    pub boundary: &'a str,
    /// The client that it acts as, whose configuration this process runs; without, the form shows who asks.
    pub acting: Option<&'a ClientId>,
    /// The caller's address, as far as the boundary believes it.
    pub from: IpAddr,
    /// What was asked, for the record.
    pub request: Option<RequestLine>,
}

impl Seen<'_> {
    fn record(&self, broker: &Broker) -> Record {
        let mut record = Record::new(ids::decision(), broker.now(), Kind::Exchange);
        record.boundary = Some(self.boundary.to_owned());
        record.request.clone_from(&self.request);
        record.client_ip = Some(self.from.to_canonical());
        record
    }
}

/// Decides one request of a boundary.
///
/// `form` and `authorization` are what the boundary's client would send to the token endpoint, and every step of it is
/// taken. A token may be handed out again if a new one would say the same in all but time.
pub async fn exchange(broker: &Arc<Broker>, seen: &Seen<'_>, form: &Form, authorization: Option<&str>) -> Result<Minted, Refused> {
    let mut record = seen.record(broker);
    let door = Door::Boundary {
        name: seen.boundary,
        acting: seen.acting,
    };
    let answered = match broker.gate().enter().await {
        Ok(_turn) => decide(broker, door, form, authorization, &mut record).await,
        Err(Overloaded) => Err(Denied::uncounted(Reason::RateLimited)),
    };
    match answered {
        Ok(Answer::Token(minted)) => Ok(minted),
        // No request of a boundary opens a task: `decide` refuses it.
        Ok(Answer::Task(_)) => Err(Refused {
            reason: Reason::UnsupportedTokenType,
            decision_id: record.id,
        }),
        Err(denied) => Err(denied_at(broker, seen, denied, record).await),
    }
}

/// Puts on record a refusal that the boundary itself decided on: the request had no route, or could not be read.
pub async fn refuse(broker: &Broker, seen: &Seen<'_>, reason: Reason) -> Refused {
    let in_force = broker.in_force();
    let mut record = seen.record(broker);
    record.client = seen.acting.cloned();
    record.config_version.clone_from(&in_force.snapshot.config_version);
    record.policy_version = in_force.policy.version().to_owned();
    denied_at(broker, seen, Denied::uncounted(reason), record).await
}

async fn denied_at(broker: &Broker, seen: &Seen<'_>, denied: Denied, mut record: Record) -> Refused {
    // Nobody has shown who they are: a flood of such requests must not be a flood of records.
    let is_anybodys = seen.acting.is_some() && denied.reason == Reason::SubjectTokenInvalid;
    let uses = denied.uses.filter(|_| !is_anybodys);
    if uses.is_none() {
        record.inputs = json!({ "asked": format!("boundary {}", seen.boundary) });
    }
    let (reason, decision_id) = broker.record_denial(denied.reason, record, uses).await;
    broker.telemetry().refused(reason.as_str());
    Refused { reason, decision_id }
}
