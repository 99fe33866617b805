//! Overload: what cannot be worked on soon is refused at once, so that what is worked on gets done.
//!
//! The token endpoint and introspection pass through one [`Gate`]; `/healthz`, `/readyz` and `/metrics` do not, and neither
//! does revocation: what must always get through stands beside the gate, not in it. The journal keeps places for such
//! entries too; see [`must_leave_free`].

use std::time::Duration;

use issuance::audit::{Entry, Kind};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Requests that are worked on at a time. Most of each one's time is the wait for its commit, which many share.
const IN_WORK: usize = 512;
/// Requests that wait for their turn.
const WAITING: usize = 2048;
/// How long one waits: a client that waited longer would rather ask another node.
const PATIENCE: Duration = Duration::from_secs(1);
/// Places of the journal's queue that requests for tokens leave free.
pub(crate) const RESERVED: usize = 512;

/// Too much is going on: ask again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overloaded;

/// Bounds what is worked on and what waits.
#[derive(Debug)]
pub(crate) struct Gate {
    in_work: Semaphore,
    waiting: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(IN_WORK, WAITING)
    }
}

impl Gate {
    fn new(in_work: usize, waiting: usize) -> Self {
        Self {
            in_work: Semaphore::new(in_work),
            waiting: Semaphore::new(waiting),
        }
    }

    /// A turn, held for as long as the request is worked on.
    pub(crate) async fn enter(&self) -> Result<SemaphorePermit<'_>, Overloaded> {
        if let Ok(turn) = self.in_work.try_acquire() {
            return Ok(turn);
        }
        let _place = self.waiting.try_acquire().map_err(|_| Overloaded)?;
        match tokio::time::timeout(PATIENCE, self.in_work.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Overloaded),
        }
    }
}

/// How many places of the queue an entry must find free. Requests for tokens leave some to everything else: a change of
/// keys, configuration or standing, and a revocation, are written when tokens are refused for want of room.
pub(crate) fn must_leave_free(entry: &Entry) -> usize {
    match entry.record.kind {
        // Whatever else it is, it ends something.
        _ if entry.revokes.is_some() => 0,
        Kind::Exchange | Kind::Task | Kind::ClientAuth | Kind::Introspection | Kind::Leak => RESERVED,
        Kind::Config | Kind::Key | Kind::Operator | Kind::Connection | Kind::Revocation => 0,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use super::{Gate, Overloaded};

    #[tokio::test]
    async fn what_finds_no_place_is_refused_at_once_and_a_turn_that_ends_is_given_on() {
        let gate = std::sync::Arc::new(Gate::new(1, 1));
        let turn = gate.enter().await.unwrap();
        let waits = tokio::spawn({
            let gate = std::sync::Arc::clone(&gate);
            async move { gate.enter().await.is_ok() }
        });
        let takes_its_place = async {
            while gate.waiting.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), takes_its_place).await.unwrap();
        assert_eq!(gate.enter().await.err(), Some(Overloaded), "no place to wait");
        drop(turn);
        assert!(waits.await.unwrap(), "the one that waited");
        assert!(gate.enter().await.is_ok());
    }
}
