//! Loading policies: parsed, named, validated strictly, and refused whole if one of them is not right.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use delegation::registry::Snapshot;
use serde_json::Value;

use crate::absent;
use crate::schema::{self, SchemaError};
use crate::statements;

/// One policy file.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    /// Its name, for messages.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why policies were not loaded. Texts name file, line and mend.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The schema could not be generated.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// One or more policies are not right; one line each.
    #[error("{}", .0.join("\n"))]
    Policies(Vec<String>),
}

/// A loaded policy and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) policy: Policy,
    pub(crate) json: Value,
    pub(crate) id: String,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) effect: Effect,
    pub(crate) holds: bool,
    /// Whether this is the twin of a forbid on one resource, for details without identifier.
    pub(crate) twin: bool,
}

impl Loaded {
    /// Where it stands, as messages say it.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// What the validator found odd and not wrong, by `@id`.
pub(crate) type Oddities = BTreeMap<String, String>;

/// What the id of a twin ends with; `@id`s cannot, since a line feed is refused in them.
pub(crate) const TWIN: &str = "\ntwin";

/// The name of the policy as people gave it.
pub(crate) fn rule_id(id: &PolicyId) -> String {
    let id: &str = id.as_ref();
    id.strip_suffix(TWIN).unwrap_or(id).to_owned()
}

/// Parses and validates `files` against the schema of `snapshot`.
pub(crate) fn load(snapshot: &Snapshot, files: &[PolicyFile]) -> Result<(Vec<Loaded>, Oddities), LoadError> {
    let schema = schema::parsed(snapshot)?;
    let mut wrong = Vec::new();
    let mut loaded = Vec::new();
    for file in files {
        // What is right in a file is checked on, so that every mistake is told at once.
        let (policies, problems) = parse(file);
        loaded.extend(policies);
        wrong.extend(problems);
    }
    let mut places: BTreeMap<&str, String> = BTreeMap::new();
    let mut set = PolicySet::new();
    for each in &loaded {
        match places.get(each.id.as_str()) {
            Some(other) => wrong.push(format!(
                "{}: `@id(\"{}\")` is the name of the policy at {other} too; give each its own",
                each.place(),
                each.id
            )),
            None => {
                places.insert(&each.id, each.place());
                if let Err(error) = set.add(each.policy.clone()) {
                    wrong.push(format!("{}: {error}", each.place()));
                }
            }
        }
        wrong.extend(absent::passed_by(each));
    }
    let validation = Validator::new(schema).validate(&set, ValidationMode::Strict);
    // The validator says a mistake anew for each action that the policy speaks of; the first by name is told.
    let mut mistakes: BTreeMap<(String, Option<usize>), String> = BTreeMap::new();
    for error in validation.validation_errors() {
        let policy = loaded.iter().find(|each| each.policy.id() == error.policy_id());
        let file = policy.and_then(|policy| files.iter().find(|file| file.name == policy.file));
        let detailed = DetailedError::from(error);
        let text = match (policy, file) {
            (Some(policy), Some(file)) => located(&detailed, file, policy.line),
            _ => error.to_string(),
        };
        let begins = detailed.source_locations.first().map(|label| label.loc.start);
        let told = mistakes.entry((error.policy_id().to_string(), begins)).or_insert_with(|| text.clone());
        if text < *told {
            *told = text;
        }
    }
    wrong.extend(mistakes.into_values());
    if !wrong.is_empty() {
        // A mistake is one line, whatever the words of a policy hold that it repeats.
        let lines = wrong.iter().map(|each| each.replace(char::is_control, " "));
        return Err(LoadError::Policies(lines.collect()));
    }
    let mut oddities = BTreeMap::new();
    for odd in validation.validation_warnings() {
        let id = rule_id(odd.policy_id());
        let text = odd.to_string();
        // The first says most; what follows from it would only say it again.
        let text = text.strip_prefix(&format!("for policy `{id}`, ")).unwrap_or(&text).to_owned();
        oddities.entry(id).or_insert(text);
    }
    let twins: Vec<_> = loaded.iter().filter_map(absent::twin).collect();
    loaded.extend(twins);
    Ok((loaded, oddities))
}

/// The policies of one file, and everything that is wrong with it.
fn parse(file: &PolicyFile) -> (Vec<Loaded>, Vec<String>) {
    let set = match PolicySet::from_str(&file.text) {
        Ok(set) => set,
        Err(errors) => {
            let errors = DetailedError::from(&errors);
            // The first error is the text itself, further ones hang on it.
            let related: Vec<_> = errors.related.iter().map(|error| located(error, file, 1)).collect();
            return (Vec::new(), [vec![located(&errors, file, 1)], related].concat());
        }
    };
    let mut wrong = Vec::new();
    let mut named = Vec::new();
    if set.templates().next().is_some() {
        wrong.push(format!(
            "{}: templates (`?principal`, `?resource`) are not taken; write the policy out",
            file.name
        ));
    }
    let lines = statements::lines(&file.text);
    for policy in set.policies() {
        // The parser numbers policies in the order in which they stand.
        let id: &str = policy.id().as_ref();
        let number = id.strip_prefix("policy").and_then(|number| number.parse::<usize>().ok());
        let line = number.and_then(|number| lines.get(number)).copied().unwrap_or(1);
        match name(policy, file, line) {
            Ok(policy) => named.push(policy),
            Err(problem) => wrong.push(format!("{}:{line}: {problem}", file.name)),
        }
    }
    named.sort_by_key(|each| each.line);
    (named, wrong)
}

fn name(policy: &Policy, file: &PolicyFile, line: usize) -> Result<Loaded, String> {
    let id = policy.annotation("id").unwrap_or_default().to_owned();
    if id.is_empty() || id.chars().any(char::is_control) {
        return Err("a policy needs a name, as `@id(\"…\")` before it".to_owned());
    }
    let holds = match (policy.annotation("requires"), policy.effect()) {
        (None, _) => false,
        (Some("approval"), Effect::Forbid) => true,
        (Some("approval"), Effect::Permit) => {
            return Err(format!(
                "permit `{id}` has `@requires`; put that before a forbid, which holds until a person approves"
            ));
        }
        (Some(other), _) => return Err(format!("`@requires(\"{other}\")`: expected `approval`")),
    };
    let policy = policy.new_id(PolicyId::new(&id));
    let json = policy.to_json().map_err(|error| error.to_string())?;
    Ok(Loaded {
        effect: policy.effect(),
        policy,
        json,
        id,
        file: file.name.clone(),
        line,
        holds,
        twin: false,
    })
}

/// An error with its file, its line (or `line`, if it does not say) and its mend, if there is one.
fn located(error: &DetailedError, file: &PolicyFile, line: usize) -> String {
    let before = |label: &cedar_policy::ffi::SourceLabel| file.text.get(..label.loc.start);
    let line = error
        .source_locations
        .first()
        .and_then(before)
        .map_or(line, |before| before.matches('\n').count() + 1);
    let (message, label) = (
        &error.message,
        error.source_locations.first().and_then(|label| label.label.as_deref()),
    );
    let more = [label, error.help.as_deref()].into_iter().flatten().filter(|more| !message.contains(more));
    let more: String = more.map(|more| format!("; {more}")).collect();
    format!("{}:{line}: {}{more}", file.name, message.replace('\n', " "))
}
