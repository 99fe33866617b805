//! The bodies that are being read, of all requests of a process together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use bytes::Bytes;
use delegation::oauth::Reason;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How many bytes are held at a time where nobody says.
const ROOM: usize = 64 * 1024 * 1024;
/// How long a body may take to arrive.
pub(crate) const ARRIVES: Duration = Duration::from_secs(10);
/// How long a body waits for room.
const WAITS: Duration = Duration::from_secs(1);

/// Room for bodies that are read before they go on. One for all boundaries of a process: however many callers send however much, no
/// more than this is held of it.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<Semaphore>);

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
}

impl Held {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// Copied: a frame of one byte may be part of a buffer of many, which would stay as long as the byte does.
    fn keep(&mut self, data: &[u8], room: OwnedSemaphorePermit) {
        match &mut self.room {
            Some(held) => held.merge(room),
            none => *none = Some(room),
        }
        self.bytes.extend_from_slice(data);
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Bodies {
    /// Room for so many bytes.
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// The whole of `body`: `too_large` if it has more than `most` bytes, `rate_limited` if there is no room for it within a second,
    /// `malformed_request` if it breaks off or does not arrive within ten.
    ///
    /// Room is taken for what has come, and not for what was announced: whoever sends nothing takes none.
    pub(crate) async fn read(&self, body: HttpBody, most: usize) -> Result<Bytes, Reason> {
        timeout(ARRIVES, self.collect(body, most)).await.unwrap_or(Err(Reason::MalformedRequest))
    }

    async fn collect(&self, mut body: HttpBody, most: usize) -> Result<Bytes, Reason> {
        if body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX) {
            return Err(Reason::TooLarge);
        }
        let mut held = Held::default();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Reason::MalformedRequest)?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > most.saturating_sub(held.len()) {
                return Err(Reason::TooLarge);
            }
            let room = self.room(data.len()).await?;
            held.keep(&data, room);
        }
        Ok(held.into_bytes())
    }

    /// Adds `data` to what is `held` of a body that goes by and waits for nothing: `rate_limited` if there is no room for it now.
    pub(crate) fn copy(&self, held: &mut Held, data: &[u8]) -> Result<(), Reason> {
        let bytes = u32::try_from(data.len()).map_err(|_| Reason::TooLarge)?;
        let room = Arc::clone(&self.0).try_acquire_many_owned(bytes).map_err(|_| Reason::RateLimited)?;
        held.keep(data, room);
        Ok(())
    }

    async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Reason> {
        let bytes = u32::try_from(bytes).map_err(|_| Reason::TooLarge)?;
        match timeout(WAITS, Arc::clone(&self.0).acquire_many_owned(bytes)).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(Reason::RateLimited),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body as HttpBody;
    use bytes::Bytes;
    use delegation::oauth::Reason;

    use super::Bodies;

    async fn read(bodies: &Bodies, body: &'static str, most: usize) -> Result<Bytes, Reason> {
        bodies.read(HttpBody::from(body), most).await
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
    async fn what_is_refused_takes_no_room() {
        let bodies = Bodies::of(10);
        assert_eq!(read(&bodies, "123456", 5).await, Err(Reason::TooLarge));
        assert_eq!(read(&bodies, "12345678901", 100).await, Err(Reason::RateLimited), "it never fits");
        assert!(read(&bodies, "1234567890", 10).await.is_ok());
    }
}
