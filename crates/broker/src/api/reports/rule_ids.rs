//! Names for the rules that a report proposes: none is that of another rule.

use std::cell::RefCell;
use std::collections::BTreeSet;

use delegation::token::sha256;
use policy_cedar::CedarPolicy;

/// Names that are given away in one report, beside those of the policies in force.
#[derive(Debug)]
pub(super) struct RuleIds<'p> {
    policy: &'p CedarPolicy,
    given: RefCell<BTreeSet<String>>,
}

/// The name of a rule that is proposed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RuleId {
    pub(super) id: String,
    /// The name that it would have if no rule in force had that: perhaps the same rule, pasted before.
    pub(super) before: Option<String>,
}

impl<'p> RuleIds<'p> {
    /// None is given away yet.
    pub(super) fn beside(policy: &'p CedarPolicy) -> Self {
        Self {
            policy,
            given: RefCell::default(),
        }
    }

    /// The policies in force.
    pub(super) fn policy(&self) -> &'p CedarPolicy {
        self.policy
    }

    /// A name made of `words`, for a rule that says `rule`: the same for the same ones in the same order.
    ///
    /// Much reads alike in it, as `a.internal` and `a-internal` do. Where two would be the same, six digits of the rule's digest tell them
    /// apart, and where these do not, a number.
    pub(super) fn give(&self, words: &str, rule: &str) -> RuleId {
        let plain = words.replace(|each: char| !each.is_ascii_alphanumeric(), "-");
        let before = self.policy.has(&plain).then(|| plain.clone());
        let digits: String = sha256(rule.as_bytes()).iter().take(3).map(|byte| format!("{byte:02x}")).collect();
        let told_apart = format!("{plain}-{digits}");
        let mut given = self.given.borrow_mut();
        let (mut id, mut number) = (plain, 1);
        while self.policy.has(&id) || given.contains(&id) {
            id = if number == 1 {
                told_apart.clone()
            } else {
                format!("{told_apart}-{number}")
            };
            number += 1;
        }
        given.insert(id.clone());
        RuleId { id, before }
    }
}
