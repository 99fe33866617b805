//! From a request to the authority that it needs.
//!
//! A front door makes a [`Call`] of what it saw; [`route::Table::find`] says which route of which service it is;
//! [`route::Matched::intent`] says what that request, to the byte, needs. Everything here is pure: no I/O, no clock,
//! no engine. What was decided on is what goes on: nothing is rewritten, and what two readers could read in two ways is
//! refused.
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

mod call;
pub mod hygiene;
mod intent;
pub mod learn;
pub mod route;
pub mod shape;

pub use call::{Body, Call};
pub use hygiene::Malformed;
pub use intent::{Intent, Needs, Refused};
