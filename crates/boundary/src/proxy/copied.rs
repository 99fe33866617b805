//! A body that goes by, and is looked at when all of it has.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use delegation::oauth::Reason;
use hyper::body::{Body, Frame, SizeHint};
use narrows_guard::Body as Shown;
use tokio::sync::oneshot;

type Tell = oneshot::Sender<Result<Shown, Reason>>;

/// `body` as it is, frame by frame; what it was is told at its end, if that were at most `most` bytes.
pub(super) struct Copied<B: Body> {
    body: B,
    most: usize,
    copy: Vec<u8>,
    tell: Option<Tell>,
}

impl<B: Body> Copied<B> {
    pub(super) fn new(body: B, most: usize, tell: Tell) -> Self {
        let mut copied = Self {
            body,
            most,
            copy: Vec::new(),
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
        } else {
            self.copy.extend_from_slice(data);
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
        self.say(Ok(if copy.is_empty() {
            Shown::Absent
        } else {
            Shown::Whole(copy.into())
        }));
    }

    fn say(&mut self, read: Result<Shown, Reason>) {
        self.copy = Vec::new();
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
