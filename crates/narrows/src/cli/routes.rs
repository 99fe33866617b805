//! `routes learn`: a table of routes from what was asked, for a person to read and paste.

mod access_log;
mod table;

use std::collections::BTreeSet;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use broker::store::Store;
use clap::{Args, Subcommand};
use narrows_guard::learn::Learned;
use serde_json::{Value, json};

use super::Outcome;
use super::output::say;
use crate::config::{self, Loaded};
use access_log::Line;

/// So many records are read at a time.
const PAGE: i64 = 1_000;

/// Verbs of `routes`.
#[derive(Debug, Subcommand)]
pub(super) enum RoutesVerb {
    /// Print a `[services.routes]` table learned from observed traffic or an access log.
    Learn(LearnArgs),
}

/// Arguments of `routes learn`.
#[derive(Args, Debug)]
pub(super) struct LearnArgs {
    /// An access log: nginx or Apache (common, combined), Traefik, Envoy or Caddy; `-` is standard input. Without one, what
    /// boundaries of this store observed.
    #[arg(long)]
    from: Option<PathBuf>,
    /// Of what was observed, only what came for the hosts of this service.
    #[arg(long, conflicts_with = "from")]
    service: Option<String>,
    /// Leave out what came less often.
    #[arg(long, default_value_t = 1)]
    at_least: u64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// What was read, and what of it was left out.
#[derive(Debug, Default)]
struct Seen {
    learned: Learned,
    requests: u64,
    /// They were answered as mistakes.
    failed: u64,
    /// No line of a log, or a request that no route could be for.
    unread: u64,
}

pub(super) async fn run(verb: RoutesVerb, paths: &[PathBuf]) -> Outcome {
    let RoutesVerb::Learn(args) = verb;
    let loaded = config::load(paths);
    let seen = match &args.from {
        Some(path) if path == Path::new("-") => from_log(std::io::stdin().lock())?,
        Some(path) => from_log(std::fs::File::open(path).map_err(|error| format!("--from `{}`: {error}", path.display()))?)?,
        None => from_records(loaded.as_ref().map_err(ToString::to_string)?, args.service.as_deref()).await?,
    };
    if let (Some(path), 0) = (&args.from, seen.requests) {
        let (failed, unread) = (seen.failed, seen.unread);
        return Err(format!(
            "--from `{}`: no request to learn from: {failed} were answered as mistakes, and {unread} lines are of no format that is read (common, \
             combined, Envoy's default, or JSON of Caddy or Traefik)",
            path.display()
        )
        .into());
    }
    let routes: Vec<_> = seen.learned.routes().into_iter().filter(|route| route.count >= args.at_least).collect();
    if args.json {
        let route = |route: &narrows_guard::learn::Proposal| json!({ "route": route.key, "detail": route.detail(), "count": route.count });
        let routes: Vec<_> = routes.iter().map(route).collect();
        say(json!({ "requests": seen.requests, "failed": seen.failed, "unread": seen.unread, "routes": routes }));
        return Ok(ExitCode::SUCCESS);
    }
    say(format!(
        "# Learned from {} requests; {} that were answered as mistakes and {} that could not be read are left out.\n\
         # Read it before you paste it behind a [[services]] entry: what each request needs is a guess.",
        seen.requests, seen.failed, seen.unread
    ));
    say(table::of(&routes, loaded.as_ref().ok().map(|loaded| &loaded.snapshot.types)));
    Ok(ExitCode::SUCCESS)
}

/// Learns from an access log, each line of which tells by itself what format it has.
fn from_log(log: impl Read) -> Result<Seen, std::io::Error> {
    let mut seen = Seen::default();
    access_log::each_line(BufReader::new(log), |line| match Line::parse(line) {
        Some(line) if line.status.is_some_and(|status| status >= 400) => seen.failed += 1,
        Some(line) if seen.learned.add(&line.method, &line.path, 1) => seen.requests += 1,
        _ => seen.unread += 1,
    })?;
    Ok(seen)
}

/// Learns from the records of what was only observed.
async fn from_records(loaded: &Loaded, service: Option<&str>) -> Result<Seen, Box<dyn std::error::Error + Send + Sync>> {
    let hosts = service.map(|name| hosts(loaded, name)).transpose()?;
    let store = Store::open(&loaded.settings.store).await?;
    let (mut seen, mut next) = (Seen::default(), 0);
    loop {
        let page = store.records(next, PAGE).await?;
        if page.is_empty() {
            return Ok(seen);
        }
        for record in &page {
            let record: Value = serde_json::from_str(record).unwrap_or_default();
            next = record.get("index").and_then(Value::as_i64).unwrap_or(next) + 1;
            let part = |name: &str| record.pointer(&format!("/request/{name}")).and_then(Value::as_str).unwrap_or_default();
            let is_asked = hosts.as_ref().is_none_or(|hosts| hosts.contains(part("host")));
            if record.get("effect").and_then(Value::as_str) != Some("observed") || !is_asked {
                continue;
            }
            let count = record.get("count").and_then(Value::as_u64).unwrap_or(1);
            if seen.learned.add(part("method"), part("path"), count) {
                seen.requests += count;
            } else {
                seen.unread += count;
            }
        }
    }
}

/// The hosts of a service, as they are written.
fn hosts(loaded: &Loaded, name: &str) -> Result<BTreeSet<String>, String> {
    let services = loaded.fronts.iter().flat_map(|front| front.settings.table.services());
    let mut named = services.filter(|service| service.name == name).peekable();
    if named.peek().is_none() {
        return Err(format!("--service: no boundary serves `{name}`"));
    }
    Ok(named.flat_map(|service| service.hosts.iter().map(ToString::to_string)).collect())
}
