//! The files of the demo's installation.

use super::Failure;
use crate::assertion::ClientKey;
use crate::cli::init::{self, NewFile};

const CONFIG: &str = include_str!("layout/narrows.toml");
/// The rules of the scenes, which lie where people look for them.
const RULES: &str = include_str!("../../../../policies/shop.cedar");
const TASK_CASES: &str = include_str!("../../../../policies/tasks.cases.toml");
const TASK_RULES: &str = include_str!("../../../../policies/tasks.cedar");
/// What the rules must say.
const CASES: &str = include_str!("../../../../policies/shop.cases.toml");

/// Every file of the installation, with fresh keys.
pub(crate) fn files(issuer: &str, provider: &str, listen: &str) -> Result<Vec<NewFile>, Failure> {
    let config = CONFIG.replace("@ISSUER@", issuer).replace("@PROVIDER@", provider).replace("@LISTEN@", listen);
    let mut files = vec![
        NewFile::open("narrows.toml", config),
        NewFile::secret("narrows.key", init::key_file()?),
        NewFile::open("policies/shop.cedar", RULES.to_owned()),
        NewFile::open("policies/tasks.cedar", TASK_RULES.to_owned()),
        NewFile::open("policies/shop.cases.toml", CASES.to_owned()),
        NewFile::open("policies/tasks.cases.toml", TASK_CASES.to_owned()),
    ];
    for client in ["edge", "orders", "agent", "worker", "deploy", "support-bot"] {
        let (key, pem) = ClientKey::generate()?;
        files.push(NewFile::open(&format!("{client}.jwks.json"), format!("{}\n", key.jwks())));
        files.push(NewFile::secret(&format!("{client}.key"), pem));
    }
    Ok(files)
}
