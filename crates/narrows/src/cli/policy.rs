//! `policy test|lint|matrix`.

mod case;
mod matrix;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use issuance::policy::{Answer, Because, Policy as _};
use policy_cedar::CedarPolicy;

use super::Outcome;
use super::output::say;
use crate::config::{self, Loaded};
use crate::serving;
use case::Cases;
use matrix::matrix;

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
        say(format!("looked at: policies {}, findings {}", policy.len(), findings.len()));
    }
    Ok(if findings.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
