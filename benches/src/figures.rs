//! What a round says, and what all rounds say together.

use std::time::Duration;

/// One server's part of a round.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// Processor time for each exchange, in µs.
    processor: f64,
    p50: f64,
    p99: f64,
}

impl Round {
    /// From the processor time of all exchanges and the sorted times of each.
    pub(crate) fn of(processor: Duration, sorted: &[Duration]) -> Self {
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
        Self {
            processor: processor.as_secs_f64() * 1e6 / sorted.len() as f64,
            p50: at(0.50),
            p99: at(0.99),
        }
    }
}

/// A server's rounds.
pub(crate) struct Series {
    name: &'static str,
    pub(crate) rounds: Vec<Round>,
}

impl Series {
    pub(crate) const HEAD: &'static str =
        "                            µs CPU   spread       floor   of one core   p50 ms   p99 ms   MiB after";

    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, rounds: Vec::new() }
    }

    /// Processor time for each exchange in µs, the median of the rounds.
    pub(crate) fn processor_time(&self) -> f64 {
        self.median_of(|round| round.processor)
    }

    /// One line of the table, beside a floor of `floor` µs.
    pub(crate) fn line(&self, floor: f64, memory: f64) -> String {
        let processor = self.processor_time();
        let of = |bound: fn(f64, f64) -> f64, from: f64| self.rounds.iter().map(|round| round.processor).fold(from, bound);
        format!(
            "{:<26} {processor:>7.0}  {:>3.0}–{:<3.0} {:>9.2}× {:>9.0} /s {:>8.1} {:>8.1} {memory:>10.1}",
            self.name,
            of(f64::min, f64::INFINITY),
            of(f64::max, 0.0),
            processor / floor,
            1e6 / processor,
            self.median_of(|round| round.p50),
            self.median_of(|round| round.p99),
        )
    }

    fn median_of(&self, figure: fn(&Round) -> f64) -> f64 {
        median(&mut self.rounds.iter().map(figure).collect::<Vec<_>>())
    }
}

/// The middle of `values`.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
