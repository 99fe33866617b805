//! What a guard needs of its broker.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use delegation::authority::Authority;
use delegation::oauth::Reason;
use delegation::revocation::View;
use delegation::time::Timestamp;
use delegation::token::{AccessClaims, KeySet};
use serde_json::{Map, Value};

pub use crate::check::Use;
use crate::surplus::Compared;

/// The broker, in this process or another.
///
/// Contract. What is not known is said: no method answers in the broker's place, and what is [`Unavailable`](Use::Unavailable) is
/// refused. [`consume`](Self::consume): of all calls with one token, at all guards, one at most is accepted, and that is durable before
/// it is answered. [`view`](Self::view): everything is in it that the broker had acknowledged at the moment from which its age counts.
/// [`refused`](Self::refused) and [`seen_twice`](Self::seen_twice) return at once and lose nothing without counting it. Calls may
/// overlap.
pub trait Broker: Send + Sync + 'static {
    /// Its keys of now; none where they never could be had, or are too old to be believed.
    fn keys(&self) -> Option<Arc<KeySet>>;

    /// What was revoked and, [by key](View::disables), who is disabled; and how long ago the broker was last heard, by a clock that is never
    /// set.
    fn view(&self) -> (Arc<View>, Duration);

    /// Looks for keys again, since a token names one that is not there; done when that was looked for.
    ///
    /// It bounds itself: however many tokens name keys that nobody has, the broker is asked seldom.
    fn look_for_keys(&self) -> impl Future<Output = ()> + Send;

    /// Takes the request that `asked` names for the one use of `token` (`POST /v1/uses`).
    fn consume(&self, token: &str, asked: &Asked<'_>) -> impl Future<Output = Consumed> + Send;

    /// What an opaque `token` says (RFC 7662).
    fn introspect(&self, token: &str) -> impl Future<Output = Introspected> + Send;

    /// Asks policy again whether the request, which needs what is `required`, may be made with `token` (`recheck = "each"`).
    fn recheck(&self, token: &str, asked: &Asked<'_>, required: &Authority) -> impl Future<Output = Rechecked> + Send;

    /// Puts a refusal on record.
    fn refused(&self, refused: Refused);

    /// Hands over what was used since the last time. True if it is kept there, so that it may be forgotten here.
    fn used(&self, used: &Used) -> impl Future<Output = bool> + Send;

    /// Says where tokens were shown first, since another guard may see one of them elsewhere. True if that need not be said again.
    fn first_seen(&self, seen: &[FirstSeen]) -> impl Future<Output = bool> + Send;

    /// Says that one token was shown from two places.
    fn seen_twice(&self, sighting: SeenTwice);

    /// Puts on record all that was [`refused`](Self::refused) and [`seen_twice`](Self::seen_twice) before; done when that is so, however often
    /// it must be tried. Whoever waits for it bounds that.
    fn flush(&self) -> impl Future<Output = ()> + Send;
}

/// What comes of taking a request for the one use of its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The answer.
    pub answer: Use,
    /// The record that the broker made of its refusal, if it made one.
    pub recorded: Option<String>,
}

impl Consumed {
    /// The broker refused for `reason`, and named its record, if it did.
    pub fn refused(reason: Reason, decision_id: Option<String>) -> Self {
        let is_about_token = ["subject_", "task_"].iter().any(|about| reason.as_str().starts_with(about));
        let answer = match reason {
            Reason::TokenUsed => Use::Used,
            reason if is_about_token => Use::Refused(reason),
            // It is about us, or about the broker; what becomes of the request is on no record yet.
            _ => return Use::Unavailable.into(),
        };
        Self {
            answer,
            recorded: decision_id.and_then(|id| on_record(reason, id)),
        }
    }
}

impl From<Use> for Consumed {
    fn from(answer: Use) -> Self {
        Self { answer, recorded: None }
    }
}

/// The record that the broker made of its refusal, if whoever was refused finds this refusal there.
///
/// A token that it does not know is among those of strangers, whose refusals share a record; and what could not be written is nowhere.
pub(crate) fn on_record(reason: Reason, decision_id: String) -> Option<String> {
    let is_elsewhere = matches!(reason, Reason::SubjectTokenInvalid | Reason::StoreUnavailable);
    (!is_elsewhere).then_some(decision_id)
}

/// What the broker answers about an opaque token.
#[derive(Clone)]
pub enum Introspected {
    /// It is alive, and says this: the JSON object of the answer, as it came.
    Active(String),
    /// It is not alive, or not for us to see.
    Inactive,
    /// The broker did not answer, or not in time.
    Unavailable,
}

/// Which request the broker is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// The request, if it could be read.
    pub request: Option<&'r Line>,
    /// Where it came from.
    pub from: IpAddr,
    /// Whether it goes on whatever is said.
    pub observed: bool,
}

/// What comes of asking policy again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rechecked {
    /// It still allows the request.
    Allowed,
    /// It does not.
    Refused {
        /// Why.
        reason: Reason,
        /// The record that the broker made of it.
        decision_id: String,
    },
    /// The broker did not answer, or not in time.
    Unavailable,
}

/// The line of a request, as a record holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The method.
    pub method: String,
    /// The host, without its port.
    pub host: String,
    /// The path, without query, and without what has the form of a token.
    pub path: String,
}

/// A refusal as it goes on record: without the token.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The id that the caller was told. A refusal that is sent twice is on record once, by it.
    pub decision_id: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// The request, if it could be read.
    pub request: Option<Line>,
    /// Where it came from.
    pub from: IpAddr,
    /// What the token said, once it was known to be the broker's own.
    pub claims: Option<Box<AccessClaims>>,
    /// What the token allows beside what was needed, if it came to that.
    pub compared: Option<Box<Compared>>,
    /// Why it is malformed, if it is: words of this program, in which nothing of the request is.
    pub cause: Option<&'static str>,
    /// Whether the request went on all the same.
    pub observed: bool,
}

/// What was used in a time, without a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// A name that no other batch has: one that is handed over twice counts once, by it.
    pub batch: String,
    /// From when on.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// The sums, as docs/usage.md has them: an object with `sums`, and `others` where something found no room.
    pub sums: Map<String, Value>,
}

impl Used {
    /// The body of `POST /v1/usage` for the guard of `service`.
    pub fn to_json(&self, service: &str) -> Value {
        let mut body = self.sums.clone();
        let members = [
            ("batch", Value::from(self.batch.as_str())),
            ("service", Value::from(service)),
            ("from", Value::from(self.from.millis())),
            ("until", Value::from(self.until.millis())),
        ];
        body.extend(members.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(body)
    }
}

/// Where a token was shown first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    /// The token.
    pub jti: String,
    /// When it was made.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// Where it was shown.
    pub from: IpAddr,
}

/// One token, shown from two places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTwice {
    /// The token.
    pub jti: String,
    /// When it was made.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// Where it was shown first.
    pub first: IpAddr,
    /// Where it was shown then.
    pub second: IpAddr,
}

/// Without what is said: whoever reads it may know whose token it is.
impl std::fmt::Debug for Introspected {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Active(_) => "Active(..)",
            Self::Inactive => "Inactive",
            Self::Unavailable => "Unavailable",
        })
    }
}
