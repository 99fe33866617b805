//! The files of the demo's installation.

use super::Failure;
use crate::assertion::ClientKey;
use crate::cli::init;

const CONFIG: &str = include_str!("layout/narrows.toml");
/// The rules of the scenes.
const RULES: &str = include_str!("layout/shop.cedar");
/// What the rules must say.
const CASES: &str = include_str!("layout/shop.cases.toml");

/// Every file as (name, text, secret).
pub(crate) fn files(issuer: &str, provider: &str, listen: &str) -> Result<Vec<(String, String, bool)>, Failure> {
    let config = CONFIG.replace("@ISSUER@", issuer).replace("@PROVIDER@", provider).replace("@LISTEN@", listen);
    let mut files = vec![
        ("narrows.toml".to_owned(), config, false),
        ("narrows.key".to_owned(), init::key_file()?, true),
        ("policies/shop.cedar".to_owned(), RULES.to_owned(), false),
        ("policies/shop.cases.toml".to_owned(), CASES.to_owned(), false),
    ];
    for client in ["edge", "orders"] {
        let (key, pem) = ClientKey::generate()?;
        files.push((format!("{client}.jwks.json"), format!("{}\n", key.jwks()), false));
        files.push((format!("{client}.key"), pem, true));
    }
    Ok(files)
}
