//! Every attack of the groups that are worked on has a test that names it, or a line that says why not yet.

use std::collections::BTreeSet;

use crate::run::root;

const GROUPS: [&str; 14] = [
    "JWS", "CLM", "TEX", "CLI", "RAR", "SSRF", "DOS", "CON", "SUP", "STO", "INT", "APR", "GWY", "EXA",
];

/// Whatever looks like the name of an attack in `text`.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|each: char| !(each.is_ascii_alphanumeric() || each == '-'));
    let named = |word: &&str| {
        let (group, number) = word.split_once('-').unwrap_or_default();
        GROUPS.contains(&group) && number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    words.filter(named).map(str::to_owned).collect()
}

/// What every file of Rust with tests in it says, and the requests that `scripts/doors` sends.
fn tests() -> String {
    let pattern = root().join("crates/*/**/*.rs");
    let files = glob::glob(pattern.to_str().unwrap()).unwrap().map(Result::unwrap);
    let texts = files.map(|file| std::fs::read_to_string(file).unwrap());
    let doors = ["run.py", "table.py", "smuggling.py"].map(|name| std::fs::read_to_string(root().join("tests/doors").join(name)).unwrap());
    texts
        .filter(|text| text.contains("#[test]") || text.contains("#[tokio::test") || text.contains("on_both_engines!"))
        .chain(doors)
        .collect()
}

#[test]
fn every_attack_has_a_test_or_a_line_that_says_why_not_yet() {
    let folder = root().join("tests/attacks");
    let listed = names(&std::fs::read_to_string(folder.join("ids.txt")).unwrap());
    let later = names(&std::fs::read_to_string(folder.join("later.md")).unwrap());
    let tested = names(&tests());
    let forgotten: Vec<_> = listed.iter().filter(|id| !tested.contains(*id) && !later.contains(*id)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
    let both: Vec<_> = tested.intersection(&later).collect();
    assert!(both.is_empty(), "tested, and still in later.md: {both:?}");
}
