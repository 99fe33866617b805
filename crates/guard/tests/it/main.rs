//! Claims about what a request needs.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod needed;
mod service;
