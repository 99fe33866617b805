//! `check`: what is wrong with a configuration and its policies, and the schemas.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Outcome;
use super::output::say;
use crate::apart::Part;
use crate::config::Process;
use crate::{config, serving};

/// Arguments of `check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Look at files alone. (Nothing else is looked at yet.)
    #[arg(long)]
    offline: bool,
    /// Print the JSON Schema of the configuration.
    #[arg(long)]
    schema: bool,
    /// Print the Cedar schema that the configuration generates.
    #[arg(long)]
    cedar_schema: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Checks configuration and policies: every finding with its place and mend, exit 1 if there is one.
pub(super) fn run(args: &CheckArgs, paths: &[PathBuf]) -> Outcome {
    let _ = args.offline;
    if args.schema {
        say(serde_json::to_string_pretty(&schemars::schema_for!(config::File))?);
        return Ok(ExitCode::SUCCESS);
    }
    let loaded = match config::load_as_run(paths) {
        Ok(loaded) => loaded,
        Err(problems) => {
            let found: Vec<_> = problems.iter().collect();
            if args.json {
                say(serde_json::json!({ "ok": false, "problems": found }));
            } else {
                say(&problems);
                say(format!(
                    "{} found",
                    if found.len() == 1 {
                        "1 problem".to_owned()
                    } else {
                        format!("{} problems", found.len())
                    }
                ));
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    if args.cedar_schema {
        say(policy_cedar::cedar_schema(&loaded.snapshot)?);
        return Ok(ExitCode::SUCCESS);
    }
    let is_apart = loaded.process == Process::DataPlane;
    let apart = if is_apart { Part::check_all(&loaded) } else { Ok(()) };
    let in_force = match apart.and_then(|()| serving::in_force(&loaded).map_err(|error| error.to_string())) {
        Ok(in_force) => in_force,
        Err(error) => {
            if args.json {
                let problems: Vec<_> = error.lines().map(str::to_owned).collect();
                say(serde_json::json!({ "ok": false, "problems": problems }));
            } else {
                say(&error);
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    if args.json {
        say(serde_json::json!({ "ok": true, "warnings": loaded.warnings, "policies": in_force.policy.len() }));
        return Ok(ExitCode::SUCCESS);
    }
    for warning in &loaded.warnings {
        say(format!("warning: {warning}"));
    }
    let snapshot = &loaded.snapshot;
    say(format!(
        "right: trusted issuers {}, clients {}, audiences {}, policies {}",
        snapshot.issuers.len(),
        snapshot.clients.len(),
        snapshot.audiences.len(),
        in_force.policy.len()
    ));
    if is_apart {
        let verbs: Vec<_> = Part::of(&loaded).map(|part| format!("`narrows {}`", part.verb())).collect();
        let tables: Vec<_> = Part::of(&loaded).map(Part::table).collect();
        let (tables, verbs) = (tables.join(" and "), verbs.join(" and "));
        say(format!("these are {tables} alone, for {verbs}: the policies are the broker's"));
    } else if in_force.policy.is_empty() {
        say("warning: there is no policy, so nothing is allowed; write one under `policies`");
    }
    Ok(ExitCode::SUCCESS)
}
