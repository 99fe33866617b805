//! A body that goes by, and is looked at when all of it has.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use delegation::oauth::Reason;
use hyper::body::{Body, Frame, SizeHint};
use narrows_guard::Body as Shown;
use tokio::sync::oneshot;

use crate::bodies::{Bodies, Held};

type Tell = oneshot::Sender<Result<Shown, Reason>>;

/// `body` as it is, frame by frame; what it was is told at its end, if that were at most `most` bytes and there was room for them.
pub(super) struct Copied<B: Body> {
    body: B,
    most: usize,
    copy: Held,
    room: Bodies,
    tell: Option<Tell>,
}

impl<B: Body> Copied<B> {
    pub(super) fn new(body: B, most: usize, room: Bodies, tell: Tell) -> Self {
        let mut copied = Self {
            body,
            most,
            copy: Held::default(),
            room,
            tell: Some(tell),
        };
        copied.look_for_end();
        copied
    }

    fn keep(&mut self, data: &[u8]) {
        if self.tell.is_none() {
            return;
        }
        if data.len() > self.most.saturating_sub(self.copy.len()) {
            self.say(Err(Reason::TooLarge));
        } else if let Err(reason) = self.room.copy(&mut self.copy, data) {
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
        let copy = std::mem::take(&mut self.copy);
        self.say(Ok(match copy.len() {
            0 => Shown::Absent,
            _ => Shown::Whole(copy.into_bytes()),
        }));
    }

    fn say(&mut self, read: Result<Shown, Reason>) {
        self.copy = Held::default();
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
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use delegation::oauth::Reason;
    use http_body_util::BodyExt as _;
    use hyper::body::{Body, Frame};
    use narrows_guard::Body as Shown;
    use tokio::sync::oneshot;

    use super::Copied;
    use crate::bodies::Bodies;

    /// A body that comes in parts.
    struct Parts(VecDeque<&'static str>);

    impl Body for Parts {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))))
        }
    }

    #[tokio::test]
    async fn all_of_a_body_goes_by_and_no_more_of_it_is_kept_than_may_be() {
        for (room, parts, told) in [
            (5, vec!["abc", "de"], Ok(Shown::Whole(Bytes::from_static(b"abcde")))),
            (5, vec![], Ok(Shown::Absent)),
            (5, vec!["abc", "def", "g"], Err(Reason::TooLarge)),
            (4, vec!["abc", "de"], Err(Reason::RateLimited)),
        ] {
            let (tell, copy) = oneshot::channel();
            let mut copied = Copied::new(Parts(parts.clone().into()), 5, Bodies::of(room), tell);
            let mut gone = Vec::new();
            while let Some(frame) = copied.frame().await {
                gone.extend_from_slice(&frame.unwrap().into_data().unwrap());
                assert!(copied.copy.len() <= 5);
            }
            assert_eq!(gone, parts.concat().into_bytes());
            assert_eq!(copy.await.unwrap(), told);
        }
    }
}
