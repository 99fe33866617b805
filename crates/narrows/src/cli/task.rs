//! `task`: opened by a client, run, looked at and ended.

mod open;
mod run;
mod socket;

use std::path::PathBuf;
use std::process::ExitCode;

use broker::store::Store;
use clap::{Args, Subcommand};
use delegation::registry::Moment;
use delegation::revocation::{Key, MarkKind, Revocation};
use delegation::time::Timestamp;
use issuance::audit::{Decision, Kind, Record};
use issuance::task::{KeptTask, Over, Status};
use serde_json::{Value, json};

use super::Outcome;
use super::as_client::{Requester, post_as_bearer, tell, token_from_stdin};
use super::output::{complain, say, seconds, table};
use super::visible;
use crate::config::{self, Loaded};

/// No more are listed at a time.
const MOST: i64 = 1_000;

/// Verbs of `task`.
#[derive(Debug, Subcommand)]
pub(super) enum TaskVerb {
    /// Open a task for the subject token on standard input, and print the task's token.
    Start(StartArgs),
    /// Open a task, run a command that can have its tokens, and end it when the command ends.
    Run(run::RunArgs),
    /// Inside of `task run`: print a token of the task.
    Token(socket::TokenArgs),
    /// List the tasks that are open, or all that are known.
    List {
        /// Those that are over too.
        #[arg(long)]
        all: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show one task.
    Show {
        /// Its id, or a unique beginning of it.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say that the work of a task is done; its token comes from standard input.
    Complete(CompleteArgs),
    /// End a task and all its tokens, on the machine of the store. A running broker follows within a fifth of a second.
    Cancel {
        /// Its id, or a unique beginning of it.
        id: String,
        /// Why, for the log.
        #[arg(long, default_value = "")]
        reason: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Arguments of `task start`.
#[derive(Args, Debug)]
pub(super) struct StartArgs {
    #[command(flatten)]
    what: open::OpenArgs,
    /// Print the whole reply as JSON, with the id.
    #[arg(long)]
    json: bool,
    /// Only say what would be asked for, of whom and as whom.
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `task complete`.
#[derive(Args, Debug)]
pub(super) struct CompleteArgs {
    /// The task's id, whole.
    id: String,
    /// The broker; the configuration's `issuer` by default.
    #[arg(long, env = "NARROWS_URL")]
    url: Option<String>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(verb: TaskVerb, paths: &[PathBuf]) -> Outcome {
    match verb {
        TaskVerb::Start(args) => start(&args, paths).await,
        TaskVerb::Run(args) => run::run(args, paths).await,
        TaskVerb::Token(args) => socket::ask(&args).await,
        TaskVerb::Complete(args) => complete(&args, paths).await,
        TaskVerb::List { all, json } => {
            let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
            let store = Store::open(&loaded.settings.store).await?;
            list(&store, &moment(&store, &loaded).await?, all, json).await
        }
        TaskVerb::Show { id, json } => {
            let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
            let store = Store::open(&loaded.settings.store).await?;
            let task = named(&store, &id).await?;
            show(&task.shown(&moment(&store, &loaded).await?), json);
            Ok(ExitCode::SUCCESS)
        }
        TaskVerb::Cancel { id, reason, dry_run } => {
            let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
            cancel(&loaded, &id, &reason, dry_run).await
        }
    }
}

async fn start(args: &StartArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let requester = args.what.who.ready(&loaded)?;
    let form = args.what.form(&loaded, token_from_stdin("the subject token")?)?;
    if args.dry_run {
        would_start(&requester, &form, args.json);
        return Ok(ExitCode::SUCCESS);
    }
    let (status, reply) = requester.post("/oauth2/token", form).await?;
    Ok(tell(status, &reply, args.json, paths))
}

/// What would be asked for; the subject token is a secret, and is not repeated.
fn would_start(requester: &Requester, form: &[(&str, String)], as_json: bool) {
    let shown = form.iter().filter(|(name, _)| *name != "subject_token");
    if as_json {
        let shown: Vec<_> = shown.map(|(name, value)| json!([name, value])).collect();
        say(json!({ "dry_run": true, "url": requester.issuer(), "client": requester.client(), "form": shown }));
        return;
    }
    say(format!(
        "would open a task at {} as {}, with",
        requester.issuer(),
        requester.client()
    ));
    for (name, value) in shown {
        say(format!("  {name:<22} {}", visible::line(value)));
    }
}

async fn complete(args: &CompleteArgs, paths: &[PathBuf]) -> Outcome {
    let token = token_from_stdin("the task's token")?;
    let issuer = match &args.url {
        Some(url) => url.clone(),
        None => config::load(paths).map_err(|problems| problems.to_string())?.snapshot.issuer.clone(),
    };
    if args.dry_run {
        say(format!("would complete task {} at {issuer}", args.id));
        return Ok(ExitCode::SUCCESS);
    }
    let url = format!("{}/v1/tasks/{}/complete", issuer.trim_end_matches('/'), args.id);
    let (status, reply) = post_as_bearer(&url, &token).await?;
    if status == 200 {
        say(format!("task {} is completed; its tokens are dead", args.id));
        return Ok(ExitCode::SUCCESS);
    }
    let text = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    complain(&format!("{} ({})", text("detail"), text("reason")));
    Ok(ExitCode::FAILURE)
}

/// The moment at which tasks are looked at here.
async fn moment(store: &Store, loaded: &Loaded) -> Result<Moment, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Moment {
        now: Timestamp::from_millis(jiff::Timestamp::now().as_millisecond()),
        snapshot: std::sync::Arc::clone(&loaded.snapshot),
        revocations: std::sync::Arc::new(store.standing().await?),
    })
}

async fn list(store: &Store, moment: &Moment, all: bool, json: bool) -> Outcome {
    let (mut shown, mut after) = (Vec::new(), String::new());
    loop {
        let page = store.tasks(&after, MOST).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        shown.extend(page.iter().map(|task| task.shown(moment)).filter(|task| all || text(task, "status") == "open"));
    }
    if json {
        say(Value::from(shown));
        return Ok(ExitCode::SUCCESS);
    }
    let row = |task: &Value| {
        let number = |name: &str| task.get(name).and_then(Value::as_i64).unwrap_or_default();
        let left = number("expires_at") - moment.now.seconds();
        vec![
            text(task, "id"),
            text(task, "status"),
            subject(task),
            text(task, "creator"),
            text(task, "actor"),
            format!("{} of {}", number("tokens"), number("max_tokens")),
            if left > 0 { seconds(left) } else { "–".to_owned() },
            text(task, "purpose"),
        ]
    };
    let headings = ["ID", "STATUS", "SUBJECT", "CREATOR", "ACTOR", "TOKENS", "LEFT", "PURPOSE"];
    say(table(&headings, shown.iter().map(row).collect()));
    Ok(ExitCode::SUCCESS)
}

fn show(task: &Value, json: bool) {
    if json {
        say(task);
        return;
    }
    for (name, value) in task.as_object().into_iter().flatten() {
        let value = match value {
            Value::String(text) => text.clone(),
            _ if name == "subject" => subject(task),
            other => other.to_string(),
        };
        say(format!("{name:<22} {}", visible::line(&value)));
    }
}

fn subject(task: &Value) -> String {
    let part = |name: &str| task.get("subject").and_then(|subject| subject.get(name)).and_then(Value::as_str);
    format!("{} at {}", part("sub").unwrap_or_default(), part("iss").unwrap_or_default())
}

fn text(task: &Value, name: &str) -> String {
    task.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The one task whose id begins so.
async fn named(store: &Store, id: &str) -> Result<KeptTask, String> {
    let mut found = store.tasks_beginning(id).await.map_err(|error| error.to_string())?;
    match (found.pop(), found.is_empty()) {
        (Some(task), true) => Ok(task),
        (Some(_), false) => Err(format!("several tasks begin with `{id}`; write more of it")),
        (None, _) => Err(format!("there is no task `{id}`; see `narrows task list --all`")),
    }
}

async fn cancel(loaded: &Loaded, id: &str, reason: &str, dry_run: bool) -> Outcome {
    let store = Store::open(&loaded.settings.store).await?;
    let task = named(&store, id).await?;
    if dry_run {
        say(format!("would cancel task {} and end its tokens", task.id));
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    let mut record = Record::new(uuid::Uuid::now_v7().to_string(), now, Kind::Task);
    record.decision = Decision::Done;
    Status::Cancelled.as_str().clone_into(&mut record.reason);
    record.task = Some(task.id.clone());
    record.txn = task.txn();
    record.inputs = json!({ "why": reason });
    let revocation = Revocation::new(MarkKind::Task, Key::of(&task.id), now, loaded.snapshot.lifetimes.max);
    match store.end_task(&task.id, Status::Cancelled, &revocation, &record).await? {
        None => {
            say(format!("cancelled task {}; its tokens are dead", task.id));
            Ok(ExitCode::SUCCESS)
        }
        Some(over) => {
            let how = match over {
                Over::Completed => "completed",
                _ => "cancelled",
            };
            complain(&format!("task {} was {how} before", task.id));
            Ok(ExitCode::FAILURE)
        }
    }
}
