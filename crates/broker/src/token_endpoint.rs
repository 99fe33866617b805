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
use delegation::token::{ActorToken, IdJag, SubjectToken, Verified, refuse_ended};
use http::Request;
use http::header::AUTHORIZATION;
use issuance::audit::{self, CommitError, Kind, Record};
use issuance::exchange::{self, Exchange};
use issuance::mint::{self, MintError, Minted};
use issuance::policy;
use issuance::task::{OpenTask, Opened, Opening, mint_task};

use crate::broker::{Broker, InForce};
use crate::denied::{Denied, Shown};
use crate::endpoint::{self, Received, Urgency};
use crate::evidence::{ACTOR, Asking, SUBJECT, refusal};
use crate::overload::{Overloaded, Turn};
use crate::reuse::{self, Door, NotAgain};
use crate::{evidence, id_jag, ids, reply};

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
            Ok(mut turn) => {
                decide(
                    &broker,
                    Door::TokenEndpoint,
                    &form,
                    authorization.as_deref(),
                    &mut turn,
                    &mut record,
                )
                .await
            }
            Err(Overloaded) => Err(Denied::uncounted(Reason::RateLimited)),
        },
        Err(reason) => Err(Denied::stranger(reason)),
    };

    // 9. Reply. A refusal is on record before it is answered, and a credential that was shown is used up by it.
    let response = match answered {
        Ok(Answer::Token(minted)) => reply::issued(&minted),
        Ok(Answer::Task(opened)) => reply::opened(&opened),
        // Nobody observes here.
        Ok(Answer::Observed) => {
            let denied = Denied::uncounted(Reason::StoreUnavailable);
            endpoint::refuse(&broker, peer, "POST /oauth2/token", header_used, denied, record).await
        }
        Err(denied) => endpoint::refuse(&broker, peer, "POST /oauth2/token", header_used, denied, record).await,
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
    turn: &mut Turn<'_>,
    record: &mut Record,
) -> Result<Answer, Denied> {
    // 2. Moment, once; client.
    let in_force = broker.in_force();
    let moment = broker.moment(&in_force);
    let client = match door {
        Door::Boundary { acting: Some(id), .. } => endpoint::boundary(broker, &in_force, &moment, id, record)?,
        _ => endpoint::client(broker, &in_force, &moment, form, authorization, Urgency::Usual, record).await?,
    };
    let mut shown = Shown {
        manner: Manner::of(form),
        uses: exchange::uses(&client),
        spends_a_token: false,
    };

    // 3. Grant, then the request's own words.
    let grant = form.get("grant_type").ok_or_else(|| shown.denied(Reason::MalformedRequest))?;
    let grant = GrantType::parse(grant).ok_or_else(|| shown.denied(Reason::UnsupportedGrantType))?;
    if !client.client().grants.contains(&grant) {
        return Err(shown.denied(Reason::UnauthorizedClient));
    }
    // 4. Tokens; 5. proposal.
    let proposed = match grant {
        GrantType::TokenExchange => {
            let request = TokenExchangeRequest::parse(form).map_err(|reason| shown.denied(reason))?;
            if request.opens.is_some() && matches!(door, Door::Boundary { .. }) {
                return Err(shown.denied(Reason::UnsupportedTokenType));
            }
            let (whose, mut answer) = (door.whose(client.id()), door.answer());
            let asking = Asking {
                whose,
                turn,
                answer: &mut answer,
            };
            let proposed = propose(broker, &in_force, &moment, &client, &request, asking, record).await;
            proposed.map_err(|reason| match reason {
                // Nothing was looked at, and nothing is used up: the same may come again when there is room.
                Reason::RateLimited => Denied::uncounted(reason),
                reason => shown.denied(reason),
            })?
        }
        GrantType::JwtBearer => {
            let request = JwtBearerRequest::parse(form).map_err(|reason| shown.denied(reason))?;
            let id_jag = id_jag::verified(broker, &moment, &request.assertion).await;
            let id_jag = id_jag.map_err(|reason| shown.denied(reason))?;
            // From here on a refusal uses the grant up too.
            shown.uses = exchange::uses_by_grant(&client, &id_jag);
            let proposed = Exchange::propose_by_grant(&moment, &client, &id_jag, &request.asked, ids::fresh(), record);
            Proposed::Token(
                Some(Held::Grant(id_jag)),
                Box::new(proposed.map_err(|reason| shown.denied(reason))?),
            )
        }
        GrantType::ClientCredentials => {
            let request = ClientCredentialsRequest::parse(form).map_err(|reason| shown.denied(reason))?;
            let proposed = Exchange::propose_for_itself(&moment, &client, &request.asked, ids::fresh(), record);
            Proposed::Token(None, Box::new(proposed.map_err(|reason| shown.denied(reason))?))
        }
    };

    let finisher = Arc::clone(broker);
    match proposed {
        Proposed::Task(held, opening) => {
            // 6. Policy, and the view again.
            let permit = policy::decide(&in_force.policy, *opening, record).map_err(|reason| shown.denied(reason))?;
            ended(broker, &client, Some(&held), record).map_err(|reason| shown.denied(reason))?;

            // 7. Commit; 8. the task's token.
            shown.spends_a_token = permit.spends_a_token();
            let entry = record.clone();
            let finish = async move {
                let recorded = audit::commit(finisher.journal(), permit, entry).await?;
                Ok(Answer::Task(mint_task(recorded)))
            };
            finished(finish, shown, record).await
        }
        Proposed::Token(held, exchange) => {
            if let Door::Boundary { step_up, .. } = door {
                step_up.check(exchange.inquiry()).map_err(|reason| shown.denied(reason))?;
            }
            // 6. Policy, and the view again.
            let permit = policy::decide(&in_force.policy, *exchange, record).map_err(|reason| shown.denied(reason))?;
            ended(broker, &client, held.as_ref(), record).map_err(|reason| shown.denied(reason))?;

            // What its upstream is to be shown, for whom policy did not refuse.
            if let Door::Boundary { wanted: Some(wanted), .. } = door {
                wanted.find(broker, &in_force, record).await.map_err(|reason| shown.denied(reason))?;
            }

            // Where the boundary only observes, the record is all that comes of it.
            if let Door::Boundary { observes: true, .. } = door {
                let recorded = audit::commit_observed(broker.journal(), permit, record.clone(), shown.uses.clone()).await;
                return match recorded {
                    Ok(_) => Ok(Answer::Observed),
                    Err(CommitError::AlreadyUsed) => Err(shown.denied_as_used(record)),
                    Err(CommitError::Over(_) | CommitError::Unavailable) => {
                        Err(Denied::recorded_anew(Reason::StoreUnavailable, shown.manner, record))
                    }
                };
            }

            // What its subject token is good for once is used up by what comes now.
            shown.spends_a_token = permit.spends_a_token();

            // A front door may get what was minted before, if this permit is that one again.
            let request = reuse::Request::at(door, client.id(), form, record);
            let permit = match request {
                None => permit,
                Some(request) => match reuse::again(broker, request, permit, &moment, record).await {
                    Ok(minted) => return Ok(Answer::Token(minted)),
                    Err(NotAgain::Mint(permit)) => *permit,
                    Err(NotAgain::Used) => return Err(shown.denied_as_used(record)),
                    Err(NotAgain::Refused(reason)) => return Err(Denied::recorded_anew(reason, shown.manner, record)),
                },
            };

            // 7. Commit; 8. mint.
            let entry = record.clone();
            let finish = async move {
                let recorded = audit::commit(finisher.journal(), permit, entry).await?;
                finisher.telemetry().recorded();
                let minted = match request {
                    None => mint::mint(finisher.signer(), recorded, finisher.now()).await?,
                    Some(request) => {
                        let (minted, reusable) = issuance::reuse::mint_reusable(finisher.signer(), recorded, finisher.now()).await?;
                        reusable.into_iter().for_each(|reusable| finisher.reuse().keep(request, reusable));
                        minted
                    }
                };
                Ok(Answer::Token(minted))
            };
            finished(finish, shown, record).await
        }
    }
}

/// What a request is answered with.
#[derive(Debug)]
pub(crate) enum Answer {
    Token(Minted),
    Task(Opened),
    /// Nothing: it was permitted, and only observed.
    Observed,
}

/// What is proposed, with what the client has shown for it.
enum Proposed<'m> {
    Token(Option<Held<'m>>, Box<Exchange>),
    Task(Held<'m>, Box<Opening>),
}

/// What a client has shown for its subject, and for itself beside it.
enum Held<'m> {
    Subject(Verified<'m, SubjectToken>, Option<Verified<'m, ActorToken>>),
    Grant(Verified<'m, IdJag>),
    Task(OpenTask<'m>, Option<Verified<'m, ActorToken>>),
}

impl Held<'_> {
    /// All that standing or a revocation could name.
    fn line(&self) -> Line<'_> {
        match self {
            Self::Subject(token, _) => token.line(),
            Self::Grant(grant) => grant.subject.line(),
            Self::Task(task, _) => task.line(),
        }
    }

    /// The same of the actor token.
    fn actor_line(&self) -> Option<Line<'_>> {
        match self {
            Self::Subject(_, actor) | Self::Task(_, actor) => actor.as_ref().map(|actor| actor.lineage.line()),
            Self::Grant(_) => None,
        }
    }
}

/// The view again, right before the commit: for what ended meanwhile nothing is issued.
fn ended(broker: &Broker, client: &AuthenticatedClient<'_>, held: Option<&Held<'_>>, record: &Record) -> Result<(), Reason> {
    let view = broker.view();
    // 1. Who asks, as at the door: of a task they are in its line too.
    if view.is_client_disabled(client.id()) {
        return Err(Reason::ClientAuthenticationFailed);
    }
    // 2. What was shown for the subject, or the client itself where nothing was.
    match held {
        Some(Held::Task(task, _)) => task.alive(&view)?,
        Some(held) => refuse_ended(&held.line(), &view).map_err(|why| refusal(why, SUBJECT))?,
        None if record.subject.as_ref().is_some_and(|subject| view.is_subject_disabled(subject)) => return Err(Reason::SubjectDisabled),
        None => {}
    }
    // 3. What was shown for who acts.
    match held.and_then(Held::actor_line) {
        Some(line) => refuse_ended(&line, &view).map_err(|why| refusal(why, ACTOR)),
        None => Ok(()),
    }
}

/// Why a permit ended without a token.
enum Unminted {
    /// Nothing of it happened.
    Lost(CommitError),
    /// Whatever it uses up is used, or may be.
    Refused(Reason),
}

impl From<CommitError> for Unminted {
    fn from(error: CommitError) -> Self {
        Self::Lost(error)
    }
}

impl From<MintError> for Unminted {
    fn from(error: MintError) -> Self {
        Self::Refused(match error {
            MintError::Expired => Reason::SubjectTokenExpired,
            MintError::Signer(_) => Reason::StoreUnavailable,
        })
    }
}

/// Runs `finish`, from the commit to the answer, in a task of its own: a client that hangs up cannot come between the two.
async fn finished(
    finish: impl Future<Output = Result<Answer, Unminted>> + Send + 'static,
    shown: Shown,
    record: &mut Record,
) -> Result<Answer, Denied> {
    match tokio::spawn(finish).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Unminted::Lost(CommitError::AlreadyUsed))) => Err(shown.denied_as_used(record)),
        Ok(Err(Unminted::Lost(CommitError::Over(over)))) => {
            record.id = ids::decision();
            Err(shown.denied(over.reason()))
        }
        Ok(Err(Unminted::Refused(reason))) => Err(Denied::recorded_anew(reason, shown.manner, record)),
        Ok(Err(Unminted::Lost(CommitError::Unavailable))) | Err(_) => {
            Err(Denied::recorded_anew(Reason::StoreUnavailable, shown.manner, record))
        }
    }
}

/// Steps 4 and 5 of an exchange: from the tokens' bytes to a proposal.
async fn propose<'m>(
    broker: &Broker,
    in_force: &InForce,
    moment: &'m Moment,
    client: &AuthenticatedClient<'m>,
    request: &TokenExchangeRequest,
    asking: Asking<'_, '_>,
    record: &mut Record,
) -> Result<Proposed<'m>, Reason> {
    let (asked, subject, fresh) = (&request.asked, &request.subject, ids::fresh());

    // A task is redeemed: everything is decided again.
    if subject.declared == TokenType::Task {
        let task = evidence::task(broker, &subject.token).await?;
        task.note(record);
        let task = task.shown_by(moment, client, &request.attempt)?;
        let actor = evidence::actor(broker, moment, request.actor.as_ref()).await?;
        let kept = evidence::transaction(broker, task.txn().unwrap_or_default()).await?;
        let exchange = Exchange::propose_by_task(moment, client, &task, actor.as_ref(), &kept, asked, fresh, record)?;
        return Ok(Proposed::Token(Some(Held::Task(task, actor)), Box::new(exchange)));
    }

    let subject = evidence::subject(broker, in_force, moment, subject, asking).await?;
    let actor = evidence::actor(broker, moment, request.actor.as_ref()).await?;
    let kept = evidence::kept(broker, &subject).await?;
    match &request.opens {
        None => {
            let exchange = Exchange::propose(moment, client, &subject, actor.as_ref(), &kept, asked, fresh, record)?;
            Ok(Proposed::Token(Some(Held::Subject(subject, actor)), Box::new(exchange)))
        }
        Some(wanted) => {
            record.kind = Kind::Task;
            let fresh = ids::task(fresh.txn).ok_or(Reason::StoreUnavailable)?;
            let kept = kept.transaction.as_ref();
            let opening = Opening::propose(moment, client, &subject, actor.as_ref(), kept, asked, wanted, fresh, record)?;
            Ok(Proposed::Task(Held::Subject(subject, actor), Box::new(opening)))
        }
    }
}
