//! `leak report`: ends a token that was found where it should not be. Whoever has it needs nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use delegation::token::{OpaqueForm, OpaqueKind};
use serde_json::{Value, json};

use super::Outcome;
use super::as_client::{post_json, token_from_stdin};
use super::output::{complain, say};
use crate::assertion::claims_of;
use crate::config;

/// No broker takes a longer text.
const LONGEST: usize = 200;

/// Verbs of `leak`.
#[derive(Debug, Subcommand)]
pub(super) enum LeakVerb {
    /// Report the token on standard input: it ends, with all that came from it.
    Report(ReportArgs),
}

/// Arguments of `leak report`.
#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    /// Where it was found, for the log; at most 200 characters.
    #[arg(long)]
    found_in: Option<String>,
    /// The broker; the configuration's `issuer` by default.
    #[arg(long, env = "NARROWS_URL")]
    url: Option<String>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(verb: LeakVerb, paths: &[PathBuf]) -> Outcome {
    let LeakVerb::Report(args) = verb;
    let broker = match args.url {
        Some(url) => url,
        None => config::load(paths).map_err(|problems| problems.to_string())?.snapshot.issuer.clone(),
    };
    if args.found_in.as_ref().is_some_and(|text| text.chars().count() > LONGEST) {
        return Err(format!("--found-in: at most {LONGEST} characters").into());
    }
    let token = token_from_stdin("the token that was found")?;
    let url = format!("{}/v1/leaks", broker.trim_end_matches('/'));
    if args.dry_run {
        say(format!("would report {} to {url}", kind_of(&token)));
        return Ok(ExitCode::SUCCESS);
    }
    let mut body = json!({ "token": token });
    if let (Some(found_in), Some(members)) = (args.found_in, body.as_object_mut()) {
        members.insert("found_in".to_owned(), Value::from(found_in));
    }
    let (status, reply) = post_json(&url, &body).await?;
    if status == 202 {
        say("taken: if the broker knows it, it is dead, with all that came from it");
        return Ok(ExitCode::SUCCESS);
    }
    let text = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default();
    complain(&format!("{status} ({}): {}", text("reason"), text("detail")));
    Ok(ExitCode::FAILURE)
}

/// What the token looks like; whether anybody knows it is for the broker to see.
fn kind_of(token: &str) -> &'static str {
    match OpaqueForm::parse(token).map(|form| form.kind()) {
        Ok(OpaqueKind::Access) => "an opaque access token",
        Ok(OpaqueKind::Task) => "a task token",
        Ok(OpaqueKind::Operator) => "an operator token",
        Ok(OpaqueKind::ClientSecret) => "a client secret",
        Err(_) if claims_of(token).is_some() => "a signed token",
        Err(_) => "something that is no token, of which nothing would come,",
    }
}
