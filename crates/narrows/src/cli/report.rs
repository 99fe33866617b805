//! `report`: sums over the log, read from a running broker as an auditor.

pub(crate) mod graph;
pub(crate) mod observed;
pub(crate) mod unused;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::Outcome;
use super::as_client::{as_operator, token_from};
use super::visible;
use crate::config::{self, duration};

/// Verbs of `report`.
#[derive(Debug, Subcommand)]
pub(super) enum ReportVerb {
    /// Who handed authority to whom, at which boundary, how often, what was refused, and what was forwarded unexchanged.
    Graph(graph::GraphArgs),
    /// What boundaries and guards that only observe would have refused, and what to paste so that they will not.
    Observed(observed::ObservedArgs),
    /// What was granted and never used, and what to paste so that it is not granted any more.
    Unused(unused::UnusedArgs),
}

/// Whom a report is read from, and as whom.
#[derive(Args, Debug)]
pub(super) struct FromBroker {
    /// The broker; the configuration's `issuer` by default.
    #[arg(long, env = "NARROWS_URL")]
    url: Option<String>,
    /// A file with the token of an operator with the role auditor; else it is in `NARROWS_TOKEN`, or comes from standard input.
    #[arg(long, env = "NARROWS_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl FromBroker {
    /// What `/v1` says to GET `path`.
    async fn get(&self, path: &str, paths: &[PathBuf]) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        self.ask(path, paths).await?.map_err(Into::into)
    }

    /// The same, or the problem that it says.
    async fn ask(&self, path: &str, paths: &[PathBuf]) -> Result<Result<Value, Refused>, Box<dyn std::error::Error + Send + Sync>> {
        let broker = match &self.url {
            Some(url) => url.clone(),
            None => config::load(paths).map_err(|problems| problems.to_string())?.snapshot.issuer.clone(),
        };
        let token = token_from(self.token_file.as_deref(), "an operator's token")?;
        let (status, reply) = as_operator(Method::GET, &format!("{}/v1{path}", broker.trim_end_matches('/')), &token, None).await?;
        Ok(if status == 200 { Ok(reply) } else { Err(Refused { status, reply }) })
    }
}

/// What a broker says instead of a report.
#[derive(Debug)]
struct Refused {
    status: u16,
    reply: Value,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |name: &str| visible::line(self.reply.get(name).and_then(Value::as_str).unwrap_or_default());
        let mend = match self.status {
            401 | 403 => "; `narrows operator add NAME --role auditor` makes a token that may",
            _ => "",
        };
        write!(out, "{} ({}): {}{mend}", self.status, text("reason"), text("detail"))
    }
}

impl std::error::Error for Refused {}

/// The moment that lies so far back, in milliseconds since 1970; `example` is a duration for whoever wrote none.
fn since(back: &str, example: &str) -> Result<i64, String> {
    let back = duration::parse(back).ok_or_else(|| format!("--since: expected a duration such as `{example}`, found `{back}`"))?;
    let now = jiff::Timestamp::now().as_millisecond();
    Ok(now.saturating_sub(i64::try_from(back.as_millis()).unwrap_or(i64::MAX)).max(0))
}

pub(super) async fn run(verb: ReportVerb, paths: &[PathBuf]) -> Outcome {
    match verb {
        ReportVerb::Graph(args) => graph::run(&args, paths).await,
        ReportVerb::Observed(args) => observed::run(&args, paths).await,
        ReportVerb::Unused(args) => unused::run(&args, paths).await,
    }
}
