//! `policy test|lint|matrix`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use delegation::authority::atoms;
use delegation::details::{Detail, Standing};
use delegation::identity::{AttributeValue, Attributes, OUR_NAME, Subject, SubjectKind};
use delegation::oauth::{ClientId, Scope};
use issuance::policy::{Answer, Because, ClientFacts, Inquiry, Policy as _, Question, SubjectFacts, TaskFacts};
use policy_cedar::CedarPolicy;
use serde::Deserialize;

use super::Outcome;
use super::output::{say, table};
use crate::config::{self, Loaded};
use crate::serving;

/// Verbs of `policy`.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyVerb {
    /// Run the cases in the NAME.cases.toml beside the policies.
    Test,
    /// Name rules that can never fire, and permits without audience or type.
    Lint {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The truth table: which client may do what, for a subject in the given groups.
    Matrix {
        /// A group of the subject, as `corp|support`; may be repeated.
        #[arg(long)]
        group: Vec<String>,
        /// A client that acted before, the latest first; may be repeated.
        #[arg(long)]
        chain: Vec<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

/// One request and what policy must say to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    client: String,
    /// `issuer|sub`.
    subject: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    audience: String,
    #[serde(default)]
    details: Vec<String>,
    #[serde(default)]
    onward: Vec<String>,
    #[serde(default)]
    scope: Vec<String>,
    /// The clients that acted before, the latest first.
    #[serde(default)]
    chain: Vec<String>,
    /// The task that the token hangs from, or that is opened.
    task: Option<CaseTask>,
    #[serde(default = "two_minutes")]
    expires_in: i64,
    /// RFC 3339; noon of a Wednesday if it does not matter.
    now: Option<jiff::Timestamp>,
    /// `allow`, `deny` or `hold`.
    expect: String,
    /// The `@id`s that must have decided.
    rules: Option<Vec<String>>,
}

fn two_minutes() -> i64 {
    120
}

pub(super) fn run(verb: PolicyVerb, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let in_force = serving::in_force(&loaded)?;
    match verb {
        PolicyVerb::Test => test(&loaded, &in_force.policy),
        PolicyVerb::Lint { json } => lint(&loaded, &in_force.policy, json),
        PolicyVerb::Matrix { group, chain, json } => matrix(&loaded, &in_force.policy, &group, &chain, json),
    }
}

fn test(loaded: &Loaded, policy: &CedarPolicy) -> Outcome {
    let (mut passed, mut failed) = (0, 0);
    for path in beside(loaded)? {
        let cases: Cases = toml::from_str(&std::fs::read_to_string(&path)?).map_err(|error| format!("{}: {error}", path.display()))?;
        for case in cases.case {
            let inquiry = case.inquiry(loaded).map_err(|error| format!("{}: case `{}`: {error}", path.display(), case.name))?;
            let verdict = policy.ask(&inquiry);
            let answer = match verdict.answer {
                Answer::Allow => "allow",
                Answer::Deny {
                    because: Because::Hold, ..
                } => "hold",
                Answer::Deny { .. } => "deny",
            };
            let rules = case.rules.as_ref().is_none_or(|rules| *rules == verdict.rules);
            if !["allow", "deny", "hold"].contains(&case.expect.as_str()) {
                return Err(format!(
                    "{}: case `{}`: expect: expected allow, deny or hold, found `{}`",
                    path.display(),
                    case.name,
                    case.expect
                )
                .into());
            }
            if answer == case.expect && rules {
                passed += 1;
            } else {
                failed += 1;
                say(format!(
                    "{}: `{}`: expected {} by {:?}, got {answer} by {:?}",
                    path.display(),
                    case.name,
                    case.expect,
                    case.rules.unwrap_or_default(),
                    verdict.rules
                ));
            }
        }
    }
    if passed + failed == 0 {
        say("no cases: write them in NAME.cases.toml beside NAME.cedar");
    }
    say(format!("{passed} passed, {failed} failed"));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Every file of cases in the folders that policies lie in, whatever policy it is named after.
fn beside(loaded: &Loaded) -> Result<BTreeSet<PathBuf>, Box<dyn std::error::Error + Send + Sync>> {
    let folders: BTreeSet<_> = loaded.policies.iter().filter_map(|file| Path::new(&file.name).parent()).collect();
    let mut found = BTreeSet::new();
    for folder in folders {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        for entry in std::fs::read_dir(here)? {
            let name = entry?.file_name();
            if name.to_string_lossy().ends_with(".cases.toml") {
                found.insert(folder.join(name));
            }
        }
    }
    Ok(found)
}

/// The task that a case is asked in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseTask {
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
    fn inquiry(&self, loaded: &Loaded) -> Result<Inquiry, String> {
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
        let noon: jiff::Timestamp = "2026-01-07T12:00:00Z".parse().map_err(|_| "no time")?;
        let text = |(name, value): (&String, &String)| (name.clone(), AttributeValue::Text(value.clone()));
        Ok(Inquiry {
            client: ClientFacts::from(client),
            subject: SubjectFacts {
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
            },
            audience: self.audience.clone(),
            now_millis: self.now.unwrap_or(noon).as_millisecond(),
            expires_in: self.expires_in,
            subject_age_seconds: 0,
            requested_by: None,
            chain,
            client_ip: None,
            sender_constrained: false,
            auth_age_seconds: None,
            acr: None,
            task: self.task.as_ref().map(|task| task.facts(&self.client)),
            questions,
        })
    }
}

/// Rules that name a client there is not, and permits that bound neither action nor resource.
fn lint(loaded: &Loaded, policy: &CedarPolicy, json: bool) -> Outcome {
    let clients: Vec<_> = loaded.snapshot.clients.keys().map(ToString::to_string).collect();
    let findings = policy.lint(&clients);
    if json {
        say(serde_json::to_string_pretty(&findings)?);
    } else {
        for (rule, finding) in &findings {
            say(format!("{}:{}: `{}` {finding}", rule.file, rule.line, rule.id));
        }
        say(format!("{} policies looked at, {} findings", policy.len(), findings.len()));
    }
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn matrix(loaded: &Loaded, policy: &CedarPolicy, groups: &[String], chain: &[String], json: bool) -> Outcome {
    let snapshot = &loaded.snapshot;
    let issuer = groups
        .first()
        .and_then(|group| group.split_once('|'))
        .and_then(|(name, _)| snapshot.issuer_named(name))
        .or_else(|| snapshot.issuers.values().next());
    let issuer_name = issuer.map_or_else(|| "narrows".to_owned(), |issuer| issuer.name.clone());
    let mut rows = Vec::new();
    for client in snapshot.clients.keys() {
        for audience in snapshot.audiences.values() {
            let closed = audience.clients.as_ref().is_some_and(|clients| !clients.contains(client));
            for declared in audience.detail_types.iter().filter_map(|name| snapshot.types.get(name)) {
                for (action, rule) in &declared.actions {
                    let id = if rule.identifier == delegation::details::IdentifierRule::None {
                        ""
                    } else {
                        "/1"
                    };
                    let case = Case {
                        name: String::new(),
                        client: client.to_string(),
                        subject: format!("{issuer_name}|someone"),
                        groups: groups
                            .iter()
                            .map(|group| group.split_once('|').map_or(group.as_str(), |(_, name)| name).to_owned())
                            .collect(),
                        attributes: BTreeMap::new(),
                        audience: audience.id.to_string(),
                        details: vec![format!("{}:{action}{id}", declared.name)],
                        onward: Vec::new(),
                        scope: Vec::new(),
                        chain: chain.to_vec(),
                        task: None,
                        expires_in: 60,
                        now: None,
                        expect: String::new(),
                        rules: None,
                    };
                    // Where the audience is closed to the client, policy is not asked.
                    let (answer, rules) = if closed {
                        ("closed", String::new())
                    } else {
                        let verdict = policy.ask(&case.inquiry(loaded)?);
                        let answer = if verdict.answer == Answer::Allow { "allow" } else { "deny" };
                        (answer, verdict.rules.join(" "))
                    };
                    rows.push(vec![
                        client.to_string(),
                        audience.id.to_string(),
                        format!("{}:{action}", declared.name),
                        answer.to_owned(),
                        rules,
                    ]);
                }
            }
        }
    }
    if json {
        let items: Vec<_> = rows.iter().map(|row| serde_json::json!({ "client": row.first(), "audience": row.get(1), "action": row.get(2), "answer": row.get(3), "rules": row.get(4) })).collect();
        say(serde_json::Value::from(items));
    } else {
        say(format!(
            "for a subject {}{}\n",
            listed("in", groups, "in no group"),
            listed(", after", chain, "")
        ));
        say(table(&["client", "audience", "action", "answer", "rules"], rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(word: &str, names: &[String], none: &str) -> String {
    if names.is_empty() {
        none.to_owned()
    } else {
        format!("{word} {}", names.join(", "))
    }
}
