//! A response body that ends with the token that it was asked with.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// A body that breaks off when `until` is done: the caller sees a response that was cut, not one that is whole.
pub(super) struct Ends {
    body: Incoming,
    until: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Ends {
    pub(super) fn new(body: Incoming, until: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            body,
            until: Box::pin(until),
        }
    }
}

impl Body for Ends {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(io::Error::other("the token of this response has ended"))));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
