//! What of the boundaries and guards only observes, and until when: for those who look after the broker.

use std::net::SocketAddr;

use delegation::time::Timestamp;
use serde_json::{Value, json};

/// A part of the configuration that does not bind yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observing {
    /// The boundary, or `guard SERVICE`.
    pub boundary: String,
    /// Where a guard listens: there may be several of one service.
    pub listen: Option<SocketAddr>,
    /// What of it: `boundary`, `guard`, `service NAME`, or `route KEY of NAME`.
    pub part: String,
    /// From then on it enforces.
    pub until: Timestamp,
}

impl Observing {
    /// As `/readyz` shows it.
    pub fn shown(&self) -> Value {
        let until = jiff::Timestamp::from_second(self.until.seconds()).unwrap_or_default();
        let mut shown = json!({ "boundary": self.boundary, "part": self.part, "until": until.to_string() });
        if let (Some(listen), Some(shown)) = (self.listen, shown.as_object_mut()) {
            shown.insert("listen".to_owned(), json!(listen.to_string()));
        }
        shown
    }

    /// As metrics name what it is part of.
    pub fn labels(&self) -> Vec<(&'static str, String)> {
        let listen = self.listen.map(|listen| ("listen", listen.to_string()));
        std::iter::once(("boundary", self.boundary.clone())).chain(listen).collect()
    }
}
