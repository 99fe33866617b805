//! A body of which something was read: that first, and then the rest.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::body::Body;
use bytes::Bytes;
use http_body::Frame;

pub(super) struct Joined {
    read: Option<Bytes>,
    rest: Body,
}

impl Joined {
    pub(super) fn of(read: Bytes, rest: Body) -> Self {
        Self {
            read: Some(read).filter(|read| !read.is_empty()),
            rest,
        }
    }
}

impl http_body::Body for Joined {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        match self.read.take() {
            Some(read) => Poll::Ready(Some(Ok(Frame::data(read)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.rest.is_end_stream()
    }
}
