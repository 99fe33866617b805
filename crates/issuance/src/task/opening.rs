//! A task that is to be opened: proposed like an exchange, for later redemptions.

use std::collections::BTreeSet;
use std::time::Duration;

use delegation::authority::{Authority, atoms};
use delegation::chain::{Actor, ActorChain};
use delegation::details::Detail;
use delegation::oauth::{AskedPart, AudienceId, ClientId, Reason, TaskPart};
use delegation::registry::{Audience, AuthenticatedClient, Moment};
use delegation::time::Timestamp;
use delegation::token::{ActorToken, OpaqueForm, SubjectToken, Verified};

use super::kept::{KeptTask, Status, TaskChange, Terms};
use crate::audit::{Entry, Record, Recorded, Transaction, Use};
use crate::exchange::{self, MOST_QUESTIONS, addressed, asked, ceiling};
use crate::policy::{ClientFacts, Inquiry, Permit, Proposal, Question, SubjectFacts, TaskFacts};

/// How many tokens a task gives where the request does not say.
const MOST_TOKENS: u32 = 100;
/// The same for later work, which is done once.
const MOST_DEFERRED_TOKENS: u32 = 1;

/// One task, proposed: what would be kept if policy allows it and the journal takes it.
///
/// Made only by [`propose`](Self::propose), so what may be redeemed from it is within the subject token's authority.
#[derive(Debug)]
pub struct Opening {
    task: KeptTask,
    token: OpaqueForm,
    expires_in: i64,
    authority: Authority,
    begins: Transaction,
    uses: Vec<Use>,
    inquiries: Vec<Inquiry>,
}

/// Values that are new for each task; randomness comes from outside.
#[derive(Debug)]
pub struct FreshTask {
    /// Its id.
    pub id: String,
    /// Its token.
    pub token: OpaqueForm,
    /// The `txn`, should a transaction begin.
    pub txn: String,
}

/// A task that was opened, with what the reply says about it.
#[derive(Debug)]
pub struct Opened {
    /// Its id.
    pub id: String,
    /// Its token: it leaves in the reply's body and nowhere else.
    pub token: OpaqueForm,
    /// Its life in seconds.
    pub expires_in: i64,
    /// What may be redeemed from it.
    pub authority: Authority,
}

impl Opening {
    /// Proposes that `client` opens a task with what `asked` and `wanted` say, for `subject`.
    ///
    /// `kept` is the transaction of one of our own tokens. Nothing is allowed yet; see [`decide`](crate::policy::decide).
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a separate piece of evidence, and a struct of them would be made here only"
    )]
    pub fn propose<'m>(
        moment: &'m Moment,
        client: &AuthenticatedClient<'m>,
        subject: &Verified<'m, SubjectToken>,
        actor: Option<&Verified<'m, ActorToken>>,
        kept: Option<&Transaction>,
        asked: &AskedPart,
        wanted: &TaskPart,
        fresh: FreshTask,
        record: &mut Record,
    ) -> Result<Self, Reason> {
        // 1. Who may open one, and who redeems it.
        exchange::note(subject, record);
        record.task = Some(fresh.id.clone());
        let redeemer = redeemer(moment, client, wanted)?;
        addressed::check(moment, client, subject, actor, &redeemer)?;
        if subject.task.is_some() {
            // What hangs from one task does not come to hang from another.
            return Err(Reason::UnsupportedTokenType);
        }
        let (begins, _) = exchange::transaction(moment, subject, kept, fresh.txn)?;
        record.txn = Some(begins.txn.clone());
        record.requested_by.clone_from(&begins.requested_by);

        // 2. Targets and authority.
        let audiences = audiences(moment, &redeemer, subject.resources.as_deref(), asked)?;
        record.audience = audiences.first().filter(|_| audiences.len() == 1).map(|audience| audience.id.clone());
        let (authority, onward) = understood(moment, &audiences, asked, record)?;
        ceiling::check(moment, subject, &authority, &onward, record)?;

        // 3. Lifetime and chain.
        let lifetimes = &moment.snapshot.lifetimes;
        let longest = if wanted.deferred { lifetimes.deferred_task } else { lifetimes.task };
        let life = asked.expires_in.map_or(longest, Duration::from_secs).min(longest);
        let mut expires_at = Timestamp::from_seconds(moment.now.seconds()).plus(life);
        if !wanted.deferred {
            expires_at = expires_at.min(actor.map_or(subject.exp, |actor| subject.exp.min(actor.exp)));
        }
        let expires_in = expires_at.seconds() - moment.now.seconds();
        let ours = |id: &ClientId| Actor {
            iss: moment.snapshot.issuer.clone(),
            sub: id.to_string(),
        };
        let act = if redeemer == *client.id() {
            subject.act.clone()
        } else {
            Some(ActorChain::extend(subject.act.as_ref(), ours(client.id())))
        };
        if ActorChain::extend(act.as_ref(), ours(&redeemer)).depth() > moment.snapshot.max_chain {
            return Err(Reason::ChainTooLong);
        }
        record.actor = ActorChain::extend(subject.act.as_ref(), ours(client.id())).iter().cloned().collect();
        record.expires_in = Some(expires_in);

        // 4. What policy will be told: for each audience, may there be such a task, and would each of its tokens be allowed.
        let facts = TaskFacts {
            id: fresh.id.clone(),
            purpose: wanted.purpose.clone(),
            age_seconds: 0,
            tokens: 0,
            deferred: wanted.deferred,
            actor: redeemer.to_string(),
            expires_in,
        };
        let token_life = if wanted.deferred {
            lifetimes.deferred_token
        } else {
            lifetimes.default
        };
        let inquiry = |audience: &&Audience| {
            let life = token_life.min(lifetimes.max).min(audience.max_lifetime.unwrap_or(lifetimes.max)).min(life);
            Inquiry {
                client: ClientFacts::from(client.client()),
                subject: SubjectFacts {
                    subject: subject.subject.clone(),
                    kind: begins.kind,
                    attributes: begins.attributes.clone(),
                    risk: moment.revocations.risk(&subject.subject),
                },
                audience: audience.id.to_string(),
                now_millis: moment.now.millis(),
                expires_in: i64::try_from(life.as_secs()).unwrap_or(i64::MAX).min(expires_in),
                subject_age_seconds: moment.now.seconds() - begins.began.seconds(),
                requested_by: begins.requested_by.clone(),
                chain: exchange::clients_of(moment, subject.act.as_ref()),
                client_ip: record.client_ip,
                sender_constrained: false,
                auth_age_seconds: subject.auth_time.map(|at| moment.now.seconds() - at.seconds()),
                acr: subject.acr.clone(),
                task: Some(facts.clone()),
                questions: questions(audience, wanted.deferred, &authority, &onward),
            }
        };
        let inquiries: Vec<_> = audiences.iter().map(inquiry).collect();
        if inquiries.iter().map(|inquiry| inquiry.questions.len()).sum::<usize>() > MOST_QUESTIONS {
            return Err(Reason::MalformedDetails);
        }
        record.inputs = exchange::under(ceiling::of(subject).as_ref(), &inquiries);

        // 5. The whole.
        let max_tokens = wanted.max_tokens.unwrap_or(if wanted.deferred { MOST_DEFERRED_TOKENS } else { MOST_TOKENS });
        let terms = Terms {
            subject: subject.subject.clone(),
            issued_sub: subject.issued_sub.clone(),
            txn: begins.txn.clone(),
            audiences: audiences.iter().map(|audience| audience.id.clone()).collect(),
            authority: authority.clone(),
            onward,
            purpose: wanted.purpose.clone(),
            deferred: wanted.deferred,
            payload_sha256: wanted.payload_sha256.clone(),
            chain: subject.chain.clone(),
            act,
            auth_time: subject.auth_time,
            acr: subject.acr.clone(),
            amr: subject.amr.clone(),
        };
        Ok(Self {
            task: KeptTask {
                id: fresh.id,
                creator: client.id().clone(),
                actor: redeemer,
                status: Status::Open,
                tokens: 0,
                max_tokens,
                created_at: moment.now,
                expires_at,
                terms: terms.to_json(),
            },
            token: fresh.token,
            expires_in,
            authority,
            // The facts of the subject are needed for as long as a token of the task could live.
            begins: Transaction {
                forget_at: begins.forget_at.max(expires_at),
                ..begins
            },
            uses: exchange::uses(client).into_iter().chain(exchange::spent(subject, moment)).collect(),
            inquiries,
        })
    }
}

impl Proposal for Opening {
    fn inquiries(&self) -> &[Inquiry] {
        &self.inquiries
    }

    fn uses(&self) -> &[Use] {
        &self.uses
    }

    fn entry(&self, record: Record) -> Entry {
        Entry {
            uses: self.uses.clone(),
            begins: Some(self.begins.clone()),
            task: Some(TaskChange::Opens {
                task: Box::new(self.task.clone()),
                token: self.token.digest(),
            }),
            ..Entry::of(record)
        }
    }
}

/// Hands out the token of a task that is recorded.
///
/// ```compile_fail
/// use issuance::policy::Permit;
/// use issuance::task::{Opening, mint_task};
/// fn unrecorded(permit: Permit<Opening>) {
///     mint_task(permit);
/// }
/// ```
///
/// ```
/// use issuance::audit::Recorded;
/// use issuance::policy::Permit;
/// use issuance::task::{Opening, mint_task};
/// fn recorded(permit: Recorded<Permit<Opening>>) {
///     mint_task(permit);
/// }
/// ```
pub fn mint_task(recorded: Recorded<Permit<Opening>>) -> Opened {
    let opening = recorded.value.permitted;
    Opened {
        id: opening.task.id,
        token: opening.token,
        expires_in: opening.expires_in,
        authority: opening.authority,
    }
}

/// The client that redeems the task: the one that opens it, or one of its delegates.
fn redeemer<'m>(moment: &'m Moment, client: &AuthenticatedClient<'m>, wanted: &TaskPart) -> Result<ClientId, Reason> {
    match &wanted.actor {
        None => Ok(client.id().clone()),
        Some(actor) if actor == client.id() => Ok(actor.clone()),
        Some(actor) if client.client().delegates.contains(actor) && moment.snapshot.clients.contains_key(actor) => Ok(actor.clone()),
        Some(_) => Err(Reason::UnauthorizedClient),
    }
}

/// The audiences that are named, each once, all open to the redeemer and to the subject token.
fn audiences<'m>(
    moment: &'m Moment,
    redeemer: &ClientId,
    resources: Option<&[String]>,
    asked: &AskedPart,
) -> Result<Vec<&'m Audience>, Reason> {
    let mut audiences = Vec::new();
    for target in asked.targets.iter().collect::<BTreeSet<_>>() {
        let id = AudienceId::parse(target).map_err(|_| Reason::UnknownAudience)?;
        let audience = moment.snapshot.audiences.get(&id).ok_or(Reason::UnknownAudience)?;
        let closed = audience.clients.as_ref().is_some_and(|clients| !clients.contains(redeemer));
        if closed || resources.is_some_and(|resources| !resources.contains(target)) {
            return Err(Reason::AudienceClosed);
        }
        audiences.push(audience);
    }
    Ok(audiences)
}

/// What is asked for, each part of it understood by one of the audiences at least.
fn understood(
    moment: &Moment,
    audiences: &[&Audience],
    asked: &AskedPart,
    record: &mut Record,
) -> Result<(Authority, Vec<Detail>), Reason> {
    let (mut details, onward) = asked::details(moment, asked)?;
    if details.is_empty() && onward.is_empty() && asked.scopes.is_empty() {
        details = audiences.iter().flat_map(|audience| audience.defaults.iter().cloned()).collect();
    }
    record.asked = Authority {
        details,
        scopes: asked.scopes.clone(),
    };
    record.onward = onward;
    if record.asked.is_empty() && record.onward.is_empty() {
        return Err(Reason::NothingAsked);
    }
    for detail in &record.asked.details {
        if !audiences.iter().any(|audience| audience.detail_types.contains(detail.kind())) {
            return Err(Reason::UnknownType);
        }
        if !audiences.iter().any(|audience| is_for(detail, audience)) {
            return Err(Reason::MalformedDetails);
        }
    }
    let known = |scope: &delegation::oauth::Scope| audiences.iter().any(|audience| audience.scopes.contains(scope));
    if !record.asked.scopes.iter().all(known) {
        return Err(Reason::WiderThanSubject);
    }
    Ok((record.asked.clone(), record.onward.clone()))
}

/// Whether a token for `audience` could carry `detail`.
fn is_for(detail: &Detail, audience: &Audience) -> bool {
    let there = |locations: &[String]| locations.iter().any(|location| location == audience.id.as_str());
    audience.detail_types.contains(detail.kind()) && detail.locations().is_none_or(there)
}

/// What is asked about a task at one of its audiences: the task itself, and every part of its authority that could go there.
fn questions(audience: &Audience, deferred: bool, authority: &Authority, onward: &[Detail]) -> Vec<Question> {
    let details: Vec<_> = authority.details.iter().filter(|detail| is_for(detail, audience)).cloned().collect();
    let detail = |onward| {
        move |atom: delegation::authority::Atom<'_>| Question::Detail {
            detail: atom.detail.clone(),
            action: atom.action.to_owned(),
            onward,
        }
    };
    let scopes = authority.scopes.intersection(&audience.scopes).cloned().map(Question::Scope);
    let own = [Some(Question::Task), deferred.then_some(Question::Defer)];
    own.into_iter()
        .flatten()
        .chain(atoms(&details).map(detail(false)))
        .chain(atoms(onward).map(detail(true)))
        .chain(scopes)
        .collect()
}
