//! The command line: verbs, and what they exit with.

pub(crate) mod as_client;
mod backup;
mod check;
mod client;
mod connection;
mod exchange;
mod explain;
pub(crate) mod init;
pub(crate) mod inspect;
mod key;
mod leak;
mod operator;
pub(crate) mod output;
mod policy;
pub(crate) mod report;
mod revoke;
mod routes;
mod show;
mod snippet;
mod task;
mod visible;
pub(crate) mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::apart::{self, Part};
use crate::{demo, serving};

/// What a verb answers: 0 for done, 1 for refused or failed. Wrong use is 2, and clap's own.
type Outcome = Result<ExitCode, Box<dyn std::error::Error + Send + Sync>>;

/// Narrows: a caller's token goes in, a token good for one audience, a few actions and a few minutes comes out.
#[derive(Debug, Parser)]
#[command(name = "narrows", version, max_term_width = 100)]
struct Cli {
    /// The configuration; may be repeated, later ones overlay earlier ones.
    #[arg(long = "config", global = true, env = "NARROWS_CONFIG", default_value = "narrows.toml")]
    config: Vec<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Play the scenes, end to end, over real HTTP on loopback.
    Demo(demo::DemoArgs),
    /// Write a commented configuration, policies and a key file.
    Init(init::InitArgs),
    /// Check configuration and policies; print the schemas.
    Check(check::CheckArgs),
    /// Show what is in force.
    Config {
        #[command(subcommand)]
        what: show::ConfigVerb,
    },
    /// Run the broker.
    Serve,
    /// Run the boundaries of the configuration alone: a broker in another process decides.
    Boundary,
    /// Run the guards of the configuration alone: a broker in another process says what was revoked.
    Guard,
    /// Make, list, disable and enable clients.
    Client {
        #[command(subcommand)]
        what: client::ClientVerb,
    },
    /// Show, disable and enable people and workloads.
    Subject {
        #[command(subcommand)]
        what: client::SubjectVerb,
    },
    /// Exchange a token from standard input.
    Exchange(exchange::ExchangeArgs),
    /// Say in words what a token from standard input allows, and verify it.
    Inspect(inspect::InspectArgs),
    /// Would this be allowed, and by which rule?
    Explain(explain::ExplainArgs),
    /// Tell a decision as a story.
    Why(why::WhyArgs),
    /// Test, lint and tabulate policies.
    Policy {
        #[command(subcommand)]
        what: policy::PolicyVerb,
    },
    /// Open tasks, run commands in them, list and end them.
    Task {
        #[command(subcommand)]
        what: task::TaskVerb,
    },
    /// Read what the log comes to from a running broker.
    Report {
        #[command(subcommand)]
        what: report::ReportVerb,
    },
    /// End tokens before their time, with all that came from them.
    Revoke(revoke::RevokeArgs),
    /// End a token that was found where it should not be.
    Leak {
        #[command(subcommand)]
        what: leak::LeakVerb,
    },
    /// List, rotate and retire signing keys.
    Key {
        #[command(subcommand)]
        what: key::KeyVerb,
    },
    /// Keep upstream credentials, which a boundary puts on requests.
    Connection {
        #[command(subcommand)]
        what: connection::ConnectionVerb,
    },
    /// Let people in who may look or decide.
    Operator {
        #[command(subcommand)]
        what: operator::OperatorVerb,
    },
    /// Learn routes from what was asked.
    Routes {
        #[command(subcommand)]
        what: routes::RoutesVerb,
    },
    /// Copy the whole store into one file, while the broker runs.
    Backup(backup::BackupArgs),
    /// Put a backup into the store.
    Restore(backup::RestoreArgs),
    /// Print a complete configuration of another proxy for this installation.
    Snippet(snippet::SnippetArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    // The demo tells its story itself; what its broker logs would only come between.
    let usual = if matches!(cli.verb, Verb::Demo(_)) {
        "warn"
    } else {
        "warn,narrows=info,broker=info"
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("NARROWS_LOG").unwrap_or_else(|_| usual.into());
    // Control characters of outside text are escaped by the JSON form; colour is off where nobody looks.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.verb {
        Verb::Serve | Verb::Boundary | Verb::Guard => logs.json().init(),
        _ => logs.with_ansi(false).init(),
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("the runtime could not be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Outcome {
    let paths = cli.config;
    match cli.verb {
        Verb::Demo(args) => demo::run(args).await,
        Verb::Init(args) => init::run(&args),
        Verb::Check(args) => check::run(&args, &paths),
        Verb::Config { what } => show::run(&what, &paths),
        Verb::Serve => serve(paths).await,
        Verb::Boundary => apart(Part::Boundaries, paths).await,
        Verb::Guard => apart(Part::Guards, paths).await,
        Verb::Client { what } => client::run(what, &paths).await,
        Verb::Subject { what } => client::run_subject(what, &paths).await,
        Verb::Exchange(args) => exchange::run(args, &paths).await,
        Verb::Inspect(args) => inspect::run(&args, &paths).await,
        Verb::Explain(args) => explain::run(&args, &paths),
        Verb::Why(args) => why::run(&args, &paths).await,
        Verb::Policy { what } => policy::run(what, &paths),
        Verb::Task { what } => task::run(what, &paths).await,
        Verb::Report { what } => report::run(what, &paths).await,
        Verb::Revoke(args) => revoke::run(&args, &paths).await,
        Verb::Leak { what } => leak::run(what, &paths).await,
        Verb::Key { what } => key::run(what, &paths).await,
        Verb::Connection { what } => connection::run(what, &paths).await,
        Verb::Operator { what } => operator::run(what, &paths).await,
        Verb::Routes { what } => routes::run(what, &paths).await,
        Verb::Backup(args) => backup::run(&args, &paths).await,
        Verb::Restore(args) => backup::run_restore(&args, &paths).await,
        Verb::Snippet(args) => snippet::run(&args, &paths),
        Verb::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "narrows", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Verb::Man => {
            clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn serve(paths: Vec<PathBuf>) -> Outcome {
    let running = serving::start(paths).await?;
    tracing::info!(address = %running.address, "serving");
    told_to_stop().await?;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn apart(part: Part, paths: Vec<PathBuf>) -> Outcome {
    let running = apart::start(part, paths).await?;
    tracing::info!("serving");
    told_to_stop().await?;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn told_to_stop() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    tracing::info!("stopping");
    Ok(())
}
