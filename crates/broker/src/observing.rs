//! What of the boundaries only observes, and until when: for those who look after the broker.

use delegation::time::Timestamp;
use serde_json::{Value, json};

/// A part of the configuration that does not bind yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observing {
    /// The boundary.
    pub boundary: String,
    /// What of it: `boundary`, `service NAME`, or `route KEY of NAME`.
    pub part: String,
    /// From then on it enforces.
    pub until: Timestamp,
}

impl Observing {
    /// As `/readyz` shows it.
    pub fn shown(&self) -> Value {
        let until = jiff::Timestamp::from_second(self.until.seconds()).unwrap_or_default();
        json!({ "boundary": self.boundary, "part": self.part, "until": until.to_string() })
    }
}
