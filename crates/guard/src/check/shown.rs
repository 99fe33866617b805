//! A request that needs a token, with the one that it shows.

use std::sync::Arc;

use delegation::oauth::Reason;
use delegation::token::{AccessToken, Authentic, KeySet};
use http::HeaderMap;

use super::known::Known;
use super::presented::Presented;
use super::refusal::Refusal;
use super::refuse_hidden_form;
use crate::call::Call;
use crate::guard::Rules;
use crate::route::{Matched, Rule};

/// A request that needs a token, and shows one. Nothing of the token is believed yet.
pub(crate) struct Shown<'g> {
    pub(super) rules: &'g Rules,
    pub(super) call: &'g Call,
    pub(super) matched: Matched<'g>,
    pub(super) presented: Arc<Presented>,
}

impl<'g> Shown<'g> {
    /// 1. One credential at most, in the one place for it, and one route to every reader; `None` where the route needs no token.
    pub(crate) fn of(rules: &'g Rules, call: &'g Call, headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let presented = Presented::of(headers, call)?;
        let matched = rules.table().only(call)?;
        if matches!(matched.route().rule(), Rule::Public) {
            refuse_hidden_form(call)?;
            matched.intent(call, &Default::default())?;
            return Ok(None);
        }
        Ok(Some(Self {
            rules,
            call,
            matched,
            presented: Arc::new(presented.ok_or(Reason::NoToken)?),
        }))
    }

    /// 2. to 4. `typ`, issuer and signature, by `keys` if there are any of the guard's issuer; and what the token says.
    pub(crate) fn known(&self, keys: Option<&KeySet>) -> Result<Known, Refusal> {
        let keys = keys.filter(|keys| keys.issuer() == self.rules.issuer);
        let keys = keys.ok_or_else(|| Refusal::from(Reason::IssuerUnavailable).asking_for_keys())?;
        self.read(&self.presented.authenticate(keys)?)
    }

    /// What `token`, which is the one that is shown, says.
    pub(crate) fn read(&self, token: &Authentic<AccessToken>) -> Result<Known, Refusal> {
        Known::read(token, self.rules.types(), self.rules.max_chain)
    }

    /// Whose token it has to be.
    pub(crate) fn issuer(&self) -> &str {
        &self.rules.issuer
    }

    /// The token, for the broker alone.
    pub(crate) fn token(&self) -> &str {
        self.presented.token()
    }
}
