//! The broker over HTTP, on real SQLite and real PostgreSQL, with real keys.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "a test may panic, and its tables say themselves what they are"
)]

mod algorithms;
mod api;
mod authentication;
mod authzen;
mod authzen_equals;
mod backup;
mod boundaries;
mod boundary_credentials;
mod cascade;
mod connections;
mod decisions;
mod ended;
mod endpoints;
mod engine;
mod explain;
mod feed;
mod front_door;
mod graph;
mod greeting;
mod guards;
mod heads;
mod health;
mod hostile;
mod http2;
mod id_jag;
mod installation;
mod introspect;
mod introspection;
mod journal;
mod keys;
mod kinds;
mod leaks;
mod limits;
mod opaque_tokens;
mod open_connections;
mod places;
mod records;
mod remembered;
mod reuse;
mod revoke;
mod rotation;
mod same_kid;
mod second_look;
mod signals;
mod slow_issuer;
mod standing;
mod store;
mod subjects;
mod task_changes;
mod task_ends;
mod tasks;
mod tls;
mod to_the_letter;
mod transactions;
mod unknown_keys;
mod usage;
mod uses;
