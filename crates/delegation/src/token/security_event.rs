//! Security events: what one says, once it holds.

use std::time::Duration;

use super::authentic::Authentic;
use super::claims::{Claims, TokenError};
use super::kind::SecurityEvent;
use super::signal;
use super::verified::{Holds, Verified};
use crate::identity::{Risk, Subject};
use crate::registry::Moment;
use crate::time::Timestamp;

/// An older event is not taken: for so long its `jti` has to be remembered, and its sender may try again.
const LONGEST_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a security event says of one of its issuer's subjects.
#[derive(Clone, Debug)]
pub struct Signal {
    /// The issuer's name in the configuration.
    pub issuer_name: String,
    /// Its id: it has an effect once.
    pub jti: String,
    /// From when on it is too old to be taken.
    pub taken_until: Timestamp,
    /// When what it tells of happened, by its own word; never after it was received.
    pub happened_at: Timestamp,
    /// The types of its events, those that mean nothing here among them.
    pub events: Vec<String>,
    /// Whom it is about; nobody if none of its events means anything here.
    pub subject: Option<Subject>,
    /// Whether everything that was issued for the subject until now is to end.
    pub revokes: bool,
    /// Whether the subject is to be refused until an operator enables it.
    pub disables: bool,
    /// How risky the subject is, and since when: another event of the same token may tell of another time.
    pub risk: Option<(Risk, Timestamp)>,
}

/// Why an authentic event is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityEventError {
    /// It is for others.
    #[error("`aud` does not name this broker's issuer identifier")]
    Audience,
    /// It tells of a subject that is not its issuer's: nobody speaks for another's people.
    #[error("its subject is another issuer's")]
    AnothersSubject,
    /// Something in it is wrong.
    #[error("{0}")]
    Invalid(&'static str),
}

impl From<TokenError> for SecurityEventError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Invalid(why) => Self::Invalid(why),
            _ => Self::Invalid("it does not hold"),
        }
    }
}

impl Holds for SecurityEvent {
    type Evidence = Signal;
}

impl Authentic<SecurityEvent> {
    /// Checks the event at `moment`: for us among its audiences, not from the future, a week old at most, about a subject of
    /// its own issuer, and nothing that would make it another kind of token (RFC 8417 §2.2 and §4, SSF 1.0 §4.1).
    ///
    /// It is not asked about revocation: an event only ever takes away, and whoever is revoked may still be disabled.
    pub fn at<'m>(&self, moment: &'m Moment) -> Result<Verified<'m, SecurityEvent>, SecurityEventError> {
        // 1. Whose it is, for whom, and how old.
        self.refuse_deep(moment)?;
        let unknown = SecurityEventError::Invalid("its issuer is not trusted");
        let issuer = moment.snapshot.issuers.get(self.issuer()).ok_or(unknown)?;
        let claims = Claims(self.claims());
        if !claims.audiences()?.contains(&moment.snapshot.issuer) {
            return Err(SecurityEventError::Audience);
        }
        if claims.0.contains_key("sub") || claims.0.contains_key("exp") {
            return Err(SecurityEventError::Invalid("an event has neither `sub` nor `exp`"));
        }
        let jti = claims.required_text("jti")?.to_owned();
        let iat = claims.required_date("iat")?;
        let latest = moment.now.plus(issuer.leeway);
        if iat > latest || claims.date("nbf")?.is_some_and(|nbf| nbf > latest) {
            return Err(SecurityEventError::Invalid("it is not valid yet"));
        }
        if moment.now.since(iat) > LONGEST_AGE {
            return Err(SecurityEventError::Invalid("it is too old"));
        }

        // 2. What it tells, and of whom.
        let told = signal::read(claims)?;
        let subject = match told.subject {
            Some((iss, _)) if iss != issuer.issuer => return Err(SecurityEventError::AnothersSubject),
            Some((iss, sub)) => Some(Subject {
                issuer_name: issuer.name.clone(),
                iss,
                sub,
            }),
            None => None,
        };
        // In whole seconds, as issuers tell time: what one says next in this second must not count as said before.
        let second = Timestamp::from_seconds(moment.now.seconds());
        let at = |said: Option<Timestamp>| said.unwrap_or(iat).min(second);
        let evidence = Signal {
            issuer_name: issuer.name.clone(),
            jti,
            taken_until: iat.plus(LONGEST_AGE),
            happened_at: at(told.happened_at),
            events: told.events,
            subject,
            revokes: told.revokes,
            disables: told.disables,
            risk: told.risk.map(|(risk, since)| (risk, at(since))),
        };
        Ok(Verified::new(moment, evidence))
    }
}
