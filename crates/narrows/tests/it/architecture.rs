//! Which crate may reach what (ARCHITECTURE.md), read from `cargo tree`.

use std::collections::BTreeSet;
use std::process::Command;

use crate::run::root;

/// Everything that `package` reaches in a build without tests.
fn reaches(package: &str) -> BTreeSet<String> {
    let arguments = [
        "tree",
        "--locked",
        "--offline",
        "--package",
        package,
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn no_crate_reaches_what_it_must_not() {
    let engine_and_io = ["tokio", "hyper", "axum", "reqwest", "sqlx", "cedar-policy"];
    let rows: [(&str, Vec<&str>); 7] = [
        (
            "delegation",
            [&engine_and_io[..], &["issuance", "broker", "fetch", "policy-cedar", "narrows"]].concat(),
        ),
        (
            "issuance",
            [&engine_and_io[..], &["broker", "fetch", "policy-cedar", "narrows"]].concat(),
        ),
        (
            "narrows-guard",
            vec![
                "issuance",
                "broker",
                "axum",
                "sqlx",
                "cedar-policy",
                "policy-cedar",
                "boundary",
                "narrows",
                "testkit",
            ],
        ),
        (
            "policy-cedar",
            vec!["tokio", "hyper", "axum", "reqwest", "sqlx", "broker", "fetch", "narrows"],
        ),
        ("fetch", vec!["issuance", "sqlx", "cedar-policy", "broker", "narrows"]),
        ("broker", vec!["boundary", "narrows", "testkit"]),
        (
            "boundary",
            vec!["issuance", "broker", "sqlx", "cedar-policy", "policy-cedar", "narrows", "testkit"],
        ),
    ];
    for (package, forbidden) in rows {
        let reached = reaches(package);
        assert!(reached.contains(package), "{package}: the tree was read");
        for name in forbidden {
            assert!(!reached.contains(name), "{package} reaches {name}");
        }
    }
}

#[test]
fn one_crypto_library_and_no_test_code_in_the_program() {
    let reached = reaches("narrows");
    // SUP-007: test code cannot be in the program, whatever is switched on.
    // JWS-046: the crate `rsa` signs in a time that depends on its key.
    for name in ["testkit", "openssl", "native-tls", "ring", "rsa", "jsonwebtoken"] {
        assert!(!reached.contains(name), "narrows reaches {name}");
    }
}

#[test]
fn the_ports_have_the_implementations_that_are_known() {
    let expected = [
        (
            "impl Journal for",
            vec!["crates/broker/src/journal.rs", "crates/testkit/src/journal.rs"],
        ),
        (
            "impl Policy for",
            vec!["crates/policy-cedar/src/engine.rs", "crates/testkit/src/policy.rs"],
        ),
        (
            "impl Signer for",
            vec!["crates/broker/src/signer.rs", "crates/testkit/src/signer.rs"],
        ),
    ];
    for (port, files) in expected {
        let found: Vec<_> = sources().into_iter().filter(|(_, text)| text.contains(port)).map(|(name, _)| name).collect();
        assert_eq!(found, files, "{port}");
    }
}

#[test]
fn files_are_small_and_their_names_say_what_is_in_them() {
    let sources = sources();
    let drawers = ["util", "utils", "common", "helpers", "core", "types", "models", "misc", "mod"];
    for (name, text) in &sources {
        let stem = name.rsplit('/').next().unwrap().trim_end_matches(".rs");
        assert!(!drawers.contains(&stem), "{name} says nothing");
        assert!(text.lines().count() <= 700, "{name} is a drawer");
    }
    let small = sources.iter().filter(|(_, text)| text.lines().count() <= 350).count();
    assert!(small * 10 >= sources.len() * 9, "{small} of {} files are small", sources.len());
}

/// Every source file of the crates, by its path.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && path.components().any(|part| part.as_os_str() == "src")
            {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
