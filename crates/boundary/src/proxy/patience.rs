//! How long an upstream may take for its answer: counted from the last of the request that it took, since an upload takes as long as
//! its caller does.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::Instant;

/// When the last of a request was taken.
#[derive(Clone, Debug)]
pub(super) struct Taken(watch::Sender<Instant>);

impl Taken {
    pub(super) fn now() -> Self {
        Self(watch::Sender::new(Instant::now()))
    }

    fn last(&self) -> Instant {
        *self.0.borrow()
    }
}

/// A body that says when something of it is taken.
pub(super) struct Noted<B> {
    body: B,
    taken: Taken,
}

impl<B> Noted<B> {
    pub(super) fn new(body: B, taken: Taken) -> Self {
        Self { body, taken }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Noted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.taken.0.send_replace(Instant::now());
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

/// What is answered, if nothing is taken and no answer comes for no longer than `patience`.
pub(super) async fn answered<T>(answer: impl Future<Output = T>, taken: &Taken, patience: Duration) -> Option<T> {
    tokio::pin!(answer);
    loop {
        let last = taken.last();
        tokio::select! {
            answered = &mut answer => return Some(answered),
            () = tokio::time::sleep_until(last + patience) => if taken.last() == last { return None },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};

    use super::{Noted, Taken, answered};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Takes a whole body of one frame.
    async fn take(taken: &Taken) {
        let _ = Noted::new(Full::new(Bytes::from_static(b"x")), taken.clone()).collect().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_upload_is_waited_for_and_a_slow_answer_is_not() {
        let taken = Taken::now();
        let upload = async {
            for _ in 0..6 {
                tokio::time::sleep(PATIENCE * 2 / 3).await;
                take(&taken).await;
            }
        };
        assert!(answered(upload, &taken, PATIENCE).await.is_some());
        assert!(answered(pending::<()>(), &taken, PATIENCE).await.is_none());
    }
}
