//! `connection add|list|rotate|remove`: on the machine of the store, or through `/v1` where `NARROWS_URL` names a broker. A
//! running broker follows with the next request.

mod holder;
mod remote;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use broker::connections::{Connection, Connections, Holder, Kept, Place, Put, PutWanted, Secret};
use broker::store::Store;
use clap::{Args, Subcommand};
use delegation::time::Timestamp;
use issuance::audit::{Decision, Kind, Record};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::Outcome;
use super::output::{say, table};
use crate::config::{self, Loaded};
use holder::{HolderArgs, fits};
use remote::Remote;

/// So many are read at a time.
const PAGE: i64 = 1_000;

/// Verbs of `connection`.
#[derive(Debug, Subcommand)]
pub(super) enum ConnectionVerb {
    /// Keep the credential on standard input, or of a file; it is never shown again.
    Add(PutArgs),
    /// List which credentials are kept, for whom and for where.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Put another credential in the place of the one that is kept.
    Rotate(PutArgs),
    /// Forget a credential: no request goes on with it any more.
    Remove(RemoveArgs),
}

/// Arguments of `connection add` and `connection rotate`.
#[derive(Args, Debug)]
pub(super) struct PutArgs {
    /// The connection of the configuration, or a unique beginning of its name.
    name: String,
    #[command(flatten)]
    of: HolderArgs,
    /// The file that holds the credential; standard input without.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Why, for the log.
    #[arg(long)]
    reason: Option<String>,
    /// Only say what would be done; nothing is read.
    #[arg(long)]
    dry_run: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Arguments of `connection remove`.
#[derive(Args, Debug)]
pub(super) struct RemoveArgs {
    /// The connection, or a unique beginning of its name.
    name: String,
    #[command(flatten)]
    of: HolderArgs,
    /// Why, for the log.
    #[arg(long)]
    reason: Option<String>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Which broker is asked, and as whom.
#[derive(Args, Debug, Default)]
pub(super) struct RemoteArgs {
    /// The broker; without, the store of the configuration is changed on this machine.
    #[arg(long, env = "NARROWS_URL")]
    url: Option<String>,
    /// The file with the operator's token; `NARROWS_TOKEN` holds the token itself.
    #[arg(long, env = "NARROWS_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

pub(super) async fn run(verb: ConnectionVerb, paths: &[PathBuf]) -> Outcome {
    match verb {
        ConnectionVerb::Add(args) => put(args, PutWanted::Added, paths).await,
        ConnectionVerb::Rotate(args) => put(args, PutWanted::Replaced, paths).await,
        ConnectionVerb::List { json, remote } => match Remote::of(remote)? {
            Some(remote) => remote.list(json).await,
            None => list(json, paths).await,
        },
        ConnectionVerb::Remove(mut args) => match Remote::of(std::mem::take(&mut args.remote))? {
            Some(remote) => remote.remove(&args).await,
            None => remove(&args, paths).await,
        },
    }
}

async fn put(mut args: PutArgs, wanted: PutWanted, paths: &[PathBuf]) -> Outcome {
    let remote = Remote::of(std::mem::take(&mut args.remote))?;
    if let Some(remote) = remote {
        return remote.put(&args, wanted).await;
    }
    let (loaded, kept) = opened(paths).await?;
    let connection = named(&loaded, &args.name)?;
    let holder = args.of.holder(&loaded)?;
    fits(connection, &holder)?;
    if args.dry_run {
        let is_there = all(&kept).await?.iter().any(|each| each.name == connection.name && each.holder == holder);
        if is_there == (wanted == PutWanted::Added) {
            return Err(unfit(wanted, connection, &holder).into());
        }
        say(format!(
            "would {} credential {}",
            if wanted == PutWanted::Added { "keep a" } else { "rotate the" },
            about(connection, &holder)
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let secret = secret(args.file.as_deref())?;
    match kept.put(connection, &holder, &secret, wanted, because(args.reason.as_deref())).await? {
        Put::Unfit => Err(unfit(wanted, connection, &holder).into()),
        put => {
            told(
                args.json,
                &connection.name,
                &holder,
                if put == Put::Added { "added" } else { "rotated" },
            );
            if !args.json {
                say(format!(
                    "kept {}; a running broker takes it for the next request",
                    about(connection, &holder)
                ));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(json: bool, paths: &[PathBuf]) -> Outcome {
    let (loaded, kept) = opened(paths).await?;
    let found = all(&kept).await?;
    let is_ready = |each: &Kept| each.is_ready(loaded.connections.get(&each.name));
    if json {
        say(found.iter().map(|each| each.to_json(is_ready(each))).collect::<Value>());
        return Ok(ExitCode::SUCCESS);
    }
    let rows = found.iter().map(|each| {
        let ready = if is_ready(each) {
            "ready"
        } else {
            "the configuration says otherwise"
        };
        let since = jiff::Timestamp::from_second(each.changed_at.seconds()).map(|at| at.to_string()).unwrap_or_default();
        vec![
            each.name.clone(),
            each.holder.to_string(),
            format!("{} in {}", each.origin, each.header),
            since,
            ready.to_owned(),
        ]
    });
    say(table(&["connection", "of", "for", "since", ""], rows.collect()));
    Ok(ExitCode::SUCCESS)
}

async fn remove(args: &RemoveArgs, paths: &[PathBuf]) -> Outcome {
    let RemoveArgs {
        name, of, dry_run, json, ..
    } = args;
    let (loaded, kept) = opened(paths).await?;
    let found = all(&kept).await?;
    let holder = of.holder(&loaded)?;
    // One whose connection is gone from the files is there too.
    let names: std::collections::BTreeSet<_> = found.iter().filter(|each| each.holder == holder).map(|each| each.name.as_str()).collect();
    let name = one_of(names.iter().copied(), name).map_err(|several| match several {
        true => format!("`{name}` begins more than one connection; give more of it"),
        false => format!("no credential of {holder} is kept under `{name}`; see `narrows connection list`"),
    })?;
    if *dry_run {
        say(format!("would forget the credential `{name}` of {holder}"));
        return Ok(ExitCode::SUCCESS);
    }
    if !kept.remove(name, &holder, because(args.reason.as_deref())).await? {
        return Err(format!("`{name}` was removed meanwhile").into());
    }
    told(*json, name, &holder, "removed");
    if !*json {
        say(format!("`{name}` of {holder} is forgotten: no request goes on with it any more"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn opened(paths: &[PathBuf]) -> Result<(Loaded, Connections), Box<dyn std::error::Error + Send + Sync>> {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let store = Store::open(&loaded.settings.store).await?;
    let kept = Connections::open(&store, &loaded.settings.key_files)?;
    Ok((loaded, kept))
}

async fn all(kept: &Connections) -> Result<Vec<Kept>, broker::store::StoreUnavailable> {
    let mut found: Vec<Kept> = Vec::new();
    loop {
        let after = found.last().map_or_else(Place::default, Kept::place);
        let page = kept.list(&after, PAGE).await?;
        let is_last = i64::try_from(page.len()).unwrap_or(PAGE) < PAGE;
        found.extend(page);
        if is_last {
            return Ok(found);
        }
    }
}

/// The connection that is called `text`, or the only one that begins so.
fn named<'l>(loaded: &'l Loaded, text: &str) -> Result<&'l Connection, String> {
    let name = one_of(loaded.connections.keys().map(String::as_str), text);
    let name = name.map_err(|several| match several {
        true => format!("`{text}` begins more than one connection; give more of it"),
        false => format!("the configuration has no connection `{text}`; see `narrows config show`"),
    })?;
    loaded.connections.get(name).ok_or_else(|| format!("the configuration has no connection `{text}`"))
}

/// The name that is `text` or alone begins so; the error is whether several do.
fn one_of<'n>(names: impl Iterator<Item = &'n str> + Clone, text: &str) -> Result<&'n str, bool> {
    if let Some(whole) = names.clone().find(|name| *name == text) {
        return Ok(whole);
    }
    let mut beginning = names.filter(|name| name.starts_with(text));
    match (beginning.next(), beginning.next()) {
        (Some(name), None) => Ok(name),
        (first, _) => Err(first.is_some()),
    }
}

fn unfit(wanted: PutWanted, connection: &Connection, holder: &Holder) -> String {
    let name = &connection.name;
    if wanted == PutWanted::Added {
        format!("a credential `{name}` of {holder} is kept already; `narrows connection rotate` replaces it")
    } else {
        format!("no credential `{name}` of {holder} is kept; `narrows connection add` adds it")
    }
}

fn about(connection: &Connection, holder: &Holder) -> String {
    let Connection { name, origin, header, .. } = connection;
    format!("`{name}` of {holder}, for {origin} in {header}")
}

/// The credential of a file, or on standard input; what ends its line is not of it.
fn secret(file: Option<&Path>) -> Result<Secret, Box<dyn std::error::Error + Send + Sync>> {
    let mut text = Zeroizing::new(String::new());
    match file {
        Some(path) => {
            let read = std::fs::read_to_string(path).map_err(|error| format!("--file `{}`: {error}", path.display()))?;
            *text = read;
        }
        None => drop(std::io::stdin().read_to_string(&mut text)?),
    }
    Ok(Secret::parse(text.trim_end_matches(['\r', '\n']))?)
}

fn record() -> Record {
    let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    let mut record = Record::new(uuid::Uuid::now_v7().to_string(), now, Kind::Connection);
    record.decision = Decision::Done;
    record
}

/// The record of a change that an operator gives this reason for.
fn because(why: Option<&str>) -> Record {
    let mut record = record();
    if let Some(why) = why {
        record.inputs = json!({ "why": why });
    }
    record
}

/// What was done, as JSON where that is asked for.
fn told(json: bool, name: &str, holder: &Holder, done: &str) {
    if json {
        let mut members = Map::from_iter([("name".to_owned(), json!(name)), ("done".to_owned(), json!(done))]);
        members.extend(holder.members().into_iter().map(|(name, value)| (name.to_owned(), value)));
        say(Value::Object(members));
    }
}
