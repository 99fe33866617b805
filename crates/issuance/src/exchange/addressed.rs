//! Who may exchange a subject token: only a client that it is addressed to.

use delegation::oauth::{ClientId, Reason};
use delegation::registry::{AuthenticatedClient, Moment, Receives};
use delegation::token::{ActorToken, GrantEvidence, Origin, SubjectEvidence, SubjectToken, Verified};

/// Checks the token's audience, `may_act` and the actor token against the client (contract, *Who may exchange*).
///
/// `acting` is who will act on it: the client, or whom it names as the actor of a task.
pub(crate) fn check<'m>(
    moment: &'m Moment,
    client: &AuthenticatedClient<'m>,
    subject: &Verified<'m, SubjectToken>,
    actor: Option<&Verified<'m, ActorToken>>,
    acting: &ClientId,
) -> Result<(), Reason> {
    let receives = |receives: &Receives, from: Option<&str>| subject.audiences.iter().any(|audience| receives.means(audience, from));
    let addressed = match &subject.origin {
        Origin::Own => client.client().receives.iter().any(|each| receives(each, None)),
        Origin::Outside { issuer_name } => {
            let issuer = moment.snapshot.issuer_named(issuer_name);
            // A workload's credential for this broker is addressed to nobody as a subject token.
            let credential =
                issuer.is_some_and(|issuer| issuer.authenticates_workloads && subject.audiences.contains(&moment.snapshot.issuer));
            let at_our_edge = issuer.is_some_and(|issuer| {
                issuer.exchangers.contains(client.id()) && subject.audiences.iter().any(|audience| issuer.audiences.contains(audience))
            });
            let received = at_our_edge || client.client().receives.iter().any(|each| receives(each, Some(issuer_name)));
            received && !credential
        }
    };
    if !addressed {
        return Err(Reason::SubjectTokenNotForClient);
    }
    may_act(moment, acting, subject)?;
    check_actor(client, actor)
}

/// Checks that an actor token denotes the client that shows it.
pub(crate) fn check_actor(client: &AuthenticatedClient<'_>, actor: Option<&Verified<'_, ActorToken>>) -> Result<(), Reason> {
    match actor {
        Some(actor) if actor.client.as_ref() != Some(client.id()) => Err(Reason::ActorTokenNotForClient),
        _ => Ok(()),
    }
}

/// Checks that `grant` is for this client, and the grant's `may_act`.
///
/// Its `aud` is this broker, so the client that it names takes the place of the audiences that a client receives.
pub(super) fn check_grant<'m>(moment: &'m Moment, client: &AuthenticatedClient<'m>, grant: &GrantEvidence) -> Result<(), Reason> {
    let from = match &grant.subject.origin {
        Origin::Own => None,
        Origin::Outside { issuer_name } => moment.snapshot.issuer_named(issuer_name),
    };
    // What an issuer of workload credentials addresses to this broker is a credential, and nothing else.
    if grant.client != *client.id() || from.is_none_or(|issuer| issuer.authenticates_workloads) {
        return Err(Reason::SubjectTokenNotForClient);
    }
    may_act(moment, client.id(), &grant.subject)
}

/// Where the token names who may act on it, that must be `acting`.
fn may_act(moment: &Moment, acting: &ClientId, subject: &SubjectEvidence) -> Result<(), Reason> {
    if let Some(may_act) = &subject.may_act {
        let names = |value: &Option<String>| value.as_deref().is_none_or(|value| value == acting.as_str());
        let named = may_act.sub.is_some() || may_act.client_id.is_some();
        let ours = may_act.iss.as_ref().is_none_or(|iss| *iss == moment.snapshot.issuer);
        if !(named && ours && names(&may_act.sub) && names(&may_act.client_id)) {
            return Err(Reason::MayActMismatch);
        }
    }
    Ok(())
}
