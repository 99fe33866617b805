//! The ceiling: what is asked is covered whole by what the subject token holds, or refused whole.

use delegation::authority::{Authority, Uncovered};
use delegation::details::Detail;
use delegation::oauth::Reason;
use delegation::registry::{Ceiling, Moment};
use delegation::token::SubjectEvidence;
use serde_json::{Value, json};

use crate::audit::Record;

/// What bounds a request of `subject`; `None` where policy alone does.
pub(crate) fn of(subject: &SubjectEvidence) -> Option<Authority> {
    (subject.ceiling == Ceiling::Scope).then(|| Authority {
        details: [subject.authority.details.as_slice(), &subject.onward].concat(),
        scopes: subject.authority.scopes.clone(),
    })
}

/// Refuses what is wider than the ceiling of `subject`; why goes into the record.
pub(crate) fn check(
    moment: &Moment,
    subject: &SubjectEvidence,
    authority: &Authority,
    onward: &[Detail],
    record: &mut Record,
) -> Result<(), Reason> {
    let Some(ceiling) = of(subject) else { return Ok(()) };
    let types = &moment.snapshot.types;
    let asked_onward = Authority {
        details: onward.to_vec(),
        ..Authority::default()
    };
    let within = authority.is_within(&ceiling, types).and_then(|()| asked_onward.is_within(&ceiling, types));
    within.map_err(|uncovered| {
        record.inputs = why_uncovered(&uncovered, &ceiling, &subject.unmapped_scopes);
        if subject.unmapped_scopes.is_empty() {
            Reason::WiderThanSubject
        } else {
            Reason::ScopeNotMapped
        }
    })
}

fn why_uncovered(uncovered: &Uncovered, ceiling: &Authority, unmapped: &[String]) -> Value {
    let uncovered = match uncovered {
        Uncovered::Detail(short) => short.clone(),
        Uncovered::Scope(scope) => format!("scope {scope}"),
    };
    json!({ "uncovered": uncovered, "ceiling": in_short(ceiling), "unmapped_scopes": unmapped })
}

/// An authority as records show it.
pub(crate) fn in_short(authority: &Authority) -> Value {
    let details: Vec<_> = authority.details.iter().map(ToString::to_string).collect();
    let scopes: Vec<_> = authority.scopes.iter().map(ToString::to_string).collect();
    json!({ "details": details, "scopes": scopes })
}
