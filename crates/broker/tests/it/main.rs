//! The broker over HTTP, on real SQLite, with real keys.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod authentication;
mod endpoints;
mod hostile;
mod installation;
mod journal;
mod keys;
mod records;
