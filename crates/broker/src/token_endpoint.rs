//! `POST /oauth2/token`, from top to bottom.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use delegation::oauth::{ClientCredentialsRequest, Form, GrantType, JwtBearerRequest, Manner, Reason, TokenExchangeRequest, TokenType};
use delegation::registry::{AuthenticatedClient, Moment};
use delegation::revocation::Line;
use delegation::token::{
    Authentic, AuthenticateError, IdJag, Introspected, OpaqueToken, SubjectToken, TokenError, TokenKind, Unverified, Verified,
};
use http::Request;
use http::header::AUTHORIZATION;
use issuance::audit::{self, CommitError, Kind, Record, Transaction};
use issuance::exchange::{self, Exchange};
use issuance::mint::{self, Minted};
use issuance::policy;

use crate::broker::{Broker, InForce};
use crate::denied::{Denied, Shown};
use crate::endpoint::{self, ClientRate, Received};
use crate::id_jag;
use crate::ids;
use crate::keys::OURS;
use crate::overload::Overloaded;
use crate::remembered::{Digest, Memory};
use crate::reply;
use crate::reuse::{self, Door, NotAgain};

/// Serves one request: a token, or why not.
pub(crate) async fn token(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    // 1. Form.
    let headers = request.headers().clone();
    let header_used = headers.contains_key(AUTHORIZATION);
    let started = Instant::now();
    let mut record = Record::new(ids::decision(), broker.now(), Kind::Exchange);
    record.client_ip = Some(peer.ip());
    let answered = match endpoint::receive(&broker, &headers, request).await {
        Ok(Received { form, authorization }) => match broker.gate().enter().await {
            Ok(_turn) => decide(&broker, Door::TokenEndpoint, &form, authorization.as_deref(), &mut record).await,
            Err(Overloaded) => Err(Denied::uncounted(Reason::RateLimited)),
        },
        Err(reason) => Err(Denied::stranger(reason)),
    };

    // 9. Reply. A refusal is on record before it is answered, and a credential that was shown is used up by it.
    let response = match answered {
        Ok(minted) => reply::issued(&minted),
        Err(denied) => endpoint::refuse(&broker, peer, header_used, denied, record).await,
    };
    broker.telemetry().answered(response.status().as_u16(), started.elapsed());
    response
}

/// Steps 2 to 8.
pub(crate) async fn decide(
    broker: &Arc<Broker>,
    door: Door<'_>,
    form: &Form,
    authorization: Option<&str>,
    record: &mut Record,
) -> Result<Minted, Denied> {
    // 2. Moment, once; client.
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let client = endpoint::client(broker, &in_force, &moment, form, authorization, ClientRate::Bounded, record).await?;
    let mut shown = Shown {
        manner: Manner::of(form),
        uses: exchange::uses(&client),
    };

    // 3. Grant, then the request's own words.
    let grant = form.get("grant_type").ok_or_else(|| shown.denied(Reason::MalformedRequest))?;
    let grant = GrantType::parse(grant).ok_or_else(|| shown.denied(Reason::UnsupportedGrantType))?;
    if !client.client().grants.contains(&grant) {
        return Err(shown.denied(Reason::UnauthorizedClient));
    }
    let fresh = exchange::Fresh {
        jti: ids::jti(),
        txn: ids::txn(),
    };
    // 4. Tokens; 5. proposal.
    let (held, proposed) = match grant {
        GrantType::TokenExchange => {
            let request = TokenExchangeRequest::parse(form).map_err(|reason| shown.denied(reason))?;
            let proposed = propose(broker, &in_force, &moment, &client, &request, fresh, record).await;
            let (subject, proposed) = proposed.map_err(|reason| shown.denied(reason))?;
            (Some(Held::Subject(subject)), Ok(proposed))
        }
        GrantType::JwtBearer => {
            let request = JwtBearerRequest::parse(form).map_err(|reason| shown.denied(reason))?;
            let id_jag = id_jag::verified(broker, &moment, &request.assertion).await;
            let id_jag = id_jag.map_err(|reason| shown.denied(reason))?;
            // From here on a refusal uses the grant up too.
            shown.uses = exchange::uses_by_grant(&client, &id_jag);
            let proposed = Exchange::propose_by_grant(&moment, &client, &id_jag, &request.asked, fresh, record);
            (Some(Held::Grant(id_jag)), proposed)
        }
        GrantType::ClientCredentials => {
            let request = ClientCredentialsRequest::parse(form).map_err(|reason| shown.denied(reason))?;
            (None, Exchange::propose_for_itself(&moment, &client, &request.asked, fresh, record))
        }
    };
    let proposed = proposed.map_err(|reason| shown.denied(reason))?;

    // 6. Policy.
    let permit = policy::decide(&in_force.policy, proposed, record).map_err(|reason| shown.denied(reason))?;

    // The view again, right before the commit: what was revoked meanwhile is not issued.
    if held.is_some_and(|held| broker.view().kills(&held.line()).is_some()) {
        return Err(shown.denied(Reason::SubjectTokenRevoked));
    }
    if broker.view().is_client_disabled(client.id()) {
        return Err(shown.denied(Reason::ClientAuthenticationFailed));
    }
    if record.subject.as_ref().is_some_and(|subject| broker.view().is_subject_disabled(subject)) {
        return Err(shown.denied(Reason::SubjectDisabled));
    }

    // A front door may get what was minted before, if this permit is that one again.
    let request = reuse::Request::at(door, client.id(), form, record);
    let permit = match request {
        None => permit,
        Some(request) => match reuse::again(broker, request, permit, &moment, record).await {
            Ok(minted) => return Ok(minted),
            Err(NotAgain::Mint(permit)) => *permit,
            Err(NotAgain::Used) => return Err(shown.denied_as_used(record)),
            Err(NotAgain::Refused(reason)) => return Err(Denied::recorded_anew(reason, shown.manner, record)),
        },
    };

    // 7. Commit; 8. mint. In a task of their own: a client that hangs up cannot come between the two.
    let (finisher, entry) = (Arc::clone(broker), record.clone());
    let finish = async move {
        let recorded = audit::commit(finisher.journal(), permit, entry).await.map_err(|error| match error {
            CommitError::AlreadyUsed => Unminted::Used,
            CommitError::Unavailable => Unminted::Refused(Reason::StoreUnavailable),
        })?;
        finisher.telemetry().recorded();
        let minted = match request {
            None => mint::mint(finisher.signer(), recorded, finisher.now()).await,
            Some(request) => issuance::reuse::mint_reusable(finisher.signer(), recorded, finisher.now())
                .await
                .map(|(minted, reusable)| {
                    finisher.reuse().keep(request, reusable);
                    minted
                }),
        };
        minted.map_err(|error| match error {
            mint::MintError::Expired => Unminted::Refused(Reason::SubjectTokenExpired),
            mint::MintError::Signer(_) => Unminted::Refused(Reason::StoreUnavailable),
        })
    };
    match tokio::spawn(finish).await {
        Ok(Ok(minted)) => Ok(minted),
        Ok(Err(Unminted::Used)) => Err(shown.denied_as_used(record)),
        Ok(Err(Unminted::Refused(reason))) => Err(Denied::recorded_anew(reason, shown.manner, record)),
        Err(_) => Err(Denied::recorded_anew(Reason::StoreUnavailable, shown.manner, record)),
    }
}

/// What a client has shown for its subject.
enum Held<'m> {
    Subject(Verified<'m, SubjectToken>),
    Grant(Verified<'m, IdJag>),
}

impl Held<'_> {
    /// All that a revocation could name.
    fn line(&self) -> Line<'_> {
        match self {
            Self::Subject(token) => token.line(),
            Self::Grant(grant) => grant.subject.line(),
        }
    }
}

/// Why a permit ended without a token.
enum Unminted {
    /// Something that it uses up had been used before: nothing happened.
    Used,
    /// Whatever it uses up is used, or may be.
    Refused(Reason),
}

/// Steps 4 and 5: from the tokens' bytes to a proposal.
async fn propose<'m>(
    broker: &Broker,
    in_force: &InForce,
    moment: &'m Moment,
    client: &AuthenticatedClient<'m>,
    request: &TokenExchangeRequest,
    fresh: exchange::Fresh,
    record: &mut Record,
) -> Result<(Verified<'m, SubjectToken>, Exchange), Reason> {
    let subject = subject(broker, in_force, moment, &request.subject.token, request.subject.declared).await?;
    let actors = &broker.remembered().actors;
    let acting = match &request.actor {
        None => None,
        Some(actor) => {
            let shown = Digest::of(&actor.token);
            let token = authentic(broker, actors, moment, &actor.token, &shown, ACTOR).await?;
            Some((shown, token, actor))
        }
    };
    let actor = match &acting {
        None => None,
        Some((shown, token, shown_as)) => {
            let actor = token.at(moment, shown_as.declared).map_err(|error| refusal(error, ACTOR))?;
            actors.keep(*shown, token, actor.exp, shown_as.token.len());
            Some(actor)
        }
    };
    let kept = match &subject.txn {
        None => None,
        Some(txn) => Some(kept(broker, txn).await?),
    };
    let proposed = Exchange::propose(
        moment,
        client,
        &subject,
        actor.as_ref(),
        kept.as_ref(),
        &request.asked,
        fresh,
        record,
    )?;
    Ok((subject, proposed))
}

/// The subject token: signed by its issuer, or opaque and vouched for by the one issuer that is asked about such.
async fn subject<'m>(
    broker: &Broker,
    in_force: &InForce,
    moment: &'m Moment,
    token: &str,
    declared: TokenType,
) -> Result<Verified<'m, SubjectToken>, Reason> {
    let verified = match (&in_force.introspection, OpaqueToken::parse(token)) {
        (Some(issuer), Some(opaque)) if declared == TokenType::AccessToken => {
            let reply = issuer.ask(broker.fetcher(), &opaque).await.map_err(|_| Reason::IssuerUnavailable)?;
            Introspected::read(&issuer.issuer, opaque, &reply).and_then(|reply| reply.at(moment, declared))
        }
        _ => {
            let (subjects, shown) = (&broker.remembered().subjects, Digest::of(token));
            let authentic = authentic(broker, subjects, moment, token, &shown, SUBJECT).await?;
            let verified = authentic.at(moment, declared);
            if let Ok(subject) = &verified {
                subjects.keep(shown, &authentic, subject.exp, token.len());
            }
            verified
        }
    };
    verified.map_err(|error| refusal(error, SUBJECT))
}

/// What was kept when the transaction began; if it cannot be had, nothing is decided without it.
async fn kept(broker: &Broker, txn: &str) -> Result<Transaction, Reason> {
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
const ACTOR: Reasons = Reasons {
    invalid: Reason::ActorTokenInvalid,
    expired: Reason::ActorTokenExpired,
    revoked: Reason::ActorTokenRevoked,
};

/// A token that was verified before under the keys of now is not verified again.
async fn authentic<K: TokenKind>(
    broker: &Broker,
    memory: &Memory<K>,
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
