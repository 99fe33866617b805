//! A response that ends with the token of its request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::BoxError;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// No more bytes than this go on at a time: whatever is handed on is sent, however long its reader takes for it.
const PIECE: usize = 64 * 1024;

/// A body that breaks off when something is done: whoever reads it is not to take it for whole.
pub(super) struct Until<R> {
    body: Pin<Box<R>>,
    /// What came in one piece with what was handed on last.
    rest: Bytes,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_over: bool,
}

/// Why a response broke off.
#[derive(Debug, thiserror::Error)]
#[error("the token of the request has expired or was revoked")]
struct Over;

impl<R> Until<R> {
    pub(super) fn new(body: R, ended: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            body: Box::pin(body),
            rest: Bytes::new(),
            ended: Box::pin(ended),
            is_over: false,
        }
    }
}

impl<R> http_body::Body for Until<R>
where
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.ended.as_mut().poll(context).is_ready() {
            self.is_over = true;
            return Poll::Ready(Some(Err(Over.into())));
        }
        if self.rest.is_empty() {
            let polled = std::task::ready!(self.body.as_mut().poll_frame(context));
            match polled.map(|polled| polled.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || (self.rest.is_empty() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut both = SizeHint::new();
        both.set_lower(body.lower().saturating_add(rest));
        if let Some(upper) = body.upper().and_then(|upper| upper.checked_add(rest)) {
            both.set_upper(upper);
        }
        both
    }
}
