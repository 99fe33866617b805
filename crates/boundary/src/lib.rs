//! The front doors: a request becomes a decision, and the decision is written in the protocol of whoever asked.
//!
//! A door makes a [`Call`](narrows_guard::Call) of what it saw, the [`Boundary`] decides, and the door writes the
//! [`Verdict`]. A new front door is one new file.

mod answer;
mod backlog;
mod bodies;
mod boundary;
mod challenge;
mod credential;
mod exchanger;
pub mod ext_authz;
pub mod forward_auth;
pub mod guarding;
pub mod metadata;
mod observe;
#[cfg(test)]
mod parts;
pub mod proxy;
mod question;
mod refusal;
pub mod remote;
mod settings;

pub use bodies::Bodies;
pub use boundary::{Boundary, LARGEST_BODY, Onward, Verdict};
pub use credential::Credential;
pub use exchanger::{Exchanger, Granted, Greeted, Refused, Seen, Shown};
pub use observe::{Modes, Said};
pub use proxy::upstream_tls::{PairFiles, Unfit, UpstreamTls, UpstreamTlsError, UpstreamTlsFiles};
pub use refusal::Refusal;
pub use settings::{Origin, OriginError, Peers, Settings, Upstream};
