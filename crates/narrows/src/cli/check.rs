//! `check` and `config show`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::Outcome;
use super::output::say;
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
    let loaded = match config::load(paths) {
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
    let in_force = match serving::in_force(&loaded) {
        Ok(in_force) => in_force,
        Err(error) => {
            if args.json {
                let problems: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
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
    if in_force.policy.is_empty() {
        say("warning: there is no policy, so nothing is allowed; write one under `policies`");
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the configuration, with its files; secrets are masked.
pub(super) fn show(effective: bool, json: bool, paths: &[PathBuf]) -> Outcome {
    let mut loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    if effective {
        let defaults: toml::Table = format!(
            "policy = {{ timezone = \"{}\" }}\n[tokens]\nlifetime = \"{}s\"\nmax_lifetime = \"{}s\"\nalgorithm = \"{}\"\nmax_chain = {}\n[limits]\nbody = \"{}\"\nconnections = {}\n",
            loaded.timezone,
            loaded.snapshot.lifetimes.default.as_secs(),
            loaded.snapshot.lifetimes.max.as_secs(),
            loaded.settings.algorithm.as_str(),
            loaded.snapshot.max_chain,
            loaded.settings.body_limit,
            loaded.settings.connections,
        )
        .parse()?;
        for (key, value) in defaults {
            loaded.shown.insert(key, value);
        }
    }
    if json {
        say(serde_json::to_string_pretty(
            &serde_json::json!({ "files": loaded.files, "config": loaded.shown }),
        )?);
        return Ok(ExitCode::SUCCESS);
    }
    for file in &loaded.files {
        say(format!("# from {}", file.display()));
    }
    say(format!(
        "# config_version {}, policy_version {}",
        loaded.snapshot.config_version, loaded.policy_version
    ));
    say(toml::to_string_pretty(&loaded.shown)?);
    Ok(ExitCode::SUCCESS)
}
