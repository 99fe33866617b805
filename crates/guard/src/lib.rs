//! From a request to the authority that it needs.
//!
//! A front door makes a [`Call`] of what it saw; [`route::Table::find`] says which route of which service it is;
//! [`route::Matched::intent`] says what that request, to the byte, needs. All of that is pure: no I/O, no clock,
//! no engine. What was decided on is what goes on: nothing is rewritten, and what two readers could read in two ways is
//! refused.
//!
//! In front of a backend, or in it, a [`Guard`] looks at the token that comes with a call: whether it holds, whether it allows the
//! request, and whether it allows more than that. It is pure too. A [`Live`] guard knows the time, and asks a
//! [`Broker`](broker::Broker) what cannot be known alone.
//!
//! A `Call` is made by its parser alone, so no door can decide on a request that was not looked at:
//!
//! ```compile_fail
//! let call = narrows_guard::Call { target: "/../admin".to_owned() };
//! ```
//!
//! ```
//! use narrows_guard::{Body, Call};
//!
//! let headers = http::HeaderMap::new();
//! assert!(Call::parse("GET", b"tickets.internal", b"/tickets/7", &headers, Body::Absent).is_ok());
//! assert!(Call::parse("GET", b"tickets.internal", b"/../admin", &headers, Body::Absent).is_err());
//! ```
#![deny(missing_docs)]

pub mod broker;
mod call;
pub mod check;
mod clock;
mod guard;
pub mod hygiene;
mod intent;
pub mod layer;
pub mod learn;
pub mod link;
pub mod live;
pub mod redacted;
pub mod remembered;
pub mod remote;
pub mod route;
pub mod shape;
pub mod sightings;
pub mod spool;
pub mod surplus;
pub mod usage;

pub use call::{Body, Call, LARGEST_BODY};
pub use clock::Clock;
/// The words of OAuth, details and tokens that a guard's settings are written in.
pub use delegation;
pub use guard::{Guard, GuardError, Sender, Settings};
pub use hygiene::Malformed;
pub use intent::{Intent, Needs, Refused};
pub use layer::{GuardLayer, Identity};
pub use live::{Live, Running};
