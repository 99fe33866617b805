//! Follows `GET /v1/revocations/stream`.

use std::sync::Arc;
use std::time::Duration;

use delegation::revocation::{MarkKind, Revocation, Revoked};
use delegation::time::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::event::{Event, Events};
use super::key;
use super::standing::{Standing, Unreadable};
use super::view::Followed;
use crate::link::{Link, Unanswered};

/// A feed says something each second. One that is silent for longer is left, and what was on its way is not believed any more.
const QUIET: Duration = Duration::from_secs(3);
/// How long we wait before the feed is opened again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Where we are in the feed.
#[derive(Debug, Default)]
struct Reader {
    revoked: Arc<Revoked>,
    /// The place of the last event that was taken.
    last: Option<String>,
}

/// Why a feed was left.
#[derive(Debug, thiserror::Error)]
enum Left {
    #[error("{0}")]
    Unanswered(#[from] Unanswered),
    #[error("{0}")]
    Broken(#[from] fetch::FetchError),
    #[error("it said nothing for {QUIET:?}")]
    Silent,
    #[error("it ended")]
    Ended,
    #[error("what it says is no feed of revocations")]
    Unreadable,
    #[error("it does not say who is disabled; a broker of an earlier version does not")]
    Untold,
}

impl From<Unreadable> for Left {
    fn from(_: Unreadable) -> Self {
        Self::Unreadable
    }
}

/// Follows the feed for ever, and says in `followed` what is known.
pub(super) async fn follow<S: Fn() -> Option<String> + Send + Sync + 'static>(link: Arc<Link<S>>, followed: Arc<Followed>) {
    let mut reader = Reader::default();
    let (first, longest) = PAUSES;
    let mut pause = first;
    loop {
        let opened = Instant::now();
        let Err(why) = reader.follow(&link, &followed).await;
        if matches!(why, Left::Unanswered(Unanswered::Refused { status: 410, .. })) {
            tracing::warn!("the broker cannot tell what was revoked since we were there last; all of it is read anew");
            // The view that was there stays in force, and grows old, until the new one is complete.
            reader = Reader::default();
        } else {
            tracing::warn!(%why, "the feed of revocations is opened again");
        }
        pause = if opened.elapsed() > QUIET {
            first
        } else {
            (pause * 2).min(longest)
        };
        sleep(pause).await;
    }
}

impl Reader {
    async fn follow<S: Fn() -> Option<String> + Send + Sync + 'static>(
        &mut self,
        link: &Link<S>,
        followed: &Followed,
    ) -> Result<std::convert::Infallible, Left> {
        let last = self.last.clone();
        let headers: Vec<_> = last.iter().map(|last| ("last-event-id", last.as_str())).collect();
        let mut heard = Instant::now();
        let mut stream = link.stream(&["v1", "revocations", "stream"], &headers).await?;
        let (mut events, mut standing) = (Events::default(), Standing::default());
        loop {
            let next = timeout(QUIET, stream.next()).await.map_err(|_| Left::Silent)??;
            let bytes = next.ok_or(Left::Ended)?;
            // If we were not there to hear it, what lies here may be old.
            if heard.elapsed() > QUIET {
                return Err(Left::Silent);
            }
            heard = Instant::now();
            for event in events.read(bytes.as_ref()).map_err(|_| Left::Unreadable)? {
                self.take(&event, &mut standing, followed, heard)?;
            }
        }
    }

    fn take(&mut self, event: &Event, standing: &mut Standing, followed: &Followed, then: Instant) -> Result<(), Left> {
        let said: Value = serde_json::from_str(&event.data).map_err(|_| Left::Unreadable)?;
        match event.name.as_str() {
            "revoked" => {
                self.revoked.add(&revocation(&said).ok_or(Left::Unreadable)?);
                // Behind what it stands for: whoever begins again here has it.
                self.last = Some(event.id.clone().ok_or(Left::Unreadable)?);
            }
            "standing" => {
                // What a stream has told in part is no view: until all of it is there, that of the last one stays.
                if let Some(disabled) = standing.take(&said)? {
                    followed.disabled(disabled);
                }
            }
            "heartbeat" => {
                let disabled = standing.is_whole(&said).ok_or(Left::Untold)?;
                // By this clock alone can anything be forgotten; the broker keeps it for as long.
                self.revoked.forget(crate::Clock::machine().earliest());
                followed.is_complete(&self.revoked, disabled, then);
            }
            // A later broker may say more.
            _ => {}
        }
        Ok(())
    }
}

/// What was revoked. A kind that is not known here could end anything, so then the feed is not one that we can follow.
fn revocation(said: &Value) -> Option<Revocation> {
    let kind = MarkKind::parse(said.get("kind")?.as_str()?)?;
    let key = key::of(said.get("key")?)?;
    let at = Timestamp::from_seconds(said.get("at")?.as_i64()?);
    Some(Revocation::new(kind, key, at, Duration::ZERO))
}
