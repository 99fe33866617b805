//! Claims about the doors, in front of a broker that is made up.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod bodies;
mod credentials;
mod ended;
mod exchanger;
mod ext_authz;
mod ext_authz_http;
mod ext_authz_properties;
mod fake_broker;
mod forward_auth;
mod greeting;
mod lenient;
mod observe;
mod remote;
mod remote_attributes;
mod remote_credential;
mod remote_greeting;
mod remote_properties;
mod remote_txn;
mod uploads;
