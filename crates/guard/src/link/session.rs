//! A token of our own, by which the broker knows who asks: had by an assertion (RFC 7523 §2.2), and renewed before its end.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use delegation::oauth::GrantType;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Link;
use super::ask::{Again, FORM, Unanswered, reason};

/// The scope that a data plane needs.
const SCOPE: &str = "narrows.data_plane";
/// The end of its life in which a token is not shown any more: it has to arrive.
const MARGIN: Duration = Duration::from_secs(2);

/// What we hold, and how to get another.
pub(super) struct Session<S> {
    assertion: S,
    held: ArcSwapOption<Held>,
    /// Held while a token is asked for: one asks, and the others wait for what comes of it.
    renewing: Mutex<()>,
    /// That the broker did not take our client when it was last asked.
    disowned: ArcSwapOption<Disowned>,
}

struct Disowned {
    at: Instant,
    status: u16,
    reason: String,
}

impl Disowned {
    fn said(&self) -> Unanswered {
        let (status, reason) = (self.status, self.reason.clone());
        Unanswered::Disowned { status, reason }
    }
}

struct Held {
    token: String,
    /// From here on it is renewed, a third of its life before it ends.
    due: Instant,
    end: Instant,
}

impl<S> Session<S> {
    pub(super) fn new(assertion: S) -> Self {
        Self {
            assertion,
            held: ArcSwapOption::empty(),
            renewing: Mutex::new(()),
            disowned: ArcSwapOption::empty(),
        }
    }

    /// The token that is held, if it is good for long enough.
    pub(super) fn bearer(&self) -> Option<String> {
        let held = self.held.load_full().filter(|held| Instant::now() + MARGIN < held.end)?;
        Some(held.token.clone())
    }

    /// Whether the broker did not take our client when it was last asked.
    pub(super) fn is_disowned(&self) -> bool {
        self.disowned.load().is_some()
    }

    /// It does.
    pub(super) fn is_known(&self) {
        if self.is_disowned() {
            self.disowned.store(None);
        }
    }

    fn is_due(&self) -> bool {
        self.held.load().as_ref().is_none_or(|held| Instant::now() >= held.due)
    }
}

impl<S: Fn() -> Option<String>> Session<S> {
    /// `form` with an assertion of our client.
    pub(super) fn signed(&self, form: &[(&str, &str)]) -> Result<String, Unanswered> {
        let assertion = (self.assertion)().ok_or_else(|| Unanswered::NoToken("`[broker] key` does not sign".to_owned()))?;
        Ok(url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .append_pair("client_assertion", &assertion)
            .finish())
    }
}

impl<S: Fn() -> Option<String> + Send + Sync + 'static> Link<S> {
    /// A token to ask with.
    pub(super) async fn bearer(&self) -> Result<String, Unanswered> {
        match self.session.bearer() {
            Some(token) => Ok(token),
            None => self.renewed(|session| session.bearer()).await,
        }
    }

    /// A token to ask with in the place of `refused`, which the broker does not take.
    pub(super) async fn another_bearer(&self, refused: &str) -> Result<String, Unanswered> {
        self.renewed(|session| session.bearer().filter(|held| held != refused)).await
    }

    /// Renews the token in time, or when it is not known whether anybody is there to take it, or would.
    pub(super) async fn renew_if_due(&self) -> Result<(), Unanswered> {
        let is_good = |session: &Session<S>| !session.is_due() && !session.is_disowned() && self.has_answered();
        if is_good(&self.session) {
            return Ok(());
        }
        self.renewed(|session| session.bearer().filter(|_| is_good(session))).await.map(drop)
    }

    /// What `good` finds when it is our turn, or else a new token.
    async fn renewed(&self, good: impl Fn(&Session<S>) -> Option<String>) -> Result<String, Unanswered> {
        let came = Instant::now();
        let _turn = self.session.renewing.lock().await;
        if let Some(token) = good(&self.session) {
            return Ok(token);
        }
        if let Some(disowned) = self.session.disowned.load_full().filter(|disowned| disowned.at >= came) {
            return Err(disowned.said());
        }
        let began = Instant::now();
        let form = self.session.signed(&[
            ("grant_type", GrantType::ClientCredentials.as_str()),
            ("audience", &self.place.issuer),
            ("scope", SCOPE),
        ])?;
        // An assertion is good for once, but one that was not sent is good.
        let answer = self.post(&["oauth2", "token"], None, FORM, &form, Again::Unsent).await?;
        let reply: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = reply.get("access_token").and_then(Value::as_str).filter(|_| answer.status.is_success());
        let life = reply.get("expires_in").and_then(Value::as_u64).map(Duration::from_secs);
        let (Some(token), Some(life)) = (token, life) else {
            let (status, reason) = (answer.status.as_u16(), reason(&answer.body));
            if !matches!(status, 401 | 403) {
                return Err(Unanswered::NoToken(format!("the token endpoint answered {status} ({reason})")));
            }
            let at = Instant::now();
            let disowned = Arc::new(Disowned { at, status, reason });
            self.session.disowned.store(Some(Arc::clone(&disowned)));
            return Err(disowned.said());
        };
        self.session.is_known();
        self.session.held.store(Some(Arc::new(Held {
            token: token.to_owned(),
            due: began + life / 3 * 2,
            end: began + life,
        })));
        Ok(token.to_owned())
    }
}
