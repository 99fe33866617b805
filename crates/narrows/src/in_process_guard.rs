//! The broker of this process, as its guards ask it.

mod line;

use std::sync::Arc;
use std::time::Duration;

use broker::usage::{self, UsageError};
use broker::{Broker, guards};
use delegation::authority::Authority;
use delegation::oauth::ClientId;
use delegation::revocation::View;
use delegation::token::KeySet;
use issuance::audit::RequestLine;
use narrows_guard::broker::{self as port, Asked, Consumed, FirstSeen, Introspected, Rechecked, Refused, SeenTwice, Use, Used};
use serde_json::Value;

use line::Line;

/// One guard's way to the broker: no network, and no credential.
#[derive(Debug)]
pub(crate) struct InProcessGuard {
    who: Arc<Who>,
    line: Line,
}

/// Which guard it is, and of which broker.
#[derive(Debug)]
struct Who {
    broker: Arc<Broker>,
    /// The service that it stands before.
    service: String,
    /// The client that it acts as.
    client: ClientId,
}

impl Who {
    fn guard(&self) -> guards::Guard<'_> {
        guards::Guard {
            service: &self.service,
            client: &self.client,
        }
    }
}

impl InProcessGuard {
    /// The guard of `service` that acts as `client`. It must be called within a runtime.
    pub(crate) fn start(broker: Arc<Broker>, service: String, client: ClientId) -> Self {
        let who = Arc::new(Who { broker, service, client });
        Self {
            line: Line::start(Arc::clone(&who)),
            who,
        }
    }
}

impl port::Broker for InProcessGuard {
    fn keys(&self) -> Option<Arc<KeySet>> {
        self.who.broker.own_keys()
    }

    /// Whom the broker does not take it tells nothing, in this process as in another: what they know is as old as can be.
    fn view(&self) -> (Arc<View>, Duration) {
        let (view, age) = self.who.broker.standing();
        (
            view,
            if self.who.broker.takes(&self.who.client) {
                age
            } else {
                Duration::MAX
            },
        )
    }

    /// Those of now are always here.
    async fn look_for_keys(&self) {}

    async fn consume(&self, token: &str, asked: &Asked<'_>) -> Consumed {
        let shown = guards::Shown {
            token: token.to_owned(),
            request: asked.request.map(request_line),
            from: Some(asked.from),
        };
        match guards::consume(&self.who.broker, &self.who.client, shown).await {
            Ok(()) => Use::Accepted.into(),
            Err(refused) => Consumed::refused(refused.reason, Some(refused.decision_id)),
        }
    }

    async fn introspect(&self, token: &str) -> Introspected {
        match self.who.broker.introspect(&self.who.client, token).await {
            Ok(Some(said)) => Introspected::Active(said.to_string()),
            Ok(None) => Introspected::Inactive,
            Err(why) => {
                tracing::warn!(
                    service = self.who.service,
                    why = why.as_str(),
                    "an opaque token could not be asked about"
                );
                Introspected::Unavailable
            }
        }
    }

    async fn recheck(&self, token: &str, asked: &Asked<'_>, required: &Authority) -> Rechecked {
        let details = (!required.details.is_empty()).then(|| Value::from_iter(required.details.iter().map(|detail| detail.to_json())));
        let asked = guards::Asked {
            token: token.to_owned(),
            request: asked.request.map(request_line),
            from: asked.from,
            details: details.map(|details| details.to_string()),
            scopes: required.scopes.clone(),
            observed: asked.observed,
        };
        match guards::recheck(&self.who.broker, &self.who.guard(), asked).await {
            Ok(()) => Rechecked::Allowed,
            Err(refused) => Rechecked::Refused {
                reason: refused.reason,
                decision_id: refused.decision_id,
            },
        }
    }

    fn refused(&self, refused: Refused) {
        self.line.refused(&refused);
    }

    async fn used(&self, used: &Used) -> bool {
        let Value::Object(batch) = used.to_json(&self.who.service) else {
            return true;
        };
        match usage::keep(&self.who.broker, &self.who.client, batch).await {
            Ok(()) => true,
            Err(UsageError::Busy | UsageError::Store(_)) => false,
            // It would never be kept.
            Err(why @ (UsageError::Malformed(_) | UsageError::NotPermitted)) => {
                tracing::error!(service = self.who.service, %why, "what was used is not kept");
                true
            }
        }
    }

    async fn first_seen(&self, seen: &[FirstSeen]) -> bool {
        let place = |seen: &FirstSeen| guards::Place {
            jti: seen.jti.clone(),
            iat: seen.iat,
            exp: seen.exp,
            from: seen.from,
        };
        let places: Vec<_> = seen.iter().map(place).collect();
        guards::first_seen(&self.who.broker, &self.who.guard(), &places).await.is_ok()
    }

    fn seen_twice(&self, sighting: SeenTwice) {
        self.line.seen_twice(sighting);
    }

    async fn flush(&self) {
        self.line.flush().await;
    }
}

/// The line of a request, as a record holds it.
fn request_line(line: &port::Line) -> RequestLine {
    RequestLine {
        method: line.method.clone(),
        host: line.host.clone(),
        path: line.path.clone(),
    }
}
