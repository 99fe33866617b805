//! Who turns the caller's token into one for this very request.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use delegation::identity::Attributes;
use delegation::oauth::{Reason, TokenType};
use narrows_guard::live::Guest;
use narrows_guard::{Call, Needs, redacted};

use crate::credential::Credential;

/// A broker, in this process or another.
///
/// Contract. [`greet`](Self::greet): the token is one that an exchange would take now, and nothing is used up by it; or a refusal.
/// [`exchange`](Self::exchange): the token in `Granted` is for exactly what `needs` says, decided now, and its record is
/// durable or in the journal's line; every refusal is on record before it is given. [`observe`](Self::observe): the same decision is on
/// record as one that was only observed, and nothing else happened: nothing was minted, and nothing of the caller's was used up.
/// [`attributes`](Self::attributes): those that an exchange of the token would go by, verified as it would be; without a token that
/// holds, a refusal. [`refuse`](Self::refuse) puts a refusal on
/// record that the boundary decided on itself. [`ended`](Self::ended) is done when the token has expired, or within two seconds
/// after it or anything it came from was revoked. Calls may overlap. An error is a refusal, never a grant.
pub trait Exchanger: Send + Sync + 'static {
    /// What was found out about a token when its caller was greeted, and need not be asked again about the same request.
    type Found: Send + Sync;

    /// Looks at the token of a request that has not come whole: whose body would be waited for?
    fn greet(&self, seen: &Seen, token: &str) -> impl Future<Output = Result<Greeted<Self::Found>, Refused>> + Send;

    /// Exchanges the caller's token for one that does what `needs` says.
    fn exchange(&self, seen: &Seen, shown: Shown<'_, Self::Found>, needs: &Needs) -> impl Future<Output = Result<Granted, Refused>> + Send;

    /// Puts on record how the exchange would be decided of a request that goes on whatever that is.
    fn observe(&self, seen: &Seen, shown: Shown<'_, Self::Found>, needs: &Needs) -> impl Future<Output = Result<(), Refused>> + Send;

    /// The verified attributes of the subject of the caller's token: asked only where the route makes its detail of them.
    ///
    /// Whoever cannot know them lets no such request on.
    fn attributes(&self, seen: &Seen, shown: Shown<'_, Self::Found>) -> impl Future<Output = Result<Attributes, Refused>> + Send {
        let _ = shown;
        async move { Err(self.refuse(seen, Reason::WiderThanSubject).await) }
    }

    /// Puts on record that this request is refused for `reason`.
    fn refuse(&self, seen: &Seen, reason: Reason) -> impl Future<Output = Refused> + Send;

    /// Puts on record that the upstream said its credential `connection` back in the response to this request, and that it was
    /// cut out; whether that is durable. Until it is, nothing of the response goes on, and without it nothing ever does.
    fn echoed(&self, seen: &Seen, connection: &str) -> impl Future<Output = bool> + Send {
        let _ = (seen, connection);
        std::future::ready(false)
    }

    /// Waits until what was granted holds no more; why, for the caller who waits for an answer.
    fn ended(&self, granted: &Granted) -> impl Future<Output = Reason> + Send;
}

/// A caller whose token holds.
#[derive(Clone, Debug)]
pub struct Greeted<F> {
    /// Whose body is waited for; anybody's where the token cannot be looked at yet.
    pub guest: Guest,
    /// To be handed back with the same request's token.
    pub found: F,
}

/// The token that a caller shows.
pub struct Shown<'t, F> {
    /// The token.
    pub token: &'t str,
    /// What was found out about it, if its caller was greeted.
    pub found: Option<&'t F>,
}

/// Of a caller who was not greeted.
impl<'t, F> From<&'t str> for Shown<'t, F> {
    fn from(token: &'t str) -> Self {
        Self { token, found: None }
    }
}

/// Without the token.
impl<F> std::fmt::Debug for Shown<'_, F> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Shown").finish_non_exhaustive()
    }
}

/// What is known of a request, for its record: its line without the query, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The method, the host without its port, and the path, without what has the form of a token; nothing if it could not be read.
    pub line: Option<(String, String, String)>,
    /// The caller's address, as far as the door believes it.
    pub from: IpAddr,
    /// Whether that is the caller's own, and not that of a proxy which many callers come through.
    pub is_callers_own: bool,
    /// Whether it goes on whatever is decided, so that its record says so.
    pub observed: bool,
}

impl Seen {
    /// What a record says of a request that could be read.
    pub(crate) fn line(call: &Call) -> (String, String, String) {
        (
            call.method().to_string(),
            call.host().name().to_owned(),
            redacted::path(call.path()),
        )
    }
}

/// A token that may go on with the request that it was asked for.
#[derive(Clone)]
pub struct Granted {
    /// The token; it goes to the upstream and nowhere else.
    pub token: String,
    /// What it is: a transaction token goes in a header of its own, an access token as `Authorization`.
    pub kind: TokenType,
    /// What is left of its life.
    pub expires_in: Duration,
    /// What the upstream is shown beside it: there exactly where the request needs a `connection`.
    pub credential: Option<Credential>,
}

/// Without the token.
impl std::fmt::Debug for Granted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Granted").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// A refusal that is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// Its record.
    pub decision_id: String,
}
