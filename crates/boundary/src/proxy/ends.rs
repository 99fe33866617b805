//! A body that ends with the token that it came or was asked with.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

use super::trailers;

type Over = Pin<Box<dyn Future<Output = ()> + Send>>;

/// For how long something may go on. Each that waits for its end, waits by itself.
#[derive(Clone)]
pub(crate) struct Until(Option<Arc<dyn Fn() -> Over + Send + Sync>>);

impl Until {
    /// For as long as it takes.
    pub(crate) fn it_ends() -> Self {
        Self(None)
    }

    /// Until what `wait` makes is done.
    pub(crate) fn done<F>(wait: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(Some(Arc::new(move || Box::pin(wait()))))
    }

    /// Waits until it is over.
    pub(super) fn over(&self) -> Over {
        self.0.as_ref().map_or_else(|| Box::pin(std::future::pending()) as Over, |wait| wait())
    }
}

/// A body that breaks off when `until` is done: whoever reads sees that it was cut.
pub(super) struct Ends<B> {
    body: B,
    /// The trailers that go on; without, none do.
    trailers: Option<fn(&HeaderMap) -> HeaderMap>,
    until: Over,
}

impl<B> Ends<B> {
    /// The body of a request: data alone. What nobody has looked at does not go on behind what was.
    pub(super) fn request(body: B, until: Over) -> Self {
        Self {
            body,
            trailers: None,
            until,
        }
    }

    /// The body of a response.
    pub(super) fn response(body: B, until: Over) -> Self {
        Self {
            trailers: Some(trailers::passed),
            ..Self::request(body, until)
        }
    }
}

impl<B> Body for Ends<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.until.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(Err(io::Error::other("the token of this response has ended"))));
        }
        match Pin::new(&mut self.body).poll_frame(context).map_err(io::Error::other) {
            Poll::Ready(Some(Ok(frame))) if !frame.is_data() => {
                let passed = self.trailers.zip(frame.trailers_ref()).map(|(passed, trailers)| passed(trailers));
                Poll::Ready(passed.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            polled => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
