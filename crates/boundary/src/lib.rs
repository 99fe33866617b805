//! The front doors: a request becomes a decision, and the decision is written in the protocol of whoever asked.
//!
//! A door makes a [`Call`](narrows_guard::Call) of what it saw, the [`Boundary`] decides, and the door writes the
//! [`Verdict`]. A new front door is one new file.

mod answer;
mod boundary;
mod challenge;
mod exchanger;
pub mod ext_authz;
pub mod forward_auth;
mod metadata;
mod observe;
pub mod proxy;
mod refusal;
mod settings;

pub use boundary::{Boundary, Onward, Verdict};
pub use exchanger::{Exchanger, Granted, Refused, Seen};
pub use observe::{Modes, Said};
pub use refusal::Refusal;
pub use settings::{Origin, OriginError, Peers, Settings, Upstream};
