//! The response to a request that went on with an upstream credential: what it says of that is cut out, and on record before it
//! goes on.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, IF_RANGE, RANGE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;

use super::cut::{Cutter, Spellings};
use crate::credential::Credential;

/// Puts something on record when it is first polled, and says whether that is durable.
type Recorded = Pin<Box<dyn Future<Output = bool> + Send>>;

/// An upstream credential that goes along with a request.
pub(crate) struct Shown {
    /// It.
    pub(crate) credential: Credential,
    /// Puts on record that the upstream said it back. Until that is durable, nothing of the response goes on.
    pub(crate) on_echo: Recorded,
}

/// Why a response does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is coded, and cannot be searched.
    Coded,
    /// That something was cut could not be put on record.
    Unrecorded,
}

/// Asks for a response that can be searched: in no coding, and whole, since a part of a secret is no secret to be found.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.remove(RANGE);
    headers.remove(IF_RANGE);
}

/// `response` without `credential`; `on_echo` puts on record that it was there.
pub(super) async fn cut<B>(credential: &Credential, on_echo: Recorded, response: Response<B>) -> Result<Response<Cut<B>>, Unfit> {
    let (mut parts, body) = response.into_parts();
    if is_coded(&parts.headers) {
        return Err(Unfit::Coded);
    }
    let spellings = Arc::new(Spellings::of(credential.secret()));
    let mut record = Recording::Lazy(on_echo);
    let named: Vec<_> = parts
        .headers
        .keys()
        .filter(|name| spellings.are_named_in(name.as_str().as_bytes()))
        .cloned()
        .collect();
    let phrase = parts.extensions.remove::<ReasonPhrase>();
    let mut is_cut = !named.is_empty() || phrase.is_some_and(|phrase| spellings.are_named_in(phrase.as_bytes()));
    for name in named {
        parts.headers.remove(name);
    }
    for value in parts.headers.values_mut() {
        let mut cutter = Cutter::new(Arc::clone(&spellings));
        let (begin, cut_begin) = cutter.push(Bytes::copy_from_slice(value.as_bytes()));
        let (rest, cut_rest) = cutter.end();
        if cut_begin || cut_rest {
            is_cut = true;
            // Of a header's bytes and fillers there is always a header.
            *value = HeaderValue::from_bytes(&[begin, rest].concat()).unwrap_or_else(|_| HeaderValue::from_static(""));
        }
    }
    if is_cut {
        let is_recorded = std::future::poll_fn(|context| record.poll(context)).await;
        is_recorded.then_some(()).ok_or(Unfit::Unrecorded)?;
    }
    let body = Cut {
        body,
        cutter: Cutter::new(spellings),
        record,
        is_cut: false,
        waiting: Bytes::new(),
        has_ended: false,
    };
    Ok(Response::from_parts(parts, body))
}

/// Whether the body comes in any coding but `chunked`, once.
fn is_coded(headers: &HeaderMap) -> bool {
    let is = |value: &HeaderValue, word: &str| value.as_bytes().eq_ignore_ascii_case(word.as_bytes());
    let mut transfers = headers.get_all(TRANSFER_ENCODING).iter();
    let is_transfer_coded = !transfers.next().is_none_or(|value| is(value, "chunked")) || transfers.next().is_some();
    is_transfer_coded || headers.get_all(CONTENT_ENCODING).iter().any(|value| !is(value, "identity"))
}

/// A record that is made when it is first asked for, and once.
enum Recording {
    Lazy(Recorded),
    Done(bool),
}

impl Recording {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        if let Self::Lazy(recording) = self {
            let Poll::Ready(is_recorded) = recording.as_mut().poll(context) else {
                return Poll::Pending;
            };
            *self = Self::Done(is_recorded);
        }
        Poll::Ready(matches!(self, Self::Done(true)))
    }
}

/// The data of a body, without trailers, and without the secret. The first piece out of which it was cut waits for its record.
pub(super) struct Cut<B> {
    body: B,
    cutter: Cutter,
    record: Recording,
    is_cut: bool,
    /// What may go on when the record is durable.
    waiting: Bytes,
    has_ended: bool,
}

impl<B> Body for Cut<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        loop {
            if !this.waiting.is_empty() {
                if this.is_cut {
                    match this.record.poll(context) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(true) => {}
                        Poll::Ready(false) => return Poll::Ready(Some(Err(io::Error::other("an echo could not be put on record")))),
                    }
                }
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.waiting)))));
            }
            if this.has_ended {
                return Poll::Ready(None);
            }
            let data = match Pin::new(&mut this.body).poll_frame(context).map_err(io::Error::other) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
                Poll::Ready(None) => None,
            };
            this.has_ended = data.is_none();
            let (bytes, is_cut) = match data {
                Some(data) => this.cutter.push(data),
                None => this.cutter.end(),
            };
            this.waiting = bytes;
            this.is_cut |= is_cut;
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.waiting.is_empty() && self.cutter.held() == 0
    }

    fn size_hint(&self) -> SizeHint {
        let held = u64::try_from(self.waiting.len() + self.cutter.held()).unwrap_or(u64::MAX);
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}
