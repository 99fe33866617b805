//! `backup` and `restore`: the whole store in one file, the same whichever engine it comes from.

use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use broker::store::{self, Backup, Existing, Store};
use clap::Args;
use delegation::time::Timestamp;
use serde_json::json;

use super::Outcome;
use super::output::say;
use crate::config;

/// Arguments of `backup`.
#[derive(Args, Debug)]
pub(super) struct BackupArgs {
    /// The file to write; it must not be there yet.
    out: PathBuf,
    /// Only say what would be written.
    #[arg(long)]
    dry_run: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `restore`.
#[derive(Args, Debug)]
pub(super) struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    /// Let what the store holds go.
    #[arg(long)]
    replace: bool,
    /// Only check the backup, and say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &BackupArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let store = Store::open(&loaded.settings.store).await?;
    let mut progress = Progress::new("rows written");
    if args.dry_run {
        let backup = store.backup(std::io::sink(), now(), |rows| progress.at(rows)).await?;
        progress.end();
        return told(args.json, "would write", &args.out, &backup, None);
    }
    let failed = |error: std::io::Error| format!("`{}`: {error}", args.out.display());
    if args.out.exists() {
        return Err(format!("`{}` is there already; name another file", args.out.display()).into());
    }
    // Under its own name only when it is whole and on the disk. It holds who did what, so it is for its owner alone.
    let partial = args.out.with_added_extension("partial");
    let mut file = BufWriter::new(private(&partial).map_err(failed)?);
    let written = store.backup(&mut file, now(), |rows| progress.at(rows)).await;
    progress.end();
    let finished = written.map_err(|error| error.to_string()).and_then(|backup| {
        file.flush().and_then(|()| file.get_ref().sync_all()).map_err(failed)?;
        std::fs::hard_link(&partial, &args.out).map_err(failed)?;
        folder(&args.out).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(backup)
    });
    let _ = std::fs::remove_file(&partial);
    told(args.json, "wrote", &args.out, &finished?, None)
}

pub(super) async fn run_restore(args: &RestoreArgs, paths: &[PathBuf]) -> Outcome {
    let loaded = config::load(paths).map_err(|problems| problems.to_string())?;
    let named = |error: String| format!("`{}`: {error}", args.file.display());
    let mut progress = Progress::new("rows checked");
    let checked = store::verify(&args.file, |rows| progress.at(rows));
    progress.end();
    let checked = checked.map_err(|error| named(error.to_string()))?;
    let store = Store::open(&loaded.settings.store).await?;
    let existing = if args.replace { Existing::Replace } else { Existing::Keep };
    if args.dry_run {
        let occupied = store.occupied().await?;
        if let (Some(records), Existing::Keep) = (occupied, existing) {
            return Err(format!("{}; `--replace` lets it go", store::RestoreError::NotEmpty(records)).into());
        }
        return told(args.json, "would restore", &args.file, &checked, None);
    }
    let mut progress = Progress::new("rows restored");
    let restored = store.restore(&args.file, existing, now(), |rows| progress.at(rows)).await;
    progress.end();
    let (backup, epoch) = restored.map_err(|error| match error {
        store::RestoreError::NotEmpty(_) => format!("{error}; `--replace` lets it go"),
        store::RestoreError::Backup(_) => named(error.to_string()),
    })?;
    told(args.json, "restored", &args.file, &backup, Some(epoch))
}

fn told(as_json: bool, done: &str, file: &Path, backup: &Backup, epoch: Option<i64>) -> Outcome {
    let made_at = jiff::Timestamp::from_millisecond(backup.head.made_at).map(|at| at.to_string()).unwrap_or_default();
    if as_json {
        say(json!({
            "done": done, "file": file.display().to_string(), "rows": backup.end.rows, "records": backup.head.log_size,
            "made_at": made_at, "sha256": backup.end.sha256, "epoch": epoch.unwrap_or(backup.head.epoch),
        }));
        return Ok(ExitCode::SUCCESS);
    }
    say(format!(
        "{done} `{}`: {} rows, {} of them records, of {made_at}",
        file.display(),
        backup.end.rows,
        backup.head.log_size
    ));
    say(format!("sha256 {}", backup.end.sha256));
    match epoch {
        Some(epoch) => say(format!(
            "the epoch is {epoch} now; look at standing and keys: what changed after the backup is not known here"
        )),
        None if done == "wrote" => say("secrets in it are encrypted with the key file, which is not in it: keep a copy of both, apart"),
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn private(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // What a killed run left behind is no backup of anybody.
    let _ = std::fs::remove_file(path);
    std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
}

fn folder(path: &Path) -> std::io::Result<File> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))
}

fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// How far it is, on a terminal; nothing elsewhere.
struct Progress {
    what: &'static str,
    shown: Option<Instant>,
    is_seen: bool,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            shown: None,
            is_seen: std::io::stderr().is_terminal(),
        }
    }

    fn at(&mut self, rows: u64) {
        if self.is_seen && self.shown.is_none_or(|shown| shown.elapsed() > Duration::from_millis(100)) {
            self.shown = Some(Instant::now());
            let _ = write!(anstream::stderr(), "\r{rows} {}", self.what);
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            let _ = writeln!(anstream::stderr());
        }
    }
}
