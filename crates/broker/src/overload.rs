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
/// Requests whose decision binds nobody that are worked on at a time, in a room of their own.
const OBSERVED: usize = 64;
/// How long one waits: a client that waited longer would rather ask another node.
const PATIENCE: Duration = Duration::from_secs(1);
/// Places of the journal's queue that requests for tokens leave free.
pub(crate) const RESERVED: usize = 512;

/// Too much is going on: ask again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overloaded;

/// Bounds what is worked on and what waits. A turn is given back while its request waits for an issuer; see [`Turn::without`].
#[derive(Debug)]
pub(crate) struct Gate {
    turns: usize,
    in_work: Semaphore,
    waiting: Semaphore,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(IN_WORK, WAITING)
    }
}

/// A turn at a gate.
#[derive(Debug)]
pub(crate) struct Turn<'g> {
    gate: &'g Gate,
    /// None while the request waits for somebody else.
    place: Option<SemaphorePermit<'g>>,
}

impl Turn<'_> {
    /// What comes of `waiting`, for which no turn is needed: somebody else works on it meanwhile, for as long as they like. Then the
    /// request waits for its turn again, and may find none.
    pub(crate) async fn without<T>(&mut self, waiting: impl Future<Output = T>) -> Result<T, Overloaded> {
        self.place = None;
        let waited = waiting.await;
        self.place = Some(self.gate.place().await?);
        Ok(waited)
    }
}

impl Gate {
    /// The gate of what is only observed: it takes no turn of a request that somebody waits for.
    pub(crate) fn of_observed() -> Self {
        Self::new(OBSERVED, WAITING)
    }

    fn new(in_work: usize, waiting: usize) -> Self {
        Self {
            turns: in_work,
            in_work: Semaphore::new(in_work),
            waiting: Semaphore::new(waiting),
        }
    }

    /// How many have their turn now.
    pub(crate) fn at_work(&self) -> usize {
        self.turns.saturating_sub(self.in_work.available_permits())
    }

    /// A turn, held for as long as the request is worked on.
    pub(crate) async fn enter(&self) -> Result<Turn<'_>, Overloaded> {
        let place = Some(self.place().await?);
        Ok(Turn { gate: self, place })
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, Overloaded> {
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
        Kind::Exchange | Kind::Task | Kind::ClientAuth | Kind::Introspection | Kind::Leak | Kind::Guard => RESERVED,
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

    #[tokio::test]
    async fn whoever_waits_for_somebody_else_has_no_turn_meanwhile_and_needs_one_after() {
        let gate = Gate::new(1, 0);
        let mut turn = gate.enter().await.unwrap();
        let other = turn.without(gate.enter()).await;
        assert_eq!(other.err(), Some(Overloaded), "the other has the only one");
        assert!(turn.place.is_none());
        drop(turn);
        let mut turn = gate.enter().await.unwrap();
        assert!(turn.without(async { drop(gate.enter().await) }).await.is_ok());
        assert_eq!(gate.enter().await.err(), Some(Overloaded), "it has its turn again");
    }
}
