//! `explain`: would this be allowed, and by which rule?

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use delegation::authority::atoms;
use delegation::details::{Detail, Standing};
use delegation::identity::{AttributeValue, Attributes, OUR_NAME, Subject, SubjectKind};
use delegation::oauth::{AudienceId, ClientId, Scope};
use issuance::policy::{Answer, ClientFacts, Inquiry, Policy as _, Question, SubjectFacts};
use policy_cedar::Explanation;

use super::Outcome;
use super::output::say;
use crate::config::{self, Loaded};
use crate::serving;

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// The client that would ask.
    #[arg(long)]
    client: String,
    /// Whom it would ask for: the issuer's name and the outside `sub`, as `corp|alice`.
    #[arg(long)]
    subject: String,
    /// A group of the subject, as `support` or `corp|support`; may be repeated.
    #[arg(long)]
    group: Vec<String>,
    /// An attribute of the subject, as `department=sales`; may be repeated.
    #[arg(long)]
    attribute: Vec<String>,
    /// The audience.
    #[arg(long)]
    audience: String,
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
    /// The life asked for, in seconds.
    #[arg(long, default_value_t = 120)]
    expires_in: i64,
    /// The requester's address.
    #[arg(long)]
    client_ip: Option<IpAddr>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ExplainArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let inquiry = inquiry(args, &loaded)?;
    let in_force = serving::in_force(&loaded)?;
    let explanation = in_force.policy.explain(&inquiry);
    let allowed = in_force.policy.ask(&inquiry).answer == Answer::Allow;
    if args.json {
        say(serde_json::json!({ "allowed": allowed, "questions": explanation.questions }));
    } else {
        for line in story(&explanation) {
            say(line);
        }
        say(if allowed {
            "policy would allow it; the subject token's own authority is a separate question"
        } else {
            "policy would refuse it"
        });
    }
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
    lines
}

/// A group as the issuer says it; policy's own spelling, `corp|support`, is understood too.
fn group_of(issuer_name: &str, group: &str) -> String {
    let bare = group.strip_prefix(issuer_name).and_then(|rest| rest.strip_prefix('|'));
    bare.unwrap_or(group).to_owned()
}

fn inquiry(args: &ExplainArgs, loaded: &Loaded) -> Result<Inquiry, Box<dyn std::error::Error + Send + Sync>> {
    let snapshot = &loaded.snapshot;
    let client = snapshot
        .clients
        .get(&ClientId::parse(&args.client)?)
        .ok_or_else(|| format!("there is no client `{}`", args.client))?;
    let (issuer_name, sub) = args
        .subject
        .split_once('|')
        .ok_or("--subject: expected the issuer's name and the `sub`, as `corp|alice`")?;
    let (iss, kind) = if issuer_name == OUR_NAME {
        (snapshot.issuer.clone(), SubjectKind::Workload)
    } else {
        let issuer = snapshot
            .issuer_named(issuer_name)
            .ok_or_else(|| format!("there is no trusted issuer `{issuer_name}`"))?;
        (issuer.issuer.clone(), issuer.subject)
    };
    let audience = AudienceId::parse(&args.audience)?;
    if !snapshot.audiences.contains_key(&audience) {
        return Err(format!("there is no audience `{audience}`").into());
    }
    let mut attributes = Attributes {
        groups: args.group.iter().map(|group| group_of(issuer_name, group)).collect(),
        ..Attributes::default()
    };
    for pair in &args.attribute {
        let (name, value) = pair.split_once('=').ok_or("--attribute: expected `name=value`")?;
        attributes.values.insert(name.to_owned(), AttributeValue::Text(value.to_owned()));
    }
    let mut questions = Vec::new();
    for (list, onward) in [(&args.details, false), (&args.onward, true)] {
        for text in list {
            let detail = Detail::parse_short(text, &snapshot.types, Standing::Asked).map_err(|error| format!("`{text}`: {error}"))?;
            let ask = |atom: delegation::authority::Atom<'_>| Question::Detail {
                detail: atom.detail.clone(),
                action: atom.action.to_owned(),
                onward,
            };
            questions.extend(atoms(std::slice::from_ref(&detail)).map(ask));
        }
    }
    for scope in &args.scope {
        questions.push(Question::Scope(Scope::parse(scope)?));
    }
    if questions.is_empty() {
        return Err("nothing is asked; name --details, --onward or --scope".into());
    }
    Ok(Inquiry {
        client: ClientFacts::from(client),
        subject: SubjectFacts {
            subject: Subject {
                issuer_name: issuer_name.to_owned(),
                iss,
                sub: sub.to_owned(),
            },
            kind,
            attributes,
            risk: None,
        },
        audience: args.audience.clone(),
        now_millis: jiff::Timestamp::now().as_millisecond(),
        expires_in: args.expires_in,
        subject_age_seconds: 0,
        requested_by: None,
        chain: args.chain.iter().map(|id| ClientId::parse(id)).collect::<Result<_, _>>()?,
        client_ip: args.client_ip,
        sender_constrained: false,
        auth_age_seconds: None,
        acr: None,
        task: None,
        questions,
    })
}
