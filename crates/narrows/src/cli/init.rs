//! `init`: a configuration to start from.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};

use super::Outcome;
use super::output::say;
use crate::demo;

const PLAIN: &str = include_str!("init/narrows.toml");
/// What is written behind it, for one way to begin.
const ENVOY: &str = include_str!("init/envoy.toml");
const MCP: &str = include_str!("init/mcp.toml");
const POLICY: &str = include_str!("init/first.cedar");

/// Arguments of `init`.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Where to write.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What to start from.
    #[arg(long, value_enum, default_value = "plain")]
    from: From,
    /// Only say what would be written.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    /// One client and one audience to change into yours.
    Plain,
    /// The configuration of the demo.
    Demo,
    /// A service behind Envoy, which asks about each request.
    Envoy,
    /// Tools of an MCP server: read and checked, and not served yet.
    Mcp,
}

/// A file that is to be written.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) secret: bool,
}

impl NewFile {
    /// A file that anybody may read.
    pub(crate) fn open(name: &str, text: String) -> Self {
        Self {
            name: name.to_owned(),
            text,
            secret: false,
        }
    }

    /// A file for its owner alone.
    pub(crate) fn secret(name: &str, text: String) -> Self {
        Self {
            name: name.to_owned(),
            text,
            secret: true,
        }
    }
}

/// Writes the files, or says which of them are there already and writes none.
pub(super) fn run(args: &InitArgs) -> Outcome {
    let files = match args.from {
        From::Plain => plain("")?,
        From::Envoy => plain(ENVOY)?,
        From::Mcp => plain(MCP)?,
        From::Demo => demo::files(&demo::Places::usual())?,
    };
    let there: Vec<_> = files.iter().map(|file| args.dir.join(&file.name)).filter(|path| path.exists()).collect();
    if !there.is_empty() {
        let names: Vec<_> = there.iter().map(|path| path.display().to_string()).collect();
        return Err(format!(
            "nothing was written, because these are there already: {}; name another folder",
            names.join(", ")
        )
        .into());
    }
    for NewFile { name, text, secret } in &files {
        let path = args.dir.join(name);
        if !args.dry_run {
            write(&path, text, *secret)?;
        }
        say(format!("{}{}", path.display(), if *secret { "  (secret, mode 0600)" } else { "" }));
    }
    let config = args.dir.join("narrows.toml");
    let narrows = format!("narrows --config {}", config.display());
    say(format!("next: {narrows} check"));
    match args.from {
        From::Plain | From::Demo => {}
        From::Envoy => say(format!("then: {narrows} snippet envoy > envoy.yaml")),
        From::Mcp => say("the [[mcp]] table is read and checked, and not served yet: no tool is protected by it"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes one file; a secret for its owner alone, from its first byte on.
pub(crate) fn write(path: &Path, text: &str, secret: bool) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mode = if secret { 0o600 } else { 0o644 };
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?
        .write_all(text.as_bytes())
}

/// A key file: 32 random bytes as one line.
pub(crate) fn key_file() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut key = [0; 32];
    rand::fill(&mut key).map_err(|_| "no randomness to be had")?;
    Ok(format!("{}\n", STANDARD.encode(key)))
}

/// One client and one audience, with `more` behind them.
fn plain(more: &str) -> Result<Vec<NewFile>, Box<dyn std::error::Error + Send + Sync>> {
    let (key, pem) = crate::assertion::ClientKey::generate()?;
    Ok(vec![
        NewFile::open("narrows.toml", format!("{PLAIN}{more}")),
        NewFile::secret("narrows.key", key_file()?),
        NewFile::open("policies/first.cedar", POLICY.to_owned()),
        NewFile::open("edge.jwks.json", format!("{}\n", key.jwks())),
        NewFile::secret("edge.key", pem),
    ])
}
