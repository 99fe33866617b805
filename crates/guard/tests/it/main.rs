//! Claims about what a request needs.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test may panic"
)]

mod bodies;
mod checks;
mod credentials;
mod guarded;
mod headers;
mod hosts;
mod matrix;
mod needed;
mod paths;
mod queries;
mod ranks;
mod reference;
mod service;
mod surplus;
mod templates;
