//! Replays the corpus of every target, and random changes of it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use fuzz::{TARGETS, replay};

#[test]
fn no_target_panics_on_its_corpus_or_on_changes_of_it() {
    TARGETS.iter().for_each(replay);
}

/// A corpus of which nothing is taken would try the first line of the reader alone.
#[test]
fn the_corpus_of_policies_has_right_ones() {
    for (name, right) in [("guards", true), ("holds", true), ("wrong", false)] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/policy");
        let file = policy_cedar::PolicyFile {
            name: name.to_owned(),
            text: std::fs::read_to_string(folder.join(name)).unwrap(),
        };
        let loaded = policy_cedar::CedarPolicy::load(&testkit::snapshot(), &[file], "UTC", "p".to_owned());
        assert_eq!(loaded.is_ok(), right, "{name}: {loaded:?}");
    }
}

/// So would a corpus of requests of which none has a route.
#[test]
fn the_corpus_of_requests_has_ones_that_are_served() {
    for (name, served) in [("read", true), ("change", true), ("files", true), ("hostile", false)] {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/call").join(name);
        assert_eq!(fuzz::is_served(&std::fs::read(file).unwrap()), served, "{name}");
    }
}
