//! Several questions in one request (AuthZEN 1.0 §7).

use serde_json::{Map, Value};

use super::super::problem::Problem;
use super::super::question::Decided;

/// No more questions in one request.
const MOST: usize = 64;

/// What a question has, or has from the request around it.
const ENTITIES: [&str; 4] = ["subject", "action", "resource", "context"];

/// Several questions.
pub(super) struct Batch {
    /// Each with what it inherits, whole.
    pub(super) questions: Vec<Map<String, Value>>,
    pub(super) semantic: Semantic,
}

/// How far the answers go (AuthZEN 1.0 §7.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Semantic {
    ExecuteAll,
    DenyOnFirstDeny,
    PermitOnFirstPermit,
}

impl Batch {
    /// Reads a request; `None` if it is a single question.
    pub(super) fn read(body: &Map<String, Value>) -> Result<Option<Self>, Problem> {
        let semantic = Semantic::read(body)?;
        let items = match body.get("evaluations") {
            None => return Ok(None),
            Some(Value::Array(items)) if items.is_empty() => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(Problem::Malformed("`evaluations` must be an array")),
        };
        if items.len() > MOST {
            return Err(Problem::Malformed("`evaluations` has more than 64 items"));
        }
        let items: Option<Vec<_>> = items.iter().map(Value::as_object).collect();
        let items = items.ok_or(Problem::Malformed("an item of `evaluations` must be an object"))?;
        if ENTITIES.iter().any(|name| body.get(*name).is_some_and(|entity| !entity.is_object())) {
            return Err(Problem::Malformed("`subject`, `action`, `resource` and `context` must be objects"));
        }
        let whole = |own: &Map<String, Value>| {
            let entity = |name: &&'static str| Some(((*name).to_owned(), own.get(*name).or_else(|| body.get(*name))?.clone()));
            ENTITIES.iter().filter_map(entity).collect()
        };
        Ok(Some(Self {
            questions: items.into_iter().map(whole).collect(),
            semantic,
        }))
    }
}

impl Semantic {
    fn read(body: &Map<String, Value>) -> Result<Self, Problem> {
        let options = match body.get("options") {
            None => return Ok(Self::ExecuteAll),
            Some(Value::Object(options)) => options,
            Some(_) => return Err(Problem::Malformed("`options` must be an object")),
        };
        match options.get("evaluations_semantic").map(Value::as_str) {
            None | Some(Some("execute_all")) => Ok(Self::ExecuteAll),
            Some(Some("deny_on_first_deny")) => Ok(Self::DenyOnFirstDeny),
            Some(Some("permit_on_first_permit")) => Ok(Self::PermitOnFirstPermit),
            Some(_) => Err(Problem::Malformed(
                "`evaluations_semantic` must be execute_all, deny_on_first_deny or permit_on_first_permit",
            )),
        }
    }

    /// Whether this answer is the last one. What is no question is denied.
    pub(super) fn ends_with(self, decided: &Decided) -> bool {
        let is_permit = matches!(decided, Decided::Permitted(_));
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => !is_permit,
            Self::PermitOnFirstPermit => is_permit,
        }
    }
}
