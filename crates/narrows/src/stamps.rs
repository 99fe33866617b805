//! Whether a file of the configuration changed since it was looked at.

use std::path::PathBuf;
use std::time::SystemTime;

use crate::config::Loaded;

/// When each file was written last, and its length; nothing for one that is not there.
#[derive(PartialEq, Eq)]
pub(crate) struct Stamps(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Stamps {
    /// Those of now: of all files that were read for `loaded`, and of all that the patterns of policies find.
    pub(crate) fn of(paths: &[PathBuf], loaded: &Loaded) -> Self {
        let mut files: Vec<_> = paths.iter().chain(&loaded.watched).cloned().collect();
        for pattern in &loaded.patterns {
            files.extend(glob::glob(pattern).into_iter().flatten().flatten());
        }
        files.sort();
        files.dedup();
        let stamp = |path: &PathBuf| std::fs::metadata(path).ok().and_then(|metadata| Some((metadata.modified().ok()?, metadata.len())));
        Self(files.into_iter().map(|path| (path.clone(), stamp(&path))).collect())
    }
}
