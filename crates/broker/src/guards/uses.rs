//! The one use of a token.

use std::net::IpAddr;

use delegation::oauth::{ClientId, Reason};
use delegation::registry::AuthenticatedClient;
use issuance::audit::{CommitError, Decision, Entry, Journal, Kind, Record, RequestLine};
use issuance::exchange;
use issuance::policy::Policy;
use serde_json::json;

use super::{refuse, token};
use crate::broker::Broker;
use crate::front_door::Refused;
use crate::ids;
use crate::overload::Overloaded;

/// A token that somebody shows, to be used now.
#[derive(Clone)]
pub struct Shown {
    /// It.
    pub token: String,
    /// What was asked with it, for the record.
    pub request: Option<RequestLine>,
    /// Whose it is, as far as whoever asks believes it.
    pub from: Option<IpAddr>,
}

/// Without the token.
impl std::fmt::Debug for Shown {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shown").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Takes this for the one use of the token that was `shown` to `client`.
///
/// Of all calls with one token, on whichever node, one at most is `Ok`, and that is durable before it is answered: the token can then
/// neither be used nor exchanged again. The token is verified whole before, so that one which does not hold is refused for that, and
/// nothing is used up. A token of an audience without `single_use` is taken once all the same: whoever asks wants it once.
/// A refusal is on record when it is given, and needs no other; [`Reason::TokenUsed`] says that there was another use.
pub async fn consume(broker: &Broker, client: &ClientId, shown: Shown) -> Result<(), Refused> {
    let in_force = broker.in_force();
    let mut record = Record::new(ids::decision(), broker.now(), Kind::Guard);
    let Shown { token, request, from } = shown;
    record.request = request;
    record.client_ip = from.map(|from| from.to_canonical());
    record.config_version.clone_from(&in_force.snapshot.config_version);
    record.policy_version = in_force.policy.version().to_owned();
    record.inputs = json!({ "guard": client.as_str(), "asked": DOOR });
    let used = match broker.gate().enter().await {
        Ok(_turn) => take(broker, client, &token, &mut record).await,
        Err(Overloaded) => Err(Reason::RateLimited),
    };
    broker.telemetry().used(used.as_ref().err().map_or("accepted", |reason| reason.as_str()));
    match used {
        Ok(()) => Ok(()),
        Err(reason) => {
            // Whatever the first was to be a record of may have happened all the same.
            record.id = ids::decision();
            Err(refuse(broker, reason, record, DOOR).await)
        }
    }
}

/// Where uses are made.
const DOOR: &str = "POST /v1/uses";

async fn take(broker: &Broker, client: &ClientId, shown: &str, record: &mut Record) -> Result<(), Reason> {
    // 1. Who asks, and the whole token.
    let moment = broker.moment(&broker.in_force());
    let client = AuthenticatedClient::in_process(&moment, client).map_err(|_| Reason::ClientAuthenticationFailed)?;
    let token = token::shown(broker, &moment, client.client(), shown, record).await?;
    let once = exchange::use_of(&token, &moment).ok_or(Reason::SubjectTokenInvalid)?;

    // 2. Its use, with the record of it.
    record.decision = Decision::Allow;
    "used".clone_into(&mut record.reason);
    let entry = Entry {
        uses: vec![once],
        ..Entry::of(record.clone())
    };
    match broker.journal().commit(entry).await {
        Ok(_) => Ok(()),
        Err(CommitError::AlreadyUsed) => Err(Reason::TokenUsed),
        Err(CommitError::Over(_) | CommitError::Unavailable) => Err(Reason::StoreUnavailable),
    }
}
