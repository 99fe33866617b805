//! A token that a guard was shown, verified again.

use delegation::oauth::Reason;
use delegation::registry::{Client, Moment};
use delegation::token::{Issued, SubjectToken, Verified};
use issuance::audit::Record;

use super::came_from;
use crate::broker::Broker;
use crate::evidence::{self, SUBJECT};

/// `token`, if it is ours, holds at `moment`, and is for an audience that `client` receives.
///
/// What it says goes into `record`.
pub(super) async fn shown<'m>(
    broker: &Broker,
    moment: &'m Moment,
    client: &Client,
    token: &str,
    record: &mut Record,
) -> Result<Verified<'m, SubjectToken>, Reason> {
    // 1. Ours: signed by us, or kept.
    let authentic = evidence::ours::<Issued>(broker, &moment.snapshot.issuer, token).await?;
    let authentic = authentic.ok_or(Reason::SubjectTokenInvalid)?;

    // 2. Alive, by a view that is fresh.
    if broker.view_age() > broker.settings().max_view_age {
        return Err(Reason::RevocationViewStale);
    }
    let token = authentic.alive_at(moment).map_err(|error| evidence::refusal(error, SUBJECT))?.token;
    record.subject = Some(token.subject.clone());
    record.client.clone_from(&token.client_id);
    record.jti.clone_from(&token.jti);
    record.txn.clone_from(&token.txn);
    record.task.clone_from(&token.task);
    record.actor = token.act.iter().flat_map(|act| act.iter().cloned()).collect();
    record.asked = token.authority.clone();
    // Its last entry is the token itself.
    came_from(record, token.chain.split_last().map_or(&[], |(_, ancestors)| ancestors));

    // 3. Theirs to ask about.
    let receives = |audience: &String| client.receives.iter().any(|each| each.means(audience, None));
    if !token.audiences.iter().all(receives) {
        return Err(Reason::SubjectTokenNotForClient);
    }
    record.audience = token.audiences.first().and_then(|audience| delegation::oauth::AudienceId::parse(audience).ok());
    Ok(token)
}
