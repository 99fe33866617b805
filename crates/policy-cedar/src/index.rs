//! The index: each policy in one bucket, and for a request only the buckets that can matter.
//!
//! Exact, or a dropped `forbid` is a hole: decision, reasons and errors are those of the full set.

use std::collections::{BTreeSet, HashMap};

use cedar_policy::{AuthorizationError, Authorizer, Decision, Entities, Policy, PolicyId, PolicySet, Request};

use crate::scope::{Key, Position};

/// Policies by bucket.
#[derive(Debug, Default)]
pub(crate) struct Index {
    buckets: HashMap<(Position, String), PolicySet>,
    /// Policies whose scope and first condition name nothing: asked always.
    rest: PolicySet,
}

/// What a set of policies says about one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) allowed: bool,
    pub(crate) reasons: BTreeSet<PolicyId>,
    pub(crate) errors: BTreeSet<PolicyId>,
}

impl Index {
    /// Puts each policy into the bucket that its key gives it.
    pub(crate) fn new(policies: impl IntoIterator<Item = (Policy, Key)>) -> Result<Self, Box<cedar_policy::PolicySetError>> {
        let mut index = Self::default();
        for (policy, key) in policies {
            let bucket = match key {
                Some(key) => index.buckets.entry(key).or_default(),
                None => &mut index.rest,
            };
            bucket.add(policy).map_err(Box::new)?;
        }
        Ok(index)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.rest.is_empty()
    }

    /// Decides `request` by the buckets named by `keys` and the policies that name nothing.
    ///
    /// `keys` must hold every name that a policy's scope could match: the entities themselves, their ancestors
    /// (`in` is reflexive, so both), their types, the action and its groups.
    pub(crate) fn decide<'k>(
        &self,
        keys: impl Iterator<Item = &'k (Position, String)>,
        authorizer: &Authorizer,
        request: &Request,
        entities: &Entities,
    ) -> Response {
        let mut permits = BTreeSet::new();
        let mut forbids = BTreeSet::new();
        let mut errors = BTreeSet::new();
        let named = keys.filter_map(|key| self.buckets.get(key));
        for bucket in named.chain((!self.rest.is_empty()).then_some(&self.rest)) {
            let response = authorizer.is_authorized(request, bucket, entities);
            let reasons = response.diagnostics().reason().cloned();
            match response.decision() {
                Decision::Allow => permits.extend(reasons),
                Decision::Deny => forbids.extend(reasons),
            }
            errors.extend(response.diagnostics().errors().map(|error| match error {
                AuthorizationError::PolicyEvaluationError(error) => error.policy_id().clone(),
            }));
        }
        // Any satisfied forbid denies, in whichever bucket it lies; with none, any satisfied permit allows.
        let allowed = forbids.is_empty() && !permits.is_empty();
        Response {
            allowed,
            reasons: if forbids.is_empty() { permits } else { forbids },
            errors,
        }
    }
}
