//! `client add|list|disable|enable` and `subject show|disable|enable`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_lc_rs::rand;
use broker::store::{Party, Standing, Store, SubjectName};
use clap::{Subcommand, ValueEnum};
use delegation::identity::{OUR_NAME, Risk};
use delegation::oauth::ClientId;
use delegation::time::Timestamp;
use delegation::token::{OpaqueForm, OpaqueKind};
use issuance::audit::{Decision, Kind, Record};

use super::output::{say, table};
use super::{Outcome, init};
use crate::assertion::ClientKey;
use crate::config::{self, Loaded};

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
        /// The client's identifier, or a unique beginning of it.
        id: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take it back.
    Enable {
        /// The client's identifier, or a unique beginning of it.
        id: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Verbs of `subject`.
#[derive(Debug, Subcommand)]
pub(super) enum SubjectVerb {
    /// Say whether a person or workload is refused, and how risky somebody says that they are.
    Show {
        /// The issuer's name and the outside `sub`, as `corp|alice`.
        subject: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Refuse a person or workload from now on.
    Disable {
        /// The issuer's name and the outside `sub`, as `corp|alice`.
        subject: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Take it back.
    Enable {
        /// The issuer's name and the outside `sub`, as `corp|alice`.
        subject: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Method {
    /// A key pair of its own.
    PrivateKeyJwt,
    /// A shared secret in the header.
    ClientSecretBasic,
    /// A shared secret in the body.
    ClientSecretPost,
}

pub(super) async fn run(verb: ClientVerb, paths: &[PathBuf]) -> Outcome {
    let (id, standing, dry_run) = match verb {
        ClientVerb::Add { id, method, dry_run } => return add(&id, method, dry_run, paths),
        ClientVerb::List { json } => return list(json, paths).await,
        ClientVerb::Disable { id, dry_run } => (id, Standing::Disabled, dry_run),
        ClientVerb::Enable { id, dry_run } => (id, Standing::Enabled, dry_run),
    };
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    set(Party::Client(named(&loaded, &id)?), standing, dry_run, &loaded).await
}

pub(super) async fn run_subject(verb: SubjectVerb, paths: &[PathBuf]) -> Outcome {
    let (subject, standing, dry_run) = match verb {
        SubjectVerb::Show { subject, json } => return show(&subject, json, paths).await,
        SubjectVerb::Disable { subject, dry_run } => (subject, Standing::Disabled, dry_run),
        SubjectVerb::Enable { subject, dry_run } => (subject, Standing::Enabled, dry_run),
    };
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let SubjectName { issuer_name, sub } = subject_named(&subject, &loaded)?;
    set(Party::Subject { issuer_name, sub }, standing, dry_run, &loaded).await
}

/// The subject that `text` names, of an issuer that there is: someone who is disabled under a name that nothing has would
/// go on as before.
fn subject_named(text: &str, loaded: &Loaded) -> Result<SubjectName, String> {
    let (issuer_name, sub) = text.split_once('|').ok_or("expected the issuer's name and the `sub`, as `corp|alice`")?;
    if issuer_name != OUR_NAME && loaded.snapshot.issuer_named(issuer_name).is_none() {
        return Err(format!("there is no trusted issuer `{issuer_name}`; see `narrows config show`"));
    }
    Ok(SubjectName {
        issuer_name: issuer_name.to_owned(),
        sub: sub.to_owned(),
    })
}

async fn show(subject: &str, json: bool, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let name = subject_named(subject, &loaded)?;
    let found = Store::open(&loaded.settings.store).await?.subject(&name).await?;
    let since = found
        .disabled_at
        .and_then(|at| jiff::Timestamp::from_second(at.seconds()).ok())
        .map(|at| at.to_string());
    let standing = if since.is_some() { "disabled" } else { "enabled" };
    let risk = found.risk.map(Risk::as_str);
    if json {
        say(serde_json::json!({ "issuer": name.issuer_name, "sub": name.sub, "standing": standing, "disabled_at": since, "risk": risk }));
    } else {
        let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
        say(format!(
            "`{subject}` is {standing}{since}; risk: {}",
            risk.unwrap_or("as the token says")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The client that is called `text`, or the only one that begins so.
fn named(loaded: &Loaded, text: &str) -> Result<ClientId, String> {
    let ids = || loaded.snapshot.clients.keys();
    let whole = ids().find(|id| id.to_string() == text);
    let mut beginning = ids().filter(|id| id.to_string().starts_with(text));
    match (whole, beginning.next(), beginning.next()) {
        (Some(id), ..) | (None, Some(id), None) => Ok(id.clone()),
        (None, None, _) => Err(format!("there is no client `{text}`; see `narrows client list`")),
        (None, Some(_), Some(_)) => Err(format!("`{text}` begins more than one client; give more of it")),
    }
}

fn add(id: &str, method: Method, dry_run: bool, paths: &[PathBuf]) -> Outcome {
    let id = ClientId::parse(id)?;
    let (entry_id, wrote) = (toml::Value::from(id.to_string()), if dry_run { "would write" } else { "wrote" });
    let method = match method {
        Method::PrivateKeyJwt => {
            // The entry names the file from where the configuration lies, so the file goes there.
            let folder = paths.first().and_then(|path| path.parent()).unwrap_or_else(|| Path::new(""));
            let name = file_name(&id);
            let (public, private) = (folder.join(format!("{name}.jwks.json")), folder.join(format!("{name}.key")));
            let (shown, hidden) = (public.display(), private.display());
            if public.exists() || private.exists() {
                return Err(format!("`{shown}` or `{hidden}` is there already; nothing was written").into());
            }
            let (key, pem) = ClientKey::generate()?;
            if !dry_run {
                init::write(&public, &format!("{}\n", key.jwks()), false)?;
                init::write(&private, &pem, true)?;
            }
            say(format!(
                "# {wrote} {shown} and {hidden} (secret: give it to the client)\n\n[[clients]]\nid   = {entry_id}\nauth = {{ method = \"private_key_jwt\", jwks_file = \"{name}.jwks.json\" }}"
            ));
            return Ok(ExitCode::SUCCESS);
        }
        Method::ClientSecretBasic => "client_secret_basic",
        Method::ClientSecretPost => "client_secret_post",
    };
    let mut secret = [0; 32];
    rand::fill(&mut secret).map_err(|_| "no randomness to be had")?;
    let secret = OpaqueForm::make(OpaqueKind::ClientSecret, &secret);
    let digest: String = secret.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    let told = if dry_run {
        "# the secret would be shown here, this once".to_owned()
    } else {
        format!("# the secret, shown this once: {}", secret.expose())
    };
    let digest = if dry_run { "…".to_owned() } else { digest };
    say(format!(
        "{told}\n\n[[clients]]\nid   = {entry_id}\nauth = {{ method = \"{method}\", secret_sha256 = \"{digest}\" }}"
    ));
    Ok(ExitCode::SUCCESS)
}

/// A file name for a client: an identifier may be a URL, and must not lead out of the folder.
fn file_name(id: &ClientId) -> String {
    let plain = |each: char| {
        if each.is_ascii_alphanumeric() || "._-".contains(each) {
            each
        } else {
            '-'
        }
    };
    let name: String = id.to_string().chars().map(plain).collect();
    if name.starts_with('.') { format!("client{name}") } else { name }
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
async fn set(party: Party, standing: Standing, dry_run: bool, loaded: &Loaded) -> Outcome {
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
