//! The port `Policy`, answered by Cedar.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{Authorizer, Context, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};
use delegation::details::{ConstraintOrder, ConstraintValue, Detail, DetailTypes, IdentifierRule};
use delegation::identity::AttributeValue;
use delegation::registry::{LabelValue, Snapshot};
use issuance::policy::{Answer, Because, Inquiry, Policy, Question, Verdict};
use jiff::tz::TimeZone;

use crate::index::{Index, Response};
use crate::load::{self, LoadError, Loaded, PolicyFile, rule_id};
use crate::scope::{self, Position};

/// Policies in force: loaded, validated and indexed. Immutable; a change makes a new one.
pub struct CedarPolicy {
    pub(crate) rules: Index,
    holds: Index,
    pub(crate) loaded: Vec<Loaded>,
    version: String,
    timezone: TimeZone,
    types: DetailTypes,
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

/// A question as Cedar sees it.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
    pub(crate) keys: Vec<(Position, String)>,
}

/// A question could not be put. A refusal, like every error.
#[derive(Debug)]
pub(crate) struct Unaskable;

impl CedarPolicy {
    /// Loads `files`, which must all be right, as the version `version`. `timezone` is an IANA name.
    pub fn load(snapshot: &Snapshot, files: &[PolicyFile], timezone: &str, version: String) -> Result<Self, LoadError> {
        let loaded = load::load(snapshot, files)?;
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
        Ok(Self {
            rules: indexed(false)?,
            holds: indexed(true)?,
            version,
            timezone,
            types: snapshot.types.clone(),
            authorizer: Authorizer::new(),
            loaded,
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

    fn consult(&self, index: &Index, asked: &Asked) -> Response {
        index.decide(asked.keys.iter(), &self.authorizer, &asked.request, &asked.entities)
    }

    /// Puts one question of `inquiry` into Cedar's terms.
    pub(crate) fn ask_one(&self, inquiry: &Inquiry, question: &Question) -> Result<Asked, Unaskable> {
        let principal = uid("Workload", inquiry.client.id.as_str())?;
        let audience = uid("Audience", &inquiry.audience)?;
        let subject_name = inquiry.subject.subject.to_string();
        let subject = uid("Subject", &subject_name)?;
        let mut keys = vec![
            (Position::Principal, scope::name("Workload", inquiry.client.id.as_str())),
            (Position::PrincipalType, "Workload".to_owned()),
            (Position::Resource, scope::name("Audience", &inquiry.audience)),
            (Position::Subject, scope::name("Subject", &subject_name)),
        ];

        // Entities: the requester, the subject with its groups, the audience, the action with its group, the resource.
        let mut groups = HashSet::new();
        let mut entities = Vec::with_capacity(8);
        for group in &inquiry.subject.attributes.groups {
            let name = format!("{}|{group}", inquiry.subject.subject.issuer_name);
            keys.push((Position::Subject, scope::name("Group", &name)));
            groups.insert(uid("Group", &name)?);
        }
        for group in &groups {
            entities.push(Entity::new_no_attrs(group.clone(), HashSet::new()));
        }
        entities.push(entity(subject.clone(), subject_attributes(inquiry), groups)?);
        entities.push(entity(principal.clone(), labels(inquiry), HashSet::new())?);
        entities.push(Entity::new_no_attrs(audience.clone(), HashSet::new()));
        let in_audience = HashSet::from([audience.clone()]);
        let (action, resource, onward) = match question {
            Question::Detail { detail, action, onward } => {
                let declared = self.types.get(detail.kind()).ok_or(Unaskable)?;
                let kind = format!("Detail::{}", declared.entity);
                let id = detail.identifier().unwrap_or_default();
                let (any, action) = (format!("{}:any", detail.kind()), format!("{}:{action}", detail.kind()));
                keys.push((Position::Action, scope::name("Action", &any)));
                keys.push((Position::Action, scope::name("Action", &action)));
                keys.push((Position::Resource, scope::name(&kind, id)));
                let (action, resource) = (uid("Action", &action)?, uid(&kind, id)?);
                entities.push(Entity::new_no_attrs(action.clone(), HashSet::from([uid("Action", &any)?])));
                entities.push(entity(resource.clone(), detail_attributes(detail, &self.types)?, in_audience)?);
                keys.push((Position::ResourceType, kind));
                (action, resource, *onward)
            }
            Question::Scope(scope) => {
                let action = format!("scope:{scope}");
                keys.push((Position::Action, scope::name("Action", &action)));
                keys.push((Position::Resource, scope::name("Scope", scope.as_str())));
                keys.push((Position::ResourceType, "Scope".to_owned()));
                let resource = uid("Scope", scope.as_str())?;
                entities.push(Entity::new_no_attrs(resource.clone(), in_audience));
                (uid("Action", &action)?, resource, false)
            }
        };
        let context = Context::from_pairs(self.context(inquiry, subject, audience, onward)?).map_err(|_| Unaskable)?;
        let request = Request::new(principal, action, resource, context, None).map_err(|_| Unaskable)?;
        let entities = Entities::from_entities(entities, None).map_err(|_| Unaskable)?;
        Ok(Asked { request, entities, keys })
    }

    fn context(
        &self,
        inquiry: &Inquiry,
        subject: EntityUid,
        audience: EntityUid,
        onward: bool,
    ) -> Result<Vec<(String, RestrictedExpression)>, Unaskable> {
        let now = jiff::Timestamp::from_millisecond(inquiry.now_millis).map_err(|_| Unaskable)?;
        let local = now.to_zoned(self.timezone.clone());
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let mut chain = Vec::new();
        for client in &inquiry.chain {
            chain.push(RestrictedExpression::new_entity_uid(uid("Workload", client.as_str())?));
        }
        let mut pairs = vec![
            ("subject", RestrictedExpression::new_entity_uid(subject)),
            ("audience", RestrictedExpression::new_entity_uid(audience)),
            ("subject_age_seconds", RestrictedExpression::new_long(inquiry.subject_age_seconds)),
            ("risk", text(risk(inquiry))),
            ("chain", RestrictedExpression::new_set(chain)),
            ("onward", RestrictedExpression::new_bool(onward)),
            ("expires_in", RestrictedExpression::new_long(inquiry.expires_in)),
            (
                "now",
                RestrictedExpression::new_datetime(now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()),
            ),
            ("hour", RestrictedExpression::new_long(i64::from(local.hour()))),
            (
                "weekday",
                RestrictedExpression::new_long(i64::from(local.weekday().to_monday_one_offset())),
            ),
            ("sender_constrained", RestrictedExpression::new_bool(inquiry.sender_constrained)),
            ("approved", RestrictedExpression::new_bool(false)),
        ];
        pairs.extend(inquiry.requested_by.as_deref().map(|client| ("requested_by", text(client))));
        pairs.extend(
            inquiry
                .client_ip
                .map(|address| ("client_ip", RestrictedExpression::new_ip(address.to_canonical().to_string()))),
        );
        pairs.extend(inquiry.auth_age_seconds.map(|age| ("auth_age_seconds", RestrictedExpression::new_long(age))));
        pairs.extend(inquiry.acr.as_deref().map(|acr| ("acr", text(acr))));
        Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

impl Policy for CedarPolicy {
    fn ask(&self, inquiry: &Inquiry) -> Verdict {
        let mut rules: Vec<String> = Vec::new();
        let mut note = |response: &Response| {
            for id in response.reasons.iter().chain(&response.errors).map(rule_id) {
                if !rules.contains(&id) {
                    rules.push(id);
                }
            }
        };
        // Rules first, for every question; holds only then, so that nobody is asked to approve what no permit allows.
        let mut put = Vec::with_capacity(inquiry.questions.len());
        for (question, asked) in inquiry.questions.iter().enumerate() {
            let Ok(asked) = self.ask_one(inquiry, asked) else {
                return Verdict {
                    answer: Answer::Deny {
                        question,
                        because: Because::Error,
                    },
                    rules,
                };
            };
            let response = self.consult(&self.rules, &asked);
            note(&response);
            let because = match (&response.errors.is_empty(), response.allowed) {
                (false, _) => Some(Because::Error),
                (true, true) => None,
                (true, false) if response.reasons.is_empty() => Some(Because::NoPermit),
                (true, false) => Some(Because::Forbid),
            };
            if let Some(because) = because {
                return Verdict {
                    answer: Answer::Deny { question, because },
                    rules,
                };
            }
            put.push(asked);
        }
        if !self.holds.is_empty() {
            for (question, asked) in put.iter().enumerate() {
                let response = self.consult(&self.holds, asked);
                if !response.reasons.is_empty() || !response.errors.is_empty() {
                    note(&response);
                    let because = if response.errors.is_empty() {
                        Because::Hold
                    } else {
                        Because::Error
                    };
                    return Verdict {
                        answer: Answer::Deny { question, because },
                        rules,
                    };
                }
            }
        }
        Verdict {
            answer: Answer::Allow,
            rules,
        }
    }

    fn version(&self) -> &str {
        &self.version
    }
}

/// The effect of a rule as people call it.
pub(crate) fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Permit => "permit",
        Effect::Forbid => "forbid",
    }
}

/// The subject's risk: what its attribute says, if that is a word that policies know.
pub(crate) fn risk(inquiry: &Inquiry) -> &str {
    match inquiry.subject.attributes.values.get("risk") {
        Some(AttributeValue::Text(risk)) if matches!(risk.as_str(), "low" | "medium" | "high") => risk,
        _ => "unknown",
    }
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, Unaskable> {
    let kind = EntityTypeName::from_str(kind).map_err(|_| Unaskable)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn entity(uid: EntityUid, attributes: BTreeMap<String, RestrictedExpression>, parents: HashSet<EntityUid>) -> Result<Entity, Unaskable> {
    Entity::new(uid, attributes.into_iter().collect::<HashMap<_, _>>(), parents).map_err(|_| Unaskable)
}

fn labels(inquiry: &Inquiry) -> BTreeMap<String, RestrictedExpression> {
    let owner = inquiry
        .client
        .owner
        .iter()
        .map(|owner| ("owner".to_owned(), RestrictedExpression::new_string(owner.clone())));
    let labels = inquiry.client.labels.iter().map(|(name, value)| {
        let value = match value {
            LabelValue::Boolean(flag) => RestrictedExpression::new_bool(*flag),
            LabelValue::Integer(number) => RestrictedExpression::new_long(*number),
            LabelValue::Text(text) => RestrictedExpression::new_string(text.clone()),
        };
        (name.clone(), value)
    });
    labels.chain(owner).collect()
}

fn subject_attributes(inquiry: &Inquiry) -> BTreeMap<String, RestrictedExpression> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let mapped = inquiry.subject.attributes.values.iter().map(|(name, value)| {
        let value = match value {
            AttributeValue::Boolean(flag) => RestrictedExpression::new_bool(*flag),
            AttributeValue::Integer(number) => RestrictedExpression::new_long(*number),
            AttributeValue::Text(value) => text(value),
            AttributeValue::Set(items) => RestrictedExpression::new_set(items.iter().map(|item| text(item))),
        };
        (name.clone(), value)
    });
    let own = [
        ("kind", text(inquiry.subject.kind.as_str())),
        ("issuer", text(&inquiry.subject.subject.issuer_name)),
        ("id", text(&inquiry.subject.subject.sub)),
    ];
    mapped.chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
}

/// What a policy sees of a detail: what is there, and in `unbounded` the names of what is absent and so means all.
fn detail_attributes(detail: &Detail, types: &DetailTypes) -> Result<BTreeMap<String, RestrictedExpression>, Unaskable> {
    let declared = types.get(detail.kind()).ok_or(Unaskable)?;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let set = |items: &[String]| RestrictedExpression::new_set(items.iter().map(|item| text(item)).collect::<Vec<_>>());
    let mut attributes = BTreeMap::new();
    let mut unbounded = BTreeSet::new();
    let names_nothing = detail
        .actions()
        .iter()
        .all(|action| declared.actions.get(action).is_some_and(|rule| rule.identifier == IdentifierRule::None));
    match detail.identifier() {
        Some(identifier) => {
            attributes.insert("identifier".to_owned(), text(identifier));
        }
        None if names_nothing => {}
        None => {
            unbounded.insert("identifier");
        }
    }
    match detail.locations() {
        Some(locations) => {
            attributes.insert("locations".to_owned(), set(locations));
        }
        None => {
            unbounded.insert("locations");
        }
    }
    for (name, order) in &declared.constraints {
        let (name, value) = match detail.constraints().get(name) {
            None => {
                unbounded.insert(name);
                continue;
            }
            Some(ConstraintValue::Text(one)) if *order == ConstraintOrder::OneOf => (name.clone(), set(std::slice::from_ref(one))),
            Some(ConstraintValue::Text(value)) => (name.clone(), text(value)),
            Some(ConstraintValue::Texts(items)) => (name.clone(), set(items)),
            Some(ConstraintValue::Limit(limit)) => (name.clone(), RestrictedExpression::new_long(*limit)),
            Some(ConstraintValue::Integer(number)) => (format!("{name}_integer"), RestrictedExpression::new_long(*number)),
            Some(ConstraintValue::Boolean(flag)) => (format!("{name}_boolean"), RestrictedExpression::new_bool(*flag)),
        };
        attributes.insert(name, value);
    }
    attributes.insert(
        "unbounded".to_owned(),
        RestrictedExpression::new_set(unbounded.into_iter().map(text)),
    );
    Ok(attributes)
}
