//! What the view of revocations costs in the process that looks: time of a verdict, and memory, by how much is revoked.
//!
//! The line that is judged is alive, which is the usual and the dearest: everything it names is looked up. Many different
//! lines are judged in turn, so that what one look brought into the processor's caches does not serve the next.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delegation::identity::Subject;
use delegation::revocation::{Key, Line, MarkKind, Revocation, Revoked, View};
use delegation::time::Timestamp;

use crate::aims;
use crate::figures::median;
use crate::server::memory;

pub(crate) const HEAD: [&str; 5] = ["revoked", "ns for each verdict", "beside 1,000", "MiB", "bytes for each"];

/// Ancestors of the token that is judged, and itself.
const CHAIN: usize = 8;
/// Lines that are judged in turn, and how often in a round.
const LINES: usize = 4096;
const TURNS: usize = 5;

const SIZES: [(usize, &str); 5] = [
    (1_000, "1,000"),
    (10_000, "10,000"),
    (100_000, "100,000"),
    (1_000_000, "1,000,000"),
    (10_000_000, "10,000,000"),
];

struct Measured {
    size: usize,
    title: &'static str,
    view: View,
    mebibytes: f64,
    rounds: Vec<f64>,
}

/// Measures all sizes in every round; gives the rows of the table, and what became of the aims.
pub(crate) fn measure(rounds: usize) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let mut all = SIZES.map(|(size, title)| {
        let before = memory("self");
        let view = revoked(size);
        Measured {
            size,
            title,
            view,
            mebibytes: memory("self") - before,
            rounds: Vec::new(),
        }
    });
    let chains: Vec<_> = (0..LINES).map(|_| std::array::from_fn::<_, CHAIN, _>(|_| id())).collect();
    let txns: Vec<_> = (0..LINES).map(|_| id()).collect();
    // A round before the rounds warms up, and is not counted.
    for round in 0..=rounds {
        for each in &mut all {
            let started = Instant::now();
            for _ in 0..TURNS {
                judge(&each.view, &chains, &txns);
            }
            let time = started.elapsed().as_secs_f64() * 1e9 / (LINES * TURNS) as f64;
            if round > 0 {
                each.rounds.push(time);
            }
        }
    }
    let times = all.each_mut().map(|each| median(&mut each.rounds));
    let rows = all.iter().zip(times).map(|(each, time)| {
        vec![
            each.title.to_owned(),
            format!("{time:.0}"),
            format!("{:.2}×", time / times[0]),
            format!("{:.1}", each.mebibytes),
            format!("{:.1}", each.mebibytes * 1024.0 * 1024.0 / each.size as f64),
        ]
    });
    let most = &all[SIZES.len() - 1];
    let aims = vec![
        aims::row(
            "a verdict alone, 10³ → 10⁷ revocations",
            times[SIZES.len() - 1] / times[0],
            true,
            1.05,
            "×",
        ),
        aims::row("resident memory, view of 10⁷ revocations", most.mebibytes, true, 160.0, " MiB"),
    ];
    (rows.collect(), aims)
}

fn revoked(size: usize) -> View {
    let (revoked, now) = (Revoked::default(), Timestamp::from_seconds(jiff::Timestamp::now().as_second()));
    for _ in 0..size {
        let revocation = Revocation::new(MarkKind::Jti, Key::of(&id()), now, Duration::from_secs(600));
        revoked.add(&revocation);
    }
    assert_eq!(revoked.len(), size);
    View::new([], []).beside(Arc::new(revoked))
}

fn judge(view: &View, chains: &[[String; CHAIN]], txns: &[String]) {
    let subject = Subject {
        issuer_name: "corp".to_owned(),
        iss: "https://login.corp.example".to_owned(),
        sub: "alice".to_owned(),
    };
    for (chain, txn) in chains.iter().zip(txns) {
        let line = Line {
            chain,
            txn: Some(txn),
            task: None,
            subject: &subject,
            client: Some("edge"),
            act: None,
            iat: Timestamp::from_seconds(1),
        };
        assert_eq!(black_box(view).kills(black_box(&line)), None);
    }
}

fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}
