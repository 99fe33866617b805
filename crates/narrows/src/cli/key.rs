//! `key list|rotate|retire`: on the machine of the store.

use std::path::PathBuf;
use std::process::ExitCode;

use broker::signer::{self, KeyState};
use broker::store::Store;
use clap::Subcommand;
use delegation::time::Timestamp;

use super::Outcome;
use super::output::{say, table};
use crate::config;

/// Verbs of `key`.
#[derive(Debug, Subcommand)]
pub(super) enum KeyVerb {
    /// List the signing keys.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a new key that signs from now on; what the old one signed verifies on.
    Rotate {
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take a key out of use for good: what it signed verifies no more.
    Retire {
        /// The key, or a unique beginning of it.
        kid: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) async fn run(verb: KeyVerb, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let store = Store::open(&loaded.settings.store).await?;
    let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    match verb {
        KeyVerb::List { json } => {
            let keys = signer::list(&store).await?;
            let time = |at: Timestamp| jiff::Timestamp::from_second(at.seconds()).map(|at| at.to_string()).unwrap_or_default();
            if json {
                let rows: Vec<_> = keys
                    .iter()
                    .map(|key| serde_json::json!({ "kid": key.kid, "alg": key.algorithm, "state": key.state.as_str(), "created_at": time(key.created_at), "changed_at": time(key.changed_at) }))
                    .collect();
                say(serde_json::Value::from(rows));
            } else {
                let rows = keys.iter().map(|key| {
                    vec![
                        key.kid.clone(),
                        key.algorithm.clone(),
                        key.state.as_str().to_owned(),
                        time(key.changed_at),
                    ]
                });
                say(table(&["kid", "alg", "state", "since"], rows.collect()));
            }
        }
        KeyVerb::Rotate { dry_run: true } => {
            let keys = signer::list(&store).await?;
            let active = keys.iter().find(|key| key.state == KeyState::Active);
            let active = active.ok_or("the store holds no signing key; `narrows serve` makes the first one")?;
            say(format!("would make a new signing key; what {} signed would verify on", active.kid));
        }
        KeyVerb::Rotate { dry_run: false } => {
            let kid = signer::rotate(&store, &loaded.settings.key_files, loaded.settings.algorithm, now).await?;
            say(format!("{kid} signs from now on; a running broker follows within a second"));
        }
        KeyVerb::Retire { kid, dry_run: true } => {
            let kid = signer::retirable(&store, &kid).await?;
            say(format!("would retire {kid}: what it signed would verify no more"));
        }
        KeyVerb::Retire { kid, dry_run: false } => {
            let kid = signer::retire(&store, &kid, now).await?;
            say(format!("{kid} is retired; what it signed verifies no more"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
