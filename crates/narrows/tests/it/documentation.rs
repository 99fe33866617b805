//! What the documentation says is tried.

use std::path::PathBuf;

use crate::run::{narrows, root};

/// Every documentation file.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<_> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "tests/attacks/later.md",
    ]
    .map(|name| root().join(name))
    .into();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_block_of_configuration_in_the_documentation_is_right() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    let base = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    let authority = testkit::CertificateAuthority::new("backends");
    let to_backend = authority.client("guard");
    for (name, text) in [
        ("backends.pem", &authority.pem),
        ("guard.crt", &to_backend.certificate),
        ("guard.key", &to_backend.key),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut blocks = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            // A block that is no whole configuration stands beside the one that `init` writes.
            let file = folder.path().join("block.toml");
            let whole = block.contains("issuer ") && block.contains("listen ");
            std::fs::write(&file, if whole { block.to_owned() } else { format!("{base}\n{block}") }).unwrap();
            let ran = narrows(folder.path(), &["--config", "block.toml", "check"], "");
            assert_eq!(ran.code, 0, "{}:\n{block}\n{}", document.display(), ran.out);
            blocks += 1;
        }
    }
    assert!(blocks > 0, "the documentation shows some configuration");
}

#[test]
fn every_link_inside_the_documentation_leads_somewhere() {
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        // What stands between fences is a program's, and may look like a link.
        let prose: String = text.split("```").step_by(2).collect();
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(document.parent().unwrap().join(path).exists(), "{}: {link}", document.display());
        }
    }
}
