//! The first half of a decision: what can be said of a request before its body has come.

use std::net::IpAddr;

use delegation::oauth::Reason;
use delegation::token::sha256;
use http::HeaderMap;

use super::deciding::Seen;
use super::{Denied, Live};
use crate::broker::Broker;
use crate::call::Call;
use crate::check::{Refusal, Shown};

/// Whose body is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// Anybody's: the route needs no token.
    Anybody,
    /// That of whoever shows a token that holds here and now: a digest of its subject, by which one is told from another.
    Holder([u8; 32]),
}

impl Guest {
    /// Whoever shows a token of the subject `sub` of `iss` that holds.
    pub fn holder(iss: &str, sub: &str) -> Self {
        Self::Holder(sha256(format!("{iss}\0{sub}").as_bytes()))
    }
}

impl<B: Broker> Live<B> {
    /// Whose body this is, of a request whose body [is looked into](Self::reads), or a refusal that it would not change: of no token or two,
    /// and of one that the broker did not make, that is for somebody else, has ended or was revoked.
    ///
    /// Nothing of the request is allowed by it: [`decide`](Self::decide) looks at everything, with the body, when that has come. A refusal
    /// is on its way to the record, like each of those.
    pub async fn greet(&self, call: &Call, headers: &HeaderMap, from: IpAddr) -> Result<Guest, Box<Denied>> {
        let seen = Seen::enforced(Some(call), from);
        self.greeted(call, headers, &seen).await.map_err(|refusal| self.denied(&seen, refusal.into()))
    }

    /// Puts on record how a request that goes on as it came would have been refused, since its body, which [is looked into](Self::reads),
    /// could not be read for `reason`: for that, or for what [`greet`](Self::greet) would have said before.
    pub async fn observe_unfit(&self, call: &Call, headers: &HeaderMap, from: IpAddr, reason: Reason) {
        let seen = Seen::observed(Some(call), from);
        let greeted = self.greeted(call, headers, &seen).await;
        let refusal = greeted.err().unwrap_or_else(|| reason.into());
        self.denied(&seen, refusal.into());
    }

    async fn greeted(&self, call: &Call, headers: &HeaderMap, seen: &Seen<'_>) -> Result<Guest, Refusal> {
        let in_force = self.in_force.load_full();
        let found = in_force.rules.table().find(call);
        if found.is_some_and(|matched| !matched.route().needs_token()) {
            return Ok(Guest::Anybody);
        }
        let Some(shown) = Shown::of(&in_force.rules, call, headers)? else {
            return Ok(Guest::Anybody);
        };
        let known = self.known(&in_force, &shown, seen).await?;
        let at = self.at(&in_force);
        let subject = &shown.holds(&known, &at)?.subject;
        Ok(Guest::holder(&subject.iss, &subject.sub))
    }
}
