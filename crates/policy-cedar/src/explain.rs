//! Why policy answered as it did: rules that decided, and permits that nearly did.

mod near;

use std::collections::BTreeSet;

use cedar_policy::Effect;
use issuance::policy::{Inquiry, Question};
use serde::Serialize;

use crate::engine::CedarPolicy;
use crate::load::{Loaded, rule_id};
use crate::terms::Asked;

/// A rule and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRef {
    /// Its `@id`.
    pub id: String,
    /// Its file.
    pub file: String,
    /// The line on which it begins.
    pub line: usize,
    /// `permit` or `forbid`.
    pub effect: String,
}

/// A permit whose scope fits and whose condition does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// The permit.
    pub rule: RuleRef,
    /// Its first condition that was false.
    pub condition: String,
    /// What that condition read.
    pub values: Vec<(String, String)>,
}

/// One question and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QuestionExplanation {
    /// What was asked, in the short form.
    pub asked: String,
    /// Whether rules and holds let it pass.
    pub allowed: bool,
    /// The rules that decided, or that could not be evaluated.
    pub decided_by: Vec<RuleRef>,
    /// Permits that nearly allowed it; empty if it was allowed.
    pub near_misses: Vec<NearMiss>,
}

impl QuestionExplanation {
    /// A refusal without a rule, of a question that policy was not asked.
    pub fn refused(question: &Question) -> Self {
        Self {
            asked: name(question),
            allowed: false,
            decided_by: Vec::new(),
            near_misses: Vec::new(),
        }
    }
}

/// Every question of an inquiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// In the order in which they were asked.
    pub questions: Vec<QuestionExplanation>,
}

impl CedarPolicy {
    /// Explains what these policies say to `inquiry`, question by question.
    ///
    /// Each question for itself: a verdict stops at the first that is refused, this goes on.
    pub fn explain(&self, inquiry: &Inquiry) -> Explanation {
        let circumstances = self.circumstances(inquiry);
        let explain = |question: &Question| match circumstances.as_ref().map(|circumstances| self.put(circumstances, question)) {
            Ok(Ok(asked)) => self.explain_one(question, &asked),
            // It could not be put to policy, which is a refusal without a rule.
            _ => QuestionExplanation::refused(question),
        };
        Explanation {
            questions: inquiry.questions.iter().map(explain).collect(),
        }
    }

    fn explain_one(&self, question: &Question, asked: &Asked) -> QuestionExplanation {
        let rules = self.consult(&self.rules, asked);
        let passed = rules.allowed && rules.errors.is_empty();
        let holds = if passed {
            self.consult(&self.holds, asked)
        } else {
            // Not asked: nobody approves what no permit allows.
            crate::index::Response::default()
        };
        let held = !holds.reasons.is_empty() || !holds.errors.is_empty();
        let decisive = if held {
            [&holds.reasons, &holds.errors]
        } else {
            [&rules.reasons, &rules.errors]
        };
        let deciding: BTreeSet<_> = decisive.into_iter().flatten().map(rule_id).collect();
        let named = self.loaded.iter().filter(|each| !each.twin);
        let mut decided_by: Vec<_> = named.clone().filter(|each| deciding.contains(&each.id)).map(reference).collect();
        decided_by.sort_by(|one, other| one.id.cmp(&other.id));
        let allowed = passed && !held;
        // A permit that already held is no near miss of a question that a hold refused.
        let could = |each: &&Loaded| !passed && each.effect == Effect::Permit && !deciding.contains(&each.id);
        QuestionExplanation {
            asked: name(question),
            allowed,
            decided_by,
            near_misses: named.filter(could).filter_map(|each| near::miss(each, asked)).collect(),
        }
    }
}

/// The rule as a reader finds it.
pub(crate) fn reference(each: &Loaded) -> RuleRef {
    let effect = match each.effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    };
    RuleRef {
        id: each.id.clone(),
        file: each.file.clone(),
        line: each.line,
        effect: effect.to_owned(),
    }
}

/// What is asked, in the short form, with the one action.
fn name(question: &Question) -> String {
    match question {
        Question::Detail { detail, action, onward } => {
            let short = detail.to_string();
            // Parts are percent-encoded, so the first of these ends the actions.
            let rest = short.find(['/', '?']).and_then(|at| short.get(at..)).unwrap_or_default();
            format!("{}:{action}{rest}{}", detail.kind(), if *onward { " (onward)" } else { "" })
        }
        Question::Scope(scope) => format!("scope {scope}"),
        Question::Task => "task".to_owned(),
        Question::Defer => "task for later".to_owned(),
    }
}
