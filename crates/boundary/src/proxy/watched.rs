//! A body that nobody reads, and that is looked at as it goes by.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body as HttpBody;
use bytes::Bytes;
use delegation::oauth::Reason;
use http::Response;
use hyper::body::{Body, Frame, SizeHint};
use narrows_guard::hygiene::credential::{CredentialError, Secret};
use tokio::sync::oneshot;

use crate::boundary::Unfit;
use crate::observe::Form;

/// Whether the next piece of a body may go by; asked once about each.
type May = Box<dyn FnMut(&[u8]) -> bool + Send>;
/// Puts on record that a body was cut off, when it is first polled; what its caller is answered then.
type Refuse = Pin<Box<dyn Future<Output = Response<HttpBody>> + Send>>;

/// What of an unread body may go on, and what becomes of a request that has more.
pub(crate) struct Bound {
    may: May,
    refuse: Refuse,
}

impl Bound {
    /// Lets each piece go by that `may`. From the first that may not, nothing does; once `refuse` is done, the request breaks off,
    /// and its caller gets that answer if there was none yet.
    pub(crate) fn new(
        may: impl FnMut(&[u8]) -> bool + Send + 'static,
        refuse: impl Future<Output = Response<HttpBody>> + Send + 'static,
    ) -> Self {
        Self {
            may: Box::new(may),
            refuse: Box::pin(refuse),
        }
    }

    /// Lets at most `most` bytes go by, never the `secret` of the token that the request shows, and of a `form` nothing that names
    /// another method; nothing binds where none of these is known.
    pub(crate) fn of<F>(
        most: Option<usize>,
        mut secret: Option<Secret>,
        form: Option<Form>,
        refuse: impl FnOnce(Unfit) -> F + Send + 'static,
    ) -> Option<Self>
    where
        F: Future<Output = Response<HttpBody>> + Send,
    {
        if most.is_none() && secret.is_none() && form.is_none() {
            return None;
        }
        let (mut fits, mut look) = (most.map(at_most), form.map(Form::look));
        let why: Arc<OnceLock<fn() -> Unfit>> = Arc::default();
        let found = Arc::clone(&why);
        let may = move |data: &[u8]| {
            let unfit: fn() -> Unfit = if secret.as_mut().is_some_and(|secret| secret.comes_with(data)) {
                || CredentialError::Elsewhere.into()
            } else if look.as_mut().is_some_and(|look| look.may_name_method(data)) {
                Unfit::another_method
            } else if fits.as_mut().is_some_and(|fits| !fits(data)) {
                || Reason::TooLarge.into()
            } else {
                return true;
            };
            found.get_or_init(|| unfit);
            false
        };
        // Nobody asks before a piece was found that may not go by.
        let refuse = async move { refuse(why.get().map_or_else(|| Reason::TooLarge.into(), |unfit| unfit())).await };
        Some(Self::new(may, refuse))
    }
}

/// Whether anything is still to come of a body that nobody has read.
pub(crate) fn comes(unread: Option<&HttpBody>) -> bool {
    unread.is_some_and(|body| !body.is_end_stream())
}

/// Of a body, at most `most` bytes.
pub(crate) fn at_most(most: usize) -> impl FnMut(&[u8]) -> bool + Send + 'static {
    let mut left = Some(most);
    move |data| {
        left = left.and_then(|left| left.checked_sub(data.len()));
        left.is_some()
    }
}

/// What is answered to whoever sent more than may go by; filled in when that is on record.
#[derive(Clone, Default)]
pub(crate) struct Answer(Arc<Mutex<Option<Response<HttpBody>>>>);

impl Answer {
    pub(super) fn take(&self) -> Option<Response<HttpBody>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, answer: Response<HttpBody>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

enum Otherwise {
    /// It breaks off, once that is on record.
    Cut(Option<Refuse>, Answer),
    /// It goes by, and that is told.
    Tell(Option<oneshot::Sender<()>>),
}

/// A body of which each piece is looked at.
pub(crate) struct Watched<B> {
    body: B,
    may: May,
    otherwise: Otherwise,
    /// Whether nothing of it goes by any more.
    is_over: bool,
}

impl<B> Watched<B> {
    /// Breaks off where `bound` says, with the answer in `answer`.
    pub(crate) fn cut(body: B, bound: Bound, answer: Answer) -> Self {
        let Bound { may, refuse } = bound;
        Self {
            body,
            may,
            otherwise: Otherwise::Cut(Some(refuse), answer),
            is_over: false,
        }
    }

    /// Goes by as it is; the future tells, at its end, whether there was a piece that may not.
    pub(crate) fn told(body: B, may: impl FnMut(&[u8]) -> bool + Send + 'static) -> (Self, impl Future<Output = bool> + Send + 'static) {
        let (tell, told) = oneshot::channel();
        let watched = Self {
            body,
            may: Box::new(may),
            otherwise: Otherwise::Tell(Some(tell)),
            is_over: false,
        };
        (watched, async { told.await.is_ok() })
    }
}

impl<B> Body for Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        if !this.is_over {
            let polled = Pin::new(&mut this.body).poll_frame(context).map_err(io::Error::other);
            let may = match &polled {
                Poll::Ready(Some(Ok(frame))) => frame.data_ref().is_none_or(|data| (this.may)(data)),
                _ => true,
            };
            match &mut this.otherwise {
                _ if may => return polled,
                Otherwise::Tell(tell) => {
                    // Whoever decides may have done so without it.
                    let _ = tell.take().map(|tell| tell.send(()));
                    return polled;
                }
                Otherwise::Cut(..) => this.is_over = true,
            }
        }
        if let Otherwise::Cut(refuse, answer) = &mut this.otherwise
            && let Some(refusing) = refuse
        {
            let Poll::Ready(refused) = refusing.as_mut().poll(context) else {
                return Poll::Pending;
            };
            answer.put(refused);
            *refuse = None;
        }
        Poll::Ready(Some(Err(io::Error::other("what came may not go on"))))
    }

    fn is_end_stream(&self) -> bool {
        !self.is_over && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {

    use bytes::Bytes;
    use http::{Response, StatusCode};
    use http_body_util::BodyExt as _;
    use hyper::body::Body;

    use super::{Answer, Bound, HttpBody, Watched, at_most};
    use crate::parts::Parts;

    /// All that comes of `body`, and whether it broke off.
    async fn gone<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> (String, bool) {
        let mut gone = String::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return (gone, !body.is_end_stream()) };
            gone.extend(frame.data_ref().map(|data| String::from_utf8_lossy(data)));
        }
        (gone, false)
    }

    #[tokio::test]
    async fn a_body_goes_by_up_to_the_piece_that_may_not() {
        for (parts, went, is_cut) in [
            (vec![], "", false),
            (vec!["abc", "de"], "abcde", false),
            (vec!["abc", "def"], "abc", true),
            (vec!["abc", "def", "", "g"], "abc", true),
            (vec!["abcdef"], "", true),
        ] {
            let answer = Answer::default();
            let refuse = async |_| {
                tokio::task::yield_now().await;
                let mut refused = Response::new(HttpBody::empty());
                *refused.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
                refused
            };
            let Some(bound) = Bound::of(Some(5), None, None, refuse) else {
                unreachable!("it binds");
            };
            let mut cut = Watched::cut(Parts::of(&parts), bound, answer.clone());
            assert_eq!(gone(&mut cut).await, (went.to_owned(), is_cut), "{parts:?}");
            assert_eq!(
                answer.take().map(|answer| answer.status().as_u16()),
                is_cut.then_some(413),
                "{parts:?}"
            );

            let (mut told, outgrows) = Watched::told(Parts::of(&parts), at_most(5));
            assert_eq!(gone(&mut told).await, (parts.concat(), false), "it is only told");
            drop(told);
            assert_eq!(outgrows.await, is_cut, "{parts:?}");
        }
    }
}
