//! Metrics of boundaries in a process of their own: every name is here. Those that a broker has too mean the same there.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use broker::{Meter, Observing};
use delegation::oauth::Reason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct At {
    boundary: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct For {
    boundary: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    boundary: String,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Share {
    share: &'static str,
}

/// What is counted of requests. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    granted: Family<At, Counter>,
    refused: Family<For, Counter>,
    observed: Family<Decided, Counter>,
}

impl Tally {
    pub(super) fn granted(&self, boundary: &str) {
        let boundary = boundary.to_owned();
        self.granted.get_or_create(&At { boundary }).inc();
    }

    pub(super) fn refused(&self, boundary: &str, reason: Reason) {
        let (boundary, reason) = (boundary.to_owned(), reason.as_str());
        self.refused.get_or_create(&For { boundary, reason }).inc();
    }

    /// One that went on, and would have been refused for this reason. Without an answer there is no decision.
    pub(super) fn observed(&self, boundary: &str, reason: Option<Reason>) {
        let decision = match reason {
            None => "allow",
            Some(Reason::StoreUnavailable) => "none",
            Some(_) => "deny",
        };
        let boundary = boundary.to_owned();
        self.observed.get_or_create(&Decided { boundary, decision }).inc();
    }
}

/// How the process stands when it is asked.
pub(super) struct Standing<'s> {
    pub(super) is_reached: bool,
    /// How long ago the broker answered anything, or the process started.
    pub(super) answer_age: Duration,
    pub(super) is_change_refused: bool,
    /// What observes now.
    pub(super) observing: Vec<&'s Observing>,
    /// Bytes of bodies for which there is room: of what enforces, and of what is only observed.
    pub(super) room: (usize, usize),
}

/// The metrics of the process.
pub(super) struct Metrics {
    registry: Registry,
    reached: Gauge,
    answer_age: Gauge<f64, AtomicU64>,
    change_refused: Gauge,
    observing: Family<Vec<(&'static str, String)>, Gauge>,
    room: Family<Share, Gauge>,
}

impl Metrics {
    pub(super) fn new(tally: &Tally, meter: &Meter) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("narrows"),
            reached: Gauge::default(),
            answer_age: Gauge::default(),
            change_refused: Gauge::default(),
            observing: Family::default(),
            room: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("granted", "Requests that got a token of their own", tally.granted.clone());
        registry.register("refusals", "Refused requests, by boundary and reason", tally.refused.clone());
        registry.register(
            "observed",
            "Requests that went on whatever was decided, by boundary and decision; `none` where the broker did not answer",
            tally.observed.clone(),
        );
        registry.register(
            "observing",
            "Parts of a boundary or guard that only observe: itself, services, routes",
            metrics.observing.clone(),
        );
        registry.register(
            "broker_reached",
            "1 while the broker answers and its replies can be verified",
            metrics.reached.clone(),
        );
        registry.register(
            "broker_answer_age_seconds",
            "Time since the broker last answered anything; since the start, if it never did",
            metrics.answer_age.clone(),
        );
        registry.register(
            "change_refused",
            "1 while the last change of configuration is refused",
            metrics.change_refused.clone(),
        );
        registry.register(
            "body_room_bytes",
            "Room for bodies that are read before they go on, by share: `enforced`, `observed`",
            metrics.room.clone(),
        );
        meter.register(registry);
        metrics
    }

    /// All of them as OpenMetrics text.
    pub(super) fn text(&self, standing: &Standing<'_>) -> Result<String, fmt::Error> {
        self.reached.set(i64::from(standing.is_reached));
        self.answer_age.set(standing.answer_age.as_secs_f64());
        self.change_refused.set(i64::from(standing.is_change_refused));
        self.observing.clear();
        for part in &standing.observing {
            self.observing.get_or_create(&part.labels()).inc();
        }
        for (share, bytes) in [("enforced", standing.room.0), ("observed", standing.room.1)] {
            self.room.get_or_create(&Share { share }).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Metrics(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing stays of what observes no more.
    #[test]
    fn what_stands_otherwise_is_told_otherwise() -> fmt::Result {
        let (tally, meter) = (Tally::default(), Meter::default());
        let metrics = Metrics::new(&tally, &meter);
        let front = Observing {
            boundary: "front".to_owned(),
            listen: None,
            part: "boundary".to_owned(),
            until: delegation::time::Timestamp::from_millis(0),
        };
        let at = |seconds, observing| Standing {
            is_reached: false,
            answer_age: Duration::from_secs_f64(seconds),
            is_change_refused: false,
            observing,
            room: (7, 3),
        };
        let text = metrics.text(&at(0.0, vec![&front, &front]))?;
        assert!(text.contains("narrows_observing{boundary=\"front\"} 2\n"), "{text}");
        let text = metrics.text(&at(1.5, Vec::new()))?;
        assert!(!text.contains("narrows_observing{"), "{text}");
        assert!(text.contains("narrows_broker_answer_age_seconds 1.5\n"), "{text}");
        assert!(text.contains("narrows_body_room_bytes{share=\"enforced\"} 7\n"), "{text}");
        Ok(())
    }
}
