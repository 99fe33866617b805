//! Cases: one request each, and what policy must say to it.

use std::collections::BTreeMap;

use delegation::authority::atoms;
use delegation::details::{Detail, Standing};
use delegation::identity::{AttributeValue, Attributes, OUR_NAME, Subject, SubjectKind};
use delegation::oauth::{ClientId, Scope};
use issuance::policy::{ClientFacts, Inquiry, Question, SubjectFacts, TaskFacts};
use serde::Deserialize;

use crate::config::Loaded;

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cases {
    pub(super) case: Vec<Case>,
}

/// One request and what policy must say to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) client: String,
    /// `issuer|sub`.
    pub(super) subject: String,
    #[serde(default)]
    pub(super) groups: Vec<String>,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) audience: String,
    #[serde(default)]
    pub(super) details: Vec<String>,
    #[serde(default)]
    pub(super) onward: Vec<String>,
    #[serde(default)]
    pub(super) scope: Vec<String>,
    /// The clients that acted before, the latest first.
    #[serde(default)]
    pub(super) chain: Vec<String>,
    /// The task that the token hangs from, or that is opened.
    pub(super) task: Option<CaseTask>,
    /// In seconds; two minutes if it does not matter.
    pub(super) expires_in: Option<i64>,
    /// RFC 3339; noon of a Wednesday if it does not matter.
    pub(super) now: Option<jiff::Timestamp>,
    /// `allow`, `deny` or `hold`.
    pub(super) expect: String,
    /// The `@id`s that must have decided.
    pub(super) rules: Option<Vec<String>>,
}

/// The task that a case is asked in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseTask {
    /// The client that redeems it; the one that asks by default.
    actor: Option<String>,
    #[serde(default)]
    purpose: Option<String>,
    #[serde(default)]
    deferred: bool,
    #[serde(default)]
    age_seconds: i64,
    #[serde(default)]
    tokens: i64,
    /// Its life; an hour by default.
    #[serde(default = "an_hour")]
    expires_in: i64,
    /// Whether the case asks for the task itself too: it is to be opened.
    #[serde(default)]
    opens: bool,
}

fn an_hour() -> i64 {
    3600
}

impl CaseTask {
    fn facts(&self, client: &str) -> TaskFacts {
        TaskFacts {
            id: "a-task".to_owned(),
            purpose: self.purpose.clone(),
            age_seconds: self.age_seconds,
            tokens: self.tokens,
            deferred: self.deferred,
            actor: self.actor.clone().unwrap_or_else(|| client.to_owned()),
            expires_in: self.expires_in,
        }
    }
}

impl Case {
    /// What policy is asked; the error says what of the case is not known.
    pub(super) fn inquiry(&self, loaded: &Loaded) -> Result<Inquiry, String> {
        let snapshot = &loaded.snapshot;
        let client = ClientId::parse(&self.client)
            .ok()
            .and_then(|id| snapshot.clients.get(&id))
            .ok_or_else(|| format!("there is no client `{}`", self.client))?;
        let (issuer_name, sub) = self.subject.split_once('|').ok_or("`subject` is `issuer|sub`")?;
        let issuer = snapshot.issuer_named(issuer_name);
        if issuer.is_none() && issuer_name != OUR_NAME {
            return Err(format!("there is no trusted issuer `{issuer_name}`"));
        }
        if !snapshot.audiences.keys().any(|id| id.to_string() == self.audience) {
            return Err(format!("there is no audience `{}`", self.audience));
        }
        let actor = |id: &String| {
            ClientId::parse(id)
                .ok()
                .filter(|id| snapshot.clients.contains_key(id))
                .ok_or_else(|| format!("there is no client `{id}`"))
        };
        let chain = self.chain.iter().map(actor).collect::<Result<_, _>>()?;
        let mut questions = Vec::new();
        if let Some(task) = &self.task {
            task.actor.as_ref().map_or(Ok(()), |id| actor(id).map(drop))?;
            questions.extend(task.opens.then_some(Question::Task));
            questions.extend((task.opens && task.deferred).then_some(Question::Defer));
        }
        for (list, onward) in [(&self.details, false), (&self.onward, true)] {
            for text in list {
                let detail = Detail::parse_short(text, &snapshot.types, Standing::Asked).map_err(|error| format!("`{text}`: {error}"))?;
                questions.extend(atoms(std::slice::from_ref(&detail)).map(|atom| Question::Detail {
                    detail: atom.detail.clone(),
                    action: atom.action.to_owned(),
                    onward,
                }));
            }
        }
        for scope in &self.scope {
            questions.push(Question::Scope(Scope::parse(scope).map_err(|error| error.to_string())?));
        }
        let text = |(name, value): (&String, &String)| (name.clone(), AttributeValue::Text(value.clone()));
        let subject = SubjectFacts {
            subject: Subject {
                issuer_name: issuer_name.to_owned(),
                iss: issuer.map(|issuer| issuer.issuer.clone()).unwrap_or_default(),
                sub: sub.to_owned(),
            },
            kind: issuer.map_or(SubjectKind::Workload, |issuer| issuer.subject),
            attributes: Attributes {
                groups: self.groups.iter().cloned().collect(),
                values: self.attributes.iter().map(text).collect(),
            },
            risk: None,
        };
        let plain = Inquiry::plain(ClientFacts::from(client), subject, self.audience.clone());
        Ok(Inquiry {
            now_millis: self.now.map_or(plain.now_millis, jiff::Timestamp::as_millisecond),
            expires_in: self.expires_in.unwrap_or(plain.expires_in),
            chain,
            task: self.task.as_ref().map(|task| task.facts(&self.client)),
            questions,
            ..plain
        })
    }
}
