//! A question about a token that was issued: would policy still allow this request of it?
//!
//! The rules are those of an exchange of now for the same subject, chain, client and audience, and for what the request needs alone.

use std::collections::BTreeSet;

use delegation::oauth::{AskedPart, Reason, Scope};
use delegation::registry::Moment;
use delegation::token::{SubjectToken, Verified};

use crate::audit::{Entry, Record, Use};
use crate::exchange::{Kept, asked, ceiling, clients_of, questions, transaction, under};
use crate::policy::{ClientFacts, Inquiry, Proposal, SubjectFacts};

/// A request, to be decided again and not decided yet. Nothing can be minted of it.
#[derive(Clone, Debug)]
pub struct Recheck {
    inquiry: Inquiry,
}

impl Recheck {
    /// Proposes what a request needs, `details` (not parsed yet) and `scopes`, for a decision about `token`, one of our own.
    ///
    /// It is never wider than the token, and never an audience's defaults. `kept` is the token's transaction and task. What becomes
    /// known goes into `record`, so that a refusal at any step says as much as was known. Nothing is allowed yet; see
    /// [`decide`](crate::policy::decide).
    pub fn propose<'m>(
        moment: &'m Moment,
        token: &Verified<'m, SubjectToken>,
        kept: &Kept,
        details: Option<String>,
        scopes: BTreeSet<Scope>,
        record: &mut Record,
    ) -> Result<Self, Reason> {
        // 1. Who holds it: of a disabled client no token holds, and one that is gone may ask for none.
        let holder = token.client_id.as_ref().and_then(|id| moment.snapshot.clients.get(id));
        let holder = holder.filter(|client| client.ends.is_none_or(|end| moment.now < end));
        let holder = holder.ok_or(Reason::SubjectTokenRevoked)?;

        // 2. What the request needs, of what the token allows.
        let needs = AskedPart {
            targets: token.audiences.clone(),
            scopes,
            details,
            onward: None,
            requested: None,
            expires_in: None,
        };
        // Whoever asks for nothing is not asked about what the audience gives to those who ask for nothing.
        let (details, _) = asked::details(moment, &needs)?;
        if details.is_empty() && needs.scopes.is_empty() {
            return Err(Reason::NothingAsked);
        }
        let (audience, authority, _) = asked::understand(moment, &holder.id, &needs, record)?;
        // What is for later hops is usable nowhere.
        if authority.is_within(&token.authority, &moment.snapshot.types).is_err() {
            return Err(Reason::WiderThanSubject);
        }

        // 3. What was read of the subject when the transaction began, and the task.
        let (began, _) = transaction(moment, token, kept.transaction.as_ref(), String::new())?;
        record.requested_by.clone_from(&began.requested_by);
        let task = kept.task_of(token, moment)?;

        // 4. What policy will be told. Whoever acts last is the holder.
        let mut chain = clients_of(moment, token.act.as_ref());
        if !chain.is_empty() {
            chain.remove(0);
        }
        let inquiry = Inquiry {
            client: ClientFacts::from(holder),
            subject: SubjectFacts {
                subject: token.subject.clone(),
                kind: began.kind,
                attributes: began.attributes,
                risk: moment.revocations.risk(&token.subject),
            },
            audience: audience.id.to_string(),
            now_millis: moment.now.millis(),
            expires_in: token.exp.seconds() - token.iat.seconds(),
            subject_age_seconds: moment.now.seconds() - began.began.seconds(),
            requested_by: began.requested_by,
            chain,
            client_ip: record.client_ip,
            sender_constrained: false,
            auth_age_seconds: token.auth_time.map(|at| moment.now.seconds() - at.seconds()),
            acr: token.acr.clone(),
            task,
            questions: questions(&authority, &[])?,
        };
        record.expires_in = Some(inquiry.expires_in);
        record.inputs = under(ceiling::of(token).as_ref(), std::slice::from_ref(&inquiry));
        Ok(Self { inquiry })
    }

    /// What policy will be told.
    pub fn inquiry(&self) -> &Inquiry {
        &self.inquiry
    }
}

impl Proposal for Recheck {
    fn inquiries(&self) -> &[Inquiry] {
        std::slice::from_ref(&self.inquiry)
    }

    fn uses(&self) -> &[Use] {
        &[]
    }

    fn entry(&self, record: Record) -> Entry {
        Entry::of(record)
    }
}
