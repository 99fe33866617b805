//! Replays the corpus, and as many random changes of it as `NARROWS_FUZZ` says (20,000 for each target by default).
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::path::Path;

use fuzz::TARGETS;

#[test]
fn no_target_panics_on_its_corpus_or_on_changes_of_it() {
    let number = |name: &str, otherwise: u64| std::env::var(name).map_or(otherwise, |text| text.parse().unwrap());
    let (rounds, seed) = (number("NARROWS_FUZZ", 20_000), number("NARROWS_SEED", 8_693));
    for (name, target) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
        assert!(corpus.len() >= 3, "{name} has a corpus");
        println!("{name}: {} files, {rounds} changes from seed {seed}", corpus.len());
        corpus.iter().for_each(|bytes| target(bytes));
        let mut state = seed;
        let mut roll = |sides: usize| {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % sides
        };
        for _ in 0..rounds {
            let mut bytes = corpus[roll(corpus.len())].clone();
            for _ in 0..=roll(4) {
                let at = roll(bytes.len().max(1));
                let other = [u8::try_from(roll(256)).unwrap(), b"\"{}[]:,.=&%?/-0e\\"[roll(17)]][roll(2)];
                match roll(5) {
                    0 if !bytes.is_empty() => bytes[at] = other,
                    1 => bytes.insert(at.min(bytes.len()), other),
                    2 if !bytes.is_empty() => drop(bytes.remove(at)),
                    3 => bytes.truncate(at),
                    _ => {
                        // The head of one with the tail of another.
                        let from = &corpus[roll(corpus.len())];
                        let cut = roll(from.len().max(1));
                        bytes.truncate(at);
                        bytes.extend_from_slice(&from[cut..]);
                    }
                }
            }
            target(&bytes);
        }
    }
}
