//! An inquiry in Cedar's terms: principal, action, resource, context, entities, and the keys of the index.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;

use cedar_policy::{Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression};
use delegation::details::{Detail, DetailTypes};
use delegation::identity::AttributeValue;
use delegation::registry::{LabelValue, Snapshot};
use issuance::policy::{Inquiry, Question, TaskFacts};
use jiff::tz::TimeZone;

use crate::members;
use crate::reads::Reads;
use crate::scope::{self, Position};

/// What is needed to put any inquiry into Cedar's terms. Names of types are parsed once, when policies are loaded.
pub(crate) struct Terms {
    timezone: TimeZone,
    reads: Reads,
    types: DetailTypes,
    workload: EntityTypeName,
    subject: EntityTypeName,
    group: EntityTypeName,
    audience: EntityTypeName,
    scope: EntityTypeName,
    action: EntityTypeName,
    details: BTreeMap<String, (EntityTypeName, String)>,
}

/// What the questions of one inquiry share.
pub(crate) struct Circumstances {
    principal: EntityUid,
    audience: EntityUid,
    direct: Context,
    /// There if a question asks for onward authority.
    onward: Option<Context>,
    /// There if a question asks for a task: `expires_in` is the task's.
    task: Option<Context>,
    entities: Vec<Entity>,
    keys: Vec<(Position, String)>,
}

/// A question as Cedar sees it.
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) entities: Entities,
    keys: Vec<(Position, String)>,
}

/// A question could not be put. A refusal, like every error.
#[derive(Debug)]
pub(crate) struct Unaskable;

impl Terms {
    /// The terms of `snapshot` for policies that read `reads`; `None` if one of its entity names is none of Cedar's.
    pub(crate) fn new(snapshot: &Snapshot, timezone: TimeZone, reads: Reads) -> Option<Self> {
        let name = |text: &str| EntityTypeName::from_str(text).ok();
        let detail = |declared: &delegation::details::DetailType| {
            let entity = format!("Detail::{}", declared.entity);
            Some((declared.name.clone(), (name(&entity)?, entity)))
        };
        Some(Self {
            timezone,
            reads,
            workload: name("Workload")?,
            subject: name("Subject")?,
            group: name("Group")?,
            audience: name("Audience")?,
            scope: name("Scope")?,
            action: name("Action")?,
            details: snapshot.types.iter().map(detail).collect::<Option<_>>()?,
            types: snapshot.types.clone(),
        })
    }

    /// The requester, the subject with its groups, the audience and the context of `inquiry`: built once.
    pub(crate) fn circumstances(&self, inquiry: &Inquiry) -> Result<Circumstances, Unaskable> {
        let principal = uid(&self.workload, inquiry.client.id.as_str());
        let audience = uid(&self.audience, &inquiry.audience);
        let subject_name = inquiry.subject.subject.to_string();
        let subject = uid(&self.subject, &subject_name);
        let mut keys = vec![
            (Position::Principal, scope::name("Workload", inquiry.client.id.as_str())),
            (Position::PrincipalType, "Workload".to_owned()),
            (Position::Resource, scope::name("Audience", &inquiry.audience)),
            (Position::Subject, scope::name("Subject", &subject_name)),
        ];
        let mut groups = HashSet::new();
        let mut entities = Vec::with_capacity(8);
        for group in &inquiry.subject.attributes.groups {
            let name = format!("{}|{group}", inquiry.subject.subject.issuer_name);
            let group = uid(&self.group, &name);
            keys.push((Position::Subject, scope::name("Group", &name)));
            entities.push(Entity::new_no_attrs(group.clone(), HashSet::new()));
            groups.insert(group);
        }
        entities.push(self.entity(subject.clone(), subject_attributes(inquiry), groups)?);
        entities.push(self.entity(principal.clone(), labels(inquiry), HashSet::new())?);
        entities.push(Entity::new_no_attrs(audience.clone(), HashSet::new()));
        let pairs = self.context(inquiry, subject, audience.clone())?;
        let context = |onward: bool, expires_in: i64| {
            let onward = ("onward", RestrictedExpression::new_bool(onward));
            let expires_in = ("expires_in", RestrictedExpression::new_long(expires_in));
            let own = [onward, expires_in].into_iter().filter(|(name, _)| self.reads.could_read(name));
            let own = own.map(|(name, value)| (name.to_owned(), value));
            Context::from_pairs(pairs.iter().cloned().chain(own)).map_err(|_| Unaskable)
        };
        let asks = |which: fn(&Question) -> bool| inquiry.questions.iter().any(which);
        let asks_onward = asks(|question| matches!(question, Question::Detail { onward: true, .. }));
        let asks_task = asks(|question| matches!(question, Question::Task | Question::Defer));
        let task = inquiry.task.as_ref().filter(|_| asks_task);
        Ok(Circumstances {
            principal,
            audience,
            direct: context(false, inquiry.expires_in)?,
            onward: asks_onward.then(|| context(true, inquiry.expires_in)).transpose()?,
            task: task.map(|task| context(false, task.expires_in)).transpose()?,
            entities,
            keys,
        })
    }

    /// Puts one question.
    pub(crate) fn ask(&self, circumstances: &Circumstances, question: &Question) -> Result<Asked, Unaskable> {
        let in_audience = HashSet::from([circumstances.audience.clone()]);
        let mut keys = Vec::with_capacity(4);
        let (action, resource, context) = match question {
            Question::Detail { detail, action, onward } => {
                let (kind, kind_name) = self.details.get(detail.kind()).ok_or(Unaskable)?;
                let (any, named) = (format!("{}:any", detail.kind()), format!("{}:{action}", detail.kind()));
                let id = detail.identifier().unwrap_or_default();
                keys.push((Position::Action, scope::name("Action", &any)));
                keys.push((Position::Action, scope::name("Action", &named)));
                keys.push((Position::Resource, scope::name(kind_name, id)));
                keys.push((Position::ResourceType, kind_name.clone()));
                let in_any = HashSet::from([uid(&self.action, &any)]);
                let attributes = self.detail(detail, action)?;
                let context = if *onward {
                    circumstances.onward.as_ref().ok_or(Unaskable)?
                } else {
                    &circumstances.direct
                };
                (
                    Entity::new_no_attrs(uid(&self.action, &named), in_any),
                    self.entity(uid(kind, id), attributes, in_audience)?,
                    context,
                )
            }
            Question::Scope(scope) => {
                let named = format!("scope:{scope}");
                keys.push((Position::Action, scope::name("Action", &named)));
                keys.push((Position::Resource, scope::name("Scope", scope.as_str())));
                keys.push((Position::ResourceType, "Scope".to_owned()));
                (
                    Entity::new_no_attrs(uid(&self.action, &named), HashSet::new()),
                    Entity::new_no_attrs(uid(&self.scope, scope.as_str()), in_audience),
                    &circumstances.direct,
                )
            }
            Question::Task | Question::Defer => {
                let named = if *question == Question::Task { "task" } else { "defer" };
                keys.push((Position::Action, scope::name("Action", named)));
                keys.push((Position::ResourceType, "Audience".to_owned()));
                (
                    Entity::new_no_attrs(uid(&self.action, named), HashSet::new()),
                    Entity::new_no_attrs(circumstances.audience.clone(), HashSet::new()),
                    circumstances.task.as_ref().ok_or(Unaskable)?,
                )
            }
        };
        let principal = circumstances.principal.clone();
        let request = Request::new(principal, action.uid(), resource.uid(), context.clone(), None).map_err(|_| Unaskable)?;
        // The audience stands among the circumstances already.
        let resource = Some(resource).filter(|resource| resource.uid() != circumstances.audience);
        let entities = circumstances.entities.iter().cloned().chain([action]).chain(resource);
        let entities = Entities::from_entities(entities, None).map_err(|_| Unaskable)?;
        Ok(Asked {
            request,
            entities,
            keys: circumstances.keys.iter().cloned().chain(keys).collect(),
        })
    }

    /// An entity with those of its `attributes` that some policy reads.
    fn entity(
        &self,
        uid: EntityUid,
        attributes: BTreeMap<String, RestrictedExpression>,
        parents: HashSet<EntityUid>,
    ) -> Result<Entity, Unaskable> {
        let read = attributes.into_iter().filter(|(name, _)| self.reads.could_read(name));
        Entity::new(uid, read.collect::<HashMap<_, _>>(), parents).map_err(|_| Unaskable)
    }

    fn detail(&self, detail: &Detail, action: &str) -> Result<BTreeMap<String, RestrictedExpression>, Unaskable> {
        members::of(detail, action, self.types.get(detail.kind()).ok_or(Unaskable)?).ok_or(Unaskable)
    }

    /// The context, all but `onward` and `expires_in`, which are matters of the question, and but what no policy reads: a date
    /// and an address cost the engine a call of its parser each.
    fn context(
        &self,
        inquiry: &Inquiry,
        subject: EntityUid,
        audience: EntityUid,
    ) -> Result<Vec<(String, RestrictedExpression)>, Unaskable> {
        let now = jiff::Timestamp::from_millisecond(inquiry.now_millis).map_err(|_| Unaskable)?;
        let local = now.to_zoned(self.timezone.clone());
        let number = RestrictedExpression::new_long;
        let chain = inquiry
            .chain
            .iter()
            .map(|client| RestrictedExpression::new_entity_uid(uid(&self.workload, client.as_str())));
        let read = |name: &&str| self.reads.could_read(name);
        let now = Some("now").filter(read).map(|name| {
            let text = now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
            (name, RestrictedExpression::new_datetime(text))
        });
        let mut pairs = vec![
            ("subject", RestrictedExpression::new_entity_uid(subject)),
            ("audience", RestrictedExpression::new_entity_uid(audience)),
            ("subject_age_seconds", number(inquiry.subject_age_seconds)),
            ("risk", text(risk(inquiry))),
            ("chain", RestrictedExpression::new_set(chain)),
            ("hour", number(i64::from(local.hour()))),
            ("weekday", number(i64::from(local.weekday().to_monday_one_offset()))),
            ("sender_constrained", RestrictedExpression::new_bool(inquiry.sender_constrained)),
            ("approved", RestrictedExpression::new_bool(false)),
        ];
        pairs.extend(inquiry.requested_by.as_deref().map(|client| ("requested_by", text(client))));
        pairs.extend(now);
        pairs.extend(inquiry.client_ip.filter(|_| read(&"client_ip")).map(|address| {
            let text = address.to_canonical().to_string();
            ("client_ip", RestrictedExpression::new_ip(text))
        }));
        pairs.extend(inquiry.auth_age_seconds.map(|age| ("auth_age_seconds", number(age))));
        pairs.extend(inquiry.acr.as_deref().map(|acr| ("acr", text(acr))));
        if let Some(task) = inquiry.task.as_ref().filter(|_| read(&"task")) {
            pairs.push(("task", self.task(task)?));
        }
        let read = pairs.into_iter().filter(|(name, _)| read(name));
        Ok(read.map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

impl Terms {
    fn task(&self, task: &TaskFacts) -> Result<RestrictedExpression, Unaskable> {
        let members = [
            ("id", text(&task.id)),
            ("age_seconds", RestrictedExpression::new_long(task.age_seconds)),
            ("tokens", RestrictedExpression::new_long(task.tokens)),
            ("deferred", RestrictedExpression::new_bool(task.deferred)),
            ("actor", RestrictedExpression::new_entity_uid(uid(&self.workload, &task.actor))),
        ];
        let purpose = task.purpose.as_deref().map(|purpose| ("purpose", text(purpose)));
        let members = members.into_iter().chain(purpose).map(|(name, value)| (name.to_owned(), value));
        RestrictedExpression::new_record(members).map_err(|_| Unaskable)
    }
}

impl Asked {
    /// Every name that the scope of a policy could match: the entities, their ancestors, their types.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &(Position, String)> {
        self.keys.iter()
    }
}

/// The subject's risk: what standing says, else what its attribute says, if that is a word that policies know.
fn risk(inquiry: &Inquiry) -> &str {
    if let Some(risk) = inquiry.subject.risk {
        return risk.as_str();
    }
    match inquiry.subject.attributes.values.get("risk") {
        Some(AttributeValue::Text(risk)) if matches!(risk.as_str(), "low" | "medium" | "high") => risk,
        _ => "unknown",
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn labels(inquiry: &Inquiry) -> BTreeMap<String, RestrictedExpression> {
    let owner = inquiry.client.owner.iter().map(|owner| ("owner".to_owned(), text(owner)));
    let labels = inquiry.client.labels.iter().map(|(name, value)| {
        let value = match value {
            LabelValue::Boolean(flag) => RestrictedExpression::new_bool(*flag),
            LabelValue::Integer(number) => RestrictedExpression::new_long(*number),
            LabelValue::Text(value) => text(value),
        };
        (name.clone(), value)
    });
    labels.chain(owner).collect()
}

fn subject_attributes(inquiry: &Inquiry) -> BTreeMap<String, RestrictedExpression> {
    let mapped = inquiry.subject.attributes.values.iter().map(|(name, value)| {
        let value = match value {
            AttributeValue::Boolean(flag) => RestrictedExpression::new_bool(*flag),
            AttributeValue::Integer(number) => RestrictedExpression::new_long(*number),
            AttributeValue::Text(value) => text(value),
            AttributeValue::Set(items) => RestrictedExpression::new_set(items.iter().map(|item| text(item))),
        };
        (name.clone(), value)
    });
    // Last, so that no mapped attribute can pass for one of these.
    let own = [
        ("kind", text(inquiry.subject.kind.as_str())),
        ("issuer", text(&inquiry.subject.subject.issuer_name)),
        ("id", text(&inquiry.subject.subject.sub)),
    ];
    mapped.chain(own.map(|(name, value)| (name.to_owned(), value))).collect()
}
