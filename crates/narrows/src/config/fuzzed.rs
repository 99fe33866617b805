//! The fuzz target of the configuration. It lies here because a program has no library that another crate could try.
#![expect(clippy::unwrap_used, reason = "a target speaks by panicking")]

use std::cell::OnceCell;

use fuzz::{Target, replay};
use tempfile::TempDir;

use super::load;

thread_local! {
    /// Where the file is written, beside what it may name.
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// A file as the whole configuration: what is right can be shown, and what is wrong is told with its key and a mend.
fn configuration(bytes: &[u8]) {
    let path = FOLDER.with(|folder| {
        let folder = folder.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("narrows.key"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
            std::fs::write(folder.path().join("edge.jwks.json"), r#"{"keys":[]}"#).unwrap();
            std::fs::write(
                folder.path().join("rules.cedar"),
                "@id(\"all\") permit (principal, action, resource);",
            )
            .unwrap();
            folder
        });
        folder.path().join("narrows.toml")
    });
    std::fs::write(&path, bytes).unwrap();
    match load(std::slice::from_ref(&path)) {
        Ok(loaded) => assert!(loaded.shown(true).is_ok(), "what is in force can be shown"),
        Err(problems) => {
            assert!(problems.iter().next().is_some(), "a configuration is not refused for nothing");
            for problem in problems.iter() {
                assert!(!problem.message.is_empty(), "{} is told what to do about", problem.key);
            }
        }
    }
}

#[test]
fn no_configuration_makes_the_reader_panic() {
    replay(&Target {
        name: "configuration",
        run: configuration,
        changes: 2_000,
    });
}
