//! `client add|list|disable|enable` and `subject disable|enable`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use broker::store::{Party, Standing, Store};
use clap::{Subcommand, ValueEnum};
use delegation::oauth::ClientId;
use delegation::time::Timestamp;
use issuance::audit::{Decision, Kind, Record};

use super::output::{say, table};
use super::{Outcome, init};
use crate::assertion::ClientKey;
use crate::config;

/// Verbs of `client`.
#[derive(Debug, Subcommand)]
pub(super) enum ClientVerb {
    /// Make a key pair or a secret, and print the entry to paste.
    Add {
        /// The client's identifier.
        id: String,
        /// How it will authenticate.
        #[arg(long, value_enum, default_value = "private-key-jwt")]
        method: Method,
        /// Only say what would be written.
        #[arg(long)]
        dry_run: bool,
    },
    /// List the clients.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Refuse a client from now on, whatever the files say.
    Disable {
        /// The client's identifier.
        id: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take it back.
    Enable {
        /// The client's identifier.
        id: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Verbs of `subject`.
#[derive(Debug, Subcommand)]
pub(super) enum SubjectVerb {
    /// Refuse a person or workload from now on.
    Disable {
        /// The issuer's name and the outside `sub`, as `corp|alice`.
        subject: String,
    },
    /// Take it back.
    Enable {
        /// The issuer's name and the outside `sub`, as `corp|alice`.
        subject: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Method {
    /// A key pair of its own.
    PrivateKeyJwt,
    /// A shared secret in the header.
    ClientSecretBasic,
}

pub(super) async fn run(verb: ClientVerb, paths: &[PathBuf]) -> Outcome {
    match verb {
        ClientVerb::Add { id, method, dry_run } => add(&id, method, dry_run),
        ClientVerb::List { json } => list(json, paths).await,
        ClientVerb::Disable { id, dry_run } => set(Party::Client(ClientId::parse(&id)?), Standing::Disabled, dry_run, paths).await,
        ClientVerb::Enable { id, dry_run } => set(Party::Client(ClientId::parse(&id)?), Standing::Enabled, dry_run, paths).await,
    }
}

pub(super) async fn run_subject(verb: SubjectVerb, paths: &[PathBuf]) -> Outcome {
    let (subject, standing) = match verb {
        SubjectVerb::Disable { subject } => (subject, Standing::Disabled),
        SubjectVerb::Enable { subject } => (subject, Standing::Enabled),
    };
    let (issuer_name, sub) = subject.split_once('|').ok_or("expected the issuer's name and the `sub`, as `corp|alice`")?;
    set(
        Party::Subject {
            issuer_name: issuer_name.to_owned(),
            sub: sub.to_owned(),
        },
        standing,
        false,
        paths,
    )
    .await
}

fn add(id: &str, method: Method, dry_run: bool) -> Outcome {
    let id = ClientId::parse(id)?;
    match method {
        Method::PrivateKeyJwt => {
            let (public, private) = (format!("{id}.jwks.json"), format!("{id}.key"));
            if Path::new(&public).exists() || Path::new(&private).exists() {
                return Err(format!("`{public}` or `{private}` is there already; nothing was written").into());
            }
            let (key, pem) = ClientKey::generate()?;
            if !dry_run {
                init::write(Path::new(&public), &format!("{}\n", key.jwks()), false)?;
                init::write(Path::new(&private), &pem, true)?;
            }
            say(format!(
                "# wrote {public} and {private} (secret: give it to the client)\n\n[[clients]]\nid   = \"{id}\"\nauth = {{ method = \"private_key_jwt\", jwks_file = \"{public}\" }}"
            ));
        }
        Method::ClientSecretBasic => {
            let mut secret = [0; 32];
            rand::fill(&mut secret).map_err(|_| "no randomness to be had")?;
            let secret = URL_SAFE_NO_PAD.encode(secret);
            let digest: String = delegation::token::sha256(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            say(format!(
                "# the secret, shown this once: {secret}\n\n[[clients]]\nid   = \"{id}\"\nauth = {{ method = \"client_secret_basic\", secret_sha256 = \"{digest}\" }}"
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(json: bool, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let view = Store::open(&loaded.settings.store).await?.standing().await?;
    let rows: Vec<_> = loaded
        .snapshot
        .clients
        .values()
        .map(|client| {
            (
                client.id.to_string(),
                client.owner.clone().unwrap_or_default(),
                if view.is_client_disabled(&client.id) {
                    "disabled"
                } else {
                    "enabled"
                },
            )
        })
        .collect();
    if json {
        let items: Vec<_> = rows
            .iter()
            .map(|(id, owner, standing)| serde_json::json!({ "id": id, "owner": owner, "standing": standing }))
            .collect();
        say(serde_json::Value::from(items));
    } else {
        say(table(
            &["client", "owner", "standing"],
            rows.into_iter().map(|(id, owner, standing)| vec![id, owner, standing.to_owned()]).collect(),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes standing in the store itself, record included; a running broker follows within a second.
async fn set(party: Party, standing: Standing, dry_run: bool, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    if let Party::Client(id) = &party
        && !loaded.snapshot.clients.contains_key(id)
    {
        return Err(format!("there is no client `{id}`; see `narrows client list`").into());
    }
    let (name, word) = match (&party, standing) {
        (Party::Client(id), Standing::Disabled) => (id.to_string(), "disabled"),
        (Party::Client(id), Standing::Enabled) => (id.to_string(), "enabled"),
        (Party::Subject { issuer_name, sub }, Standing::Disabled) => (format!("{issuer_name}|{sub}"), "disabled"),
        (Party::Subject { issuer_name, sub }, Standing::Enabled) => (format!("{issuer_name}|{sub}"), "enabled"),
    };
    if dry_run {
        say(format!("would make `{name}` {word}"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut record = Record::new(
        uuid::Uuid::now_v7().to_string(),
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond()),
        Kind::Operator,
    );
    record.decision = Decision::Done;
    record.reason = word.to_owned();
    record.inputs = serde_json::json!({ "party": name });
    Store::open(&loaded.settings.store).await?.set_standing(&party, standing, record).await?;
    say(format!("`{name}` is {word}; a running broker follows within a second"));
    Ok(ExitCode::SUCCESS)
}
