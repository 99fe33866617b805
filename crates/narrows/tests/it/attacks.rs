//! Every attack of the groups that are worked on has a test that names it, or a line that says why not yet.

use std::collections::BTreeSet;

use crate::run::root;

/// Whatever looks like the name of an attack in `text`.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|each: char| !(each.is_ascii_alphanumeric() || each == '-'));
    let named = |word: &&str| word.len() == 7 && ["JWS-", "CLM-", "TEX-", "CON-", "STO-"].iter().any(|group| word.starts_with(group));
    words.filter(named).map(str::to_owned).collect()
}

#[test]
fn every_attack_has_a_test_or_a_line_that_says_why_not_yet() {
    let folder = root().join("tests/attacks");
    let listed = names(&std::fs::read_to_string(folder.join("ids.txt")).unwrap());
    let later = names(&std::fs::read_to_string(folder.join("later.md")).unwrap());
    let mut tested = BTreeSet::new();
    for file in [
        "crates/delegation/tests/it/jws.rs",
        "crates/delegation/tests/it/claims.rs",
        "crates/delegation/tests/it/forms.rs",
        "crates/delegation/tests/it/identities.rs",
        "crates/delegation/tests/it/own_tokens.rs",
        "crates/issuance/tests/it/proposals.rs",
        "crates/issuance/tests/it/road.rs",
        "crates/broker/tests/it/hostile.rs",
        "crates/broker/tests/it/authentication.rs",
        "crates/broker/tests/it/endpoints.rs",
        "crates/broker/tests/it/journal.rs",
        "crates/broker/tests/it/keys.rs",
        "crates/broker/tests/it/store.rs",
        "crates/policy-cedar/tests/it/main.rs",
        "crates/narrows/tests/it/architecture.rs",
    ] {
        tested.extend(names(&std::fs::read_to_string(root().join(file)).unwrap()));
    }
    let forgotten: Vec<_> = listed.iter().filter(|id| !tested.contains(*id) && !later.contains(*id)).collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
    let both: Vec<_> = tested.intersection(&later).collect();
    assert!(both.is_empty(), "tested, and still in later.md: {both:?}");
}
