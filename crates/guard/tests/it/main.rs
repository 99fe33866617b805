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
mod example;
mod explained;
mod far_broker;
mod greeting;
mod guarded;
mod headers;
mod hosts;
mod layer;
mod lenient;
mod live;
mod live_clock;
mod live_length;
mod live_observe;
mod live_opaque;
mod matrix;
mod methods;
mod needed;
mod paths;
mod queries;
mod ranks;
mod reference;
mod remote;
mod running;
mod service;
mod spool;
mod surplus;
mod templates;
mod told;
mod usage;
