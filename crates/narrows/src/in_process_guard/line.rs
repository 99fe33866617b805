//! What a guard of this process says, in line for the log: no request waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::guards::{self, Claims, Compared, RefusedCall};
use narrows_guard::broker::{Refused, SeenTwice};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::{Who, request_line};

/// So much waits, of at most a few KiB each; what finds no room is counted.
const MOST: usize = 4096;
/// How long the writer waits after the log could not be written.
const PAUSE: Duration = Duration::from_millis(500);

/// What is said.
#[derive(Debug)]
pub(super) enum Said {
    /// A request was refused.
    Refused(Box<Refused>),
    /// A token was shown from two places.
    SeenTwice(SeenTwice),
    /// All that was said before is wanted in the log.
    Flush(oneshot::Sender<()>),
}

/// A line, which is written until its last holder is gone.
#[derive(Debug)]
pub(super) struct Line {
    sender: mpsc::Sender<Said>,
    lost: Arc<AtomicU64>,
}

impl Line {
    pub(super) fn start(who: Arc<Who>) -> Self {
        let (sender, receiver) = mpsc::channel(MOST);
        let lost = Arc::new(AtomicU64::new(0));
        tokio::spawn(write(who, receiver, Arc::clone(&lost)));
        Self { sender, lost }
    }

    /// Returns at once.
    pub(super) fn put(&self, said: Said) {
        let is_refusal = matches!(said, Said::Refused(_));
        // A token that was not said to be seen twice will be seen again.
        if self.sender.try_send(said).is_err() && is_refusal {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was put before is written, or for so long.
    pub(super) async fn flush(&self, patience: Duration) {
        let (done, written) = oneshot::channel();
        let flushed = async {
            // A writer that is gone has nothing to write.
            if self.sender.send(Said::Flush(done)).await.is_ok() {
                let _ = written.await;
            }
        };
        let _ = timeout(patience, flushed).await;
    }
}

async fn write(who: Arc<Who>, mut receiver: mpsc::Receiver<Said>, lost: Arc<AtomicU64>) {
    let mut waiting = Vec::new();
    while receiver.recv_many(&mut waiting, guards::MOST).await > 0 {
        let (mut refusals, mut sightings, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
        for said in waiting.drain(..) {
            match said {
                Said::Refused(refused) => refusals.push(call(*refused)),
                Said::SeenTwice(sighting) => sightings.push(sighting),
                Said::Flush(done) => flushes.push(done),
            }
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        while !refusals.is_empty() || missing > 0 {
            // Each is found again by its id, so that what is on record already is not written twice.
            match guards::refused(&who.broker, &who.guard(), &refusals, missing).await {
                Ok(_) => break,
                Err(_) => {
                    tracing::warn!(service = who.service, "refusals are not on record yet");
                    sleep(PAUSE).await;
                }
            }
        }
        for sighting in &sightings {
            if guards::seen_twice(&who.broker, &who.guard(), &seen(sighting)).await.is_err() {
                tracing::warn!(service = who.service, "a token that was seen twice is not on record");
            }
        }
        for done in flushes {
            let _ = done.send(());
        }
    }
}

fn seen(sighting: &SeenTwice) -> guards::SeenTwice {
    guards::SeenTwice {
        jti: sighting.jti.clone(),
        exp: sighting.exp,
        iat: Some(sighting.iat),
        first: sighting.first,
        second: sighting.second,
    }
}

/// A refusal as the log takes it.
fn call(refused: Refused) -> RefusedCall {
    RefusedCall {
        decision_id: refused.decision_id,
        at: refused.at,
        reason: refused.reason,
        request: refused.request.as_ref().map(request_line),
        from: refused.from,
        claims: refused.claims.map(|claims| Claims {
            audience: claims.audiences.into_iter().next().unwrap_or_default(),
            jti: claims.jti,
            sub: claims.sub,
            subject: Some((claims.subject.iss, claims.subject.sub)),
            client: claims.client,
            exp: claims.exp,
            iat: claims.iat,
            task: claims.task,
            txn: Some(claims.txn),
        }),
        compared: refused.compared.map(|compared| {
            let all = compared.to_json();
            let texts = |name: &str| {
                let list = all.get(name).and_then(Value::as_array).into_iter().flatten();
                list.filter_map(Value::as_str).map(str::to_owned).collect()
            };
            Compared {
                required: texts("required"),
                presented: texts("presented"),
                surplus: texts("surplus"),
            }
        }),
        observed: refused.observed,
    }
}
