//! The assertion of a `jwt-bearer` request: an ID-JAG and nothing else.

use delegation::oauth::Reason;
use delegation::registry::Moment;
use delegation::token::{IdJag, Unverified, Verified};

use crate::broker::Broker;
use crate::evidence::{SUBJECT, refusal};

/// Verifies `assertion`. It is shown once, so nothing of it is remembered but its id.
pub(crate) async fn verified<'m>(broker: &Broker, moment: &'m Moment, assertion: &str) -> Result<Verified<'m, IdJag>, Reason> {
    let bad = |error| {
        tracing::debug!(%error, "assertion refused");
        Reason::SubjectTokenInvalid
    };
    let token = Unverified::<IdJag>::parse(assertion).map_err(bad)?;
    // Of an outside issuer: a grant of our own would be a way around the audiences of our own tokens.
    let issuer = moment.snapshot.issuers.get(token.claimed_issuer()).ok_or(Reason::SubjectTokenInvalid)?;
    let authentic = broker.keys().authenticate(&issuer.name, &token).await.map_err(|_| Reason::IssuerUnavailable)?;
    authentic.map_err(bad)?.at(moment).map_err(|error| refusal(error, SUBJECT))
}
