//! `key list|rotate|retire`: on the machine of the store.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use broker::signer::{self, KeyState};
use broker::store::Store;
use clap::Subcommand;
use delegation::time::Timestamp;

use super::Outcome;
use super::output::{say, seconds, table};
use crate::config;

/// Every running broker follows the store each second: after twice as long all of them publish a new key.
const PUBLISHED_EVERYWHERE: Duration = Duration::from_secs(2);

/// Verbs of `key`.
#[derive(Debug, Subcommand)]
pub(super) enum KeyVerb {
    /// List the signing keys.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Publish a new key, which signs after `keys.publish_before`; what the old one signed verifies on, for as long as it lives.
    Rotate {
        /// Let it sign as soon as every running broker has published it.
        #[arg(long)]
        now: bool,
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
        KeyVerb::Rotate { dry_run: true, .. } => {
            let keys = signer::list(&store).await?;
            let active = keys.iter().find(|key| key.state == KeyState::Active);
            let active = active.ok_or("the store holds no signing key; `narrows serve` makes the first one")?;
            say(format!("would make a new signing key; what {} signed would verify on", active.kid));
        }
        KeyVerb::Rotate {
            dry_run: false,
            now: at_once,
        } => {
            let settings = &loaded.settings;
            let kid = signer::rotate(&store, &settings.key_files, settings.algorithm, now).await?;
            if !at_once {
                let before = seconds(i64::try_from(settings.publish_before.as_secs()).unwrap_or(i64::MAX));
                say(format!(
                    "{kid} is published; a running broker signs with it when it has been for {before}"
                ));
                return Ok(ExitCode::SUCCESS);
            }
            // Killed here, the key is published and signs in its time.
            tokio::time::sleep(PUBLISHED_EVERYWHERE).await;
            let schedule = signer::Schedule {
                algorithm: settings.algorithm,
                rotate_every: settings.rotate_every,
                publish_before: settings.publish_before,
                longest_life: loaded.snapshot.lifetimes.max,
            };
            signer::activate(&store, &kid, &schedule, now).await?;
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
