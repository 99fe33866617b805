//! What a request uses up, whichever way it is decided.

use delegation::registry::{AuthenticatedClient, Moment};
use delegation::token::{GrantEvidence, Origin, SubjectEvidence};

use crate::audit::{Use, UseKind};

/// How long past its expiry a use is remembered.
const KEPT_PAST: std::time::Duration = std::time::Duration::from_secs(60);

/// What a decision about a request of `client` by `grant` uses up, whichever way it goes: the client's own assertion, then
/// the grant. Whoever shows another client's grant uses it up for nobody.
pub fn uses_by_grant(client: &AuthenticatedClient<'_>, grant: &GrantEvidence) -> Vec<Use> {
    let shown = (grant.client == *client.id()).then(|| Use {
        kind: UseKind::IdJag,
        issuer: grant.subject.subject.iss.clone(),
        id: grant.jti.clone(),
        forget_at: grant.subject.exp.plus(KEPT_PAST),
    });
    uses(client).into_iter().chain(shown).collect()
}

/// The one use of a token of ours, whether it is good for one alone or whoever is shown it takes it once; none of an outside token.
pub fn use_of(token: &SubjectEvidence, moment: &Moment) -> Option<Use> {
    let jti = token.jti.as_ref().filter(|_| token.origin == Origin::Own)?;
    Some(Use {
        kind: UseKind::Token,
        issuer: moment.snapshot.issuer.clone(),
        id: jti.clone(),
        forget_at: token.exp.plus(KEPT_PAST),
    })
}

/// What is used up beside that once something is made of `token`: itself, if it is good for one use alone. A refusal leaves it.
pub fn spent(token: &SubjectEvidence, moment: &Moment) -> Option<Use> {
    use_of(token, moment).filter(|_| token.single_use)
}

/// What a decision about a request of `client` uses up, whichever way it goes.
pub fn uses(client: &AuthenticatedClient<'_>) -> Vec<Use> {
    let assertion = client.assertion().map(|(jti, exp)| Use {
        kind: UseKind::ClientAssertion,
        issuer: client.id().to_string(),
        id: jti.to_owned(),
        forget_at: exp.plus(KEPT_PAST),
    });
    assertion.into_iter().collect()
}
