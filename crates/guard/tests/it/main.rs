//! Claims about what a request needs.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

mod bodies;
mod credentials;
mod headers;
mod hosts;
mod needed;
mod paths;
mod queries;
mod ranks;
mod service;
mod templates;
