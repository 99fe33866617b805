//! What ends with the token that it came or was asked with.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::Body as HttpBody;
use bytes::Bytes;
use delegation::oauth::Reason;
use http::{HeaderMap, Response};
use hyper::body::{Body, Frame, SizeHint};

use super::trailers;

/// Done when it is over, with why.
pub(super) type Over = Pin<Box<dyn Future<Output = Reason> + Send>>;
type Refusing = Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>>;

/// For how long something may go on, and what is answered where there was no answer until then. Each that waits for its end, waits by
/// itself.
#[derive(Clone)]
pub(crate) struct Until(Option<Arc<End>>);

struct End {
    wait: Box<dyn Fn() -> Over + Send + Sync>,
    refuse: Box<dyn Fn(Reason) -> Refusing + Send + Sync>,
    /// Why it is over, once somebody who waited knows.
    why: OnceLock<Reason>,
}

impl Until {
    /// For as long as it takes.
    pub(crate) fn it_ends() -> Self {
        Self(None)
    }

    /// Until what `wait` makes is done. What `refuse` makes of why puts that on record, and is then the answer.
    pub(crate) fn done<W, R>(wait: impl Fn() -> W + Send + Sync + 'static, refuse: impl Fn(Reason) -> R + Send + Sync + 'static) -> Self
    where
        W: Future<Output = Reason> + Send + 'static,
        R: Future<Output = Response<HttpBody>> + Send + 'static,
    {
        Self(Some(Arc::new(End {
            wait: Box::new(move || Box::pin(wait())),
            refuse: Box::new(move |reason| Box::pin(refuse(reason))),
            why: OnceLock::new(),
        })))
    }

    /// Waits until it is over.
    pub(super) fn over(&self) -> Over {
        let Some(end) = self.0.clone() else {
            return Box::pin(std::future::pending());
        };
        Box::pin(async move {
            let reason = (end.wait)().await;
            *end.why.get_or_init(|| reason)
        })
    }

    /// The answer, if any of those who wait knows that it is over.
    pub(super) async fn refused(&self) -> Option<Response<HttpBody>> {
        let end = self.0.as_ref()?;
        Some((end.refuse)(*end.why.get()?).await)
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
