//! A response that ends with the token of its request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::BoxError;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// A body that breaks off when something is done: whoever reads it is not to take it for whole.
pub(super) struct Until<R> {
    body: Pin<Box<R>>,
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
        self.body.as_mut().poll_frame(context).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
