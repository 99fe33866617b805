//! Our own access tokens, as the resource server that they are for reads them.

use std::time::Duration;

use serde_json::Value;

use super::authentic::Authentic;
use super::claims::{Claims, Times, TokenError};
use super::kind::AccessToken;
use super::outside::refuse_bound;
use crate::authority::Authority;
use crate::chain::ActorChain;
use crate::details::{Detail, DetailTypes, Standing};
use crate::identity::{Subject, is_sub};
use crate::oauth::{ClientId, parse_scope};
use crate::revocation::{Key, Line, MarkKind, View};
use crate::time::Timestamp;

/// What an access token says of itself (RFC 9068 §2.2), every claim of its own type.
///
/// It is said, and not yet true of any moment: nothing here has been compared with anything.
#[derive(Clone, Debug)]
pub struct AccessClaims {
    /// `sub`: the subject as this broker names it.
    pub sub: String,
    /// `sub_id`: the outside pair. What the configuration of the broker calls its issuer is not known here.
    pub subject: Subject,
    /// `aud`, which ought to be one.
    pub audiences: Vec<String>,
    /// Its own `jti`.
    pub jti: String,
    /// Its ancestors' entries and its own, root first.
    pub chain: Vec<String>,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// The client that it was issued to.
    pub client: ClientId,
    /// Who acts.
    pub act: Option<ActorChain>,
    /// What it allows here. `onward` is not among it: that is usable at no resource.
    pub authority: Authority,
    /// The transaction.
    pub txn: String,
    /// The task that it hangs from.
    pub task: Option<String>,
    /// The exception that it lives by.
    pub exception: Option<Excepted>,
    /// The approval that it came of.
    pub approval: Option<String>,
    /// Whether it is good for one request alone.
    pub single_use: bool,
    /// When the subject authenticated.
    pub auth_time: Option<Timestamp>,
    /// How the subject authenticated.
    pub acr: Option<String>,
    /// From when on it holds, where it says so beside when it was issued.
    nbf: Option<Timestamp>,
    /// To what it is bound that nobody can prove here.
    bound: Option<TokenError>,
    /// The key of its `jti`.
    key: Key,
    /// The keys of all that [`line`](Self::line) named when it was read, for it is asked about again and again.
    named: Box<[(MarkKind, Key)]>,
}

/// What an exception lifts for one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excepted {
    /// The exception.
    pub id: String,
    /// Details that the token has by it; one without identifier names every resource.
    pub details: Vec<Detail>,
    /// How long the token may live by it.
    pub max_lifetime: Option<Duration>,
}

impl Authentic<AccessToken> {
    /// Reads all that a resource server with these `types`, and a broker whose chains have at most `max_chain` levels, may rely on
    /// once it has compared it.
    ///
    /// `onward` is for later hops, of types that need not be known here; that it is a list is all that is asked of it.
    pub fn says(&self, types: &DetailTypes, max_chain: usize) -> Result<AccessClaims, TokenError> {
        self.refuse_deeper(max_chain)?;
        let members = self.claims();
        let claims = Claims(members);
        if members.get("onward").is_some_and(|onward| !onward.is_array()) {
            return Err(TokenError::Invalid("`onward` is not an array"));
        }
        let details = members.get("authorization_details").map(|array| Detail::from_array(array, types)).transpose();
        let scopes = claims.text("scope")?.map(parse_scope).transpose();
        let act = members.get("act").map(|act| ActorChain::from_claim(act, max_chain)).transpose();
        let jti = claims.required_text("jti")?.to_owned();
        let ancestors = claims.texts("chain")?.unwrap_or_default();
        let chain = ancestors.into_iter().chain([jti.clone()]).collect();
        let mut said = AccessClaims {
            key: Key::of(&jti),
            named: Box::default(),
            sub: claims.required_text("sub")?.to_owned(),
            subject: self.sub_id()?,
            audiences: claims.audiences()?,
            jti,
            chain,
            iat: claims.required_date("iat")?,
            exp: claims.required_date("exp")?,
            client: ClientId::parse(claims.required_text("client_id")?).map_err(|_| TokenError::Invalid("`client_id` is malformed"))?,
            act: act.map_err(|_| TokenError::Invalid("`act` is malformed or too long"))?,
            authority: Authority {
                details: details.map_err(|_| TokenError::Invalid("details that are not declared here"))?.unwrap_or_default(),
                scopes: scopes.map_err(|_| TokenError::Invalid("`scope` is malformed"))?.unwrap_or_default(),
            },
            txn: claims.required_text("txn")?.to_owned(),
            task: claims.text("task")?.map(str::to_owned),
            exception: members.get("exception").map(|exception| excepted(exception, types)).transpose()?,
            approval: claims.text("approval")?.map(str::to_owned),
            single_use: claims.flag("single_use")?,
            auth_time: claims.date("auth_time")?,
            acr: claims.text("acr")?.map(str::to_owned),
            nbf: claims.date("nbf")?,
            bound: refuse_bound(members).err(),
        };
        said.named = said.line().named().collect();
        Ok(said)
    }

    /// The outside pair (RFC 9493 §3.2.3).
    fn sub_id(&self) -> Result<Subject, TokenError> {
        let pair = self.claims().get("sub_id").and_then(Value::as_object);
        let text = |name: &str| pair?.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        match (text("iss"), text("sub").filter(|sub| is_sub(sub))) {
            (Some(iss), Some(sub)) => Ok(Subject {
                issuer_name: String::new(),
                iss,
                sub,
            }),
            _ => Err(TokenError::Invalid("`sub_id` is missing or malformed")),
        }
    }
}

impl AccessClaims {
    /// Checks that it has begun and not ended at `now`, without leeway: the clock of the broker is the only one that counts.
    pub fn in_time(&self, now: Timestamp) -> Result<(), TokenError> {
        let Self { exp, iat, nbf, .. } = *self;
        Times { exp, iat, nbf }.hold(now, Duration::ZERO)
    }

    /// Refuses one that is bound to a key (RFC 7800): nobody takes proofs of keys yet.
    pub fn unbound(&self) -> Result<(), TokenError> {
        self.bound.map_or(Ok(()), Err)
    }

    /// The key of its `jti`, which tells it from every other token of its issuer.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What it came from, root first: its chain without itself.
    pub fn ancestors(&self) -> &[String] {
        self.chain.split_last().map_or(&[], |(_, ancestors)| ancestors)
    }

    /// What of its line `view` says to be dead, if anything is.
    pub fn killed_by(&self, view: &View) -> Option<MarkKind> {
        view.kills_named(&self.line(), &self.named)
    }

    /// All that a revocation could name, but for the exception and the approval.
    pub fn line(&self) -> Line<'_> {
        Line {
            chain: &self.chain,
            txn: Some(&self.txn),
            task: self.task.as_deref(),
            subject: &self.subject,
            client: Some(self.client.as_str()),
            act: self.act.as_ref(),
            iat: self.iat,
        }
    }
}

/// An `exception` claim: `{id, authorization_details?, max_lifetime?}`, the last in seconds, and nothing else.
fn excepted(claim: &Value, types: &DetailTypes) -> Result<Excepted, TokenError> {
    let malformed = TokenError::Invalid("`exception` is malformed");
    let members = claim.as_object().ok_or(malformed)?;
    let known = |name: &String| matches!(name.as_str(), "id" | "authorization_details" | "max_lifetime");
    if !members.keys().all(known) {
        return Err(malformed);
    }
    let details = members.get("authorization_details");
    let details = details.map(|array| Detail::from_array_standing(array, types, Standing::Ceiling)).transpose();
    // As a date is: what is larger is another number to other readers.
    let life = |value: &Value| value.as_u64().filter(|life| (1..1 << 53).contains(life)).ok_or(malformed);
    Ok(Excepted {
        id: Claims(members).required_text("id")?.to_owned(),
        details: details.map_err(|_| malformed)?.unwrap_or_default(),
        max_lifetime: members.get("max_lifetime").map(life).transpose()?.map(Duration::from_secs),
    })
}
