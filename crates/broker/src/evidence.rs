//! What a request shows for its subject and for who acts: from bytes to tokens that hold.

mod answer;

use std::sync::Arc;
use std::time::Instant;

use delegation::oauth::TokenType;
use delegation::oauth::{ActorPart, Reason, SubjectPart};
use delegation::registry::Moment;
use delegation::token::{
    ActorToken, Authentic, AuthenticateError, Introspected, Issued, KeptToken, OpaqueForm, OpaqueKind, OpaqueToken, SubjectEvidence,
    SubjectToken, TokenError, TokenKind, TxnToken, Unverified, Verified,
};
use fetch::Introspection;
use issuance::audit::Transaction;
use issuance::exchange::{self, Kept};
use issuance::task::KeptTask;

use crate::broker::{Broker, InForce};
use crate::journal::used;
use crate::keys::OURS;
use crate::overload::{Overloaded, Turn};
use crate::questions::{TooMany, Whose};
use crate::remembered::{Digest, Memory};
pub(crate) use answer::Answer;

/// By whom a request makes us ask an issuer, and the turn that it has no need of meanwhile.
pub(crate) struct Asking<'t, 'g> {
    pub(crate) whose: Whose,
    pub(crate) turn: &'t mut Turn<'g>,
    /// What it answered to this very request before, and then what it answers now.
    pub(crate) answer: &'t mut Option<Answer>,
}

/// The subject token: signed by its issuer, or opaque and vouched for by the one issuer that is asked about such.
pub(crate) async fn subject<'m>(
    broker: &Broker,
    in_force: &InForce,
    moment: &'m Moment,
    shown: &SubjectPart,
    asking: Asking<'_, '_>,
) -> Result<Verified<'m, SubjectToken>, Reason> {
    let (token, declared) = (shown.token.as_str(), shown.declared);
    let verified = match (&in_force.introspection, OpaqueToken::parse(token)) {
        (Some(issuer), Some(opaque)) if declared == TokenType::AccessToken => {
            let reply = answered(broker, issuer, &opaque, asking).await?;
            Introspected::read(&issuer.issuer, opaque, &reply).and_then(|reply| reply.at(moment, declared))
        }
        _ if declared == TokenType::TxnToken => {
            let (transactions, shown) = (&broker.remembered().transactions, Digest::of(token));
            let authentic = authentic::<TxnToken>(broker, transactions, moment, token, &shown, SUBJECT).await?;
            let verified = authentic.at(moment);
            if let Ok(subject) = &verified {
                transactions.keep(shown, &authentic, subject.exp);
            }
            verified
        }
        _ => {
            let (subjects, shown) = (&broker.remembered().subjects, Digest::of(token));
            let authentic = authentic(broker, subjects, moment, token, &shown, SUBJECT).await?;
            let verified = authentic.at(moment, declared);
            if let Ok(subject) = &verified {
                subjects.keep(shown, &authentic, subject.exp);
            }
            verified
        }
    };
    verified.map_err(|error| refusal(error, SUBJECT))
}

/// What `issuer` says of `token`: it is asked, unless it has said so to this very request just now.
async fn answered(broker: &Broker, issuer: &Introspection, token: &OpaqueToken, asking: Asking<'_, '_>) -> Result<Arc<[u8]>, Reason> {
    let (shown, asked) = (Digest::of(token.as_str()), Instant::now());
    if let Some(reply) = asking.answer.as_ref().and_then(|answer| answer.of(issuer, &shown, asked)) {
        return Ok(reply);
    }
    let place = broker.questions().place(&issuer.name, asking.whose).map_err(|TooMany| Reason::RateLimited)?;
    let answered = async {
        let reply = issuer.ask(broker.fetcher(), token).await;
        drop(place);
        reply
    };
    let reply = asking.turn.without(answered).await.map_err(|Overloaded| Reason::RateLimited)?;
    let answer = Answer::new(issuer, shown, asked, reply.map_err(|_| Reason::IssuerUnavailable)?);
    Ok(asking.answer.insert(answer).reply())
}

/// The actor token.
pub(crate) async fn actor<'m>(
    broker: &Broker,
    moment: &'m Moment,
    shown: Option<&ActorPart>,
) -> Result<Option<Verified<'m, ActorToken>>, Reason> {
    let Some(part) = shown else { return Ok(None) };
    let (actors, digest) = (&broker.remembered().actors, Digest::of(&part.token));
    let token = authentic(broker, actors, moment, &part.token, &digest, ACTOR).await?;
    let actor = token.at(moment, part.declared).map_err(|error| refusal(error, ACTOR))?;
    actors.keep(digest, &token, actor.exp);
    Ok(Some(actor))
}

/// The task that has this token.
pub(crate) async fn task(broker: &Broker, token: &str) -> Result<KeptTask, Reason> {
    let form = OpaqueForm::parse(token).ok().filter(|form| form.kind() == OpaqueKind::Task);
    let form = form.ok_or(Reason::SubjectTokenInvalid)?;
    let kept = broker.store().task_of_token(&form.digest()).await.map_err(|_| Reason::StoreUnavailable)?;
    kept.ok_or(Reason::SubjectTokenInvalid)
}

/// `token`, if it is of kind `K` and we issued it as `issuer`, signed or kept, whether it is alive or not. An outside token, one that
/// nobody signed and one that is no token are all unknown.
pub(crate) async fn ours<K: TokenKind>(broker: &Broker, issuer: &str, token: &str) -> Result<Option<Authentic<K>>, Reason> {
    if let Ok(form) = OpaqueForm::parse(token) {
        let kept = kept_token(broker, &form).await?;
        return Ok(kept.and_then(|kept| kept.shown_by(&form, issuer).ok()));
    }
    let Ok(token) = Unverified::<K>::parse(token) else {
        return Ok(None);
    };
    let authenticated = broker.keys().authenticate(OURS, &token).await.map_err(|_| Reason::IssuerUnavailable)?;
    Ok(authenticated.ok())
}

/// The same of whatever we issue, alive at `moment`, unless it was good for one use alone and has had it.
pub(crate) async fn unspent(broker: &Broker, moment: &Moment, token: &str) -> Result<Option<Authentic<Issued>>, Reason> {
    let authentic = ours::<Issued>(broker, &moment.snapshot.issuer, token).await?;
    let active = authentic.as_ref().and_then(|token| token.active_at(moment));
    let Some(once) = active.and_then(|active| exchange::spent(&active.token, moment)) else {
        return Ok(authentic);
    };
    let used = used(broker.store(), once.kind, &once.issuer, &[&once.id]).await;
    let is_spent = !used.map_err(|_| Reason::StoreUnavailable)?.is_empty();
    Ok(authentic.filter(|_| !is_spent))
}

/// What is kept of an opaque access token.
async fn kept_token(broker: &Broker, form: &OpaqueForm) -> Result<Option<KeptToken>, Reason> {
    match form.kind() {
        OpaqueKind::Access => broker.store().opaque_token(&form.digest()).await.map_err(|_| Reason::StoreUnavailable),
        OpaqueKind::Task | OpaqueKind::Operator | OpaqueKind::ClientSecret => Ok(None),
    }
}

/// What is kept of a token's transaction and task; if it cannot be had, nothing is decided without it.
pub(crate) async fn kept(broker: &Broker, subject: &SubjectEvidence) -> Result<Kept, Reason> {
    let transaction = match &subject.txn {
        None => None,
        Some(txn) => Some(transaction(broker, txn).await?),
    };
    let task = match &subject.task {
        None => None,
        Some(id) => match broker.store().task(id).await {
            Ok(Some(task)) => Some(task),
            Ok(None) | Err(_) => return Err(Reason::StoreUnavailable),
        },
    };
    Ok(Kept { transaction, task })
}

/// What was kept when the transaction began.
pub(crate) async fn transaction(broker: &Broker, txn: &str) -> Result<Transaction, Reason> {
    match broker.store().transaction(txn).await {
        Ok(Some(transaction)) => Ok(transaction),
        Ok(None) | Err(_) => Err(Reason::StoreUnavailable),
    }
}

/// The reasons of one of the two tokens.
#[derive(Clone, Copy)]
pub(crate) struct Reasons {
    invalid: Reason,
    expired: Reason,
    revoked: Reason,
}

pub(crate) const SUBJECT: Reasons = Reasons {
    invalid: Reason::SubjectTokenInvalid,
    expired: Reason::SubjectTokenExpired,
    revoked: Reason::SubjectTokenRevoked,
};
pub(crate) const ACTOR: Reasons = Reasons {
    invalid: Reason::ActorTokenInvalid,
    expired: Reason::ActorTokenExpired,
    revoked: Reason::ActorTokenRevoked,
};

/// A token that was verified before under the keys of now is not verified again, and one that was looked up is not again.
async fn authentic<K: TokenKind>(
    broker: &Broker,
    memory: &Memory<Authentic<K>>,
    moment: &Moment,
    token: &str,
    shown: &Digest,
    reasons: Reasons,
) -> Result<Arc<Authentic<K>>, Reason> {
    let bad = |error: AuthenticateError| {
        tracing::debug!(%error, "token refused");
        reasons.invalid
    };
    let keys_of = |issuer: &str| match moment.snapshot.issuers.get(issuer) {
        _ if issuer == moment.snapshot.issuer => Ok(OURS),
        Some(issuer) => Ok(issuer.name.as_str()),
        None => Err(reasons.invalid),
    };
    if let Some(known) = memory.find(shown, moment.now) {
        let keys = broker.keys().current(keys_of(known.issuer())?).await.map_err(|_| Reason::IssuerUnavailable)?;
        if let Some(authentic) = known.under(&keys) {
            return Ok(authentic);
        }
    }
    if let Ok(form) = OpaqueForm::parse(token) {
        let kept = kept_token(broker, &form).await?.ok_or(reasons.invalid)?;
        return kept.shown_by(&form, &moment.snapshot.issuer).map(Arc::new).map_err(bad);
    }
    let token = Unverified::<K>::parse(token).map_err(bad)?;
    let name = keys_of(token.claimed_issuer())?;
    let authenticated = broker.keys().authenticate(name, &token).await.map_err(|_| Reason::IssuerUnavailable)?;
    authenticated.map(Arc::new).map_err(bad)
}

pub(crate) fn refusal(error: TokenError, reasons: Reasons) -> Reason {
    tracing::debug!(%error, "token refused");
    match error {
        TokenError::Invalid(_) => reasons.invalid,
        TokenError::Expired => reasons.expired,
        TokenError::Revoked => reasons.revoked,
        TokenError::SubjectDisabled => Reason::SubjectDisabled,
        TokenError::ProofMissing => Reason::InvalidDpopProof,
    }
}
