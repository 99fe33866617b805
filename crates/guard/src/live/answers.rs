//! What the broker said of opaque tokens, for as long as that is believed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use delegation::oauth::Reason;
use delegation::token::{AccessToken, Authentic, OpaqueForm};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::strangers::Strangers;
use crate::broker::{Broker, Introspected};
use crate::check::{Known, Refusal, Shown};

/// How long an answer is believed, from when it was asked for.
const KEPT: Duration = Duration::from_secs(1);
/// So many tokens are known about at a time.
const MOST: usize = 4096;
/// So many questions are under way at a time.
const ASKING: usize = 64;

/// Answers by the digest of the token, and places for questions.
pub(super) struct Answers {
    kept: Mutex<HashMap<[u8; 32], Arc<Place>>>,
    asking: Semaphore,
    strangers: Strangers,
}

/// Where the answer about one token is, or is waited for: all who show it at once wait for one question.
type Place = tokio::sync::Mutex<Option<Answer>>;

#[derive(Clone)]
struct Answer {
    asked: Instant,
    /// Nothing if it is not alive.
    known: Option<Arc<Known>>,
}

impl Answers {
    /// The token `form`, which is the one that is `shown`, if the broker says that it is alive.
    pub(super) async fn known<B: Broker>(
        &self,
        broker: &B,
        form: &OpaqueForm,
        shown: &Shown<'_>,
        from: IpAddr,
    ) -> Result<Arc<Known>, Refusal> {
        let unknown = || Refusal::new(Reason::SubjectTokenInvalid, "the broker does not say that it is alive");
        let place = self.place(form).ok_or_else(|| Refusal::from(Reason::RateLimited))?;
        let mut place = place.lock().await;
        if let Some(answer) = place.as_ref().filter(|answer| answer.asked.elapsed() < KEPT) {
            return answer.known.clone().ok_or_else(unknown);
        }
        *place = None;
        if !self.strangers.may_ask(from) {
            return Err(Reason::RateLimited.into());
        }
        let _turn = self.asking.try_acquire().map_err(|_| Refusal::from(Reason::RateLimited))?;
        let asked = Instant::now();
        let known = match broker.introspect(shown.token()).await {
            Introspected::Unavailable => {
                return Err(Refusal::new(
                    Reason::StoreUnavailable,
                    "the broker could not be asked about an opaque token",
                ));
            }
            Introspected::Inactive => {
                self.strangers.count(from);
                None
            }
            Introspected::Active(said) => {
                let token = Authentic::<AccessToken>::answered(form, shown.issuer(), &said)?;
                Some(Arc::new(shown.read(&token)?))
            }
        };
        *place = Some(Answer {
            asked,
            known: known.clone(),
        });
        known.ok_or_else(unknown)
    }

    /// The place of this token; nothing if there is none left.
    fn place(&self, form: &OpaqueForm) -> Option<Arc<Place>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            // Whoever waits at a place holds it.
            let is_wanted =
                |place: &Arc<Place>| Arc::strong_count(place) > 1 || place.try_lock().is_ok_and(|answer| is_fresh(answer.as_ref()));
            kept.retain(|_, place| is_wanted(place));
        }
        let digest = form.digest();
        if kept.len() >= MOST && !kept.contains_key(&digest) {
            return None;
        }
        Some(Arc::clone(kept.entry(digest).or_default()))
    }
}

fn is_fresh(answer: Option<&Answer>) -> bool {
    answer.is_some_and(|answer| answer.asked.elapsed() < KEPT)
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            kept: Mutex::default(),
            asking: Semaphore::new(ASKING),
            strangers: Strangers::default(),
        }
    }
}

/// Without what was said.
impl std::fmt::Debug for Answers {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Answers").finish_non_exhaustive()
    }
}
