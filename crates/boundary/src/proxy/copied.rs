//! A body that goes by, and is looked at when all of it has.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use delegation::oauth::Reason;
use hyper::body::{Body, Frame, SizeHint};
use narrows_guard::Body as Shown;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::bodies::{ARRIVES, Bodies, Held};

type Tell = oneshot::Sender<Result<Shown, Reason>>;

/// What was kept of a body, for whoever decides. It and its room are gone when this is, or when ten seconds are over: the body
/// itself may go by for as long as it takes, or stand still.
pub(super) struct Copy(JoinHandle<Result<Shown, Reason>>);

impl Copy {
    /// All of the body: `malformed_request` if it does not end in time.
    pub(super) async fn whole(mut self) -> Result<Shown, Reason> {
        (&mut self.0).await.unwrap_or(Err(Reason::MalformedRequest))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `body` as it is, frame by frame; what it was is told at its end, if that were at most `most` bytes and there was room for them.
pub(super) struct Copied<B: Body> {
    body: B,
    most: usize,
    /// Held by whoever waits for it.
    copy: Weak<Mutex<Held>>,
    room: Bodies,
    tell: Option<Tell>,
}

impl<B: Body> Copied<B> {
    pub(super) fn new(body: B, most: usize, room: Bodies) -> (Self, Copy) {
        let (tell, told) = oneshot::channel();
        let kept = Arc::new(Mutex::new(Held::default()));
        let mut copied = Self {
            body,
            most,
            copy: Arc::downgrade(&kept),
            room,
            tell: Some(tell),
        };
        copied.look_for_end();
        let waits = async move {
            let told = timeout(ARRIVES, told).await;
            drop(kept);
            told.ok().and_then(Result::ok).unwrap_or(Err(Reason::MalformedRequest))
        };
        (copied, Copy(tokio::spawn(waits)))
    }

    fn keep(&mut self, data: &[u8]) {
        if self.tell.is_none() {
            return;
        }
        let Some(copy) = self.copy.upgrade() else {
            self.tell = None;
            return;
        };
        let kept = {
            let mut copy = copy.lock().unwrap_or_else(PoisonError::into_inner);
            if data.len() > self.most.saturating_sub(copy.len()) {
                Err(Reason::TooLarge)
            } else {
                self.room.copy(&mut copy, data)
            }
        };
        if let Err(reason) = kept {
            *copy.lock().unwrap_or_else(PoisonError::into_inner) = Held::default();
            self.say(Err(reason));
        }
    }

    /// Whoever reads a body may know its end and not ask for it.
    fn look_for_end(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        let Some(copy) = self.copy.upgrade() else { return };
        let copy = std::mem::take(&mut *copy.lock().unwrap_or_else(PoisonError::into_inner));
        self.say(Ok(match copy.len() {
            0 => Shown::Absent,
            _ => Shown::Whole(copy.into_bytes()),
        }));
    }

    fn say(&mut self, read: Result<Shown, Reason>) {
        if let Some(tell) = self.tell.take() {
            // Whoever decides may have done so without it.
            let _ = tell.send(read);
        }
    }
}

impl<B> Body for Copied<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.keep(data);
                }
                self.look_for_end();
            }
            Poll::Ready(Some(Err(_))) => self.say(Err(Reason::MalformedRequest)),
            Poll::Ready(None) => self.end(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {

    use bytes::Bytes;
    use delegation::oauth::Reason;
    use http_body_util::BodyExt as _;
    use narrows_guard::Body as Shown;

    use super::Copied;
    use crate::bodies::{ARRIVES, Bodies, Held};
    use crate::parts::Parts;

    #[tokio::test]
    async fn all_of_a_body_goes_by_and_no_more_of_it_is_kept_than_may_be() {
        for (room, parts, told) in [
            (5, vec!["abc", "de"], Ok(Shown::Whole(Bytes::from_static(b"abcde")))),
            (5, vec![], Ok(Shown::Absent)),
            (5, vec!["abc", "def", "g"], Err(Reason::TooLarge)),
            (4, vec!["abc", "de"], Err(Reason::RateLimited)),
        ] {
            let (mut copied, copy) = Copied::new(Parts::of(&parts), 5, Bodies::of(4 * room));
            let mut gone = Vec::new();
            while let Some(frame) = copied.frame().await {
                gone.extend_from_slice(&frame.unwrap().into_data().unwrap());
                assert!(copied.copy.upgrade().is_none_or(|copy| copy.lock().unwrap().len() <= 5));
            }
            assert_eq!(gone, parts.concat().into_bytes());
            assert_eq!(copy.whole().await, told);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_gives_its_room_back_when_nobody_waits_or_the_time_is_up() {
        for gives_up in [true, false] {
            let bodies = Bodies::of(20);
            let mut held = Held::default();
            let (mut copied, copy) = Copied::new(Parts::of(&["abc", "de"]), 5, bodies.clone());
            assert!(copied.frame().await.is_some());
            assert!(bodies.copy(&mut held, b"12345").is_err(), "it is taken");
            if gives_up {
                drop(copy);
                // Whoever is aborted is gone when the runtime comes to it.
                tokio::time::sleep(ARRIVES / 2).await;
            } else {
                let told = super::timeout(ARRIVES * 2, copy.whole()).await;
                assert_eq!(told.unwrap(), Err(Reason::MalformedRequest));
            }
            assert!(bodies.copy(&mut held, b"12345").is_ok());
            assert!(copied.frame().await.is_some(), "it goes by all the same");
        }
    }
}
