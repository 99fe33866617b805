//! `explain`: would this be allowed, and by which rule?

mod request;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use broker::front_door::StepUp;
use clap::Args;
use delegation::authority::atoms;
use delegation::details::Detail;
use delegation::identity::{AttributeValue, Attributes, OUR_NAME, Subject, SubjectKind};
use delegation::oauth::{AudienceId, ClientId, Reason, Scope};
use delegation::registry::{Audience, Client};
use issuance::policy::{Answer, ClientFacts, Inquiry, Policy as _, Question, SubjectFacts};
use policy_cedar::Explanation;
use serde_json::json;

pub(super) use self::request::{RESEMBLES, nearest};
use super::Outcome;
use super::as_client::asked_detail;
use super::output::{complain, say};
use super::visible;
use crate::config::{self, Loaded, Process};
use crate::serving;

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// The method of a request to a boundary or a guard; then nothing has to be said of audience, details and scopes.
    #[arg(conflicts_with_all = ["audience", "details", "onward", "scope"])]
    method: Option<String>,
    /// Its URL, as `https://tickets.internal/tickets/42`.
    url: Option<String>,
    /// The boundary that it comes to; may be left out where one alone serves the host.
    #[arg(long, requires = "url")]
    boundary: Option<String>,
    /// The service whose guard it comes to; may be left out where no boundary serves the host.
    #[arg(long, value_name = "SERVICE", requires = "url", conflicts_with = "boundary")]
    guard: Option<String>,
    /// A header of the request, as `Content-Type: application/json`; may be repeated.
    #[arg(long, requires = "url")]
    header: Vec<String>,
    /// A file with the body of the request.
    #[arg(long, requires = "url")]
    body: Option<PathBuf>,
    /// The client that would ask; at a boundary, the client that acts there; at a guard, who asks for the token that comes with the request.
    #[arg(long, required_unless_present = "method")]
    client: Option<String>,
    /// Whom it would ask for: the issuer's name and the outside `sub`, as `corp|alice`. Of a request line, what it is understood as is
    /// told without too.
    #[arg(long, required_unless_present = "method")]
    subject: Option<String>,
    /// A group of the subject, as `support` or `corp|support`; may be repeated.
    #[arg(long)]
    group: Vec<String>,
    /// An attribute of the subject, as `department=sales`; may be repeated.
    #[arg(long)]
    attribute: Vec<String>,
    /// The audience.
    #[arg(long, required_unless_present = "method")]
    audience: Option<String>,
    /// Details in the short form; may be repeated.
    #[arg(long)]
    details: Vec<String>,
    /// Details to be asked for at a later hop; may be repeated.
    #[arg(long)]
    onward: Vec<String>,
    /// A scope; may be repeated.
    #[arg(long)]
    scope: Vec<String>,
    /// A client that acted before, the latest first; may be repeated.
    #[arg(long)]
    chain: Vec<String>,
    /// The life asked for, in seconds; the configured one by default.
    #[arg(long)]
    expires_in: Option<i64>,
    /// The requester's address.
    #[arg(long)]
    client_ip: Option<IpAddr>,
    /// How long ago the subject signed in, in seconds.
    #[arg(long)]
    auth_age: Option<i64>,
    /// How the subject signed in, as the token's `acr`.
    #[arg(long)]
    acr: Option<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What would be asked, by hand or by a request line.
struct Asked<'l> {
    client: &'l Client,
    audience: &'l Audience,
    questions: Vec<Question>,
    step_up: StepUp,
}

/// The answer to it.
struct Answered {
    allowed: bool,
    /// A reason that comes before policy, with its mend.
    refused: Option<(Reason, String)>,
    explanation: Explanation,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn run(args: &ExplainArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load_as_run(paths).map_err(|problems| problems.to_string())?;
    if let Some(method) = &args.method {
        let Some(url) = &args.url else {
            complain(&format!(
                "the URL is missing, as in `explain {method} https://tickets.internal/tickets/42`"
            ));
            return Ok(ExitCode::from(2));
        };
        return request::run(args, &loaded, method, url);
    }
    if let Some(elsewhere) = elsewhere(&loaded) {
        return Err(elsewhere.into());
    }
    let answered = answer(args, &loaded, by_hand(args, &loaded)?)?;
    if args.json {
        say(answered.json());
    } else {
        answered.say();
    }
    Ok(answered.code())
}

/// Why nothing is said of policy: the configuration is that of boundaries alone.
fn elsewhere(loaded: &Loaded) -> Option<&'static str> {
    (loaded.process == Process::DataPlane)
        .then_some("the policies are the broker's, which is another process (`[broker]`); ask with its configuration")
}

impl Answered {
    fn code(&self) -> ExitCode {
        if self.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn json(&self) -> serde_json::Value {
        let mut told = json!({ "allowed": self.allowed, "questions": self.explanation.questions });
        let reason = self.refused.as_ref().map(|(reason, _)| *reason);
        let reason = reason.or_else(|| (!self.allowed).then_some(Reason::PolicyDenied));
        let Some(members) = told.as_object_mut() else { return told };
        if let Some(reason) = reason {
            members.insert("reason".to_owned(), reason.as_str().into());
        }
        if let Some((_, mend)) = &self.refused {
            members.insert("mend".to_owned(), mend.as_str().into());
        }
        told
    }

    fn say(&self) {
        for line in story(&self.explanation) {
            say(line);
        }
        match &self.refused {
            Some((reason, mend)) => say(format!("refused before policy is asked, {}: {mend}", reason.as_str())),
            None if self.allowed => say("policy would allow it; the subject token's own authority is a separate question"),
            None => say("policy would refuse it"),
        }
    }
}

/// Puts the questions to the policies in force.
fn answer(args: &ExplainArgs, loaded: &Loaded, asked: Asked<'_>) -> Result<Answered, Failure> {
    let step_up = asked.step_up.clone();
    let closed = asked.audience.clients.as_ref().is_some_and(|clients| !clients.contains(&asked.client.id));
    let named = format!("add `{}` to `clients` of audience `{}`", asked.client.id, asked.audience.id);
    let inquiry = inquiry(args, loaded, asked)?;
    let in_force = serving::in_force(loaded)?;
    let refused = if closed {
        Some((Reason::AudienceClosed, named))
    } else {
        let mend = "sign in again as the route asks, and say so here with --auth-age and --acr".to_owned();
        step_up.check(&inquiry).err().map(|reason| (reason, mend))
    };
    Ok(Answered {
        allowed: refused.is_none() && in_force.policy.ask(&inquiry).answer == Answer::Allow,
        refused,
        explanation: in_force.policy.explain(&inquiry),
    })
}

/// The answer to each question, with near misses.
pub(super) fn story(explanation: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    for question in &explanation.questions {
        lines.push(format!(
            "{}  {}",
            if question.allowed { "allowed" } else { "refused" },
            question.asked
        ));
        for rule in &question.decided_by {
            lines.push(format!("    {} `{}` at {}:{}", rule.effect, rule.id, rule.file, rule.line));
        }
        if !question.allowed && question.decided_by.is_empty() {
            lines.push("    no permit applies".to_owned());
        }
        for miss in &question.near_misses {
            lines.push(format!(
                "    near miss: permit `{}` at {}:{}, but this is false: {}",
                miss.rule.id, miss.rule.file, miss.rule.line, miss.condition
            ));
            for (name, value) in &miss.values {
                lines.push(format!("        {name} = {value}"));
            }
        }
    }
    lines.iter().map(|line| visible::line(line)).collect()
}

/// A group as the issuer says it; policy's own spelling, `corp|support`, is understood too.
fn group_of(issuer_name: &str, group: &str) -> String {
    let bare = group.strip_prefix(issuer_name).and_then(|rest| rest.strip_prefix('|'));
    bare.unwrap_or(group).to_owned()
}

/// The client and the audience with these names.
fn parties<'l>(loaded: &'l Loaded, client: &str, audience: &str) -> Result<(&'l Client, &'l Audience), Failure> {
    let snapshot = &loaded.snapshot;
    let client = snapshot.clients.get(&ClientId::parse(client)?).ok_or_else(|| {
        let known: Vec<_> = snapshot.clients.keys().map(ClientId::as_str).collect();
        format!("there is no client `{client}`; there are: {}", known.join(", "))
    })?;
    let found = snapshot.audiences.get(&AudienceId::parse(audience)?);
    Ok((client, found.ok_or_else(|| format!("there is no audience `{audience}`"))?))
}

fn by_hand<'l>(args: &ExplainArgs, loaded: &'l Loaded) -> Result<Asked<'l>, Failure> {
    let (client, audience) = parties(
        loaded,
        args.client.as_deref().unwrap_or_default(),
        args.audience.as_deref().unwrap_or_default(),
    )?;
    let read =
        |texts: &[String]| -> Result<Vec<Detail>, String> { texts.iter().map(|text| asked_detail(text, &loaded.snapshot.types)).collect() };
    let scopes = args.scope.iter().map(|scope| Scope::parse(scope)).collect::<Result<Vec<_>, _>>()?;
    let questions = questions(&read(&args.details)?, &read(&args.onward)?, scopes);
    if questions.is_empty() {
        return Err("nothing is asked; name --details, --onward or --scope".into());
    }
    Ok(Asked {
        client,
        audience,
        questions,
        step_up: StepUp::default(),
    })
}

/// One question for each atom, and for each scope.
fn questions(details: &[Detail], onward: &[Detail], scopes: impl IntoIterator<Item = Scope>) -> Vec<Question> {
    let each = |onward| {
        move |atom: delegation::authority::Atom<'_>| Question::Detail {
            detail: atom.detail.clone(),
            action: atom.action.to_owned(),
            onward,
        }
    };
    let direct = atoms(details).map(each(false));
    let later = atoms(onward).map(each(true));
    direct.chain(later).chain(scopes.into_iter().map(Question::Scope)).collect()
}

/// The subject's groups and attributes, as far as they are said.
fn attributes(args: &ExplainArgs, issuer_name: &str) -> Result<Attributes, Failure> {
    let mut attributes = Attributes {
        groups: args.group.iter().map(|group| group_of(issuer_name, group)).collect(),
        ..Attributes::default()
    };
    for pair in &args.attribute {
        let (name, value) = pair.split_once('=').ok_or("--attribute: expected `name=value`")?;
        attributes.values.insert(name.to_owned(), AttributeValue::Text(value.to_owned()));
    }
    Ok(attributes)
}

/// The two parts of `--subject`.
fn subject_of(args: &ExplainArgs) -> Result<(&str, &str), Failure> {
    let parts = args.subject.as_deref().and_then(|subject| subject.split_once('|'));
    Ok(parts.ok_or("--subject: expected the issuer's name and the `sub`, as `corp|alice`")?)
}

fn inquiry(args: &ExplainArgs, loaded: &Loaded, asked: Asked<'_>) -> Result<Inquiry, Failure> {
    let snapshot = &loaded.snapshot;
    let (issuer_name, sub) = subject_of(args)?;
    let (iss, kind) = if issuer_name == OUR_NAME {
        (snapshot.issuer.clone(), SubjectKind::Workload)
    } else {
        let issuer = snapshot
            .issuer_named(issuer_name)
            .ok_or_else(|| format!("there is no trusted issuer `{issuer_name}`"))?;
        (issuer.issuer.clone(), issuer.subject)
    };
    let lifetimes = &snapshot.lifetimes;
    let longest = asked.audience.max_lifetime.unwrap_or(lifetimes.max).min(lifetimes.max);
    let usual = i64::try_from(lifetimes.default.min(longest).as_secs()).unwrap_or(i64::MAX);
    Ok(Inquiry {
        client: ClientFacts::from(asked.client),
        subject: SubjectFacts {
            subject: Subject {
                issuer_name: issuer_name.to_owned(),
                iss,
                sub: sub.to_owned(),
            },
            kind,
            attributes: attributes(args, issuer_name)?,
            risk: None,
        },
        audience: asked.audience.id.to_string(),
        now_millis: jiff::Timestamp::now().as_millisecond(),
        expires_in: args.expires_in.unwrap_or(usual),
        subject_age_seconds: 0,
        requested_by: None,
        chain: args.chain.iter().map(|id| ClientId::parse(id)).collect::<Result<_, _>>()?,
        client_ip: args.client_ip,
        sender_constrained: false,
        auth_age_seconds: args.auth_age,
        acr: args.acr.clone(),
        task: None,
        questions: asked.questions,
    })
}
