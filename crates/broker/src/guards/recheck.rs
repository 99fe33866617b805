//! Policy again, for one request of a token that was issued before.

use std::collections::BTreeSet;
use std::net::IpAddr;

use delegation::authority::Authority;
use delegation::oauth::{Reason, Scope};
use delegation::registry::AuthenticatedClient;
use issuance::audit::{Effect, Record, RequestLine};
use issuance::policy;
use issuance::recheck::Recheck;
use serde_json::Value;

use super::{Guard, refuse, token};
use crate::broker::Broker;
use crate::evidence;
use crate::front_door::Refused;
use crate::overload::Overloaded;

/// A request that a guard asks about again.
#[derive(Clone)]
pub struct Asked {
    /// The token that came with it.
    pub token: String,
    /// What was asked, for the record.
    pub request: Option<RequestLine>,
    /// The caller's address, as far as the guard believes it.
    pub from: IpAddr,
    /// What it needs: `authorization_details`, a JSON array, if any.
    pub details: Option<String>,
    /// The scopes that it needs.
    pub scopes: BTreeSet<Scope>,
    /// Whether it goes on whatever is said here.
    pub observed: bool,
}

/// Without the token.
impl std::fmt::Debug for Asked {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Asked").field("request", &self.request).finish_non_exhaustive()
    }
}

/// Asks policy whether the request may be made with its token, by all that is known now.
///
/// The token is verified here again, and must be for the audience of the guard's service. Policy is told what an exchange would tell
/// it for the token's subject, chain, client and audience, with the subject's attributes as the transaction began with them, and is asked
/// about what the request needs: that is never more than the token allows. An allow is on no record of its own; a refusal is when it is
/// given.
pub async fn recheck(broker: &Broker, guard: &Guard<'_>, asked: Asked) -> Result<(), Refused> {
    let in_force = broker.in_force();
    let mut record = guard.record(broker, &in_force);
    record.request.clone_from(&asked.request);
    record.client_ip = Some(asked.from.to_canonical());
    record.effect = asked.observed.then_some(Effect::Observed);
    let mut by = record.inputs.clone();
    let decided = match broker.gate().enter().await {
        Ok(_turn) => decide(broker, guard, asked, &mut record, &mut by).await,
        Err(Overloaded) => Err(Reason::RateLimited),
    };
    broker.telemetry().rechecked(guard.service, decided.is_ok());
    match decided {
        Ok(()) => Ok(()),
        Err(reason) => {
            // What policy saw, beside who asked, and what the token allows.
            if let (Some(inputs), Value::Object(by)) = (record.inputs.as_object_mut(), by) {
                inputs.extend(by);
            }
            Err(refuse(broker, reason, record, &format!("guard {}", guard.service)).await)
        }
    }
}

async fn decide(broker: &Broker, guard: &Guard<'_>, asked: Asked, record: &mut Record, by: &mut Value) -> Result<(), Reason> {
    // 1. Who asks, and the whole token, for this service alone.
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let client = AuthenticatedClient::in_process(&moment, guard.client).map_err(|_| Reason::ClientAuthenticationFailed)?;
    let token = token::shown(broker, &moment, client.client(), &asked.token, record).await?;
    let service = in_force.guards.get(guard.service);
    if !service.is_some_and(|service| token.audiences.iter().eq([service.audience.as_str()])) {
        return Err(Reason::SubjectTokenNotForClient);
    }
    if let Some(by) = by.as_object_mut() {
        by.insert("presented".to_owned(), presented(&token.authority));
    }

    // 2. What is kept of it; then policy.
    let kept = evidence::kept(broker, &token).await?;
    record.asked = Authority::default();
    let proposed = Recheck::propose(&moment, &token, &kept, asked.details, asked.scopes, record);
    // A guard's record says what the token allows, and beside that what the request needs.
    let needs = std::mem::replace(&mut record.asked, token.authority.clone());
    if let Some(by) = by.as_object_mut().filter(|_| !needs.is_empty()) {
        by.insert("required".to_owned(), presented(&needs));
    }
    let proposed = proposed?;
    policy::decide(&in_force.policy, proposed, record).map(drop)
}

/// Details in their short form, and scopes: as guards tell what a token allows.
fn presented(authority: &Authority) -> Value {
    let scopes = authority.scopes.iter().map(|scope| format!("scope {scope}"));
    authority.details.iter().map(ToString::to_string).chain(scopes).collect()
}
