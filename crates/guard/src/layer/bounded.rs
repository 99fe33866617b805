//! A body that nobody reads, and that is looked at as the service reads it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum_core::body::Body as HttpBody;
use bytes::Bytes;
use delegation::oauth::Reason;
use http_body::{Body, Frame, SizeHint};

use crate::hygiene::credential::Secret;
use crate::hygiene::form::{Form, Look};
use crate::live::Denied;

/// Puts a refusal on record.
type Refuse = Box<dyn FnOnce(Reason) -> Box<Denied> + Send>;

/// The refusal of a request whose body was cut off, if it was.
#[derive(Clone, Default)]
pub(super) struct Cut(Arc<Mutex<Option<Box<Denied>>>>);

impl Cut {
    pub(super) fn take(&self) -> Option<Box<Denied>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What of a body may go on: so many bytes, never the secret of the token that the request shows, and of a form no other method. From
/// the first piece that may not, nothing does: the request is refused, and whoever reads the body meets an error. Its trailers do not go
/// on: nobody has looked at them.
pub(super) struct Bounded {
    body: HttpBody,
    /// How many bytes more, where there is a bound.
    left: Option<usize>,
    secret: Option<Secret>,
    form: Option<Look>,
    with_trailers: bool,
    /// Until it was cut off.
    refuse: Option<Refuse>,
    cut: Cut,
}

impl Bounded {
    pub(super) fn of(
        body: HttpBody,
        (most, secret, form): (Option<usize>, Option<Secret>, Option<Form>),
        refuse: impl FnOnce(Reason) -> Box<Denied> + Send + 'static,
        cut: &Cut,
    ) -> Self {
        Self {
            body,
            left: most,
            secret,
            form: form.map(Form::look),
            with_trailers: false,
            refuse: Some(Box::new(refuse)),
            cut: cut.clone(),
        }
    }

    /// The same, and its trailers go on as they came.
    pub(super) fn with_trailers(mut self) -> Self {
        self.with_trailers = true;
        self
    }

    /// Why `data`, which came next, may not go on.
    fn unfit(&mut self, data: &[u8]) -> Option<Reason> {
        if self.secret.as_mut().is_some_and(|secret| secret.comes_with(data)) {
            return Some(Reason::MalformedRequest);
        }
        if self.form.as_mut().is_some_and(|look| look.may_name_method(data)) {
            return Some(Reason::MalformedRequest);
        }
        match &mut self.left {
            Some(left) if data.len() > *left => Some(Reason::TooLarge),
            Some(left) => {
                *left -= data.len();
                None
            }
            None => None,
        }
    }
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let this = &mut *self;
        let over = || Poll::Ready(Some(Err(axum_core::Error::new(io::Error::other("what came may not go on")))));
        if this.refuse.is_none() {
            return over();
        }
        let mut polled = Pin::new(&mut this.body).poll_frame(context);
        while !this.with_trailers && matches!(&polled, Poll::Ready(Some(Ok(frame))) if frame.is_trailers()) {
            polled = Pin::new(&mut this.body).poll_frame(context);
        }
        let unfit = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().and_then(|data| this.unfit(data)),
            _ => None,
        };
        match unfit.zip(this.refuse.take_if(|_| unfit.is_some())) {
            None => polled,
            Some((reason, refuse)) => {
                *this.cut.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refuse(reason));
                over()
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.refuse.is_some() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
