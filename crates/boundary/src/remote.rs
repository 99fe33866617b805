//! A broker in another process: asked over HTTP for every request, and believed only as far as its signature goes.

mod credential;
mod reply;
mod verified;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use delegation::details::Detail;
use delegation::identity::Attributes;
use delegation::oauth::{Reason, Scope};
use delegation::registry::Snapshot;
use delegation::time::Timestamp;
use narrows_guard::Needs;
use narrows_guard::link::{Again, Link, Unanswered};
use serde_json::{Value, json};

use crate::exchanger::{Exchanger, Granted, Greeted, Refused, Seen, Shown};
use verified::Verified;

/// How often it is asked whether the token of a response that goes on still holds.
const LOOK: Duration = Duration::from_millis(500);
/// How long one such look may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);
/// A broker that answered nothing for so long is asked whether it is there.
const QUIET: Duration = Duration::from_secs(1);

/// What replies are read by, which all boundaries of a process share.
pub struct Replies<S> {
    link: Arc<Link<S>>,
    snapshot: ArcSwap<Snapshot>,
    verified: Verified,
}

impl<S> fmt::Debug for Replies<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Replies").field("link", &self.link).finish_non_exhaustive()
    }
}

impl<S> Replies<S> {
    /// Reads what comes over `link` by the configuration `snapshot`.
    pub fn new(link: Arc<Link<S>>, snapshot: Arc<Snapshot>) -> Self {
        Self {
            link,
            snapshot: ArcSwap::new(snapshot),
            verified: Verified::default(),
        }
    }

    /// Reads replies by another configuration from now on.
    pub fn swap(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(snapshot);
    }
}

/// One boundary's way to the broker.
pub struct Remote<S> {
    link: Arc<Link<S>>,
    replies: Arc<Replies<S>>,
    /// The boundary's name.
    boundary: String,
}

impl<S> fmt::Debug for Remote<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Remote").field("boundary", &self.boundary).finish_non_exhaustive()
    }
}

impl<S: Fn() -> Option<String> + Send + Sync + 'static> Remote<S> {
    /// The boundary of this name, which reads `replies` as all of its process do.
    pub fn new(replies: Arc<Replies<S>>, boundary: String) -> Self {
        Self {
            link: Arc::clone(&replies.link),
            replies,
            boundary,
        }
    }

    /// Asks the broker about nothing, if nothing else was asked lately. Called each second, so that it is known without any traffic
    /// when it is away, or takes our client no more; from then on the link asks for a token, until it is there and does.
    pub async fn listen(&self) {
        if !self.link.is_ready() || self.link.answer_age().is_some_and(|age| age < QUIET) {
            return;
        }
        let nothing = json!({ "token": "none" });
        if let Err(why) = self.link.in_time(self.asked("alive", &nothing, Again::Always)).await {
            tracing::warn!(boundary = self.boundary, %why, "the broker does not say that it is there");
        }
    }

    async fn asked(&self, what: &str, body: &Value, again: Again) -> Result<Value, Unanswered> {
        self.link.ask(&["v1", "boundaries", &self.boundary, what], body, again).await
    }

    /// What the broker decides of a request that needs `needs`, as it said it.
    async fn decided(&self, seen: &Seen, token: &str, needs: &Needs) -> Result<Result<Value, Refused>, Unanswered> {
        let mut body = said_of(seen);
        let details = |details: &[Detail]| Value::from_iter(details.iter().map(Detail::to_json));
        let scopes: Vec<_> = needs.scopes.iter().map(Scope::as_str).collect();
        let members = [
            ("subject_token", Some(Value::from(token))),
            ("audience", Some(Value::from(needs.audience.to_string()))),
            (
                "authorization_details",
                (!needs.details.is_empty()).then(|| details(&needs.details)),
            ),
            ("onward", (!needs.onward.is_empty()).then(|| details(&needs.onward))),
            ("scope", (!scopes.is_empty()).then(|| Value::from(scopes.join(" ")))),
            ("max_auth_age", needs.max_auth_age.map(|age| Value::from(age.as_secs()))),
            ("acr", needs.acr.clone().map(Value::from)),
            ("connection", needs.connection.clone().map(Value::from)),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        }
        // Nothing says whether one that was sent and not answered was decided on.
        let reply = self.asked("exchange", &Value::Object(body), Again::Unsent).await?;
        match reply::refused(&reply) {
            Some(refused) => refused.map(Err),
            None => Ok(Ok(reply)),
        }
    }

    /// Within the deadline, a token that was checked, or a refusal.
    async fn exchanged(&self, seen: &Seen, token: &str, needs: &Needs) -> Result<Result<Granted, Refused>, Unanswered> {
        let mut reply = match self.decided(seen, token, needs).await? {
            Ok(reply) => reply,
            Err(refused) => return Ok(Err(refused)),
        };
        let shown = reply.pointer_mut("/granted/credential").map(Value::take);
        let shown = credential::of(shown, needs.connection.as_deref()).map_err(Unanswered::Unbelievable)?;
        let minted = reply.pointer("/granted/access_token").and_then(Value::as_str).unwrap_or_default();
        Ok(Ok(Granted {
            credential: shown,
            ..self.replies.granted(minted, token, needs, now()).await?
        }))
    }

    /// Within the deadline, that the decision is on record, or a refusal.
    async fn observed(&self, seen: &Seen, token: &str, needs: &Needs) -> Result<Result<(), Refused>, Unanswered> {
        match self.decided(seen, token, needs).await? {
            Ok(reply) if reply.get("observed") == Some(&Value::Bool(true)) => Ok(Ok(())),
            Ok(_) => Err(Unanswered::Unbelievable("it does not say that it only observed")),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// A refusal that the broker knows nothing of: it did not answer, or said what cannot be. What is observed went on already.
    fn unanswered(&self, seen: &Seen, why: &Unanswered) -> Refused {
        let decision_id = uuid::Uuid::now_v7().to_string();
        match why {
            _ if seen.observed => tracing::warn!(boundary = self.boundary, %why, "what would be decided of a request is not on record"),
            Unanswered::Unbelievable(_) => tracing::error!(boundary = self.boundary, decision_id, %why, "refused"),
            _ => tracing::warn!(boundary = self.boundary, decision_id, %why, "refused"),
        }
        Refused {
            reason: Reason::StoreUnavailable,
            decision_id,
        }
    }
}

impl<S: Fn() -> Option<String> + Send + Sync + 'static> Exchanger for Remote<S> {
    type Found = ();

    async fn greet(&self, seen: &Seen, token: &str) -> Result<Greeted<()>, Refused> {
        let mut body = said_of(seen);
        body.insert("subject_token".to_owned(), Value::from(token));
        let greeted = async {
            // Nothing comes of it but a refusal, which is on record once.
            let reply = self.asked("greet", &Value::Object(body), Again::Unsent).await?;
            match reply::refused(&reply) {
                Some(refused) => refused.map(Err),
                None => reply::holder(&reply).map(Ok).map_err(Unanswered::Unbelievable),
            }
        };
        let guest = self.link.in_time(greeted).await.map_err(|why| self.unanswered(seen, &why))??;
        Ok(Greeted { guest, found: () })
    }

    async fn exchange(&self, seen: &Seen, shown: Shown<'_, ()>, needs: &Needs) -> Result<Granted, Refused> {
        let exchanged = self.link.in_time(self.exchanged(seen, shown.token, needs)).await;
        exchanged.map_err(|why| self.unanswered(seen, &why))?
    }

    async fn attributes(&self, seen: &Seen, shown: Shown<'_, ()>) -> Result<Attributes, Refused> {
        let mut body = said_of(seen);
        body.insert("subject_token".to_owned(), Value::from(shown.token));
        let known = async {
            // Nothing comes of it but a refusal, which is on record once.
            let reply = self.asked("attributes", &Value::Object(body), Again::Unsent).await?;
            match reply::refused(&reply) {
                Some(refused) => refused.map(Err),
                None => reply::attributes(&reply).map(Ok).map_err(Unanswered::Unbelievable),
            }
        };
        self.link.in_time(known).await.map_err(|why| self.unanswered(seen, &why))?
    }

    async fn observe(&self, seen: &Seen, shown: Shown<'_, ()>, needs: &Needs) -> Result<(), Refused> {
        let observed = self.link.in_time(self.observed(seen, shown.token, needs)).await;
        observed.map_err(|why| self.unanswered(seen, &why))?
    }

    async fn refuse(&self, seen: &Seen, reason: Reason) -> Refused {
        let mut body = said_of(seen);
        body.insert("reason".to_owned(), Value::from(reason.as_str()));
        let recorded = async {
            let reply = self.asked("refusals", &Value::Object(body), Again::Unsent).await?;
            reply::refused(&reply).unwrap_or(Err(Unanswered::Unbelievable("it refuses nothing")))
        };
        self.link.in_time(recorded).await.unwrap_or_else(|why| self.unanswered(seen, &why))
    }

    async fn echoed(&self, seen: &Seen, connection: &str) -> bool {
        let mut body = said_of(seen);
        body.insert("connection".to_owned(), Value::from(connection));
        let recorded = self.link.in_time(self.asked("echoes", &Value::Object(body), Again::Unsent)).await;
        match recorded {
            Ok(reply) => reply.get("recorded") == Some(&Value::Bool(true)),
            Err(why) => {
                tracing::warn!(boundary = self.boundary, connection, %why, "an echo of a credential is not on record");
                false
            }
        }
    }

    async fn ended(&self, granted: &Granted) -> Reason {
        let exp = tokio::time::Instant::now() + granted.expires_in;
        let body = json!({ "token": granted.token });
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK, LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut held = Instant::now();
        loop {
            look.tick().await;
            let asked = Instant::now();
            let looked = tokio::time::timeout(LOOK_PATIENCE, self.asked("alive", &body, Again::Always)).await;
            match looked {
                // True of when it was asked, at the earliest.
                Ok(Ok(reply)) if reply.get("alive").and_then(Value::as_bool) == Some(true) => held = asked,
                // The broker says no more than that, and we know until when it would have lived.
                Ok(Ok(_)) if tokio::time::Instant::now() >= exp => return Reason::SubjectTokenExpired,
                Ok(Ok(_)) => return Reason::SubjectTokenRevoked,
                // Whoever may ask for no other request keeps no open one; of a broker that is away nothing is known.
                Ok(Err(why)) if why.refuses_us() => return Reason::StoreUnavailable,
                // Too many looks of ours are not listened to, and one is enough.
                Ok(Err(_)) | Err(_) if self.link.is_disowned() => return Reason::StoreUnavailable,
                Ok(Err(_)) | Err(_) if held.elapsed() > self.link.place().max_age => return Reason::RevocationViewStale,
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }
}

/// What a record says of a request.
fn said_of(seen: &Seen) -> serde_json::Map<String, Value> {
    let mut said = serde_json::Map::new();
    if let Some((method, host, path)) = &seen.line {
        said.insert("request".to_owned(), json!({ "method": method, "host": host, "path": path }));
    }
    said.insert("client_ip".to_owned(), Value::from(seen.from.to_string()));
    said.insert("is_callers_own".to_owned(), Value::from(seen.is_callers_own));
    if seen.observed {
        said.insert("observed".to_owned(), Value::from(true));
    }
    said
}

/// By the machine's clock.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
