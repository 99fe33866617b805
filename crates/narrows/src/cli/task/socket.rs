//! The socket from which a command gets tokens of its task: one line `AUDIENCE [DETAIL…]` in, one token line out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::run::{Opened, Redeemed};
use crate::cli::Outcome;
use crate::cli::output::{complain, say};

/// Arguments of `task token`.
#[derive(Args, Debug)]
pub(in crate::cli) struct TokenArgs {
    /// The audience.
    audience: String,
    /// Details in the short form; without any, all that the task was opened with and that the audience understands.
    details: Vec<String>,
    /// The socket of the task.
    #[arg(long, env = "NARROWS_TASK_SOCKET")]
    socket: PathBuf,
}

/// Asks the socket for one token and prints it; a refusal goes to standard error.
pub(super) async fn ask(args: &TokenArgs) -> Outcome {
    let away = |error: std::io::Error| {
        format!(
            "`{}` does not answer: {error}; this works inside of `narrows task run`",
            args.socket.display()
        )
    };
    let mut stream = UnixStream::connect(&args.socket).await.map_err(away)?;
    let line = [std::slice::from_ref(&args.audience), args.details.as_slice()].concat().join(" ");
    if line.contains('\n') {
        return Err("an audience and details are one line".into());
    }
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    match answer.trim_end().strip_prefix("! ") {
        None if answer.is_empty() => Err("the task has ended".into()),
        None => {
            say(answer.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Some(refusal) => {
            complain(refusal);
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The longest line.
const LONGEST: u64 = 16 * 1024;
/// How many are answered at a time.
const AT_A_TIME: usize = 16;

/// A listening socket in a folder that only this user enters; both are gone when it is dropped.
pub(super) struct Socket {
    folder: PathBuf,
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl Socket {
    /// Listens, and answers with tokens of `opened`.
    pub(super) fn open(opened: Arc<Opened>) -> Result<Self, std::io::Error> {
        use std::os::unix::fs::DirBuilderExt as _;
        // Short, since the path of a socket has some hundred bytes at most, and new: a folder that is there is another's.
        let folder = std::env::temp_dir().join(format!("narrows-{}", uuid::Uuid::now_v7().simple()));
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let path = folder.join("task");
        let listener = UnixListener::bind(&path)?;
        let serving = tokio::spawn(serve(listener, opened));
        Ok(Self { folder, path, serving })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.serving.abort();
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_dir(&self.folder);
    }
}

async fn serve(listener: UnixListener, opened: Arc<Opened>) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let opened = Arc::clone(&opened);
        tokio::spawn(async move {
            let _place = place;
            // Whoever hangs up wants no answer.
            let _ = answer(stream, &opened).await;
        });
    }
}

/// Answers line by line. A refusal is a line that begins with `!`, then the reason and the id of the decision.
async fn answer(stream: UnixStream, opened: &Opened) -> Result<(), std::io::Error> {
    let (reads, mut writes) = stream.into_split();
    let mut reads = BufReader::new(reads);
    loop {
        let mut line = String::new();
        let read = (&mut reads).take(LONGEST).read_line(&mut line).await?;
        if read == 0 {
            return Ok(());
        }
        if !line.ends_with('\n') && read as u64 == LONGEST {
            return writes.write_all(b"! malformed_request\n").await;
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let Some(audience) = words.next() else { continue };
        let details: Vec<_> = words.collect();
        let said = match opened.redeem(&audience, &details).await {
            Ok(Redeemed::Token(token)) => token,
            Ok(Redeemed::Refused(reply)) => {
                let text = |name: &str| reply.get(name).and_then(Value::as_str).unwrap_or_default();
                format!("! {} {}", text("reason"), text("decision_id"))
            }
            Err(error) => format!("! {}", error.to_string().replace('\n', " ")),
        };
        writes.write_all(format!("{said}\n").as_bytes()).await?;
    }
}
