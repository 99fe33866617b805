//! What a round says, and what all rounds say together.

use std::time::Duration;

use crate::load::Reply;

/// One server's part of a round.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// Processor time for each exchange, in µs.
    processor: f64,
    p50: f64,
    p99: f64,
}

impl Round {
    /// From the processor time of all exchanges and their replies, the fastest first.
    pub(crate) fn of(processor: Duration, replies: &[Reply]) -> Self {
        let at = |share: f64| replies[((replies.len() - 1) as f64 * share) as usize].time.as_secs_f64() * 1000.0;
        Self {
            processor: for_each(processor, replies.len()),
            p50: at(0.50),
            p99: at(0.99),
        }
    }
}

/// A server's rounds.
pub(crate) struct Series {
    pub(crate) title: &'static str,
    pub(crate) rounds: Vec<Round>,
}

impl Series {
    pub(crate) const HEAD: [&'static str; 8] = [
        "",
        "µs for each exchange",
        "spread",
        "beside the floor",
        "beside 10 policies",
        "of one core",
        "p50 / p99 ms",
        "MiB after",
    ];

    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, rounds: Vec::new() }
    }

    /// Processor time for each exchange in µs, the median of the rounds.
    pub(crate) fn processor_time(&self) -> f64 {
        self.median_of(|round| round.processor)
    }

    /// One row of the table, beside a floor of `floor` µs and the program with ten policies at `ten` µs.
    pub(crate) fn row(&self, floor: f64, ten: f64, memory: f64) -> Vec<String> {
        let processor = self.processor_time();
        let of = |bound: fn(f64, f64) -> f64, from: f64| self.rounds.iter().map(|round| round.processor).fold(from, bound);
        vec![
            self.title.to_owned(),
            format!("{processor:.0}"),
            format!("{:.0}–{:.0}", of(f64::min, f64::INFINITY), of(f64::max, 0.0)),
            format!("{:.2}×", processor / floor),
            format!("{:.2}×", processor / ten),
            format!("{:.0} /s", 1e6 / processor),
            format!(
                "{:.1} / {:.1}",
                self.median_of(|round| round.p50),
                self.median_of(|round| round.p99)
            ),
            format!("{memory:.1}"),
        ]
    }

    fn median_of(&self, figure: fn(&Round) -> f64) -> f64 {
        median(&mut self.rounds.iter().map(figure).collect::<Vec<_>>())
    }
}

/// The share of one exchange among `count`, in µs.
pub(crate) fn for_each(processor: Duration, count: usize) -> f64 {
    processor.as_secs_f64() * 1e6 / count as f64
}

/// The middle of `values`.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
