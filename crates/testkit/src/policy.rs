//! A policy that always says the same, and remembers what it was asked.

use std::sync::Mutex;

use issuance::policy::{Answer, Because, Inquiry, Policy, Verdict};

/// A [`Policy`] with one answer.
#[derive(Debug)]
pub struct FixedPolicy {
    answer: Answer,
    rule: &'static str,
    asked: Mutex<Vec<Inquiry>>,
}

impl FixedPolicy {
    /// Allows everything.
    pub fn allow() -> Self {
        Self::allow_by("fixed")
    }

    /// Allows everything, by the rule of this name.
    pub fn allow_by(rule: &'static str) -> Self {
        Self {
            answer: Answer::Allow,
            rule,
            asked: Mutex::default(),
        }
    }

    /// Refuses everything, because of `because`.
    pub fn deny(because: Because) -> Self {
        Self {
            answer: Answer::Deny { question: 0, because },
            rule: "fixed",
            asked: Mutex::default(),
        }
    }

    /// What it was asked.
    pub fn asked(&self) -> Vec<Inquiry> {
        self.asked.lock().unwrap().clone()
    }
}

impl Policy for FixedPolicy {
    fn ask(&self, inquiry: &Inquiry) -> Verdict {
        self.asked.lock().unwrap().push(inquiry.clone());
        Verdict {
            answer: self.answer,
            rules: vec![self.rule.to_owned()],
        }
    }

    fn version(&self) -> &str {
        "p-test"
    }
}
