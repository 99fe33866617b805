//! A body that goes by as it is, and of which is told when it is too long.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::body::Body as HttpBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::oneshot::{Receiver, Sender, channel};

pub(super) struct Outgrown {
    body: HttpBody,
    /// How many bytes more fit.
    left: usize,
    tell: Option<Sender<()>>,
}

impl Outgrown {
    /// `body`, and what is told once it has more than `most` bytes, or says that it will; never, if it ends before.
    pub(super) fn of(body: HttpBody, most: usize) -> (Self, Receiver<()>) {
        let (tell, told) = channel();
        let says_so = body.size_hint().lower() > u64::try_from(most).unwrap_or(u64::MAX);
        let mut outgrown = Self {
            body,
            left: most,
            tell: Some(tell),
        };
        if says_so {
            outgrown.tell();
        }
        (outgrown, told)
    }

    fn tell(&mut self) {
        // Whoever decides may have refused it already.
        let _ = self.tell.take().map(|tell| tell.send(()));
    }
}

impl Body for Outgrown {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => self.tell(),
            }
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
