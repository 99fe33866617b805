//! Metrics: every name is here.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::denied::Denied;
use crate::observing::Observing;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: u16,
}

/// What is counted of connections. Clones count together, and the listeners of one process share one.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    open: Gauge,
    handshakes_failed: Counter,
}

impl Meter {
    /// Puts it among the metrics of a process.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections", self.open.clone());
        registry.register(
            "tls_handshakes_failed",
            "Connections that ended before their TLS handshake did",
            self.handshakes_failed.clone(),
        );
    }

    pub(crate) fn opened(&self) {
        self.open.inc();
    }

    pub(crate) fn closed(&self) {
        self.open.dec();
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Observed {
    boundary: String,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Room {
    room: &'static str,
}

/// How a request would have been decided that went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Allow,
    Deny,
    /// Nobody knows, and there is no record: there was no room.
    Unrecorded,
}

impl Outcome {
    pub(crate) fn of<T>(decided: &Result<T, Denied>) -> Self {
        match decided {
            Ok(_) => Self::Allow,
            Err(denied) if denied.is_for_want_of_room() => Self::Unrecorded,
            Err(_) => Self::Deny,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Unrecorded => "unrecorded",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Used {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Guarded {
    service: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rechecked {
    service: String,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sighted {
    service: String,
    revoked: &'static str,
}

/// The counters of one broker.
pub(crate) struct Telemetry {
    registry: Registry,
    refused: Family<Reason, Counter>,
    answered: Family<Status, Counter>,
    api_answered: Family<Status, Counter>,
    issued: Counter,
    seconds: Histogram,
    change_refused: Gauge,
    connections: Meter,
    observing: Family<Vec<(&'static str, String)>, Gauge>,
    observed: Family<Observed, Counter>,
    streams: Gauge,
    at_work: Family<Room, Gauge>,
    uses: Family<Used, Counter>,
    guard_refusals: Family<Guarded, Counter>,
    guard_lost: Family<Service, Counter>,
    rechecks: Family<Rechecked, Counter>,
    seen_twice: Family<Sighted, Counter>,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let mut telemetry = Self {
            registry: Registry::with_prefix("narrows"),
            refused: Family::default(),
            answered: Family::default(),
            api_answered: Family::default(),
            issued: Counter::default(),
            seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 14)),
            change_refused: Gauge::default(),
            connections: Meter::default(),
            observing: Family::default(),
            observed: Family::default(),
            streams: Gauge::default(),
            at_work: Family::default(),
            uses: Family::default(),
            guard_refusals: Family::default(),
            guard_lost: Family::default(),
            rechecks: Family::default(),
            seen_twice: Family::default(),
        };
        let registry = &mut telemetry.registry;
        registry.register(
            "refusals",
            "Refused requests at the token endpoint, by reason",
            telemetry.refused.clone(),
        );
        registry.register(
            "token_responses",
            "Answers of the token endpoint, by status",
            telemetry.answered.clone(),
        );
        registry.register("api_responses", "Answers under /v1, by status", telemetry.api_answered.clone());
        registry.register("issued", "Permitted exchanges whose record is durable", telemetry.issued.clone());
        registry.register("token_seconds", "Time to answer at the token endpoint", telemetry.seconds.clone());
        registry.register(
            "change_refused",
            "1 while the last change of configuration or policy is refused",
            telemetry.change_refused.clone(),
        );
        registry.register(
            "observing",
            "Parts of a boundary or guard that only observe: itself, services, routes",
            telemetry.observing.clone(),
        );
        registry.register(
            "observed",
            "Requests that went on whatever was decided, by boundary and decision; `unrecorded` for want of room; at a guard only `deny`",
            telemetry.observed.clone(),
        );
        registry.register(
            "at_work",
            "Requests that have their turn, by room; those that wait for an issuer have none",
            telemetry.at_work.clone(),
        );
        registry.register("streams", "Readers of the feed of revocations", telemetry.streams.clone());
        telemetry.connections.register(registry);
        registry.register("uses", "Uses of tokens at /v1/uses, by outcome", telemetry.uses.clone());
        registry.register(
            "guard_refusals",
            "Requests that guards refused and put on record, by service and reason",
            telemetry.guard_refusals.clone(),
        );
        registry.register(
            "guard_refusals_lost",
            "Requests that guards refused and could not put on record",
            telemetry.guard_lost.clone(),
        );
        registry.register(
            "rechecks",
            "Requests about which guards asked policy again",
            telemetry.rechecks.clone(),
        );
        registry.register(
            "tokens_seen_twice",
            "Tokens that were shown to a guard from two places",
            telemetry.seen_twice.clone(),
        );
        telemetry
    }

    pub(crate) fn refused(&self, reason: &str) {
        self.refused.get_or_create(&Reason { reason: reason.to_owned() }).inc();
    }

    pub(crate) fn recorded(&self) {
        self.issued.inc();
    }

    pub(crate) fn answered(&self, status: u16, took: Duration) {
        self.answered.get_or_create(&Status { status }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn api_answered(&self, status: u16) {
        self.api_answered.get_or_create(&Status { status }).inc();
    }

    pub(crate) fn change_refused(&self, refused: bool) {
        self.change_refused.set(i64::from(refused));
    }

    pub(crate) fn observed(&self, boundary: &str, outcome: Outcome) {
        let observed = Observed {
            boundary: boundary.to_owned(),
            decision: outcome.as_str(),
        };
        self.observed.get_or_create(&observed).inc();
    }

    /// How much of each boundary and guard observes now.
    pub(crate) fn observing(&self, parts: &[Observing]) {
        self.observing.clear();
        for part in parts {
            self.observing.get_or_create(&part.labels()).inc();
        }
    }

    /// Counts a use that was asked for: `accepted`, or the reason why not.
    pub(crate) fn used(&self, outcome: &'static str) {
        self.uses.get_or_create(&Used { outcome }).inc();
    }

    /// Counts what a guard refused; what went on all the same is among what was observed, as at a boundary.
    pub(crate) fn guard_refused(&self, service: &str, reason: &'static str, is_observed: bool, count: u64) {
        if is_observed {
            let observed = Observed {
                boundary: format!("guard {service}"),
                decision: Outcome::Deny.as_str(),
            };
            self.observed.get_or_create(&observed).inc_by(count);
            return;
        }
        let service = service.to_owned();
        self.guard_refusals.get_or_create(&Guarded { service, reason }).inc_by(count);
    }

    pub(crate) fn guard_lost(&self, service: &str, count: u64) {
        let service = service.to_owned();
        self.guard_lost.get_or_create(&Service { service }).inc_by(count);
    }

    pub(crate) fn rechecked(&self, service: &str, allowed: bool) {
        let rechecked = Rechecked {
            service: service.to_owned(),
            decision: if allowed { "allow" } else { "deny" },
        };
        self.rechecks.get_or_create(&rechecked).inc();
    }

    pub(crate) fn seen_twice(&self, service: &str, revoked: bool) {
        let sighted = Sighted {
            service: service.to_owned(),
            revoked: if revoked { "yes" } else { "no" },
        };
        self.seen_twice.get_or_create(&sighted).inc();
    }

    pub(crate) fn connections(&self) -> &Meter {
        &self.connections
    }

    /// How many requests have their turn now in a room.
    pub(crate) fn at_work(&self, room: &'static str, count: usize) {
        self.at_work.get_or_create(&Room { room }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn streams(&self) -> &Gauge {
        &self.streams
    }

    /// All of them as OpenMetrics text.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Telemetry(..)")
    }
}
