//! One ask: to one address after the other, with a token of our own, within a deadline.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fetch::{Answer, FetchError, Stream};
use serde_json::Value;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Link, under};

/// The longest id of a decision.
const LONGEST_ID: usize = 64;
/// The media type of a form.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// What counts as no answer, so that another address is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Only that nothing was sent: what was sent may have been done.
    Unsent,
    /// Everything that is no answer: asking twice is as good as once.
    Always,
}

/// Why there is no answer that could be used. The texts are for operators; they hold no token.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// It took too long.
    #[error("the broker did not answer within {0:?}")]
    Late(Duration),
    /// No address answered.
    #[error("the broker is not reached: {0}")]
    Unreached(String),
    /// We are not who may ask, or have nothing to show.
    #[error("no token of this data plane: {0}")]
    NoToken(String),
    /// It does not know our client any more, or not by this key.
    #[error("the broker answered {status} ({reason}) to the client of this data plane: is it disabled there, or is its key another one?")]
    Disowned {
        /// Its status.
        status: u16,
        /// Its reason.
        reason: String,
    },
    /// It refuses to be asked.
    #[error(
        "the broker answered {status} ({reason}); see `[broker] client`, `[[boundaries]]` and `[[guards]]` here, and `client`, routes and guards there"
    )]
    Refused {
        /// Its status.
        status: u16,
        /// Its reason.
        reason: String,
        /// Its record of that, if it named one: letters, digits and `-`.
        decision_id: Option<String>,
    },
    /// What it says cannot be.
    #[error("the broker's reply is not believed: {0}")]
    Unbelievable(&'static str),
}

impl Unanswered {
    /// Whether it was said, by a broker that is there, that we may not ask. A 401 comes here only if a new token was had, and did not
    /// cure it.
    pub fn refuses_us(&self) -> bool {
        matches!(self, Self::Disowned { .. } | Self::Refused { status: 401 | 403, .. })
    }
}

impl<S: Fn() -> Option<String> + Send + Sync + 'static> Link<S> {
    /// What comes of `asking`, if it comes within the deadline.
    pub async fn in_time<T>(&self, asking: impl Future<Output = Result<T, Unanswered>>) -> Result<T, Unanswered> {
        let deadline = self.place.deadline;
        let Ok(asked) = tokio::time::timeout(deadline, asking).await else {
            // The next one begins elsewhere.
            self.first.fetch_add(1, Ordering::Relaxed);
            self.is_reached.store(false, Ordering::Relaxed);
            return Err(Unanswered::Late(deadline));
        };
        asked
    }

    /// POSTs `body` to `path`, and gives what comes with status 200.
    pub async fn ask(&self, path: &[&str], body: &Value, again: Again) -> Result<Value, Unanswered> {
        self.asked(path, "application/json", &body.to_string(), again).await
    }

    /// POSTs `body`, of this media type, with a token of our own to `path`, and gives what comes with status 200.
    pub async fn asked(&self, path: &[&str], media: &str, body: &str, again: Again) -> Result<Value, Unanswered> {
        let mut shown = self.bearer().await?;
        let mut renewed = false;
        loop {
            let bearer = format!("Bearer {shown}");
            let answer = self.post(path, Some(&bearer), media, body, again).await?;
            match answer.status.as_u16() {
                // It may hold an upstream credential.
                200 => {
                    self.session.is_known();
                    return serde_json::from_slice(&Zeroizing::new(answer.body)).map_err(|_| Unanswered::Unbelievable("it is no JSON"));
                }
                // It was ended, or the broker has other keys by now. Whoever is not known was not listened to.
                401 if !renewed => {
                    renewed = true;
                    shown = self.another_bearer(&shown).await?;
                }
                status => return Err(refused(status, &answer.body)),
            }
        }
    }

    /// POSTs `form` to `path` as our client, by an assertion and not by a token, and gives what comes with status 200.
    ///
    /// An assertion is good for once, so what was sent is not sent again.
    pub async fn ask_as_client(&self, path: &[&str], form: &[(&str, &str)]) -> Result<Zeroizing<Vec<u8>>, Unanswered> {
        let form = self.session.signed(form)?;
        let answer = self.post(path, None, FORM, &form, Again::Unsent).await?;
        match answer.status.as_u16() {
            200 => Ok(Zeroizing::new(answer.body)),
            status => Err(refused(status, &answer.body)),
        }
    }

    /// Opens `path` of the address that answered last, with a token of our own; what comes is read as it comes.
    ///
    /// The next time it is another address's turn if this one gives none.
    pub async fn stream(&self, path: &[&str], headers: &[(&'static str, &str)]) -> Result<Stream, Unanswered> {
        let shown = self.bearer().await?;
        let (urls, first) = (&self.place.urls, self.first.load(Ordering::Relaxed));
        let url = urls.get(first % urls.len().max(1));
        let url = url.ok_or_else(|| Unanswered::Unreached("no address is configured".to_owned()))?;
        match self.fetcher.stream(&under(url, path), &format!("Bearer {shown}"), headers).await {
            Ok(stream) => Ok(stream),
            Err(FetchError::Status { status, .. }) => {
                if status.as_u16() == 401 {
                    self.another_bearer(&shown).await?;
                }
                let reason = String::new();
                let (status, decision_id) = (status.as_u16(), None);
                Err(Unanswered::Refused {
                    status,
                    reason,
                    decision_id,
                })
            }
            Err(error) => {
                self.first.store(first.wrapping_add(1), Ordering::Relaxed);
                Err(Unanswered::Unreached(error.to_string()))
            }
        }
    }

    /// The answer of the first address that gives one, beginning with the one that did last.
    pub async fn post(
        &self,
        path: &[&str],
        authorization: Option<&str>,
        media: &str,
        body: &str,
        again: Again,
    ) -> Result<Answer, Unanswered> {
        let (urls, first) = (&self.place.urls, self.first.load(Ordering::Relaxed));
        let mut last = "no address is configured".to_owned();
        for (tried, url) in urls.iter().cycle().skip(first % urls.len().max(1)).take(urls.len()).enumerate() {
            match self.fetcher.post(&under(url, path), authorization, media, body.to_owned()).await {
                Ok(answer) => {
                    if tried > 0 {
                        self.first.store(first + tried, Ordering::Relaxed);
                    }
                    self.is_reached.store(true, Ordering::Relaxed);
                    self.answered.store(Some(Arc::new(Instant::now())));
                    return Ok(answer);
                }
                Err(error) => {
                    last = error.to_string();
                    if again == Again::Unsent && !matches!(error, FetchError::Unreached { .. }) {
                        self.first.store(first + tried + 1, Ordering::Relaxed);
                        break;
                    }
                }
            }
        }
        self.is_reached.store(false, Ordering::Relaxed);
        Err(Unanswered::Unreached(last))
    }

    /// Whether there was an answer when it was last asked.
    pub(super) fn has_answered(&self) -> bool {
        self.is_reached.load(Ordering::Relaxed)
    }
}

/// Why it refuses to be asked, in its own word.
fn refused(status: u16, body: &[u8]) -> Unanswered {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    Unanswered::Refused {
        status,
        reason: reason(body),
        decision_id: decision_id(&problem),
    }
}

/// The id of a decision that `said` names. It is shown to people, so it is nothing but an id.
pub(crate) fn decision_id(said: &Value) -> Option<String> {
    let id = said.get("decision_id").and_then(Value::as_str)?;
    let is_id = (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_id.then(|| id.to_owned())
}

/// The reason in the body of a refusal.
pub(super) fn reason(body: &[u8]) -> String {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    problem.get("reason").and_then(Value::as_str).unwrap_or("no reason").to_owned()
}
