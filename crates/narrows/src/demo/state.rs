//! Where a demo that stays up says what it is: one at a time for each user of a machine, and for that user alone.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Failure;

/// The name of the file.
const NAME: &str = "narrows-demo.json";

/// Writes `state` so that nobody else reads it, and over no file that a link leads to.
pub(super) fn write(state: &Value) -> Result<(), Failure> {
    let path = path()?;
    let fresh = path.with_extension("new");
    // What a demo that was killed left behind.
    let _ = std::fs::remove_file(&fresh);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(state.to_string().as_bytes())?;
    // A rename puts the file in the place of whatever has the name, a link included.
    Ok(std::fs::rename(&fresh, &path)?)
}

/// What the demo that runs wrote.
pub(super) fn read() -> Result<Value, Failure> {
    let path = path()?;
    let ours = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    let text = if ours { std::fs::read_to_string(&path).ok() } else { None };
    Ok(serde_json::from_str(
        &text.ok_or("no demo is running; start one with `narrows demo`")?,
    )?)
}

/// Takes the file away.
pub(super) fn remove() {
    if let Ok(path) = path() {
        let _ = std::fs::remove_file(path);
    }
}

/// In the folder that the system keeps for this user, or in one beside other temporary files.
fn path() -> Result<PathBuf, Failure> {
    let us = our_uid()?;
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    if let Some(folder) = runtime.filter(|folder| is_private(folder, us)) {
        return Ok(folder.join(NAME));
    }
    let folder = std::env::temp_dir().join(format!("narrows-{us}"));
    // It may be there already, and then anybody may have made it: that is looked at next.
    let _ = std::fs::DirBuilder::new().mode(0o700).create(&folder);
    if !is_private(&folder, us) {
        return Err(format!("`{}` is not a folder of yours alone (mode 0700); remove it", folder.display()).into());
    }
    Ok(folder.join(NAME))
}

/// Whether a folder, and no link to one, belongs to `us` and is closed to others.
fn is_private(folder: &Path, us: u32) -> bool {
    std::fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir() && found.uid() == us && found.mode() & 0o077 == 0)
}

/// Who we are: the owner of a file that we make.
fn our_uid() -> Result<u32, Failure> {
    let probe = std::env::temp_dir().join(format!("narrows-{}", uuid::Uuid::now_v7().simple()));
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe)?;
    let uid = made.metadata()?.uid();
    std::fs::remove_file(&probe)?;
    Ok(uid)
}
