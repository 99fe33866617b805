//! The exchange for a front door in this process: the token endpoint's steps, without its protocol.

use std::net::IpAddr;
use std::sync::Arc;

use delegation::oauth::{Form, Reason};
use issuance::audit::{Kind, Record};
use issuance::mint::Minted;
use serde_json::json;

use crate::broker::Broker;
use crate::ids;
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

/// Decides one request of the boundary named `boundary`, for a caller at `from`.
///
/// `form` and `authorization` are what the boundary's client would send to the token endpoint, and every step of it is
/// taken. A token may be handed out again if a new one would say the same in all but time.
pub async fn exchange(
    broker: &Arc<Broker>,
    boundary: &str,
    form: &Form,
    authorization: Option<&str>,
    from: IpAddr,
) -> Result<Minted, Refused> {
    let mut record = Record::new(ids::decision(), broker.now(), Kind::Exchange);
    record.client_ip = Some(from.to_canonical());
    match decide(broker, Door::Boundary(boundary), form, authorization, &mut record).await {
        Ok(Answer::Token(minted)) => Ok(minted),
        // No request of a boundary opens a task: `decide` refuses it.
        Ok(Answer::Task(_)) => Err(Refused {
            reason: Reason::UnsupportedTokenType,
            decision_id: record.id,
        }),
        Err(denied) => {
            if denied.uses.is_none() {
                record.inputs = json!({ "asked": format!("boundary {boundary}") });
            }
            let (reason, decision_id) = broker.record_denial(denied.reason, record, denied.uses).await;
            broker.telemetry().refused(reason.as_str());
            Err(Refused { reason, decision_id })
        }
    }
}
