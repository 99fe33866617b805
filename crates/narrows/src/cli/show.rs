//! `config show`: what is in force, for which process, and from which file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::Outcome;
use super::output::say;
use crate::apart::Part;
use crate::config::{self, Loaded, Process};

/// Verbs of `config`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Print what is in force, and from which files; secrets are masked.
    Show(ShowArgs),
}

/// Arguments of `config show`.
#[derive(Args, Debug)]
pub(super) struct ShowArgs {
    /// With the defaults that were not written.
    #[arg(long)]
    effective: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Shows each value with the place that it comes from; secrets are masked. What the process would not start with is refused.
pub(super) fn run(verb: &ConfigVerb, paths: &[PathBuf]) -> Outcome {
    let ConfigVerb::Show(args) = verb;
    let loaded = config::load_as_run(paths).map_err(|problems| problems.to_string())?;
    if loaded.process == Process::DataPlane {
        Part::check_all(&loaded)?;
    }
    let shown = loaded.shown(args.effective)?;
    if args.json {
        let whole = json!({
            "process": verbs(&loaded).join(" and "), "not_used": loaded.passed_over(),
            "files": loaded.files, "config": shown.config, "from": shown.places(),
        });
        say(serde_json::to_string_pretty(&whole)?);
        return Ok(ExitCode::SUCCESS);
    }
    for file in &loaded.files {
        say(format!("# from {}", file.display()));
    }
    for line in whose(&loaded) {
        say(format!("# {line}"));
    }
    say("");
    for line in shown.lines() {
        say(line);
    }
    Ok(ExitCode::SUCCESS)
}

/// What runs by these values.
fn verbs(loaded: &Loaded) -> Vec<&'static str> {
    match loaded.process {
        Process::Broker => vec!["serve"],
        Process::DataPlane => Part::of(loaded).map(Part::verb).collect(),
    }
}

/// Which process goes by these values, and by what version of them.
fn whose(loaded: &Loaded) -> Vec<String> {
    let verbs: Vec<_> = verbs(loaded).into_iter().map(|verb| format!("`narrows {verb}`")).collect();
    let verbs = verbs.join(" and ");
    let version = &loaded.snapshot.config_version;
    match loaded.process {
        Process::Broker => {
            let mut lines = vec![format!("for {verbs}, the broker with the boundaries and guards beside it")];
            if loaded.remote.is_some() {
                let less = "`listen`, `store`, `policies` and `key_file`";
                lines.push(format!(
                    "`narrows boundary` reads the same without {less}, and asks the broker of [broker]"
                ));
            }
            lines.push(format!("config_version {version}, policy_version {}", loaded.policy_version));
            lines
        }
        Process::DataPlane => {
            let tables: Vec<_> = Part::of(loaded).map(Part::table).collect();
            let mut lines = vec![format!(
                "for {verbs}, {} alone: the broker of [broker] decides, and the policies are its own",
                tables.join(" and ")
            )];
            if !loaded.passed_over().is_empty() {
                lines.push(format!("not used by it: {}", loaded.passed_over().join(", ")));
            }
            lines.push(format!("config_version {version}"));
            lines
        }
    }
}
