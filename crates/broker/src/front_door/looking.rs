//! What is looked at of a request before it is decided on: the caller's token alone, which holds or is refused for what it is.

use delegation::identity::{Attributes, Subject};
use delegation::oauth::{Reason, SubjectPart, TokenType};
use delegation::registry::Moment;
use delegation::token::{OpaqueToken, SubjectToken, Verified};
use issuance::audit::Record;
use issuance::exchange::Exchange;

use super::{Refused, Seen, denied_at};
use crate::broker::{Broker, InForce};
use crate::denied::Denied;
use crate::endpoint;
use crate::evidence::{self, Answer, Asking};
use crate::limits::OverLimit;
use crate::overload::{Overloaded, Turn};
use crate::telemetry::Outcome;

/// A caller whose token held when it was looked at, for the decision on the same request.
pub struct Greeted {
    subject: Subject,
    /// What the issuer of an opaque token said.
    answer: Option<Answer>,
}

/// Without what an issuer said.
impl std::fmt::Debug for Greeted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Greeted").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Greeted {
    /// Whom the token is about.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    pub(crate) fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }
}

/// Whose token this is, of a request that has not come whole: it is verified as an exchange of it would, with its issuer, signature,
/// audience, times and standing, and the boundary's client is one that may exchange it.
///
/// Nothing is allowed or used up by it. A refusal is on record, as that of an exchange would be. Whoever hands what comes of it to the
/// exchange of the same request has the issuer of an opaque token asked once, unless more than a second went by.
pub async fn greet(broker: &Broker, seen: &Seen<'_>, token: &str) -> Result<Greeted, Refused> {
    let mut record = seen.record(broker);
    let greeted = match (seen.may_be_looked_at(broker), seen.gate(broker).enter().await) {
        (Ok(()), Ok(mut turn)) => greeted(broker, seen, token, &mut turn, &mut record).await,
        (Err(OverLimit), _) | (_, Err(Overloaded)) => Err(Denied::uncounted(Reason::RateLimited)),
    };
    settled(broker, seen, greeted, record).await
}

async fn greeted(broker: &Broker, seen: &Seen<'_>, token: &str, turn: &mut Turn<'_>, record: &mut Record) -> Result<Greeted, Denied> {
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let acting = seen.acting.ok_or_else(|| Denied::uncounted(Reason::ClientAuthenticationFailed))?;
    let client = endpoint::boundary(broker, &in_force, &moment, acting, record)?;
    let mut answer = None;
    let subject = held(broker, &in_force, &moment, seen, token, turn, &mut answer).await?;
    Exchange::may_be_proposed(&moment, &client, &subject, None, record).map_err(denied)?;
    Ok(Greeted {
        subject: subject.subject.clone(),
        answer,
    })
}

/// The same as [`greet`], where what an issuer says of a token could not be handed on: nothing of an opaque one, about which it would be asked again.
pub async fn greet_signed(broker: &Broker, seen: &Seen<'_>, token: &str) -> Result<Option<Greeted>, Refused> {
    let is_asked_about = broker.in_force().introspection.is_some() && OpaqueToken::parse(token).is_some();
    if is_asked_about {
        return Ok(None);
    }
    greet(broker, seen, token).await.map(Some)
}

/// The verified attributes of the subject of `token`, which a route makes its detail of.
///
/// They are those that an exchange of the token would go by: the token's own, or, of one of ours, those that its transaction began
/// with. Of a token that does not hold nothing is read. That is a refusal, on record, and nothing else is asked.
pub async fn attributes(broker: &Broker, seen: &Seen<'_>, token: &str) -> Result<Attributes, Refused> {
    let mut record = seen.record(broker);
    let read = match (seen.may_be_looked_at(broker), seen.gate(broker).enter().await) {
        (Ok(()), Ok(mut turn)) => attributes_of(broker, seen, token, &mut turn, &mut record).await,
        (Err(OverLimit), _) | (_, Err(Overloaded)) => Err(Denied::uncounted(Reason::RateLimited)),
    };
    settled(broker, seen, read, record).await
}

async fn attributes_of(
    broker: &Broker,
    seen: &Seen<'_>,
    token: &str,
    turn: &mut Turn<'_>,
    record: &mut Record,
) -> Result<Attributes, Denied> {
    // 1. Who asks, as in the exchange that follows.
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let acting = seen.acting.ok_or_else(|| Denied::uncounted(Reason::ClientAuthenticationFailed))?;
    endpoint::boundary(broker, &in_force, &moment, acting, record)?;

    // 2. The token, which holds or says nothing; then what is known of whom it is about.
    let subject = held(broker, &in_force, &moment, seen, token, turn, &mut seen.answer().cloned()).await?;
    if let Some(facts) = &subject.facts {
        return Ok(facts.attributes.clone());
    }
    let kept = evidence::kept(broker, &subject).await.map_err(denied)?.transaction;
    let kept = kept.filter(|kept| kept.subject == subject.subject);
    kept.map(|kept| kept.attributes).ok_or_else(|| denied(Reason::StoreUnavailable))
}

/// The caller's token, which holds as the one of an exchange does.
async fn held<'m>(
    broker: &Broker,
    in_force: &InForce,
    moment: &'m Moment,
    seen: &Seen<'_>,
    token: &str,
    turn: &mut Turn<'_>,
    answer: &mut Option<Answer>,
) -> Result<Verified<'m, SubjectToken>, Denied> {
    let shown = SubjectPart {
        token: token.to_owned(),
        declared: TokenType::AccessToken,
    };
    let whose = seen.whose();
    let asking = Asking { whose, turn, answer };
    evidence::subject(broker, in_force, moment, &shown, asking).await.map_err(denied)
}

fn denied(reason: Reason) -> Denied {
    match reason {
        Reason::RateLimited => Denied::uncounted(reason),
        reason => Denied::of_client(reason, Vec::new()),
    }
}

/// What was found, or its refusal when that is on record.
async fn settled<T>(broker: &Broker, seen: &Seen<'_>, looked: Result<T, Denied>, record: Record) -> Result<T, Refused> {
    if seen.observed && looked.is_err() {
        broker.telemetry().observed(seen.boundary, Outcome::of(&looked));
    }
    match looked {
        Ok(found) => Ok(found),
        Err(denied) => Err(denied_at(broker, seen, denied, record).await),
    }
}
