//! `[limits]`: how much at once, and how often.

use std::num::NonZeroU32;

use broker::Rates;

use super::duration;
use super::file::{self, File};
use super::problem::Problems;

/// The table, with its defaults.
pub(super) struct Limits {
    /// Bytes of the largest form.
    pub(super) body: usize,
    pub(super) connections: usize,
    pub(super) rates: Rates,
}

/// Reads it.
pub(super) fn build(file: &File, problems: &mut Problems) -> Limits {
    let table = file.limits.clone().unwrap_or_default();
    let text = table.body.as_deref().unwrap_or("64KiB");
    let body = duration::parse_size(text).unwrap_or_else(|| {
        problems.add("limits.body", format!("expected a size such as `64KiB`, found `{text}`"));
        usize::MAX
    });
    let connections = table.connections.unwrap_or(10_000);
    for (key, zero) in [("limits.body", body == 0), ("limits.connections", connections == 0)] {
        if zero {
            problems.add(key, "expected more than nothing".to_owned());
        }
    }
    let rates = rates(&table, problems);
    Limits { body, connections, rates }
}

/// What is not said has its default; nothing at all per second would refuse everybody, and is a mistake.
fn rates(limits: &file::Limits, problems: &mut Problems) -> Rates {
    let mut rates = Rates::default();
    let said = limits.requests_per_second.clone().unwrap_or_default();
    for (key, said, rate) in [
        ("per_client", said.per_client, &mut rates.per_client),
        ("per_address", said.per_address, &mut rates.per_address),
    ] {
        match said.map(NonZeroU32::new) {
            None => {}
            Some(Some(said)) => *rate = said,
            Some(None) => problems.add(
                &format!("limits.requests_per_second.{key}"),
                "expected more than nothing".to_owned(),
            ),
        }
    }
    rates
}
