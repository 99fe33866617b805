//! A broker in another process, as a guard asks it.
//!
//! What was revoked comes by itself ([`feed`](self)); refusals go out by themselves. Both are done by tasks that end with the last
//! holder of the [`Remote`].

mod event;
mod feed;
mod key;
mod post;
mod said;
mod standing;
mod view;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use delegation::authority::Authority;
use delegation::oauth::Reason;
use delegation::revocation::View;
use delegation::token::KeySet;
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::broker::{Asked, Broker, Consumed, FirstSeen, Introspected, Rechecked, Refused, SeenTwice, Use, Used};
use crate::link::{Again, Link, Unanswered, decision_id};
use crate::spool::Spool;
use view::Followed;

/// One guard's way to a broker in another process.
pub struct Remote<S> {
    shared: Arc<Shared<S>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the tasks need too.
struct Shared<S> {
    link: Arc<Link<S>>,
    /// The service whose backend the guard stands before.
    service: String,
    followed: Arc<Followed>,
    /// Refusals as they will be sent.
    spool: Spool<String>,
}

impl<S> fmt::Debug for Remote<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Remote").field("service", &self.shared.service).finish_non_exhaustive()
    }
}

impl<S> Drop for Remote<S> {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl<S: Fn() -> Option<String> + Send + Sync + 'static> Remote<S> {
    /// The guard of `service`, over `link`, which somebody [tends](Link::tend); what was revoked is followed from here on.
    ///
    /// It must be called within a runtime.
    pub fn start(link: Arc<Link<S>>, service: String) -> Self {
        let shared = Arc::new(Shared {
            followed: Arc::new(Followed::default()),
            spool: Spool::default(),
            link,
            service,
        });
        let feed = feed::follow(Arc::clone(&shared.link), Arc::clone(&shared.followed));
        let tasks = vec![tokio::spawn(feed), tokio::spawn(post::deliver(Arc::clone(&shared)))];
        Self { shared, tasks }
    }

    /// Whether requests can be decided: the broker answers, there are keys, and it is known what was revoked and who is disabled.
    pub fn is_ready(&self) -> bool {
        let (_, age) = self.shared.followed.view();
        self.shared.link.is_ready() && age <= self.shared.link.place().max_age
    }

    /// How many refusals are not on record at the broker: in line, and lost for want of room.
    pub fn waiting(&self) -> (usize, u64) {
        self.shared.spool.count()
    }
}

impl<S: Fn() -> Option<String> + Send + Sync + 'static> Shared<S> {
    async fn asked(&self, path: &[&str], body: &Value, again: Again) -> Result<Value, Unanswered> {
        self.link.in_time(self.link.ask(path, body, again)).await
    }

    async fn about_guard(&self, what: &str, body: &Value, again: Again) -> Result<Value, Unanswered> {
        self.asked(&["v1", "guards", &self.service, what], body, again).await
    }
}

impl<S: Fn() -> Option<String> + Send + Sync + 'static> Broker for Remote<S> {
    fn keys(&self) -> Option<Arc<KeySet>> {
        self.shared.link.newest_keys()
    }

    fn view(&self) -> (Arc<View>, Duration) {
        self.shared.followed.view()
    }

    async fn look_for_keys(&self) {
        let link = &self.shared.link;
        // The look goes on beside the request.
        let _ = timeout(link.place().deadline, link.keys_again()).await;
    }

    async fn consume(&self, token: &str, asked: &Asked<'_>) -> Consumed {
        // One that was sent may have been counted; asked twice, the second would be told that it was used.
        let body = Value::Object(about_request(token, asked));
        match self.shared.asked(&["v1", "uses"], &body, Again::Unsent).await {
            Ok(reply) if reply.get("accepted") == Some(&Value::Bool(true)) => Use::Accepted.into(),
            Ok(_) => self.unavailable(&Unanswered::Unbelievable("it does not say whether the use is accepted")).into(),
            Err(Unanswered::Refused {
                status: 409, decision_id, ..
            }) => Consumed::refused(Reason::TokenUsed, decision_id),
            Err(why) => match refused_token(&why) {
                Some(consumed) => consumed,
                None => self.unavailable(&why).into(),
            },
        }
    }

    async fn introspect(&self, token: &str) -> Introspected {
        let form = [("token", token), ("token_type_hint", "access_token")];
        let link = &self.shared.link;
        let reply = link.in_time(link.ask_as_client(&["oauth2", "introspect"], &form)).await;
        let reply = reply.and_then(|reply| {
            let said: Map<String, Value> = serde_json::from_slice(&reply).map_err(|_| Unanswered::Unbelievable("it is no JSON object"))?;
            match said.get("active") {
                Some(Value::Bool(false)) => Ok(Introspected::Inactive),
                Some(Value::Bool(true)) => {
                    let said = std::str::from_utf8(&reply).map_err(|_| Unanswered::Unbelievable("it is no text"))?;
                    Ok(Introspected::Active(said.to_owned()))
                }
                _ => Err(Unanswered::Unbelievable("it does not say whether the token is active")),
            }
        });
        reply.unwrap_or_else(|why| self.unavailable(&why).into())
    }

    async fn recheck(&self, token: &str, asked: &Asked<'_>, required: &Authority) -> Rechecked {
        let mut body = about_request(token, asked);
        let scopes: Vec<_> = required.scopes.iter().map(delegation::oauth::Scope::as_str).collect();
        if !required.details.is_empty() {
            let details = required.details.iter().map(delegation::details::Detail::to_json);
            body.insert("authorization_details".to_owned(), Value::from_iter(details));
        }
        if !scopes.is_empty() {
            body.insert("scope".to_owned(), Value::from(scopes.join(" ")));
        }
        if asked.observed {
            body.insert("observed".to_owned(), Value::Bool(true));
        }
        // Nothing says whether one that was sent and not answered is on record.
        let reply = self.shared.about_guard("recheck", &Value::Object(body), Again::Unsent).await;
        match reply.and_then(|reply| rechecked(&reply).map_err(Unanswered::Unbelievable)) {
            Ok(rechecked) => rechecked,
            Err(why) => self.unavailable(&why).into(),
        }
    }

    fn refused(&self, refused: Refused) {
        let said = said::refusal(&refused).to_string();
        let size = said.len();
        self.shared.spool.put(&refused, said, size);
    }

    async fn used(&self, used: &Used) -> bool {
        let body = used.to_json(&self.shared.service);
        match self.shared.asked(&["v1", "usage"], &body, Again::Always).await {
            Ok(_) => true,
            Err(why) => {
                tracing::warn!(service = self.shared.service, %why, "what was used is not handed over");
                false
            }
        }
    }

    async fn first_seen(&self, seen: &[FirstSeen]) -> bool {
        let each = |seen: &FirstSeen| json!({ "jti": seen.jti, "iat": seen.iat.seconds(), "exp": seen.exp.seconds(), "from": seen.from.to_string() });
        let body = json!({ "places": seen.iter().map(each).collect::<Vec<_>>() });
        let Err(why) = self.shared.about_guard("places", &body, Again::Always).await else {
            return true;
        };
        tracing::warn!(service = self.shared.service, %why, "where tokens were shown is not known to other guards");
        // What is not taken now will not be taken the next time either, and what came since waits behind it.
        matches!(
            why,
            Unanswered::Refused {
                status: 400 | 404 | 413,
                ..
            }
        )
    }

    fn seen_twice(&self, sighting: SeenTwice) {
        self.shared.spool.put_sighting(sighting);
    }

    async fn flush(&self) {
        post::emptied(&self.shared).await;
    }
}

/// That the broker said nothing which could be relied on; the log has it.
struct Unavailable;

impl<S> Remote<S> {
    fn unavailable(&self, why: &Unanswered) -> Unavailable {
        match why {
            Unanswered::Unbelievable(_) => tracing::error!(service = self.shared.service, %why, "a request is refused"),
            _ => tracing::warn!(service = self.shared.service, %why, "a request is refused"),
        }
        Unavailable
    }
}

impl From<Unavailable> for Consumed {
    fn from(_: Unavailable) -> Self {
        Use::Unavailable.into()
    }
}

impl From<Unavailable> for Introspected {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl From<Unavailable> for Rechecked {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// A refusal to count a use that is about the token, and not about us.
fn refused_token(why: &Unanswered) -> Option<Consumed> {
    let Unanswered::Refused {
        status: 400..=499,
        reason,
        decision_id,
    } = why
    else {
        return None;
    };
    let consumed = Consumed::refused(Reason::parse(reason)?, decision_id.clone());
    matches!(consumed.answer, Use::Refused(_)).then_some(consumed)
}

/// A token and its request, as they are sent.
fn about_request(token: &str, asked: &Asked<'_>) -> Map<String, Value> {
    let members = [
        ("token", Some(Value::from(token))),
        ("request", asked.request.map(said::line)),
        ("client_ip", Some(Value::from(asked.from.to_string()))),
    ];
    let there = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    there.collect()
}

/// What a reply to a second question of policy says.
fn rechecked(reply: &Value) -> Result<Rechecked, &'static str> {
    let (allowed, refused) = (reply.get("allowed"), reply.get("refused"));
    if refused.is_none() && allowed == Some(&Value::Bool(true)) {
        return Ok(Rechecked::Allowed);
    }
    let reason = refused.and_then(|refused| Reason::parse(refused.get("reason")?.as_str()?));
    match (reason, refused.and_then(decision_id)) {
        (Some(reason), Some(id)) => Ok(Rechecked::Refused { reason, decision_id: id }),
        _ => Err("it says neither that policy allows nor that it refuses"),
    }
}
