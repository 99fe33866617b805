//! Sends what waits, soon after it came, and again for as long as the broker is away.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Shared, said};
use crate::link::{Again, Unanswered};

/// How long refusals are gathered before they are sent: they are on record within two seconds.
const GATHER: Duration = Duration::from_millis(200);
/// So many refusals are sent at a time, and so many bytes of them.
const MANY: usize = 100;
const LARGEST: usize = 128 * 1024;
/// How long we wait after a failure, at first and at most: whoever ends has a few seconds for it.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));

/// Sends for ever.
pub(super) async fn deliver<S: Fn() -> Option<String> + Send + Sync + 'static>(shared: Arc<Shared<S>>) {
    loop {
        shared.spool.news.notified().await;
        sleep(GATHER).await;
        emptied(&shared).await;
    }
}

/// Sends all that waits, however long that takes.
pub(super) async fn emptied<S: Fn() -> Option<String> + Send + Sync + 'static>(shared: &Shared<S>) {
    let (mut pause, longest) = PAUSES;
    while let Err(why) = empty(shared).await {
        tracing::warn!(service = shared.service, %why, "refusals are not on record yet");
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Sends all that waits, or as much of it as the broker takes.
async fn empty<S: Fn() -> Option<String> + Send + Sync + 'static>(shared: &Shared<S>) -> Result<(), Unanswered> {
    let _turn = shared.spool.turn.lock().await;
    let mut most = MANY;
    while let Some(batch) = shared.spool.batch(most, LARGEST) {
        let (count, lost) = (batch.refusals.len(), batch.lost);
        let body = format!("{{\"refusals\":[{}],\"lost\":{lost}}}", batch.refusals.join(","));
        let path = ["v1", "guards", &shared.service, "refusals"];
        // The broker knows by its id what it has on record already.
        let sent = shared.link.asked(&path, "application/json", &body, Again::Always).await;
        match sent {
            Ok(_) => shared.spool.delivered(&batch),
            // It will not be taken the next time either, and others wait behind it: the one that is wrong is found, and counted.
            Err(Unanswered::Refused { status: 400 | 413, .. }) if count > 1 => most = 1,
            Err(why @ Unanswered::Refused { status: 400 | 413, .. }) if count == 1 => {
                tracing::error!(service = shared.service, %why, "a refusal is lost");
                shared.spool.give_up(&batch);
            }
            Err(why) => return Err(why),
        }
    }
    while let Some(seen) = shared.spool.sighting() {
        if let Err(why) = shared.about_guard("sightings", &said::sighting(&seen), Again::Always).await {
            tracing::warn!(service = shared.service, %why, "a token that was seen twice is not on record");
        }
    }
    Ok(())
}
