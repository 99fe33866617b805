//! `GET /v1/revocations/stream`: what is revoked, as it comes, for data planes that keep a view of their own.
//!
//! Server-sent events: `revoked` with its place as `id`; `standing`, which has no place, for whoever is disabled; and each second a
//! `heartbeat`. A heartbeat is sent only when everything up to it was read from the store and sent before, so whoever has one knows
//! all that was known then.

mod standing;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use delegation::revocation::Disabled;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request};
use hyper::body::Frame;
use issuance::policy::Policy;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::call::Call;
use super::caller::Credential;
use super::page;
use super::problem::Problem;
use super::revocations::said;
use crate::broker::Broker;
use crate::store::StoreUnavailable;

/// So many streams are open at a time.
const MOST: usize = 1_024;
/// How many revocations are read and sent at a time. With one page on its way and one waiting, that is all a stream holds.
const PAGE: i64 = 256;
/// How often everybody hears that we are there.
const BEAT: Duration = Duration::from_secs(1);
/// How long a reader may take for a page. One that is slower is dropped, and comes back for what it missed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all streams of a broker share.
#[derive(Debug)]
pub(crate) struct Streams {
    places: Arc<Semaphore>,
    ending: CancellationToken,
    /// Changes whenever somebody is disabled or enabled.
    standing: watch::Sender<()>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(MOST)),
            ending: CancellationToken::new(),
            standing: watch::Sender::new(()),
        }
    }
}

impl Streams {
    /// Ends every stream, for good: without that, none would ever be finished.
    pub(crate) fn end(&self) {
        self.ending.cancel();
    }

    /// Has every stream tell who is disabled now.
    pub(crate) fn tell_standing(&self) {
        self.standing.send_replace(());
    }
}

/// Opens a stream: 410 `gap` where what follows the reader's place cannot be told from here.
pub(crate) async fn stream(State(broker): State<Arc<Broker>>, Extension(peer): Extension<SocketAddr>, request: Request<Body>) -> Response {
    let mut call = Call::new(broker, peer, request);
    let opened = open(&mut call).await;
    call.answer(opened).await
}

async fn open(call: &mut Call) -> Result<Response, Problem> {
    // 1. Who reads.
    let (credential, caller) = call.credential().await?;
    caller.must_follow_revocations()?;

    // 2. From where on: the place of the last event that a reader has, which comes back by itself in the header.
    let query = call.query(&["after"])?;
    let given = call.header("last-event-id")?.or_else(|| page::value(&query, "after"));
    let after = given.map(page::place).transpose()?.filter(|after| *after > 0);
    let store = call.broker.store();
    let epoch = store.epoch().await?;
    if let Some(after) = after
        && !store.holds_revocation(after).await?
    {
        // Forgotten since, or never here: the store may have been set back.
        return Err(Problem::Gap);
    }

    // 3. A place, and then whatever comes.
    let place = Arc::clone(&call.broker.streams().places).try_acquire_owned();
    let (sender, receiver) = mpsc::channel(1);
    let teller = Teller {
        broker: Arc::clone(&call.broker),
        credential,
        epoch,
        after: after.unwrap_or(-1),
        standing: None,
        sender,
        _place: place.map_err(|_| Problem::RateLimited)?,
    };
    tokio::spawn(teller.tell());
    let mut response = Response::new(Body::new(Events(receiver)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What tells one reader.
struct Teller {
    broker: Arc<Broker>,
    credential: Credential,
    /// The epoch of the store when the stream began: under another one its places mean something else.
    epoch: i64,
    after: i64,
    /// Who was told to be disabled; nothing before anything was told in this stream. It has no place to come back to: what a reader
    /// missed is not known, so each stream begins with all of it.
    standing: Option<Arc<Disabled>>,
    sender: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
}

/// The reader is gone, too slow, not allowed any more, or cannot be told the truth.
struct Ended;

impl From<StoreUnavailable> for Ended {
    fn from(_: StoreUnavailable) -> Self {
        Self
    }
}

impl Teller {
    /// Tells until something ends it; the reader then comes back and says where it was.
    async fn tell(mut self) {
        let (broker, sender) = (Arc::clone(&self.broker), self.sender.clone());
        broker.telemetry().streams().inc();
        tokio::select! {
            Err(Ended) = self.follow() => {}
            () = broker.streams().ending.cancelled() => {}
            () = sender.closed() => {}
        }
        broker.telemetry().streams().dec();
    }

    async fn follow(&mut self) -> Result<Infallible, Ended> {
        let mut news = self.broker.store().news();
        let mut standing = self.broker.streams().standing.subscribe();
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = false;
        loop {
            news.borrow_and_update();
            standing.borrow_and_update();
            self.catch_up().await?;
            self.tell_standing().await?;
            if due {
                self.beat().await?;
                // That nobody was disabled, the heartbeat has said.
                self.standing.get_or_insert_default();
            }
            due = tokio::select! {
                changed = news.changed() => {
                    changed.map_err(|_| Ended)?;
                    false
                }
                changed = standing.changed() => {
                    changed.map_err(|_| Ended)?;
                    false
                }
                _ = beat.tick() => true,
            };
        }
    }

    /// Sends everything that the store has after the reader's place.
    async fn catch_up(&mut self) -> Result<(), Ended> {
        loop {
            let page = self.broker.store().revocations_after(self.after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            let events = page.iter().map(|placed| format!("id: {}\n{}", placed.seq, event("revoked", &said(placed))));
            self.send(events.collect()).await?;
            self.after = last.seq;
        }
    }

    /// Sends who came to be disabled and who is so no more: of the view that is in force here, which is read each second. A stream that
    /// begins with nobody says so by its first heartbeat alone.
    async fn tell_standing(&mut self) -> Result<(), Ended> {
        let view = self.broker.view();
        if self.standing.is_none() && view.disabled().is_empty() {
            return Ok(());
        }
        for page in standing::pages(self.standing.as_deref(), view.disabled()) {
            self.send(event("standing", &page)).await?;
        }
        self.standing = Some(Arc::clone(view.disabled()));
        Ok(())
    }

    /// Looks whether the reader may still read, and sends a heartbeat.
    async fn beat(&self) -> Result<(), Ended> {
        // Who was disabled since this view was read is not known here either.
        if self.broker.view_age() > self.broker.settings().max_view_age {
            return Err(Ended);
        }
        let in_force = self.broker.in_force();
        let moment = self.broker.moment(&in_force);
        let caller = self.credential.caller(&self.broker, &moment).await.map_err(|_| Ended)?;
        caller.must_follow_revocations().map_err(|_| Ended)?;
        if self.broker.store().epoch().await? != self.epoch {
            return Err(Ended);
        }
        let standing: String = moment.revocations.version().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let versions = json!({
            "policy_version": in_force.policy.version(),
            "config_version": in_force.snapshot.config_version,
            "standing_version": format!("{}-{standing}", self.epoch),
            "disabled": self.standing.as_ref().map_or(0, |disabled| disabled.len()),
            "seq": self.after.max(0),
        });
        self.send(event("heartbeat", &versions)).await
    }

    async fn send(&self, events: String) -> Result<(), Ended> {
        let sent = tokio::time::timeout(PATIENCE, self.sender.send(Bytes::from(events))).await;
        sent.map_err(|_| Ended)?.map_err(|_| Ended)
    }
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// The body of a stream: what its teller sends, and nothing that waits.
struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|events| events.map(|events| Ok(Frame::data(events))))
    }
}
