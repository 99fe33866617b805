//! A proposed exchange: never wider than its evidence, and not allowed yet.

mod addressed;
mod asked;
mod lifetime;

use delegation::authority::{Authority, Uncovered, atoms};
use delegation::chain::{Actor, ActorChain};
use delegation::details::Detail;
use delegation::identity::{AttributeValue, OUR_NAME, Subject, SubjectKind};
use delegation::oauth::{AskedPart, AudienceId, ClientId, Reason};
use delegation::registry::{AuthenticatedClient, Ceiling, Moment};
use delegation::revocation::Line;
use delegation::time::Timestamp;
use delegation::token::{ActorToken, GrantEvidence, IdJag, SubjectEvidence, SubjectToken, Verified};
use serde_json::{Value, json};

use crate::audit::{Record, Transaction, Use, UseKind};
use crate::policy::{ClientFacts, Inquiry, Question, SubjectFacts};

/// No more questions than this are put to policy for one exchange.
const MOST_QUESTIONS: usize = 64;

/// One exchange, proposed: what would be issued if policy allows it and the journal keeps it.
///
/// Made only by [`propose`](Self::propose), [`propose_by_grant`](Self::propose_by_grant) and
/// [`propose_for_itself`](Self::propose_for_itself), so its authority is within the subject token's, its expiry is no later, it has exactly one audience, and its chain is whole.
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
    pub(crate) auth_time: Option<Timestamp>,
    pub(crate) acr: Option<String>,
    pub(crate) amr: Option<Vec<String>>,
    pub(crate) claims: Vec<(String, Value)>,
    pub(crate) inquiry: Inquiry,
    pub(crate) uses: Vec<Use>,
    pub(crate) begins: Option<Transaction>,
}

/// Values that are new for each request; randomness comes from outside.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The `jti` of the token, should one be issued.
    pub jti: String,
    /// The `txn`, should a transaction begin.
    pub txn: String,
}

impl Exchange {
    /// Proposes an exchange of `subject` for a token toward the audience that `asked` names.
    ///
    /// `kept` is the transaction of one of our own tokens. What becomes known goes into `record`, so that a refusal
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
        kept: Option<&Transaction>,
        asked: &AskedPart,
        fresh: Fresh,
        record: &mut Record,
    ) -> Result<Self, Reason> {
        // 1. Who may exchange it.
        note(subject, record);
        addressed::check(moment, client, subject, actor)?;
        let evidence = Evidence {
            subject,
            not_after: actor.map_or(subject.exp, |actor| subject.exp.min(actor.exp)),
            kept,
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
            uses,
        } = evidence;
        // 2. What was read of the subject when the transaction began.
        let began = match (&subject.facts, kept) {
            (Some(facts), _) => Transaction {
                txn: fresh.txn,
                subject: subject.subject.clone(),
                kind: facts.kind,
                attributes: facts.attributes.clone(),
                requested_by: facts.requested_by.clone(),
                began: moment.now,
                forget_at: subject.exp,
            },
            (None, Some(kept)) if kept.subject == subject.subject => kept.clone(),
            (None, _) => return Err(Reason::StoreUnavailable),
        };
        record.txn = Some(began.txn.clone());
        record.requested_by = began.requested_by.clone();

        // 3. Target and details.
        let (audience, authority, onward) = asked::understand(moment, client, asked, record)?;
        if subject
            .resources
            .as_ref()
            .is_some_and(|resources| !resources.iter().any(|each| each == audience.id.as_str()))
        {
            return Err(Reason::AudienceClosed);
        }

        // 4. Authority: covered whole, or refused whole.
        let ceiling = (subject.ceiling == Ceiling::Scope).then(|| Authority {
            details: [subject.authority.details.as_slice(), &subject.onward].concat(),
            scopes: subject.authority.scopes.clone(),
        });
        if let Some(ceiling) = &ceiling {
            let asked_onward = Authority {
                details: onward.clone(),
                ..Authority::default()
            };
            let within = authority.is_within(ceiling, &moment.snapshot.types);
            if let Err(uncovered) = within.and_then(|()| asked_onward.is_within(ceiling, &moment.snapshot.types)) {
                record.inputs = why_uncovered(&uncovered, ceiling, &subject.unmapped_scopes);
                return Err(if subject.unmapped_scopes.is_empty() {
                    Reason::WiderThanSubject
                } else {
                    Reason::ScopeNotMapped
                });
            }
        }

        // 5. Lifetime and chain.
        let expires_at = lifetime::expiry(moment, audience, asked.expires_in, Some(not_after));
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
        let us_before = |actor: &Actor| (actor.iss == moment.snapshot.issuer).then(|| ClientId::parse(&actor.sub).ok()).flatten();
        let inquiry = Inquiry {
            client: ClientFacts::from(client.client()),
            subject: SubjectFacts {
                subject: subject.subject.clone(),
                kind: began.kind,
                attributes: began.attributes.clone(),
            },
            audience: audience.id.to_string(),
            now_millis: moment.now.millis(),
            expires_in: expires_at.seconds() - moment.now.seconds(),
            subject_age_seconds: moment.now.seconds() - began.began.seconds(),
            requested_by: began.requested_by.clone(),
            chain: subject.act.iter().flat_map(ActorChain::iter).filter_map(us_before).collect(),
            client_ip: record.client_ip,
            sender_constrained: false,
            auth_age_seconds: subject.auth_time.map(|at| moment.now.seconds() - at.seconds()),
            acr: subject.acr.clone(),
            questions: questions(&authority, &onward)?,
        };
        record.expires_in = Some(inquiry.expires_in);
        record.inputs = under(ceiling.as_ref(), &inquiry);
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
            auth_time: subject.auth_time,
            acr: subject.acr.clone(),
            amr: subject.amr.clone(),
            claims: audience.claims.iter().filter_map(carried).collect(),
            inquiry,
            uses,
            begins: subject.facts.is_some().then_some(began),
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
        let (audience, authority, onward) = asked::understand(moment, client, asked, record)?;
        let expires_at = lifetime::expiry(moment, audience, asked.expires_in, None);
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
            questions: questions(&authority, &onward)?,
        };
        record.expires_in = Some(inquiry.expires_in);
        record.inputs = under(None, &inquiry);
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
            auth_time: None,
            acr: None,
            amr: None,
            claims: Vec::new(),
            inquiry,
            uses: uses(client),
            begins: Some(began),
        })
    }

    /// All that a revocation could name of the token that is proposed; `chain` ends with its `jti`.
    pub(crate) fn line<'a>(&'a self, chain: &'a [String]) -> Line<'a> {
        Line {
            chain,
            txn: Some(&self.txn),
            task: None,
            subject: &self.subject,
            client: Some(self.client.as_str()),
            act: self.act.as_ref(),
            iat: self.issued_at,
        }
    }

    /// What policy will be told.
    pub fn inquiry(&self) -> &Inquiry {
        &self.inquiry
    }
}

/// Evidence that a client may show, whichever way it came.
struct Evidence<'e> {
    subject: &'e SubjectEvidence,
    not_after: Timestamp,
    kept: Option<&'e Transaction>,
    uses: Vec<Use>,
}

/// Puts on record what the evidence says, so that a refusal says it too.
fn note(subject: &SubjectEvidence, record: &mut Record) {
    record.subject = Some(subject.subject.clone());
    record.parent_jti = subject.jti.clone();
    record.txn = subject.txn.clone();
    record.chain = subject.chain.clone();
}

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

/// One question for each atom, asked or onward, and for each scope.
fn questions(authority: &Authority, onward: &[Detail]) -> Result<Vec<Question>, Reason> {
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

/// What policy saw, with the ceiling that it was asked under; without one, policy is the ceiling.
fn under(ceiling: Option<&Authority>, inquiry: &Inquiry) -> Value {
    let mut inputs = inquiry.to_json();
    if let Some(members) = inputs.as_object_mut() {
        members.insert("ceiling".to_owned(), ceiling.map_or_else(|| Value::from("policy"), in_short));
    }
    inputs
}

fn why_uncovered(uncovered: &Uncovered, ceiling: &Authority, unmapped: &[String]) -> Value {
    let uncovered = match uncovered {
        Uncovered::Detail(short) => short.clone(),
        Uncovered::Scope(scope) => format!("scope {scope}"),
    };
    json!({ "uncovered": uncovered, "ceiling": in_short(ceiling), "unmapped_scopes": unmapped })
}

fn in_short(authority: &Authority) -> Value {
    let details: Vec<_> = authority.details.iter().map(ToString::to_string).collect();
    let scopes: Vec<_> = authority.scopes.iter().map(ToString::to_string).collect();
    json!({ "details": details, "scopes": scopes })
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Boolean(flag) => Value::from(*flag),
        AttributeValue::Integer(number) => Value::from(*number),
        AttributeValue::Text(text) => Value::from(text.as_str()),
        AttributeValue::Set(items) => Value::from_iter(items.iter().cloned()),
    }
}
