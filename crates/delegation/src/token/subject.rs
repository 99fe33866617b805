//! What a subject token is evidence of, once it holds.

use std::time::Duration;

use super::authentic::Authentic;
use super::claims::TokenError;
use super::ended::refuse_ended;
use super::kind::{ActorToken, SubjectToken, TokenKind, TxnToken};
use super::lineage::Lineage;
use super::verified::{Holds, Verified};
use super::{outside, own};
use crate::authority::Authority;
use crate::chain::ActorChain;
use crate::details::Detail;
use crate::identity::{Attributes, Subject, SubjectKind};
use crate::oauth::{ClientId, TokenType};
use crate::registry::{Ceiling, Moment};
use crate::revocation::Line;
use crate::time::Timestamp;

/// Where a subject token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This broker issued it.
    Own,
    /// The trusted issuer of this name did.
    Outside {
        /// The issuer's name in the configuration.
        issuer_name: String,
    },
}

/// A subject token's word, checked.
#[derive(Clone, Debug)]
pub struct SubjectEvidence {
    /// Where the token comes from.
    pub origin: Origin,
    /// Whether it is one of our own transaction tokens: another one made from it takes its place.
    pub is_txn_token: bool,
    /// Whom it is about.
    pub subject: Subject,
    /// `sub` of what is issued for this subject.
    pub issued_sub: String,
    /// The `aud` values.
    pub audiences: Vec<String>,
    /// Its expiry: no token made from it lives longer.
    pub exp: Timestamp,
    /// When it was issued.
    pub iat: Timestamp,
    /// Its `jti`, for the record.
    pub jti: Option<String>,
    /// The `chain` of a token made from it: its ancestors and itself, root first.
    pub chain: Vec<String>,
    /// The ceiling of what may be asked from it; meaningless under [`Ceiling::Policy`].
    pub authority: Authority,
    /// What may be asked for at a later hop.
    pub onward: Vec<Detail>,
    /// The only resources that something may be asked for at, where it says so.
    pub resources: Option<Vec<String>>,
    /// What bounds it.
    pub ceiling: Ceiling,
    /// Scopes that it carries, where none of them is mapped; empty otherwise.
    pub unmapped_scopes: Vec<String>,
    /// Who acts already.
    pub act: Option<ActorChain>,
    /// The transaction that it belongs to; an outside token begins one.
    pub txn: Option<String>,
    /// The task that it hangs from.
    pub task: Option<String>,
    /// When the subject authenticated.
    pub auth_time: Option<Timestamp>,
    /// How the subject authenticated.
    pub acr: Option<String>,
    /// By which means.
    pub amr: Option<Vec<String>>,
    /// The only party that may act on it.
    pub may_act: Option<MayAct>,
    /// The facts that an outside token brings; those of our own tokens are kept with their transaction.
    pub facts: Option<OutsideFacts>,
    /// For one of our own tokens: the client that it was issued to.
    pub client_id: Option<ClientId>,
    /// For one of our own tokens: whether it is good for one request alone. What an outside token says of that binds nobody.
    pub single_use: bool,
}

/// Facts about the subject that only an outside token brings.
#[derive(Clone, Debug)]
pub struct OutsideFacts {
    /// A person or a program.
    pub kind: SubjectKind,
    /// Attributes and groups.
    pub attributes: Attributes,
    /// The outside client that the token was issued to.
    pub requested_by: Option<String>,
}

/// A `may_act` claim (RFC 8693 §4.4): `None` in a member means that it does not bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MayAct {
    /// `sub`.
    pub sub: Option<String>,
    /// `client_id`.
    pub client_id: Option<String>,
    /// `iss`.
    pub iss: Option<String>,
}

impl Holds for SubjectToken {
    type Evidence = SubjectEvidence;
}

impl Authentic<SubjectToken> {
    /// Checks that this token holds at `moment` as a token of the `declared` type.
    ///
    /// Whether a client may exchange it is [`propose`](../../issuance/exchange/index.html)'s question, not this one's.
    pub fn at<'m>(&self, moment: &'m Moment, declared: TokenType) -> Result<Verified<'m, SubjectToken>, TokenError> {
        if self.issuer() == moment.snapshot.issuer {
            return held(self, moment, declared);
        }
        self.refuse_deep(moment)?;
        let evidence = outside::evidence(self, moment, declared)?;
        refuse_ended(&evidence.line(), &moment.revocations)?;
        Ok(Verified::new(moment, evidence))
    }
}

impl Authentic<TxnToken> {
    /// Checks that this token holds at `moment`. There are none but our own.
    pub fn at<'m>(&self, moment: &'m Moment) -> Result<Verified<'m, SubjectToken>, TokenError> {
        if self.issuer() != moment.snapshot.issuer {
            return Err(TokenError::Invalid("a transaction token of another issuer"));
        }
        held(self, moment, TokenType::TxnToken)
    }
}

/// One of our own tokens, of whichever kind, if it is what it is `declared` as and holds at `moment`.
pub(super) fn held<'m, K: TokenKind>(
    token: &Authentic<K>,
    moment: &'m Moment,
    declared: TokenType,
) -> Result<Verified<'m, SubjectToken>, TokenError> {
    token.refuse_deep(moment)?;
    let evidence = own::evidence(token, moment, declared)?;
    refuse_ended(&evidence.line(), &moment.revocations)?;
    Ok(Verified::new(moment, evidence))
}

impl SubjectEvidence {
    /// All that a revocation could name.
    pub fn line(&self) -> Line<'_> {
        Line {
            chain: &self.chain,
            txn: self.txn.as_deref(),
            task: self.task.as_deref(),
            subject: &self.subject,
            client: self.client_id.as_ref().map(ClientId::as_str),
            act: self.act.as_ref(),
            iat: self.iat,
        }
    }
}

/// What an actor token is evidence of.
#[derive(Clone, Debug)]
pub struct ActorEvidence {
    /// Its expiry bounds the exchange too.
    pub exp: Timestamp,
    /// The client that it denotes: one of our own tokens does so by itself, an outside one through `workload_jwt`.
    pub client: Option<ClientId>,
    /// What a revocation could name of it.
    pub lineage: Lineage,
}

impl Holds for ActorToken {
    type Evidence = ActorEvidence;
}

impl Authentic<ActorToken> {
    /// Checks that this token holds at `moment` as a token of the `declared` type, and which client it denotes.
    pub fn at<'m>(&self, moment: &'m Moment, declared: TokenType) -> Result<Verified<'m, ActorToken>, TokenError> {
        self.refuse_deep(moment)?;
        let claims = super::claims::Claims(self.claims());
        let client = if self.issuer() == moment.snapshot.issuer {
            own::declared_as(self, declared)?;
            let (sub, client) = (claims.required_text("sub")?, claims.required_text("client_id")?);
            let alone = sub == client && !self.claims().contains_key("act");
            ClientId::parse(client).ok().filter(|_| alone)
        } else {
            let issuer = moment.snapshot.issuers.get(self.issuer()).ok_or(TokenError::Invalid("its issuer is not trusted"))?;
            outside::fits(self, issuer, declared)?;
            super::vendor::check_workload(claims, issuer.profile)?;
            super::assertion::workload_client(moment, &issuer.name, self.claims())?
        };
        let leeway = moment.snapshot.issuers.get(self.issuer()).map_or(Duration::ZERO, |issuer| issuer.leeway);
        let (exp, iat) = claims.times(moment.now, leeway)?;
        claims.audiences()?;
        let lineage = Lineage::of(self, moment, iat)?;
        refuse_ended(&lineage.line(), &moment.revocations)?;
        if self.claims().contains_key("cnf") {
            return Err(TokenError::Invalid("bound to a key that was not proved"));
        }
        Ok(Verified::new(moment, ActorEvidence { exp, client, lineage }))
    }
}
