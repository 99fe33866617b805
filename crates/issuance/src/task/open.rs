//! A task that may be redeemed at this moment, by this client.

use std::marker::PhantomData;

use delegation::chain::{Actor, ActorChain};
use delegation::details::Detail;
use delegation::oauth::{AttemptPart, Reason};
use delegation::registry::{AuthenticatedClient, Ceiling, Moment};
use delegation::revocation::{Line, MarkKind, View};
use delegation::token::{Origin, SubjectEvidence, TokenError, refuse_ended};
use serde_json::{Map, Value, json};

use super::kept::{KeptTask, Over, Terms};
use crate::policy::TaskFacts;

/// Proof that a task is open at one [`Moment`], and that the client is the one that may redeem it, with the right payload.
///
/// It borrows the moment, so it cannot be kept for a later request. Made only by [`KeptTask::shown_by`].
#[derive(Debug)]
pub struct OpenTask<'m> {
    pub(crate) evidence: SubjectEvidence,
    pub(crate) facts: TaskFacts,
    pub(crate) attempt: Option<String>,
    payload_sha256: Option<String>,
    act: ActorChain,
    moment: PhantomData<&'m Moment>,
}

impl KeptTask {
    /// Checks that `client`, which has shown the token of this task, may redeem it at `moment` for what `attempt` names.
    ///
    /// What a stranger learns is that it is not theirs; what a client learns whose task it is, is why it is over.
    pub fn shown_by<'m>(
        &self,
        moment: &'m Moment,
        client: &AuthenticatedClient<'m>,
        attempt: &AttemptPart,
    ) -> Result<OpenTask<'m>, Reason> {
        if self.actor != *client.id() {
            return Err(Reason::SubjectTokenNotForClient);
        }
        let task = self.at(moment)?;
        // A task that is bound to nothing does not vouch for what a worker holds, either.
        if task.payload_sha256 != attempt.payload_sha256 {
            return Err(Reason::TaskPayloadMismatch);
        }
        Ok(OpenTask {
            attempt: attempt.id.clone(),
            ..task
        })
    }

    /// The task as people are shown it, over or not, whatever the configuration of the day declares.
    ///
    /// `status` is `open`, `completed`, `cancelled`, `expired`, or `revoked` where what it came from, or the task by its
    /// name, has been.
    pub fn shown(&self, moment: &Moment) -> Value {
        let mut shown: Map<String, Value> = serde_json::from_str(&self.terms).unwrap_or_default();
        let status = match self.over(moment.now) {
            Some(Over::Expired) => "expired",
            Some(_) => self.status.as_str(),
            None => match self.at(moment) {
                Err(Reason::TaskCancelled | Reason::SubjectTokenRevoked) => "revoked",
                _ => self.status.as_str(),
            },
        };
        let subject = json!({ "iss": shown.remove("iss"), "sub": shown.remove("sub") });
        for inner in ["issuer_name", "issued_sub", "chain"] {
            shown.remove(inner);
        }
        let own = [
            ("subject", subject),
            ("id", json!(self.id)),
            ("status", json!(status)),
            ("creator", json!(self.creator.as_str())),
            ("actor", json!(self.actor.as_str())),
            ("tokens", json!(self.tokens)),
            ("max_tokens", json!(self.max_tokens)),
            ("created_at", json!(self.created_at.seconds())),
            ("expires_at", json!(self.expires_at.seconds())),
        ];
        shown.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Value::Object(shown)
    }

    /// All that the task says, if it is not over at `moment`: what introspection shows to those whose task it is.
    pub fn said_at(&self, moment: &Moment) -> Option<Map<String, Value>> {
        let open = self.at(moment).ok()?;
        let evidence = &open.evidence;
        let details = |list: &[Detail]| Value::from_iter(list.iter().map(Detail::to_json));
        let scope: Vec<_> = evidence.authority.scopes.iter().map(|scope| scope.as_str()).collect();
        let said = [
            ("iss", Some(json!(moment.snapshot.issuer))),
            ("sub", Some(json!(evidence.issued_sub))),
            ("aud", Some(json!(evidence.resources))),
            ("exp", Some(json!(self.expires_at.seconds()))),
            ("iat", Some(json!(self.created_at.seconds()))),
            ("client_id", Some(json!(self.creator.as_str()))),
            (
                "sub_id",
                Some(json!({ "format": "iss_sub", "iss": evidence.subject.iss, "sub": evidence.subject.sub })),
            ),
            ("txn", evidence.txn.as_ref().map(|txn| json!(txn))),
            ("task", Some(json!(self.id))),
            ("chain", Some(json!(evidence.chain))),
            ("actor", Some(json!(self.actor.as_str()))),
            ("act", evidence.act.as_ref().map(ActorChain::to_claim)),
            ("purpose", open.facts.purpose.as_ref().map(|purpose| json!(purpose))),
            ("deferred", Some(json!(open.facts.deferred))),
            ("tokens", Some(json!(self.tokens))),
            ("max_tokens", Some(json!(self.max_tokens))),
            ("payload_sha256", open.payload_sha256.as_ref().map(|payload| json!(payload))),
            ("scope", (!scope.is_empty()).then(|| json!(scope.join(" ")))),
            (
                "authorization_details",
                (!evidence.authority.details.is_empty()).then(|| details(&evidence.authority.details)),
            ),
            ("onward", (!evidence.onward.is_empty()).then(|| details(&evidence.onward))),
        ];
        Some(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }

    /// Checks that the task is not over at `moment`, and that nothing it hangs from is.
    pub(super) fn at<'m>(&self, moment: &'m Moment) -> Result<OpenTask<'m>, Reason> {
        // 1. What its terms mean today.
        let snapshot = &moment.snapshot;
        let terms = Terms::read(&self.terms, &snapshot.types, snapshot.max_chain).ok_or(Reason::SubjectTokenInvalid)?;
        let facts = self.facts(moment.now).ok_or(Reason::SubjectTokenInvalid)?;
        let issuer = snapshot.issuers.get(&terms.subject.iss);
        let trusted = terms.subject.iss == snapshot.issuer || issuer.is_some_and(|issuer| issuer.name == terms.subject.issuer_name);
        if !trusted {
            return Err(Reason::SubjectTokenInvalid);
        }

        // 2. Who opened it is still there, and still for this redeemer.
        let creator = snapshot.clients.get(&self.creator).ok_or(Reason::SubjectTokenRevoked)?;
        if creator.ends.is_some_and(|end| end <= moment.now) {
            return Err(Reason::SubjectTokenRevoked);
        }
        if self.actor != self.creator && !creator.delegates.contains(&self.actor) {
            return Err(Reason::SubjectTokenNotForClient);
        }

        // 3. Its own end, then the end of what it came from, and the standing of all in it.
        if let Some(over) = self.over(moment.now) {
            return Err(over.reason());
        }
        let redeemer = Actor {
            iss: snapshot.issuer.clone(),
            sub: self.actor.to_string(),
        };
        let task = OpenTask {
            act: ActorChain::extend(terms.act.as_ref(), redeemer),
            payload_sha256: terms.payload_sha256.clone(),
            evidence: self.evidence(terms),
            facts,
            attempt: None,
            moment: PhantomData,
        };
        task.alive(&moment.revocations)?;
        Ok(task)
    }

    /// The task as what a token is made from.
    fn evidence(&self, terms: Terms) -> SubjectEvidence {
        SubjectEvidence {
            is_txn_token: false,
            origin: Origin::Own,
            subject: terms.subject,
            issued_sub: terms.issued_sub,
            audiences: Vec::new(),
            exp: self.expires_at,
            iat: self.created_at,
            jti: None,
            chain: terms.chain,
            authority: terms.authority,
            onward: terms.onward,
            resources: Some(terms.audiences.iter().map(ToString::to_string).collect()),
            // What it holds was said when it was opened, also where policy alone bounded that.
            ceiling: Ceiling::Scope,
            unmapped_scopes: Vec::new(),
            act: terms.act,
            txn: Some(terms.txn),
            task: Some(self.id.clone()),
            auth_time: terms.auth_time,
            acr: terms.acr,
            amr: terms.amr,
            may_act: None,
            facts: None,
            client_id: Some(self.creator.clone()),
            single_use: false,
        }
    }
}

impl OpenTask<'_> {
    /// All that a revocation could name: the task, what it came from, who opened it and who redeems it.
    pub fn line(&self) -> Line<'_> {
        Line {
            act: Some(&self.act),
            ..self.evidence.line()
        }
    }

    /// Refuses it where it was revoked by its name, what it came from has ended, or somebody in it is disabled.
    pub fn alive(&self, view: &View) -> Result<(), Reason> {
        let line = self.line();
        if view.kills(&line) == Some(MarkKind::Task) {
            return Err(Reason::TaskCancelled);
        }
        refuse_ended(&line, view).map_err(|ended| match ended {
            TokenError::SubjectDisabled => Reason::SubjectDisabled,
            _ => Reason::SubjectTokenRevoked,
        })
    }

    /// The transaction that it belongs to.
    pub fn txn(&self) -> Option<&str> {
        self.evidence.txn.as_deref()
    }
}
