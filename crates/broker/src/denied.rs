//! A refusal between its cause and its record.

use std::net::IpAddr;
use std::time::Instant;

use delegation::oauth::Reason;
use issuance::audit::{Record, Use};

use crate::broker::Broker;
use crate::ids;
use crate::limits::OverLimit;

/// A refusal on its way to the record.
pub(crate) struct Denied {
    pub(crate) reason: Reason,
    /// What the refusal uses up; `None` where refusals are counted together.
    pub(crate) uses: Option<Vec<Use>>,
    /// Whether the request asked for details, which decides between two error codes.
    pub(crate) asks_details: bool,
    /// Whether it counts for the network that it came from.
    pub(crate) is_stranger: bool,
}

impl Denied {
    /// The refusal of a request that did not authenticate.
    pub(crate) fn stranger(reason: Reason) -> Self {
        Self {
            is_stranger: true,
            ..Self::uncounted(reason)
        }
    }

    /// A refusal that says nothing about who asked: nothing was checked, or nothing could be.
    pub(crate) fn uncounted(reason: Reason) -> Self {
        Self {
            reason,
            uses: None,
            asks_details: false,
            is_stranger: false,
        }
    }

    /// A refusal after the commit: its record is a new one, and the credential is used up already.
    pub(crate) fn recorded_anew(reason: Reason, asks_details: bool, record: &mut Record) -> Self {
        record.id = ids::decision();
        Self {
            reason,
            uses: Some(Vec::new()),
            asks_details,
            is_stranger: false,
        }
    }

    /// Counts a stranger; past the limit that is the reason.
    pub(crate) fn counted(mut self, broker: &Broker, from: IpAddr) -> Self {
        let rates = broker.in_force().rates;
        if self.is_stranger && broker.limits().stranger(from, &rates, Instant::now()) == Err(OverLimit) {
            self.reason = Reason::RateLimited;
        }
        self
    }
}
