//! The broker: the token endpoint, and what it stands on.
//!
//! One request reads top to bottom in `token_endpoint`.

mod api;
mod asking;
mod at_hand;
mod broker;
mod client_auth;
mod clock;
pub mod connections;
mod denied;
mod endpoint;
mod evidence;
pub mod front_door;
mod guarded;
pub mod guards;
mod health;
mod id_jag;
mod ids;
mod introspection_endpoint;
mod journal;
mod keys;
mod limits;
mod metadata;
mod observing;
mod operator;
mod overload;
mod questions;
mod refusals;
mod remembered;
mod reply;
mod reuse;
mod revocation_endpoint;
mod routed;
mod routes;
mod sealing;
mod server;
pub mod signer;
pub mod store;
mod task_end;
mod telemetry;
mod tls;
mod token_endpoint;
pub mod usage;

pub use asking::Asking;
pub use broker::{Broker, InForce, Settings, StartError};
pub use clock::Clock;
pub use guarded::Guarded;
pub use journal::StoreJournal;
pub use limits::Rates;
pub use observing::Observing;
pub use operator::{BadOperatorName, Operator, OperatorName, Role};
pub use routed::Routed;
pub use routes::{metrics_routes, routes};
pub use server::{Listener, serve};
pub use telemetry::Meter;
pub use tls::{Tls, TlsFileError, TlsFiles, TlsIdentity};
