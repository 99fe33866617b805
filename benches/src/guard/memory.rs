//! What a guard keeps of tokens: the memory that this process grows by as different ones are shown.
//!
//! A guard bounds what it keeps of what tokens say by their bytes, and where they came from by their number. So few and many are shown:
//! of few all are kept, and of many the newest.

use narrows_guard::live::{Decision, Live};

use super::quiet::{self, Quiet};
use crate::server::memory;

pub(crate) const HEAD: [&str; 5] = [
    "different tokens shown to a guard",
    "of which it keeps what they say",
    "MiB",
    "bytes for each shown",
    "MiB for 10⁵ at that rate",
];

const SIZES: [(usize, &str); 2] = [(10_000, "10,000"), (100_000, "100,000")];

/// A guard that was shown so many tokens.
struct Shown {
    size: usize,
    title: &'static str,
    guard: Live<Quiet>,
    mebibytes: f64,
}

/// What was measured.
pub(crate) struct Remembered(Vec<Vec<String>>);

impl Remembered {
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        self.0.clone()
    }
}

/// Shows tokens to a guard of each size. Called before anything else is measured: memory that was freed would be taken again, and the
/// process would not grow.
pub(crate) async fn measure() -> Remembered {
    let issuer = quiet::issuer();
    let mut all = Vec::new();
    for (size, title) in SIZES {
        let guard = super::live(&issuer.issuer, Quiet::of(&issuer));
        let before = memory("self");
        for _ in 0..size {
            let decision = super::decide(&guard, &super::shown(&quiet::token(&issuer))).await;
            assert!(matches!(decision, Decision::Allowed(_)), "what is refused is not remembered");
        }
        all.push(Shown {
            size,
            title,
            guard,
            mebibytes: memory("self") - before,
        });
    }
    Remembered(all.iter().map(Shown::row).collect())
}

impl Shown {
    fn row(&self) -> Vec<String> {
        let each = self.mebibytes * 1024.0 * 1024.0 / self.size as f64;
        vec![
            self.title.to_owned(),
            self.kept(),
            format!("{:.1}", self.mebibytes),
            format!("{each:.0}"),
            format!("{:.0}", self.mebibytes * 1e5 / self.size as f64),
        ]
    }

    /// How many it keeps; it says so to whoever looks into it for a mistake.
    fn kept(&self) -> String {
        let text = format!("{:?}", self.guard);
        text.split("Memory(").nth(1).unwrap().split(')').next().unwrap().to_owned()
    }
}
