//! The bodies that are being read, of all requests of a process together.

mod shares;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use bytes::Bytes;
use delegation::oauth::Reason;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use narrows_guard::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub(crate) use shares::Owner;
use shares::{Share, Shares};

/// How many bytes are held at a time where nobody says.
const ROOM: usize = 64 * 1024 * 1024;
/// One caller gets a fourth of that: four that send slowly keep nobody else out yet.
const CALLERS: usize = 4;
/// So much of a question takes no room.
const SMALL: usize = 16 * 1024;
/// How long a body may take to arrive.
pub(crate) const ARRIVES: Duration = Duration::from_secs(10);
/// How long a body waits for room.
const WAITS: Duration = Duration::from_secs(1);

/// Room for bodies that are read before they go on. One for all boundaries of a process: however many callers send however much, no
/// more than this is held of it.
#[derive(Clone, Debug)]
pub struct Bodies {
    all: Arc<Semaphore>,
    /// What one caller may have of that.
    shares: Arc<Shares>,
    /// What is only observed has a share of its own, and takes nothing of the other.
    observed: Arc<Semaphore>,
}

/// 64 MiB.
impl Default for Bodies {
    fn default() -> Self {
        Self::of(ROOM)
    }
}

/// What was read, and the room that it takes until the last of it is gone.
#[derive(Default)]
pub(crate) struct Held {
    bytes: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
    of_share: Option<OwnedSemaphorePermit>,
    /// Whose body it is, if that is known; for as long as something of it is held.
    share: Option<Arc<Share>>,
}

impl Held {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// Copied: a frame of one byte may be part of a buffer of many, which would stay as long as the byte does.
    fn keep(&mut self, data: &[u8], room: Option<OwnedSemaphorePermit>) {
        add(&mut self.room, room);
        self.bytes.extend_from_slice(data);
    }
}

/// Adds what was taken to what is held.
fn add(held: &mut Option<OwnedSemaphorePermit>, taken: Option<OwnedSemaphorePermit>) {
    match (held.as_mut(), taken) {
        (Some(held), Some(taken)) => held.merge(taken),
        (None, Some(taken)) => *held = Some(taken),
        (_, None) => {}
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    /// Room for so many bytes, a fourth of them for one caller, and for a fourth of that besides of what is only observed.
    pub fn of(bytes: usize) -> Self {
        let room = |bytes: usize| Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS)));
        Self {
            all: room(bytes),
            shares: Shares::of(bytes / CALLERS),
            observed: room(bytes / 4),
        }
    }

    /// So many bytes there is room for now: of what enforces, and of what is only observed.
    pub fn free(&self) -> (usize, usize) {
        (self.all.available_permits(), self.observed.available_permits())
    }

    /// The whole of the body that `from` sends: `too_large` if it has more than `most` bytes, `rate_limited` if there is no room for it
    /// within a second, or none in the share of whom it is from, where that is known,
    /// `malformed_request` if it breaks off or does not arrive within ten.
    ///
    /// Room is taken for what has come, and not for what was announced: whoever sends nothing takes none.
    pub(crate) async fn read(&self, body: HttpBody, from: impl Into<Option<Owner>>, most: usize) -> Result<Bytes, Reason> {
        timeout(ARRIVES, self.collect(body, from.into(), most, 0))
            .await
            .unwrap_or(Err(Reason::MalformedRequest))
    }

    /// Lets the rest of a body go by that nobody needs, of at most `most` bytes: whoever sends it may hear no answer before it is gone. It
    /// takes no room.
    pub(crate) async fn let_go(mut body: HttpBody, most: usize) {
        let _ = timeout(ARRIVES, async {
            let mut left = most;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(less) = left.checked_sub(length) else { return };
                left = less;
            }
        })
        .await;
    }

    /// The same of a question that a proxy asks, whose first 16 KiB need no room: one that is small is answered whoever sends what.
    pub(crate) async fn read_question(&self, body: HttpBody, most: usize) -> Result<Bytes, Reason> {
        timeout(ARRIVES, self.collect(body, None, most, SMALL))
            .await
            .unwrap_or(Err(Reason::MalformedRequest))
    }

    async fn collect(&self, mut body: HttpBody, of: Option<Owner>, most: usize, free: usize) -> Result<Bytes, Reason> {
        if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
            return Err(Reason::TooLarge);
        }
        let mut held = Held {
            share: of.map(|owner| self.shares.share(owner)),
            ..Held::default()
        };
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Reason::MalformedRequest)?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > most.saturating_sub(held.len()) {
                return Err(Reason::TooLarge);
            }
            let before = held.len().saturating_sub(free);
            let taken = match (held.len() + data.len()).saturating_sub(free) - before {
                0 => None,
                bytes => {
                    if let Some(share) = &held.share {
                        let of_share = room(share.room(), bytes).await?;
                        add(&mut held.of_share, Some(of_share));
                    }
                    Some(room(&self.all, bytes).await?)
                }
            };
            held.keep(&data, taken);
        }
        Ok(held.into_bytes())
    }

    /// Adds `data` to what is `held` of a body that goes by and waits for nothing: `rate_limited` if there is no room for it now.
    pub(crate) fn copy(&self, held: &mut Held, data: &[u8]) -> Result<(), Reason> {
        let bytes = u32::try_from(data.len()).map_err(|_| Reason::TooLarge)?;
        let room = Arc::clone(&self.observed).try_acquire_many_owned(bytes).map_err(|_| Reason::RateLimited)?;
        held.keep(data, Some(room));
        Ok(())
    }

    /// `body` in the share of what is only observed, which gives back the room that it had.
    pub(crate) fn set_aside(&self, body: Body) -> Result<Body, Reason> {
        let Body::Whole(bytes) = body else { return Ok(body) };
        let mut held = Held::default();
        self.copy(&mut held, &bytes)?;
        Ok(Body::Whole(held.into_bytes()))
    }
}

/// Room for so many bytes among `all`, which is waited for.
async fn room(all: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Reason> {
    let bytes = u32::try_from(bytes).map_err(|_| Reason::TooLarge)?;
    match timeout(WAITS, Arc::clone(all).acquire_many_owned(bytes)).await {
        Ok(Ok(room)) => Ok(room),
        _ => Err(Reason::RateLimited),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body as HttpBody;
    use bytes::Bytes;
    use delegation::oauth::Reason;
    use narrows_guard::Body;
    use narrows_guard::live::Guest;

    use super::{Bodies, Owner};
    use crate::parts::Parts;
    use crate::settings::Caller;

    fn caller(address: [u8; 4], is_own: bool) -> Caller {
        Caller {
            address: address.into(),
            is_own,
        }
    }

    async fn read(bodies: &Bodies, body: &'static str, most: usize) -> Result<Bytes, Reason> {
        bodies.read(HttpBody::from(body), caller([192, 0, 2, 1], false), most).await
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_has_a_fourth_of_the_room_and_gets_it_back_and_a_proxy_has_all() {
        let bodies = Bodies::of(40);
        let read = |from, length: usize| bodies.read(HttpBody::from(vec![b'x'; length]), from, 100);
        let (one, other, proxy) = (
            caller([192, 0, 2, 1], true),
            caller([192, 0, 2, 2], true),
            caller([192, 0, 2, 3], false),
        );
        let first = bodies.read(HttpBody::new(Parts::of(&["12", "3456"])), one, 100).await;
        assert!(first.is_ok());
        assert_eq!(read(one, 5).await, Err(Reason::RateLimited));
        let second = read(one, 4).await;
        assert!(second.is_ok() && read(other, 10).await.is_ok());
        assert_eq!(read(other, 11).await, Err(Reason::RateLimited), "it never fits");
        drop(first);
        assert_eq!(read(one, 7).await, Err(Reason::RateLimited), "the second is held yet");
        assert!(read(one, 6).await.is_ok() && read(proxy, 36).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_subject_fills_a_fourth_of_the_room_and_so_does_one_address_where_nobody_is_known() {
        let bodies = Bodies::of(40);
        let from = |last| Owner::Address([192, 0, 2, last].into());
        let read = |guest, last| bodies.read(HttpBody::from("1234567890"), Owner::of(guest, from(last)), 40);
        for guest in [Guest::Anybody, Guest::Holder([1; 32])] {
            let held = read(guest, 1).await;
            assert!(held.is_ok());
            assert_eq!(read(guest, 1).await, Err(Reason::RateLimited));
            assert!(read(Guest::Holder([2; 32]), 1).await.is_ok(), "another behind the same proxy");
            let is_address = guest == Guest::Anybody;
            assert_eq!(read(guest, 2).await.is_ok(), is_address, "from elsewhere it is the same subject");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_have_room_together_and_give_it_back_with_their_last_byte() {
        let bodies = Bodies::of(10);
        let first = read(&bodies, "123456", 100).await;
        assert_eq!(first, Ok(Bytes::from_static(b"123456")));
        assert_eq!(read(&bodies, "12345", 100).await, Err(Reason::RateLimited));
        let second = read(&bodies, "1234", 100).await;
        let part = first.map(|bytes| bytes.slice(5..));
        assert_eq!(read(&bodies, "1", 100).await, Err(Reason::RateLimited), "a part holds the whole");
        drop((part, second));
        assert!(read(&bodies, "1234567890", 100).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_question_needs_no_room_and_what_is_observed_takes_none_of_the_others() {
        let bodies = Bodies::of(10);
        let all = read(&bodies, "1234567890", 10).await;
        let question = |length: usize| bodies.read_question(HttpBody::from(vec![b'x'; length]), 1 << 20);
        assert!(question(16 * 1024).await.is_ok());
        assert_eq!(question(16 * 1024 + 1).await, Err(Reason::RateLimited));
        drop(all);
        assert!(question(16 * 1024 + 10).await.is_ok());
        let whole = |text: &'static str| Body::Whole(Bytes::from_static(text.as_bytes()));
        let observed = bodies.set_aside(whole("12"));
        assert_eq!(observed, Ok(whole("12")));
        assert_eq!(bodies.set_aside(whole("1")), Err(Reason::RateLimited));
        assert!(read(&bodies, "1234567890", 10).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_takes_no_room() {
        let bodies = Bodies::of(10);
        assert_eq!(read(&bodies, "123456", 5).await, Err(Reason::TooLarge));
        assert_eq!(read(&bodies, "12345678901", 100).await, Err(Reason::RateLimited), "it never fits");
        assert!(read(&bodies, "1234567890", 10).await.is_ok());
    }
}
