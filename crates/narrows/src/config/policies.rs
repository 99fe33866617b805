//! Policy files, and the version that they make together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use delegation::token::sha256;
use policy_cedar::PolicyFile;

use super::file::File;
use super::problem::Problems;

/// What the patterns of `policies` find.
pub(super) struct Policies {
    /// In the order of their names.
    pub(super) files: Vec<PolicyFile>,
    /// The version that their names and texts make.
    pub(super) version: String,
    pub(super) paths: Vec<PathBuf>,
}

/// Reads them.
pub(super) fn build(file: &File, problems: &mut Problems) -> Policies {
    let mut found: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (at, pattern) in file.policies.iter().flatten().enumerate() {
        let path = format!("policies[{at}]");
        let paths = match glob::glob(pattern) {
            Ok(paths) => paths,
            Err(error) => {
                problems.add(&path, format!("expected a pattern such as `policies/**/*.cedar`: {error}"));
                continue;
            }
        };
        for each in paths.flatten().filter(|each| each.is_file()) {
            match std::fs::read_to_string(&each) {
                Ok(text) => {
                    found.insert(each, text);
                }
                Err(error) => problems.add(&path, format!("`{}`: {error}", each.display())),
            }
        }
    }
    let mut bytes = Vec::new();
    for (path, text) in &found {
        bytes.extend_from_slice(path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default());
        bytes.extend_from_slice(&sha256(text.as_bytes()));
    }
    let version = format!("p-{}", short_digest(&bytes));
    let paths = found.keys().cloned().collect();
    let base = std::env::current_dir().unwrap_or_default();
    let name = |path: &PathBuf| path.strip_prefix(&base).unwrap_or(path).display().to_string();
    Policies {
        files: found.into_iter().map(|(path, text)| PolicyFile { name: name(&path), text }).collect(),
        version,
        paths,
    }
}

/// Twelve hex digits of the SHA-256: enough to tell versions apart.
pub(super) fn short_digest(bytes: &[u8]) -> String {
    sha256(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
