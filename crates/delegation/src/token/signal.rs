//! What the events in a security event token mean here (CAEP 1.0, RISC), and of whom they tell (RFC 9493).

use serde_json::{Map, Value};

use super::claims::{Claims, TokenError};
use crate::identity::{Risk, is_sub};
use crate::time::Timestamp;

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";

/// What is told, before it is known whether its issuer may say so.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) events: Vec<String>,
    /// `iss` and `sub`.
    pub(super) subject: Option<(String, String)>,
    pub(super) happened_at: Option<Timestamp>,
    pub(super) revokes: bool,
    pub(super) disables: bool,
    /// How risky, and since when by that event's own word.
    pub(super) risk: Option<(Risk, Option<Timestamp>)>,
}

/// What one event does to its subject.
enum Effect {
    Revokes,
    Disables,
    Risk(Risk),
}

/// Reads `events`. Whatever in one that means something here is not understood makes the whole token malformed; of types that
/// mean nothing here only the name is read.
pub(super) fn read(claims: Claims<'_>) -> Result<Told, TokenError> {
    let members = claims.0.get("events").and_then(Value::as_object).filter(|events| !events.is_empty());
    let members = members.ok_or(TokenError::Invalid("`events` must be an object with at least one event"))?;
    let toe = claims.date("toe")?;
    let mut told = Told::default();
    for (name, payload) in members {
        let payload = payload.as_object().ok_or(TokenError::Invalid("an event must be an object"))?;
        told.events.push(name.clone());
        let Some(effect) = effect(name, payload)? else { continue };
        let subject = subject(claims, payload)?;
        if told.subject.as_ref().is_some_and(|other| *other != subject) {
            return Err(TokenError::Invalid("its events have different subjects"));
        }
        told.subject = Some(subject);
        let happened_at = Claims(payload).date("event_timestamp")?.or(toe);
        told.happened_at = told.happened_at.max(happened_at);
        match effect {
            Effect::Revokes => told.revokes = true,
            Effect::Disables => (told.disables, told.revokes) = (true, true),
            // Another event beside it may tell of another time.
            Effect::Risk(risk) => told.risk = Some((risk, happened_at)),
        }
    }
    told.happened_at = told.happened_at.or(toe);
    Ok(told)
}

/// What an event of this type does; none if it means nothing here.
fn effect(name: &str, payload: &Map<String, Value>) -> Result<Option<Effect>, TokenError> {
    if let Some(caep) = name.strip_prefix(CAEP) {
        return match caep {
            "session-revoked" => Ok(Some(Effect::Revokes)),
            "risk-level-change" => risk(Claims(payload)),
            _ => Ok(None),
        };
    }
    Ok(match name.strip_prefix(RISC) {
        // The second is what CAEP's event was called before.
        Some("credential-compromise" | "sessions-revoked") => Some(Effect::Revokes),
        Some("account-disabled" | "account-purged") => Some(Effect::Disables),
        // `account-enabled` among them: nobody but an operator makes a refusal undone.
        _ => None,
    })
}

/// CAEP 1.0 §3.8. The risk of a device or tenant is nobody's here.
fn risk(event: Claims<'_>) -> Result<Option<Effect>, TokenError> {
    let risk = match event.required_text("current_level")? {
        "LOW" => Risk::Low,
        "MEDIUM" => Risk::Medium,
        "HIGH" => Risk::High,
        _ => return Err(TokenError::Invalid("`current_level` must be LOW, MEDIUM or HIGH")),
    };
    let is_users = event.required_text("principal")? == "USER";
    Ok(is_users.then_some(Effect::Risk(risk)))
}

/// Whom an event is about: `sub_id` of the token, or `subject` in the event as older senders have it; both must agree.
fn subject(claims: Claims<'_>, payload: &Map<String, Value>) -> Result<(String, String), TokenError> {
    let outer = claims.0.get("sub_id").map(pair).transpose()?;
    let inner = payload.get("subject").map(pair).transpose()?;
    match (outer, inner) {
        (Some(outer), Some(inner)) if outer != inner => Err(TokenError::Invalid("`sub_id` and `subject` differ")),
        (Some(subject), _) | (None, Some(subject)) => Ok(subject),
        (None, None) => Err(TokenError::Invalid("it does not say whom it is about")),
    }
}

/// A subject identifier of format `iss_sub`, or the `user` of a complex one; `subject_type` is what older senders call it.
fn pair(identifier: &Value) -> Result<(String, String), TokenError> {
    let malformed = TokenError::Invalid("its subject must be an `iss_sub`, or complex with such a `user`");
    let members = Claims(identifier.as_object().ok_or(malformed)?);
    let format = members.text("format")?.or(members.text("subject_type")?);
    let user = members.0.get("user");
    match (format, user) {
        (Some("iss_sub" | "iss-sub"), None) => {}
        // One level and no more: a user is no complex subject.
        (Some("complex") | None, Some(user)) if user.get("user").is_none() => return pair(user),
        _ => return Err(malformed),
    }
    let sub = members.required_text("sub")?;
    if is_sub(sub) {
        Ok((members.required_text("iss")?.to_owned(), sub.to_owned()))
    } else {
        Err(malformed)
    }
}
