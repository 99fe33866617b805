//! Tokens that a front door may hand out again, and the records of that, which nobody waits for.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use delegation::oauth::{ClientId, Form, Reason};
use delegation::registry::Moment;
use delegation::token::sha256;
use issuance::audit::{CommitError, Entry, Record};
use issuance::exchange::Exchange;
use issuance::mint::{Minted, Signer};
use issuance::policy::Permit;
use issuance::reuse::Reusable;

use crate::broker::Broker;
use crate::connections::Wanted;
use crate::evidence::Answer;
use crate::front_door::StepUp;
use crate::questions::Whose;

/// The most bytes of tokens that are kept.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// So many records of reuse may be unwritten; the next waits for its own, and so for all before it.
const UNWRITTEN: usize = 1024;
/// For so long the oldest may be unwritten.
const UNWRITTEN_FOR: Duration = Duration::from_secs(1);
/// What of a form says which token is asked for.
const ASKED: [&str; 13] = [
    "grant_type",
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "audience",
    "resource",
    "scope",
    "authorization_details",
    "onward",
    "expires_in",
];

/// Where a request came in, which decides whether a token may be handed out again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Door<'a> {
    /// `POST /oauth2/token`: each request has a token of its own.
    TokenEndpoint,
    /// A boundary: it asks for every request that passes it.
    Boundary {
        /// Its name.
        name: &'a str,
        /// The client that it acts as, in this very process; without, the form shows who asks.
        acting: Option<&'a ClientId>,
        /// How the person must have signed in.
        step_up: &'a StepUp,
        /// The upstream credential that its route asks for.
        wanted: Option<&'a Wanted<'a>>,
        /// By whom it makes us ask an issuer.
        whose: &'a Whose,
        /// What the issuer of an opaque token said of it before the request had come whole.
        answer: Option<&'a Answer>,
        /// Whether the decision is put on record and binds nobody.
        observes: bool,
    },
}

impl Door<'_> {
    /// By whom a request of `client` makes us ask an issuer: by the client itself where it has shown who it is, and by the caller of a
    /// boundary.
    pub(crate) fn whose(&self, client: &ClientId) -> Whose {
        match self {
            Self::TokenEndpoint => Whose::Client(client.clone()),
            Self::Boundary { whose, .. } => (*whose).clone(),
        }
    }

    /// What an issuer said to this request before.
    pub(crate) fn answer(&self) -> Option<Answer> {
        match self {
            Self::TokenEndpoint => None,
            Self::Boundary { answer, .. } => answer.cloned(),
        }
    }
}

/// A request that may be answered as it was before: the same boundary, client, tokens, target and authority asked, under
/// the same policy and configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request([u8; 32]);

impl Request {
    /// Nothing for the token endpoint.
    pub(crate) fn at(door: Door<'_>, client: &ClientId, form: &Form, record: &Record) -> Option<Self> {
        let Door::Boundary { name, .. } = door else { return None };
        let said = [name, client.as_str(), &record.policy_version, &record.config_version];
        let mut bytes = Vec::new();
        for part in said.into_iter().map(Some).chain(ASKED.iter().map(|name| form.get(name))) {
            // What is absent is told apart from what is empty, and no two parts run together.
            bytes.extend_from_slice(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.unwrap_or_default().as_bytes());
        }
        Some(Self(sha256(&bytes)))
    }
}

/// What was minted for front doors, bounded in bytes; the oldest go first.
#[derive(Debug, Default)]
pub(crate) struct Reuse {
    kept: Mutex<Kept>,
    unwritten: Arc<Unwritten>,
}

#[derive(Debug, Default)]
struct Kept {
    tokens: HashMap<Request, Arc<Reusable>>,
    order: VecDeque<Request>,
    bytes: usize,
}

/// Why nothing was handed out again.
pub(crate) enum NotAgain {
    /// A new token is to be minted.
    Mint(Box<Permit<Exchange>>),
    /// Something that the request uses up had been used before.
    Used,
    /// The record of the reuse was refused.
    Refused(Reason),
}

impl Reuse {
    /// Keeps what was minted for `request`.
    pub(crate) fn keep(&self, request: Request, token: Reusable) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += token.size();
        match kept.tokens.insert(request, Arc::new(token)) {
            Some(before) => kept.bytes -= before.size(),
            None => kept.order.push_back(request),
        }
        while kept.bytes > MOST_BYTES {
            let Some(oldest) = kept.order.pop_front() else { break };
            if let Some(gone) = kept.tokens.remove(&oldest) {
                kept.bytes -= gone.size();
            }
        }
    }

    fn find(&self, request: Request) -> Option<Arc<Reusable>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).tokens.get(&request).cloned()
    }
}

/// The token that was minted for `request` before, if `permit` is the permit of then in all but time.
pub(crate) async fn again(
    broker: &Broker,
    request: Request,
    permit: Permit<Exchange>,
    moment: &Moment,
    record: &Record,
) -> Result<Minted, NotAgain> {
    let Some(kept) = broker.reuse().find(request) else {
        return Err(NotAgain::Mint(Box::new(permit)));
    };
    // The view is the one of now, not of when the request began.
    let moment = Moment {
        revocations: broker.view(),
        ..moment.clone()
    };
    match kept.again(permit, &moment, &broker.signer().current(), record) {
        Err(permit) => Err(NotAgain::Mint(Box::new(permit))),
        Ok(again) => match write(broker, again.entry).await {
            Ok(()) => Ok(again.minted),
            Err(CommitError::AlreadyUsed) => Err(NotAgain::Used),
            // A reuse changes no task.
            Err(CommitError::Over(_) | CommitError::Unavailable) => Err(NotAgain::Refused(Reason::StoreUnavailable)),
        },
    }
}

/// Records that are in the journal's line and not durable yet.
#[derive(Debug, Default)]
struct Unwritten {
    /// When each came, in their order, which is the order in which they become durable.
    since: Mutex<VecDeque<Instant>>,
    /// The last one could not be written: until one is, everybody waits.
    failing: AtomicBool,
}

impl Unwritten {
    fn must_wait(&self, now: Instant) -> bool {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let late = since.front().is_some_and(|oldest| now.duration_since(*oldest) >= UNWRITTEN_FOR);
        late || since.len() >= UNWRITTEN || self.failing.load(Ordering::Acquire)
    }

    fn one_more(&self, now: Instant) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).push_back(now);
    }

    fn one_less(&self) {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    }
}

/// Puts the record of a reuse in line. Its own effect was recorded when the token was minted, so it is not waited for,
/// unless the request uses something up, such as the `jti` of an assertion: whether that was unused is known only when it
/// is durable.
async fn write(broker: &Broker, entry: Entry) -> Result<(), CommitError> {
    let unwritten = &broker.reuse().unwritten;
    let now = Instant::now();
    let waits = !entry.uses.is_empty() || unwritten.must_wait(now);
    let durable = broker.journal().submit(entry)?;
    if waits {
        let written = durable.await.unwrap_or(Err(CommitError::Unavailable)).map(|_| ());
        unwritten.failing.store(written == Err(CommitError::Unavailable), Ordering::Release);
        return written;
    }
    unwritten.one_more(now);
    let unwritten = Arc::clone(unwritten);
    tokio::spawn(async move {
        let written = durable.await.unwrap_or(Err(CommitError::Unavailable));
        unwritten.failing.store(written.is_err(), Ordering::Release);
        unwritten.one_less();
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Instant;

    use super::{UNWRITTEN, UNWRITTEN_FOR, Unwritten};

    #[test]
    fn a_reuse_waits_when_too_many_are_unwritten_or_the_oldest_for_too_long() {
        let (unwritten, now) = (Unwritten::default(), Instant::now());
        for _ in 0..UNWRITTEN {
            assert!(!unwritten.must_wait(now));
            unwritten.one_more(now);
        }
        assert!(unwritten.must_wait(now), "the 1,025th");
        unwritten.one_less();
        assert!(!unwritten.must_wait(now));
        assert!(unwritten.must_wait(now + UNWRITTEN_FOR), "a second unwritten");
    }

    #[test]
    fn a_reuse_waits_while_the_journal_fails() {
        let unwritten = Unwritten::default();
        unwritten.failing.store(true, Ordering::Release);
        assert!(unwritten.must_wait(Instant::now()));
    }
}
