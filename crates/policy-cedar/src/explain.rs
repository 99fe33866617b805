//! Why policy answered as it did: rules that decided, and permits that nearly did.

use cedar_policy::{Authorizer, Effect, Policy, PolicySet};
use issuance::policy::{Inquiry, Question};
use serde::Serialize;
use serde_json::{Value, json};

use crate::engine::{Asked, CedarPolicy, effect, risk};
use crate::load::{Loaded, rule_id};

/// A rule and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleRef {
    /// Its `@id`.
    pub id: String,
    /// Its file.
    pub file: String,
    /// The line of its `@id`.
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
    /// The rules that decided.
    pub decided_by: Vec<RuleRef>,
    /// Permits that nearly allowed it; empty if it was allowed.
    pub near_misses: Vec<NearMiss>,
}

/// Every question of an inquiry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// In the order in which they were asked.
    pub questions: Vec<QuestionExplanation>,
}

impl CedarPolicy {
    /// Explains what these policies say to `inquiry`, question by question.
    pub fn explain(&self, inquiry: &Inquiry) -> Explanation {
        Explanation {
            questions: inquiry.questions.iter().map(|question| self.explain_one(inquiry, question)).collect(),
        }
    }

    fn explain_one(&self, inquiry: &Inquiry, question: &Question) -> QuestionExplanation {
        let name = match question {
            Question::Detail { detail, action, onward } => {
                let id = detail.identifier().map(|id| format!("/{id}")).unwrap_or_default();
                format!("{}:{action}{id}{}", detail.kind(), if *onward { " (onward)" } else { "" })
            }
            Question::Scope(scope) => format!("scope {scope}"),
        };
        let Ok(asked) = self.ask_one(inquiry, question) else {
            return QuestionExplanation {
                asked: name,
                allowed: false,
                decided_by: Vec::new(),
                near_misses: Vec::new(),
            };
        };
        let mut set = PolicySet::new();
        for each in &self.loaded {
            // Ids were checked to be distinct when these were loaded.
            let _ = set.add(each.policy.clone());
        }
        let response = Authorizer::new().is_authorized(&asked.request, &set, &asked.entities);
        let allowed = response.decision() == cedar_policy::Decision::Allow && response.diagnostics().errors().next().is_none();
        let deciding: Vec<_> = response.diagnostics().reason().map(rule_id).collect();
        let mut decided_by: Vec<_> = self.loaded.iter().filter(|each| !each.twin && deciding.contains(&each.id)).map(reference).collect();
        decided_by.sort_by(|one, other| one.id.cmp(&other.id));
        let near = |each: &&Loaded| each.effect == Effect::Permit && !deciding.contains(&each.id);
        let near_misses = if allowed {
            Vec::new()
        } else {
            self.loaded.iter().filter(near).filter_map(|each| near_miss(each, inquiry, &asked)).collect()
        };
        QuestionExplanation {
            asked: name,
            allowed,
            decided_by,
            near_misses,
        }
    }
}

pub(crate) fn reference(each: &Loaded) -> RuleRef {
    RuleRef {
        id: each.id.clone(),
        file: each.file.clone(),
        line: each.line,
        effect: effect(each.effect).to_owned(),
    }
}

fn near_miss(each: &Loaded, inquiry: &Inquiry, asked: &Asked) -> Option<NearMiss> {
    let with_conditions = |conditions: Value| {
        let mut json = each.json.clone();
        *json.get_mut("conditions")? = conditions;
        Policy::from_json(None, json).ok()
    };
    let holds = |policy: &Policy| {
        let Ok(set) = PolicySet::from_policies([policy.clone()]) else {
            return false;
        };
        Authorizer::new().is_authorized(&asked.request, &set, &asked.entities).decision() == cedar_policy::Decision::Allow
    };
    if !holds(&with_conditions(json!([]))?) {
        return None;
    }
    for condition in each.json.get("conditions")?.as_array()? {
        let kind = condition.get("kind")?.as_str()?;
        for conjunct in conjuncts(condition.get("body")?, kind) {
            let policy = with_conditions(json!([{ "kind": kind, "body": conjunct }]))?;
            if !holds(&policy) {
                let mut paths = Vec::new();
                reads(conjunct, &mut paths);
                let values = paths.into_iter().map(|path| (path.clone(), value(&path, inquiry))).collect();
                return Some(NearMiss {
                    rule: reference(each),
                    condition: source(&policy, kind),
                    values,
                });
            }
        }
    }
    None
}

/// The parts of a `when` that must all hold; an `unless` is taken whole.
fn conjuncts<'a>(body: &'a Value, kind: &str) -> Vec<&'a Value> {
    match body.get("&&") {
        Some(and) if kind == "when" => {
            let side = |name: &str| and.get(name).map(|side| conjuncts(side, kind)).unwrap_or_default();
            [side("left"), side("right")].concat()
        }
        _ => vec![body],
    }
}

/// The condition as it would be written.
fn source(policy: &Policy, kind: &str) -> String {
    let text = policy.to_cedar().unwrap_or_default();
    let body = text.split_once(&format!("{kind} {{")).map_or("", |(_, rest)| rest);
    let body = body.trim().trim_end_matches(';').trim().trim_end_matches('}').trim();
    let body = body
        .strip_prefix('(')
        .and_then(|inner| inner.strip_suffix(')'))
        .filter(|inner| !inner.contains(')') || inner.matches('(').count() == inner.matches(')').count())
        .unwrap_or(body);
    if kind == "when" {
        body.to_owned()
    } else {
        format!("unless {body}")
    }
}

/// The members of context, resource and principal that an expression reads.
fn reads(expression: &Value, paths: &mut Vec<String>) {
    if let Some(path) = path(expression) {
        if !paths.contains(&path) {
            paths.push(path);
        }
        return;
    }
    match expression {
        Value::Object(members) => members.values().for_each(|member| reads(member, paths)),
        Value::Array(items) => items.iter().for_each(|item| reads(item, paths)),
        _ => {}
    }
}

fn path(expression: &Value) -> Option<String> {
    let access = expression.get(".")?;
    let attr = access.get("attr")?.as_str()?;
    let left = access.get("left")?;
    match left.get("Var").and_then(Value::as_str) {
        Some(variable) => Some(format!("{variable}.{attr}")),
        None => Some(format!("{}.{attr}", path(left)?)),
    }
}

/// A value as the record kept it.
fn value(path: &str, inquiry: &Inquiry) -> String {
    let facts = inquiry.to_json();
    let fact = |name: &str| facts.get(name).map_or_else(|| "absent".to_owned(), ToString::to_string);
    let now = jiff::Timestamp::from_millisecond(inquiry.now_millis).ok();
    match path {
        "context.subject" => {
            let groups: Vec<_> = inquiry.subject.attributes.groups.iter().cloned().collect();
            format!("{} in groups [{}]", inquiry.subject.subject, groups.join(", "))
        }
        "context.risk" => format!("\"{}\"", risk(inquiry)),
        "context.hour" => now.map_or_else(String::new, |now| format!("the hour of {now}")),
        "context.now" | "context.weekday" => now.map_or_else(String::new, |now| now.to_string()),
        path => match path.split('.').collect::<Vec<_>>().as_slice() {
            ["context", "subject", name] => {
                let values = facts.get("attributes").and_then(|attributes| attributes.get("values"));
                values.and_then(|values| values.get(*name)).map_or_else(|| "absent".to_owned(), ToString::to_string)
            }
            ["context", name] => fact(name),
            ["principal", name] => facts
                .get("labels")
                .and_then(|labels| labels.get(*name))
                .map_or_else(|| "absent".to_owned(), ToString::to_string),
            _ => "see the question".to_owned(),
        },
    }
}
