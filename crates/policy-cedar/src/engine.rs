//! The port `Policy`, answered by Cedar.

use std::collections::BTreeSet;

use cedar_policy::Authorizer;
use delegation::registry::Snapshot;
use issuance::policy::{Answer, Because, Inquiry, Policy, Question, Verdict};
use jiff::tz::TimeZone;

use crate::index::{Index, Response};
use crate::load::{self, LoadError, Loaded, Oddities, PolicyFile, rule_id};
use crate::reads::Reads;
use crate::scope;
use crate::terms::{Asked, Circumstances, Terms, Unaskable};

/// Policies in force: loaded, validated and indexed. Immutable; a change makes a new one.
pub struct CedarPolicy {
    pub(crate) rules: Index,
    pub(crate) holds: Index,
    pub(crate) loaded: Vec<Loaded>,
    pub(crate) oddities: Oddities,
    pub(crate) audiences: BTreeSet<String>,
    version: String,
    terms: Terms,
    authorizer: Authorizer,
}

impl std::fmt::Debug for CedarPolicy {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("CedarPolicy")
            .field("version", &self.version)
            .field("policies", &self.loaded.len())
            .finish_non_exhaustive()
    }
}

impl CedarPolicy {
    /// Loads `files`, which must all be right, as the version `version`. `timezone` is an IANA name.
    pub fn load(snapshot: &Snapshot, files: &[PolicyFile], timezone: &str, version: String) -> Result<Self, LoadError> {
        let (loaded, oddities) = load::load(snapshot, files)?;
        let timezone = TimeZone::get(timezone).map_err(|_| {
            LoadError::Policies(vec![format!(
                "policy.timezone: expected a name such as `Europe/Berlin`, found `{timezone}`"
            )])
        })?;
        let indexed = |holds: bool| {
            let policies = loaded.iter().filter(|each| each.holds == holds);
            Index::new(policies.map(|each| (each.policy.clone(), scope::key(&each.json))))
                .map_err(|error| LoadError::Policies(vec![error.to_string()]))
        };
        let nameless = || LoadError::Policies(vec!["detail_types: an `entity` is no name in Cedar".to_owned()]);
        Ok(Self {
            rules: indexed(false)?,
            holds: indexed(true)?,
            version,
            terms: Terms::new(snapshot, timezone, Reads::of(loaded.iter().map(|each| &each.json))).ok_or_else(nameless)?,
            authorizer: Authorizer::new(),
            audiences: snapshot.audiences.keys().map(ToString::to_string).collect(),
            loaded,
            oddities,
        })
    }

    /// How many policies are in force.
    pub fn len(&self) -> usize {
        self.loaded.iter().filter(|each| !each.twin).count()
    }

    /// Whether there is no policy, so that nothing is allowed.
    pub fn is_empty(&self) -> bool {
        self.loaded.is_empty()
    }

    /// Whether a policy in force is called `id`.
    pub fn has(&self, id: &str) -> bool {
        self.loaded.iter().any(|each| each.id == id)
    }

    /// What the questions of `inquiry` share, in Cedar's terms.
    pub(crate) fn circumstances(&self, inquiry: &Inquiry) -> Result<Circumstances, Unaskable> {
        self.terms.circumstances(inquiry)
    }

    /// One question in Cedar's terms.
    pub(crate) fn put(&self, circumstances: &Circumstances, question: &Question) -> Result<Asked, Unaskable> {
        self.terms.ask(circumstances, question)
    }

    /// What one of the two indexes says to a question.
    pub(crate) fn consult(&self, index: &Index, asked: &Asked) -> Response {
        index.decide(asked.keys(), &self.authorizer, &asked.request, &asked.entities)
    }
}

impl Policy for CedarPolicy {
    fn ask(&self, inquiry: &Inquiry) -> Verdict {
        let mut rules = Vec::new();
        let answer = match self.answer(inquiry, &mut rules) {
            Ok(()) => Answer::Allow,
            Err((question, because)) => Answer::Deny { question, because },
        };
        Verdict { answer, rules }
    }

    fn version(&self) -> &str {
        &self.version
    }
}

impl CedarPolicy {
    /// Asks rules first, for every question, and holds only then: nobody is asked to approve what no permit allows.
    fn answer(&self, inquiry: &Inquiry, rules: &mut Vec<String>) -> Result<(), (usize, Because)> {
        let circumstances = self.circumstances(inquiry).map_err(|_| (0, Because::Error))?;
        let mut put = Vec::with_capacity(inquiry.questions.len());
        for (at, question) in inquiry.questions.iter().enumerate() {
            let asked = self.put(&circumstances, question).map_err(|_| (at, Because::Error))?;
            let response = self.consult(&self.rules, &asked);
            note(&response, rules);
            match against(&response) {
                Some(because) => return Err((at, because)),
                None => put.push(asked),
            }
        }
        if self.holds.is_empty() {
            return Ok(());
        }
        for (at, asked) in put.iter().enumerate() {
            let response = self.consult(&self.holds, asked);
            note(&response, rules);
            match (response.errors.is_empty(), response.reasons.is_empty()) {
                (true, true) => {}
                (true, false) => return Err((at, Because::Hold)),
                (false, _) => return Err((at, Because::Error)),
            }
        }
        Ok(())
    }
}

/// What in the rules' response stands against the question; an error is never an allow.
fn against(response: &Response) -> Option<Because> {
    match (response.errors.is_empty(), response.allowed, response.reasons.is_empty()) {
        (false, _, _) => Some(Because::Error),
        (true, true, _) => None,
        (true, false, true) => Some(Because::NoPermit),
        (true, false, false) => Some(Because::Forbid),
    }
}

/// Notes the rules that decided or could not be evaluated, none twice.
fn note(response: &Response, rules: &mut Vec<String>) {
    for id in response.reasons.iter().chain(&response.errors).map(rule_id) {
        if !rules.contains(&id) {
            rules.push(id);
        }
    }
}
