//! What a broker's reply must be for its token to go on with a request.

use std::sync::Arc;
use std::time::Duration;

use delegation::authority::Authority;
use delegation::identity::Attributes;
use delegation::oauth::{ClientId, Reason, TokenType};
use delegation::registry::{Moment, Snapshot, TokenForm};
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::{Active, Authentic, Issued, SubjectToken, Unverified};
use narrows_guard::Needs;
use narrows_guard::link::Unanswered;
use narrows_guard::live::Guest;
use serde_json::Value;

use crate::exchanger::Refused;

/// So far the broker's clock may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(5);
/// The longest id of a decision.
const LONGEST_ID: usize = 64;

/// Who asked, for what, and by which configuration.
pub(super) struct Asked<'a> {
    pub(super) client: &'a ClientId,
    /// The caller's token.
    pub(super) shown: &'a str,
    pub(super) needs: &'a Needs,
    pub(super) snapshot: &'a Arc<Snapshot>,
}

/// The kind and the end of `token`, whose signature is the broker's, if it is exactly the one that was asked for: of the kind that its
/// audience has, for this audience and no other, issued to us, come of the caller's token, alive `now` and for no longer than any token may live, and neither wider
/// nor narrower than the intent.
pub(super) fn check(token: &Authentic<Issued>, asked: &Asked<'_>, now: Timestamp) -> Result<(TokenType, Timestamp), &'static str> {
    let Asked {
        client,
        shown,
        needs,
        snapshot,
    } = asked;
    let kind = match snapshot.audiences.get(&needs.audience).map(|audience| audience.form) {
        Some(TokenForm::Jwt) => TokenType::AccessToken,
        Some(TokenForm::Txn) => TokenType::TxnToken,
        Some(TokenForm::Opaque) | None => return Err("tokens for its audience say nothing that could be verified here"),
    };
    let at = |now| Moment {
        now,
        snapshot: Arc::clone(snapshot),
        // Whether it was revoked is the broker's to know; it has just said that it was not.
        revocations: Arc::new(View::default()),
    };
    // One that was made this very second by a clock that is ahead of ours is not from the future.
    let (here, there) = (at(now), at(now.plus(AHEAD)));
    let active = token.active_at(&here).or_else(|| token.active_at(&there));
    let Active { token: said, claims } = active.ok_or("it is no token of the broker's, or does not hold now")?;
    if said.is_txn_token != (kind == TokenType::TxnToken) {
        return Err("it is of another kind than tokens for its audience are");
    }
    if !said.audiences.iter().eq([needs.audience.as_str()]) {
        return Err("it is for another audience");
    }
    if said.client_id.as_ref() != Some(*client) {
        return Err("it was issued to another client");
    }
    // A transaction token says so twice, and services read this one.
    if kind == TokenType::TxnToken && claims.get("req_wl").and_then(Value::as_str) != Some(client.as_str()) {
        return Err("it says that another workload asked for it");
    }
    // Whose it is nothing else here says: a reply to somebody else's question is as well signed. Of an opaque token nobody here
    // knows how it is named.
    let shown = Unverified::<SubjectToken>::parse(shown).ok();
    if let Some(named) = shown.and_then(|shown| shown.would_be_named(&snapshot.issuer)) {
        let chain = claims.get("chain").and_then(Value::as_array);
        if chain.and_then(|chain| chain.last()).and_then(Value::as_str) != Some(&*named) {
            return Err("it did not come of the caller's token");
        }
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
    Ok((kind, said.exp))
}

/// Whose token it is by a reply: of somebody with a name, or of whoever cannot be known yet. What is missing is not taken for that.
pub(super) fn holder(reply: &Value) -> Result<Guest, &'static str> {
    let said = reply.get("holder").ok_or("it does not say whose token it is")?;
    let text = |name: &str| said.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (text("iss"), text("sub")) {
        _ if said.is_null() => Ok(Guest::Anybody),
        (Some(iss), Some(sub)) => Ok(Guest::holder(iss, sub)),
        _ => Err("whose token it is cannot be read"),
    }
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
