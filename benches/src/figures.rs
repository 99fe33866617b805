//! What a round says, and what all rounds say together.

use std::time::Duration;

use crate::load::Reply;

/// One server's part of a round.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    /// Processor time for each request, in µs.
    processor: f64,
    /// Answers in a second, of all connections together.
    rate: f64,
    p50: f64,
    p99: f64,
}

impl Round {
    /// From the processor time of all requests, the time that passed, and their replies, the fastest first.
    pub(crate) fn of(processor: Duration, passed: Duration, replies: &[Reply]) -> Self {
        let at = |share: f64| replies[((replies.len() - 1) as f64 * share) as usize].time.as_secs_f64() * 1000.0;
        Self {
            processor: for_each(processor, replies.len()),
            rate: replies.len() as f64 / passed.as_secs_f64(),
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

    /// Of the table of requests that are no exchanges.
    pub(crate) const HEAD_OF_REQUESTS: [&'static str; 7] = [
        "",
        "µs for each request",
        "spread",
        "beside an exchange",
        "answered",
        "p50 / p99 ms",
        "MiB after",
    ];

    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, rounds: Vec::new() }
    }

    /// Processor time for each request in µs, the median of the rounds.
    pub(crate) fn processor_time(&self) -> f64 {
        self.median_of(|round| round.processor)
    }

    /// One row of the table, beside a floor of `floor` µs and the program with ten policies at `ten` µs.
    pub(crate) fn row(&self, floor: f64, ten: f64, memory: f64) -> Vec<String> {
        let processor = self.processor_time();
        vec![
            self.title.to_owned(),
            format!("{processor:.0}"),
            spread(self.rounds.iter().map(|round| round.processor)),
            format!("{:.2}×", processor / floor),
            format!("{:.2}×", processor / ten),
            format!("{:.0} /s", 1e6 / processor),
            self.waiting(),
            format!("{memory:.1}"),
        ]
    }

    /// One row of the table of requests that are no exchanges, beside an exchange at `ten` µs.
    pub(crate) fn row_of_requests(&self, ten: f64, memory: f64) -> Vec<String> {
        let processor = self.processor_time();
        vec![
            self.title.to_owned(),
            format!("{processor:.0}"),
            spread(self.rounds.iter().map(|round| round.processor)),
            format!("{:.2}×", processor / ten),
            format!("{:.0} /s", self.median_of(|round| round.rate)),
            self.waiting(),
            format!("{memory:.1}"),
        ]
    }

    fn waiting(&self) -> String {
        let (p50, p99) = (self.median_of(|round| round.p50), self.median_of(|round| round.p99));
        format!("{p50:.1} / {p99:.1}")
    }

    fn median_of(&self, figure: fn(&Round) -> f64) -> f64 {
        median(&mut self.rounds.iter().map(figure).collect::<Vec<_>>())
    }
}

/// The share of one exchange among `count`, in µs.
pub(crate) fn for_each(processor: Duration, count: usize) -> f64 {
    processor.as_secs_f64() * 1e6 / count as f64
}

/// The least and the most of `values`.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> String {
    let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    format!("{least:.0}–{most:.0}")
}

/// The middle of `values`.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
