//! Gives a target its corpus, and as many random changes of it as are wanted.

use std::path::Path;

/// A target: its name, which its corpus has too, what it does with any bytes, and how many changes of its corpus every
/// test run makes. A target that takes longer makes fewer.
#[derive(Debug)]
pub struct Target {
    /// The name of the target, and of the folder of its corpus.
    pub name: &'static str,
    /// The target; it panics if a promise does not hold.
    pub run: fn(&[u8]),
    /// Changes in every test run.
    pub changes: u64,
}

/// How many times more changes than in every test run, from `NARROWS_FUZZ` (1 by default).
fn times() -> u64 {
    number("NARROWS_FUZZ", 1)
}

/// Runs `target` on each file of its corpus, and on changes of them from the seed `NARROWS_SEED`.
///
/// # Panics
///
/// If the target does, and if there are fewer than three files in the corpus.
pub fn replay(target: &Target) {
    let (changes, seed) = (target.changes * times(), number("NARROWS_SEED", 8_693));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(corpus.len() >= 3, "{} has a corpus", target.name);
    println!("{}: {} files, {changes} changes from seed {seed}", target.name, corpus.len());
    corpus.iter().for_each(|bytes| (target.run)(bytes));
    let mut dice = Dice(seed);
    for _ in 0..changes {
        (target.run)(&dice.change(&corpus));
    }
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// xorshift64*: the same seed makes the same changes.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % sides
    }

    /// One of the corpus with one to four changes.
    fn change(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = corpus[self.roll(corpus.len())].clone();
        for _ in 0..=self.roll(4) {
            let at = self.roll(bytes.len().max(1));
            let other = [u8::try_from(self.roll(256)).unwrap(), b"\"{}[]:,.=&%?/-0e\\"[self.roll(17)]][self.roll(2)];
            match self.roll(6) {
                0 if !bytes.is_empty() => bytes[at] = other,
                1 => bytes.insert(at.min(bytes.len()), other),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                4 => {
                    // A piece of one goes into the middle of another.
                    let from = &corpus[self.roll(corpus.len())];
                    let start = self.roll(from.len().max(1));
                    let end = (start + self.roll(64)).min(from.len());
                    let at = at.min(bytes.len());
                    bytes.splice(at..at, from[start.min(end)..end].iter().copied());
                }
                _ => {
                    // The head of one with the tail of another.
                    let from = &corpus[self.roll(corpus.len())];
                    let cut = self.roll(from.len().max(1));
                    bytes.truncate(at);
                    bytes.extend_from_slice(&from[cut..]);
                }
            }
        }
        bytes
    }
}
