//! `task run`: a command with a task of its own, which ends when the command does, well or badly.

use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use delegation::oauth::{GrantType, TokenType};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};

use super::open::OpenArgs;
use super::socket::Socket;
use crate::cli::Outcome;
use crate::cli::as_client::{Requester, details, explain_refusal, post_as_bearer, token_from_stdin};
use crate::cli::output::complain;
use crate::config::{self, Loaded};

/// What of our own environment is a credential, and stays here.
const OURS: [&str; 2] = ["NARROWS_TOKEN", "NARROWS_TOKEN_FILE"];
/// How often ending is tried while the broker does not answer.
const TRIES: u32 = 5;

/// Arguments of `task run`.
#[derive(Args, Debug)]
pub(in crate::cli) struct RunArgs {
    #[command(flatten)]
    what: OpenArgs,
    /// The file with the subject token; `NARROWS_TOKEN` holds the token itself. Without either it is read from standard
    /// input, and the command then reads nothing.
    #[arg(long, env = "NARROWS_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// A token for AUDIENCE in the command's environment, as NAME; may be repeated.
    #[arg(long = "env", value_name = "NAME=AUDIENCE")]
    env: Vec<String>,
    /// The command and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// A task that was opened here.
pub(super) struct Opened {
    requester: Requester,
    loaded: Loaded,
    id: String,
    token: String,
    details: Vec<String>,
    payload_sha256: Option<String>,
}

/// The answer to a request for one token.
pub(super) enum Redeemed {
    Token(String),
    Refused(Value),
}

pub(super) async fn run(mut args: RunArgs, paths: &[PathBuf]) -> Outcome {
    // 1. The task. From before it is there no signal ends this program before the task.
    let signals = Signals::caught()?;
    let env = args
        .env
        .iter()
        .map(|pair| pair.split_once('=').ok_or_else(|| format!("--env `{pair}`: expected NAME=AUDIENCE")));
    let env: Vec<(String, String)> = env
        .map(|pair| pair.map(|(name, audience)| (name.to_owned(), audience.to_owned())))
        .collect::<Result<_, _>>()?;
    for (_, audience) in &env {
        if !args.what.audiences.contains(audience) {
            args.what.audiences.push(audience.clone());
        }
    }
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let requester = args.what.who.ready(&loaded)?;
    let (subject_token, from_stdin) = subject_token(&args)?;
    let (status, reply) = requester.post("/oauth2/token", args.what.form(&loaded, subject_token)?).await?;
    let text = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    if status != 200 {
        explain_refusal(&reply, paths);
        return Ok(ExitCode::FAILURE);
    }
    let opened = Arc::new(Opened {
        requester,
        loaded,
        id: text("task_id"),
        token: text("access_token"),
        details: args.what.details.clone(),
        payload_sha256: args.what.payload_sha256()?,
    });

    // 2. The command; whatever happens from here on, the task is ended.
    let ran = with_command(&opened, &env, &args.command, from_stdin, paths, signals).await;
    let well = matches!(&ran, Ok(Some(status)) if status.success());
    if let Err(why) = opened.end(well).await {
        complain(&format!("task {} could not be ended, and lives until it expires: {why}", opened.id));
    }
    Ok(match ran? {
        Some(status) => exit_code(status),
        None => ExitCode::FAILURE,
    })
}

/// The subject token, and whether it came from standard input.
fn subject_token(args: &RunArgs) -> Result<(String, bool), Box<dyn std::error::Error + Send + Sync>> {
    if let Some(path) = &args.token_file {
        let token = std::fs::read_to_string(path).map_err(|error| format!("--token-file `{}`: {error}", path.display()))?;
        return Ok((token.trim().to_owned(), false));
    }
    match std::env::var("NARROWS_TOKEN") {
        Ok(token) => Ok((token.trim().to_owned(), false)),
        Err(_) => Ok((token_from_stdin("the subject token")?, true)),
    }
}

/// Runs the command and waits for it; `None` if a token that it was to have was refused.
async fn with_command(
    opened: &Arc<Opened>,
    env: &[(String, String)],
    command: &[String],
    from_stdin: bool,
    paths: &[PathBuf],
    signals: Signals,
) -> Result<Option<ExitStatus>, Box<dyn std::error::Error + Send + Sync>> {
    let socket = Socket::open(Arc::clone(opened))?;
    let (program, arguments) = command.split_first().ok_or("expected a command")?;
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).env("NARROWS_TASK_ID", &opened.id).env("NARROWS_TASK_SOCKET", socket.path());
    for name in OURS {
        child.env_remove(name);
    }
    if from_stdin {
        child.stdin(std::process::Stdio::null());
    }
    for (name, audience) in env {
        match opened.redeem(audience, &[]).await? {
            Redeemed::Token(token) => child.env(name, token),
            Redeemed::Refused(reply) => {
                complain(&format!("no token for `{audience}`:"));
                explain_refusal(&reply, paths);
                return Ok(None);
            }
        };
    }
    let child = child.spawn().map_err(|error| format!("`{program}` could not be started: {error}"))?;
    Ok(Some(wait(child, signals).await?))
}

/// What would end us.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
}

impl Signals {
    fn caught() -> Result<Self, std::io::Error> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }
}

/// Waits for the command, and passes on what would end us: the task is to be ended after it.
async fn wait(mut child: Child, mut signals: Signals) -> Result<ExitStatus, std::io::Error> {
    loop {
        let passed_on = tokio::select! {
            ended = child.wait() => return ended,
            _ = signals.terminate.recv() => Signal::TERM,
            _ = signals.hang_up.recv() => Signal::HUP,
            _ = signals.interrupt.recv() => Signal::INT,
            _ = signals.quit.recv() => Signal::QUIT,
        };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // A terminal has sent its interrupt to the command too; one more does no harm to what handles it.
        if let Some(pid) = pid {
            let _ = kill_process(pid, passed_on);
        }
    }
}

/// What the command exited with; a signal is 128 and its number, as in a shell.
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

impl Opened {
    /// A token of the task for `audience`: for these details in the short form, or without any for all that the task was
    /// opened with and that this audience understands.
    pub(super) async fn redeem(&self, audience: &str, short: &[String]) -> Result<Redeemed, Box<dyn std::error::Error + Send + Sync>> {
        let snapshot = &self.loaded.snapshot;
        let understood = |text: &&String| {
            let kind = text.split(':').next().unwrap_or_default();
            let known = snapshot.audiences.iter().find(|(id, _)| id.as_str() == audience);
            known.is_none_or(|(_, audience)| audience.detail_types.contains(kind))
        };
        let all: Vec<_> = self.details.iter().filter(understood).cloned().collect();
        let asked = if short.is_empty() { &all } else { short };
        let mut form = vec![
            ("grant_type", GrantType::TokenExchange.as_str().to_owned()),
            ("subject_token", self.token.clone()),
            ("subject_token_type", TokenType::Task.as_str().to_owned()),
            ("audience", audience.to_owned()),
        ];
        form.extend(details(asked, &snapshot.types)?.map(|text| ("authorization_details", text)));
        form.extend(self.payload_sha256.clone().map(|digest| ("payload_sha256", digest)));
        let (_, reply) = self.requester.post("/oauth2/token", form).await?;
        Ok(match reply.get("access_token").and_then(Value::as_str) {
            Some(token) => Redeemed::Token(token.to_owned()),
            None => Redeemed::Refused(reply),
        })
    }

    /// Ends the task: completed if all went well, else cancelled. A broker that does not answer is asked again.
    async fn end(&self, well: bool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut pause = Duration::from_millis(200);
        for attempt in 1.. {
            let answered = if well {
                let url = format!("{}/v1/tasks/{}/complete", self.requester.issuer().trim_end_matches('/'), self.id);
                post_as_bearer(&url, &self.token).await
            } else {
                self.requester.post("/oauth2/revoke", vec![("token", self.token.clone())]).await
            };
            match answered {
                Ok((200, _)) => return Ok(()),
                // It ended in another way meanwhile: it is over, and that is what matters.
                Ok((409, _)) => return Ok(()),
                Ok((status, _)) if attempt >= TRIES || status < 500 && status != 429 => {
                    return Err(format!("the broker answered {status}").into());
                }
                Err(error) if attempt >= TRIES => return Err(error),
                _ => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
        Ok(())
    }
}
