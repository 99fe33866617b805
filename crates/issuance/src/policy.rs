//! Asking policy about exactly this request.

mod inquiry;

pub use inquiry::{ClientFacts, Inquiry, Question, SubjectFacts, TaskFacts};

use delegation::oauth::Reason;

use crate::audit::{Entry, Record, Use, UseKind};

/// A policy engine.
///
/// Contract: pure and total. The same inquiry under the same [`version`](Self::version) always gets the same
/// verdict; an error while evaluating is a refusal, never an allow; calls may overlap.
pub trait Policy: Send + Sync {
    /// Answers every question of `inquiry`; [`Answer::Allow`] means that each one was allowed.
    fn ask(&self, inquiry: &Inquiry) -> Verdict;

    /// The version of the policies in force, as records name it.
    fn version(&self) -> &str;
}

/// What policy said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The answer to the whole inquiry.
    pub answer: Answer,
    /// The `@id`s of the rules that decided, in order, none twice.
    pub rules: Vec<String>,
}

/// The answer to a whole inquiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Every question was allowed.
    Allow,
    /// The question at `question` was not.
    Deny {
        /// Its index among the questions.
        question: usize,
        /// Why.
        because: Because,
    },
}

/// Why a question was not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// No permit allowed it.
    NoPermit,
    /// A forbid refused it.
    Forbid,
    /// A rule could not be evaluated.
    Error,
    /// The rules allow it, and a hold (`@requires("approval")`) asks for a person.
    Hold,
}

/// Proof that policy was asked about exactly this `T` and allowed it.
///
/// Made only by [`decide`]:
///
/// ```
/// use issuance::exchange::Exchange;
/// use issuance::policy::Permit;
/// fn rules(permit: &Permit<Exchange>) -> usize {
///     permit.rules().len()
/// }
/// ```
///
/// ```compile_fail
/// use issuance::exchange::Exchange;
/// use issuance::policy::Permit;
/// fn wave_through(exchange: Exchange) -> Permit<Exchange> {
///     Permit { permitted: exchange, rules: Vec::new() }
/// }
/// ```
#[derive(Debug)]
pub struct Permit<T> {
    pub(crate) permitted: T,
    rules: Vec<String>,
}

impl<T: Proposal> Permit<T> {
    /// Whether a token that is good for one use alone is used up by it.
    pub fn spends_a_token(&self) -> bool {
        self.permitted.uses().iter().any(|each| each.kind == UseKind::Token)
    }
}

impl<T> Permit<T> {
    /// The `@id`s of the rules that allowed it.
    pub fn rules(&self) -> &[String] {
        &self.rules
    }
}

/// Something that policy decides about and the journal keeps: what it asks, and what its record does.
pub trait Proposal {
    /// Everything that policy is asked; never empty, and all of it must be allowed.
    fn inquiries(&self) -> &[Inquiry];

    /// What is used up with it.
    fn uses(&self) -> &[Use];

    /// `record` with what it says of this, and all that happens with it.
    fn entry(&self, record: Record) -> Entry;
}

/// Asks `policy` about `proposed`. What it answered goes into `record`.
pub fn decide<P: Policy, T: Proposal>(policy: &P, proposed: T, record: &mut Record) -> Result<Permit<T>, Reason> {
    let mut rules = Vec::new();
    let mut allowed = !proposed.inquiries().is_empty();
    for inquiry in proposed.inquiries() {
        let verdict = policy.ask(inquiry);
        let news: Vec<_> = verdict.rules.into_iter().filter(|rule| !rules.contains(rule)).collect();
        rules.extend(news);
        // A hold waits for a person; until approvals are served nobody can be asked.
        allowed = verdict.answer == Answer::Allow;
        if !allowed {
            break;
        }
    }
    record.rules.clone_from(&rules);
    if allowed {
        Ok(Permit {
            permitted: proposed,
            rules,
        })
    } else {
        Err(Reason::PolicyDenied)
    }
}
