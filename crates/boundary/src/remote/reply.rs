//! What a broker's reply must be for its token to go on with a request.

use std::sync::Arc;
use std::time::Duration;

use delegation::authority::Authority;
use delegation::identity::Attributes;
use delegation::oauth::{ClientId, Reason};
use delegation::registry::{Moment, Snapshot};
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::{Authentic, SubjectToken};
use narrows_guard::Needs;
use serde_json::Value;

use super::ask::Unanswered;
use crate::exchanger::Refused;

/// So far the broker's clock may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(5);
/// The longest id of a decision.
const LONGEST_ID: usize = 64;

/// Who asked, for what, and by which configuration.
pub(super) struct Asked<'a> {
    pub(super) client: &'a ClientId,
    pub(super) needs: &'a Needs,
    pub(super) snapshot: &'a Arc<Snapshot>,
}

/// The end of `token`, whose signature is the broker's, if it is exactly the one that was asked for: for this audience and no other,
/// issued to us, alive `now` and for no longer than any token may live, and neither wider nor narrower than the intent.
pub(super) fn check(token: &Authentic<SubjectToken>, asked: &Asked<'_>, now: Timestamp) -> Result<Timestamp, &'static str> {
    let Asked { client, needs, snapshot } = asked;
    let at = |now| Moment {
        now,
        snapshot: Arc::clone(snapshot),
        // Whether it was revoked is the broker's to know; it has just said that it was not.
        revocations: Arc::new(View::default()),
    };
    // One that was made this very second by a clock that is ahead of ours is not from the future.
    let (here, there) = (at(now), at(now.plus(AHEAD)));
    let active = token.active_at(&here).or_else(|| token.active_at(&there));
    let said = active.ok_or("it is no access token of the broker's, or does not hold now")?.token;
    if !said.audiences.iter().eq([needs.audience.as_str()]) {
        return Err("it is for another audience");
    }
    if said.client_id.as_ref() != Some(*client) {
        return Err("it was issued to another client");
    }
    let intended = Authority {
        details: needs.details.clone(),
        scopes: needs.scopes.clone(),
    };
    if said.authority != intended || said.onward != needs.onward {
        return Err("its authority is not what was asked for");
    }
    if said.exp.since(said.iat) > snapshot.lifetimes.max {
        return Err("it lives for longer than any token of this configuration");
    }
    Ok(said.exp)
}

/// The attributes in a reply, both members of them: what is missing is not taken for nobody's.
pub(super) fn attributes(reply: &Value) -> Result<Attributes, &'static str> {
    let said = reply.get("attributes").and_then(Value::as_object).ok_or("it says no attributes")?;
    if said.len() != 2 || !said.contains_key("values") || !said.contains_key("groups") {
        return Err("its attributes are not values and groups");
    }
    serde_json::from_value(Value::Object(said.clone())).map_err(|_| "its attributes cannot be read")
}

/// The refusal in a reply, if it is one.
pub(super) fn refused(reply: &Value) -> Option<Result<Refused, Unanswered>> {
    let said = reply.get("refused")?;
    let text = |name: &str| said.get(name).and_then(Value::as_str);
    let reason = text("reason").and_then(Reason::parse);
    // It is shown to people, so it is nothing but an id.
    let is_id = |id: &&str| (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    Some(match (reason, text("decision_id").filter(is_id)) {
        (Some(reason), Some(id)) => Ok(Refused {
            reason,
            decision_id: id.to_owned(),
        }),
        _ => Err(Unanswered::Unbelievable("it refuses for no reason that is known")),
    })
}
