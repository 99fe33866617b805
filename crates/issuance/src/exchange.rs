//! A proposed exchange: never wider than its evidence, and not allowed yet.

pub(crate) mod addressed;
pub(crate) mod asked;
pub(crate) mod ceiling;
mod kept;
pub(crate) mod lifetime;
mod opaque;
mod uses;

use delegation::authority::{Authority, atoms};
use delegation::chain::{Actor, ActorChain};
use delegation::details::Detail;
use delegation::identity::{AttributeValue, OUR_NAME, Subject, SubjectKind};
use delegation::oauth::{AskedPart, AudienceId, ClientId, Reason, TokenType};
use delegation::registry::{AuthenticatedClient, Moment, TokenForm};
use delegation::revocation::Line;
use delegation::time::Timestamp;
use delegation::token::{ActorToken, IdJag, KeptToken, SubjectEvidence, SubjectToken, Verified};
use serde_json::Value;

use crate::audit::{Entry, Record, Transaction, Use};
use crate::mint;
use crate::policy::{ClientFacts, Inquiry, Proposal, Question, SubjectFacts, TaskFacts};
use crate::task::{OpenTask, Slot, TaskChange};

pub use kept::Kept;
pub(crate) use kept::transaction;
pub(crate) use opaque::Opaque;
pub use uses::{spent, use_of, uses, uses_by_grant};

/// No more questions than this are put to policy for one exchange.
pub(crate) const MOST_QUESTIONS: usize = 64;

/// One exchange, proposed: what would be issued if policy allows it and the journal keeps it.
///
/// Made only by [`propose`](Self::propose), [`propose_by_task`](Self::propose_by_task),
/// [`propose_by_grant`](Self::propose_by_grant) and [`propose_for_itself`](Self::propose_for_itself), so its authority is within the subject token's, its expiry is no later, it has exactly one audience, and its chain is whole.
#[derive(Clone, Debug)]
pub struct Exchange {
    pub(crate) issuer: String,
    pub(crate) client: ClientId,
    pub(crate) audience: AudienceId,
    pub(crate) subject: Subject,
    pub(crate) issued_sub: String,
    pub(crate) authority: Authority,
    pub(crate) onward: Vec<Detail>,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// The subject and actor tokens' expiry: looked at again when signing.
    pub(crate) not_after: Option<Timestamp>,
    pub(crate) act: Option<ActorChain>,
    pub(crate) chain: Vec<String>,
    pub(crate) jti: String,
    pub(crate) txn: String,
    /// The task that it hangs from.
    pub(crate) task: Option<String>,
    /// The place in that task's count that it takes; only a token that is made of the task itself takes one.
    pub(crate) slot: Option<Slot>,
    pub(crate) auth_time: Option<Timestamp>,
    pub(crate) acr: Option<String>,
    pub(crate) amr: Option<Vec<String>>,
    pub(crate) claims: Vec<(String, Value)>,
    pub(crate) inquiry: Inquiry,
    pub(crate) uses: Vec<Use>,
    /// Whether its token is good for one request alone.
    pub(crate) single_use: bool,
    pub(crate) begins: Option<Transaction>,
    /// What its token looks like.
    pub(crate) form: TokenForm,
    /// What is handed out in place of a signed token.
    pub(crate) opaque: Option<Opaque>,
}

/// Values that are new for each request; randomness comes from outside.
#[derive(Clone)]
pub struct Fresh {
    /// The `jti` of the token, should one be issued.
    pub jti: String,
    /// The `txn`, should a transaction begin.
    pub txn: String,
    /// 256 random bits for the token, should it be opaque; `None` if they could not be had.
    pub secret: Option<[u8; 32]>,
}

impl std::fmt::Debug for Fresh {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Fresh").field("jti", &self.jti).field("txn", &self.txn).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Proposes an exchange of `subject` for a token toward the audience that `asked` names.
    ///
    /// `kept` is what is kept of one of our own tokens: its transaction, and its task. What becomes known goes into `record`, so that a refusal
    /// at any step says as much as was known. Nothing is allowed yet; see [`decide`](crate::policy::decide).
    ///
    /// RFC 8693 §2.1, RFC 8707 §2; the rules are those of the contract, *An exchange*.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a separate piece of evidence, and a struct of them would be made here only"
    )]
    pub fn propose<'m>(
        moment: &'m Moment,
        client: &AuthenticatedClient<'m>,
        subject: &Verified<'m, SubjectToken>,
        actor: Option<&Verified<'m, ActorToken>>,
        kept: &Kept,
        asked: &AskedPart,
        fresh: Fresh,
        record: &mut Record,
    ) -> Result<Self, Reason> {
        // 1. Who may exchange it.
        Self::may_be_proposed(moment, client, subject, actor, record)?;
        let evidence = Evidence {
            subject,
            not_after: actor.map_or(subject.exp, |actor| subject.exp.min(actor.exp)),
            kept: kept.transaction.as_ref(),
            task: kept.task_of(subject, moment)?,
            redeems: None,
            uses: uses(client).into_iter().chain(spent(subject, moment)).collect(),
        };
        Self::from_evidence(moment, client, evidence, asked, fresh, record)
    }

    /// The first step of [`propose`](Self::propose): whether this client may exchange `subject` at all, for whatever it will ask. For a door
    /// that knows nothing else yet.
    pub fn may_be_proposed<'m>(
        moment: &'m Moment,
        client: &AuthenticatedClient<'m>,
        subject: &Verified<'m, SubjectToken>,
        actor: Option<&Verified<'m, ActorToken>>,
        record: &mut Record,
    ) -> Result<(), Reason> {
        note(subject, record);
        addressed::check(moment, client, subject, actor, client.id())
    }

    /// Proposes a token of `task`, which takes the place of a subject token; `kept` is its transaction.
    ///
    /// Everything is decided again, with what is known now; the token takes a place in the task's count.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a separate piece of evidence, and a struct of them would be made here only"
    )]
    pub fn propose_by_task<'m>(
        moment: &'m Moment,
        client: &AuthenticatedClient<'m>,
        task: &OpenTask<'m>,
        actor: Option<&Verified<'m, ActorToken>>,
        kept: &Transaction,
        asked: &AskedPart,
        fresh: Fresh,
        record: &mut Record,
    ) -> Result<Self, Reason> {
        note(&task.evidence, record);
        addressed::check_actor(client, actor)?;
        let evidence = Evidence {
            subject: &task.evidence,
            not_after: actor.map_or(task.evidence.exp, |actor| task.evidence.exp.min(actor.exp)),
            kept: Some(kept),
            task: Some(task.facts.clone()),
            redeems: Some(task.attempt.clone()),
            uses: uses(client),
        };
        Self::from_evidence(moment, client, evidence, asked, fresh, record)
    }

    /// Proposes a token by `grant`, an ID-JAG, which takes the place of a subject token and is used up.
    ///
    /// RFC 7523 §2.1, draft-ietf-oauth-identity-assertion-authz-grant §4.4; the rules are those of an exchange.
    pub fn propose_by_grant<'m>(
        moment: &'m Moment,
        client: &AuthenticatedClient<'m>,
        grant: &Verified<'m, IdJag>,
        asked: &AskedPart,
        fresh: Fresh,
        record: &mut Record,
    ) -> Result<Self, Reason> {
        note(&grant.subject, record);
        addressed::check_grant(moment, client, grant)?;
        let evidence = Evidence {
            subject: &grant.subject,
            not_after: grant.subject.exp,
            kept: None,
            task: None,
            redeems: None,
            uses: uses_by_grant(client, grant),
        };
        Self::from_evidence(moment, client, evidence, asked, fresh, record)
    }

    /// What both kinds of evidence have in common, once it is the client's to show.
    fn from_evidence<'m>(
        moment: &'m Moment,
        client: &AuthenticatedClient<'m>,
        evidence: Evidence<'_>,
        asked: &AskedPart,
        fresh: Fresh,
        record: &mut Record,
    ) -> Result<Self, Reason> {
        let Evidence {
            subject,
            not_after,
            kept,
            task,
            redeems,
            uses,
        } = evidence;
        // 2. What was read of the subject when the transaction began.
        let (began, is_new) = transaction(moment, subject, kept, fresh.txn.clone())?;
        record.txn = Some(began.txn.clone());
        record.requested_by = began.requested_by.clone();

        // 3. Target and details.
        let (audience, authority, onward) = asked::understand(moment, client.id(), asked, record)?;
        if subject
            .resources
            .as_ref()
            .is_some_and(|resources| !resources.iter().any(|each| each == audience.id.as_str()))
        {
            return Err(Reason::AudienceClosed);
        }
        // A transaction token that takes another's place is good where that one was, and nowhere else.
        let replaces = subject.is_txn_token && audience.form == TokenForm::Txn;
        if replaces && !subject.audiences.iter().any(|each| each == audience.id.as_str()) {
            return Err(Reason::AudienceClosed);
        }

        // 4. Authority: covered whole, or refused whole.
        ceiling::check(moment, subject, &authority, &onward, record)?;

        // 5. Lifetime and chain.
        let later = task.as_ref().is_some_and(|task| task.deferred);
        let expires_at = lifetime::expiry(moment, audience, asked.expires_in, Some(not_after), later);
        let us = Actor {
            iss: moment.snapshot.issuer.clone(),
            sub: client.id().to_string(),
        };
        let act = ActorChain::extend(subject.act.as_ref(), us);
        record.actor = act.iter().cloned().collect();
        if act.depth() > moment.snapshot.max_chain {
            return Err(Reason::ChainTooLong);
        }

        // 6. The whole, with what policy will be told.
        let carried = |name: &String| {
            let value = match began.attributes.values.get(name) {
                Some(value) => attribute(value),
                None if name == "groups" && !began.attributes.groups.is_empty() => {
                    Value::from_iter(began.attributes.groups.iter().cloned())
                }
                None => return None,
            };
            Some((name.clone(), value))
        };
        let inquiry = Inquiry {
            client: ClientFacts::from(client.client()),
            subject: SubjectFacts {
                subject: subject.subject.clone(),
                kind: began.kind,
                attributes: began.attributes.clone(),
                risk: moment.revocations.risk(&subject.subject),
            },
            audience: audience.id.to_string(),
            now_millis: moment.now.millis(),
            expires_in: expires_at.seconds() - moment.now.seconds(),
            subject_age_seconds: moment.now.seconds() - began.began.seconds(),
            requested_by: began.requested_by.clone(),
            chain: clients_of(moment, subject.act.as_ref()),
            client_ip: record.client_ip,
            sender_constrained: false,
            auth_age_seconds: subject.auth_time.map(|at| moment.now.seconds() - at.seconds()),
            acr: subject.acr.clone(),
            task,
            questions: questions(&authority, &onward)?,
        };
        record.expires_in = Some(inquiry.expires_in);
        record.inputs = under(ceiling::of(subject).as_ref(), std::slice::from_ref(&inquiry));
        let opaque = Opaque::of(moment, audience, &fresh, expires_at)?;
        let slot = redeems.zip(subject.task.clone()).map(|(attempt, task)| Slot {
            task,
            attempt,
            now: moment.now,
            until: expires_at,
        });
        Ok(Self {
            issuer: moment.snapshot.issuer.clone(),
            client: client.id().clone(),
            audience: audience.id.clone(),
            subject: subject.subject.clone(),
            issued_sub: subject.issued_sub.clone(),
            authority,
            onward,
            issued_at: moment.now,
            expires_at,
            not_after: Some(not_after),
            act: Some(act),
            chain: subject.chain.clone(),
            jti: fresh.jti,
            txn: began.txn.clone(),
            task: subject.task.clone(),
            slot,
            auth_time: subject.auth_time,
            acr: subject.acr.clone(),
            amr: subject.amr.clone(),
            claims: audience.claims.iter().filter_map(carried).collect(),
            inquiry,
            uses,
            single_use: audience.single_use,
            begins: is_new.then_some(began),
            form: audience.form,
            opaque,
        })
    }

    /// Proposes a token for `client` itself (RFC 6749 §4.4): the ceiling is policy, and nobody acts for anybody.
    pub fn propose_for_itself<'m>(
        moment: &'m Moment,
        client: &AuthenticatedClient<'m>,
        asked: &AskedPart,
        fresh: Fresh,
        record: &mut Record,
    ) -> Result<Self, Reason> {
        let subject = Subject {
            issuer_name: OUR_NAME.to_owned(),
            iss: moment.snapshot.issuer.clone(),
            sub: client.id().to_string(),
        };
        record.subject = Some(subject.clone());
        record.txn = Some(fresh.txn.clone());
        if moment.revocations.is_subject_disabled(&subject) {
            return Err(Reason::SubjectDisabled);
        }
        let (audience, authority, onward) = asked::understand(moment, client.id(), asked, record)?;
        let expires_at = lifetime::expiry(moment, audience, asked.expires_in, None, false);
        let opaque = Opaque::of(moment, audience, &fresh, expires_at)?;
        let began = Transaction {
            txn: fresh.txn,
            subject: subject.clone(),
            kind: SubjectKind::Workload,
            attributes: Default::default(),
            requested_by: None,
            began: moment.now,
            forget_at: expires_at,
        };
        let inquiry = Inquiry {
            client: ClientFacts::from(client.client()),
            subject: SubjectFacts {
                subject: subject.clone(),
                kind: began.kind,
                attributes: began.attributes.clone(),
                risk: moment.revocations.risk(&subject),
            },
            audience: audience.id.to_string(),
            now_millis: moment.now.millis(),
            expires_in: expires_at.seconds() - moment.now.seconds(),
            subject_age_seconds: 0,
            requested_by: None,
            chain: Vec::new(),
            client_ip: record.client_ip,
            sender_constrained: false,
            auth_age_seconds: None,
            acr: None,
            task: None,
            questions: questions(&authority, &onward)?,
        };
        record.expires_in = Some(inquiry.expires_in);
        record.inputs = under(None, std::slice::from_ref(&inquiry));
        Ok(Self {
            issuer: moment.snapshot.issuer.clone(),
            client: client.id().clone(),
            audience: audience.id.clone(),
            issued_sub: client.id().to_string(),
            subject,
            authority,
            onward,
            issued_at: moment.now,
            expires_at,
            not_after: None,
            act: None,
            chain: Vec::new(),
            jti: fresh.jti,
            txn: began.txn.clone(),
            task: None,
            slot: None,
            auth_time: None,
            acr: None,
            amr: None,
            claims: Vec::new(),
            inquiry,
            uses: uses(client),
            single_use: audience.single_use,
            begins: Some(began),
            form: audience.form,
            opaque,
        })
    }

    /// All that a revocation could name of the token that is proposed; `chain` ends with its `jti`.
    pub(crate) fn line<'a>(&'a self, chain: &'a [String]) -> Line<'a> {
        Line {
            chain,
            txn: Some(&self.txn),
            task: self.task.as_deref(),
            subject: &self.subject,
            client: Some(self.client.as_str()),
            act: self.act.as_ref(),
            iat: self.issued_at,
        }
    }

    /// What its token is, by the names of RFC 8693 §3.
    pub(crate) fn kind(&self) -> TokenType {
        match self.form {
            TokenForm::Jwt | TokenForm::Opaque => TokenType::AccessToken,
            TokenForm::Txn => TokenType::TxnToken,
        }
    }

    /// What policy will be told.
    pub fn inquiry(&self) -> &Inquiry {
        &self.inquiry
    }
}

impl Proposal for Exchange {
    fn inquiries(&self) -> &[Inquiry] {
        std::slice::from_ref(&self.inquiry)
    }

    fn uses(&self) -> &[Use] {
        &self.uses
    }

    fn entry(&self, mut record: Record) -> Entry {
        record.jti = Some(self.jti.clone());
        Entry {
            uses: self.uses.clone(),
            begins: self.begins.clone(),
            task: self.slot.clone().map(TaskChange::Takes),
            keeps: self.opaque.as_ref().map(|opaque| KeptToken {
                digest: opaque.token.digest(),
                claims: mint::claims_of(self),
                forget_at: opaque.forget_at,
            }),
            ..Entry::of(record)
        }
    }
}

/// Evidence that a client may show, whichever way it came.
struct Evidence<'e> {
    subject: &'e SubjectEvidence,
    not_after: Timestamp,
    kept: Option<&'e Transaction>,
    /// The task that the token will hang from.
    task: Option<TaskFacts>,
    /// The attempt, if it is the task itself that is shown.
    redeems: Option<Option<String>>,
    uses: Vec<Use>,
}

/// Puts on record what the evidence says, so that a refusal says it too.
pub(crate) fn note(subject: &SubjectEvidence, record: &mut Record) {
    record.subject = Some(subject.subject.clone());
    record.parent_jti = subject.jti.clone();
    record.txn = subject.txn.clone();
    record.task = subject.task.clone();
    record.chain = subject.chain.clone();
}

/// What policy saw, with the ceiling that it was asked under; without one, policy is the ceiling.
///
/// A task may be for several audiences: what was asked about the others stands under `also`.
pub(crate) fn under(ceiling: Option<&Authority>, inquiries: &[Inquiry]) -> Value {
    let mut all = inquiries.iter().map(Inquiry::to_json);
    let mut inputs = all.next().unwrap_or_default();
    if let Some(members) = inputs.as_object_mut() {
        members.insert(
            "ceiling".to_owned(),
            ceiling.map_or_else(|| Value::from("policy"), ceiling::in_short),
        );
        let also: Vec<_> = all.collect();
        if !also.is_empty() {
            members.insert("also".to_owned(), Value::from(also));
        }
    }
    inputs
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Boolean(flag) => Value::from(*flag),
        AttributeValue::Integer(number) => Value::from(*number),
        AttributeValue::Text(text) => Value::from(text.as_str()),
        AttributeValue::Set(items) => Value::from_iter(items.iter().cloned()),
    }
}

/// The clients of this broker among those that acted before, newest first.
pub(crate) fn clients_of(moment: &Moment, act: Option<&ActorChain>) -> Vec<ClientId> {
    let ours = |actor: &Actor| (actor.iss == moment.snapshot.issuer).then(|| ClientId::parse(&actor.sub).ok()).flatten();
    act.into_iter().flat_map(ActorChain::iter).filter_map(ours).collect()
}

/// One question for each atom, asked or onward, and for each scope.
pub(crate) fn questions(authority: &Authority, onward: &[Detail]) -> Result<Vec<Question>, Reason> {
    let detail = |onward| {
        move |atom: delegation::authority::Atom<'_>| Question::Detail {
            detail: atom.detail.clone(),
            action: atom.action.to_owned(),
            onward,
        }
    };
    let direct = atoms(&authority.details).map(detail(false));
    let later = atoms(onward).map(detail(true));
    let scopes = authority.scopes.iter().cloned().map(Question::Scope);
    let questions: Vec<_> = direct.chain(later).chain(scopes).collect();
    match questions.len() {
        0 => Err(Reason::NothingAsked),
        1..=MOST_QUESTIONS => Ok(questions),
        _ => Err(Reason::MalformedDetails),
    }
}
