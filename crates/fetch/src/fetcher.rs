//! One GET, bounded in every direction.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use url::{Host, Url};

use crate::guard::Guard;

/// No larger document than this is read.
const LARGEST: usize = 256 * 1024;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was not used for so long is not used again: our own broker has closed it by then.
const IDLE: Duration = Duration::from_secs(8);
/// How long a whole request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The `[fetch]` table.
#[derive(Clone, Debug, Default)]
pub struct FetchSettings {
    /// Private networks that may be connected to.
    pub allow_private: Vec<IpNet>,
}

/// Why a document was not had. The texts are for operators; they hold no secret and no part of a body.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address may not be used.
    #[error("`{url}`: {why}")]
    Refused {
        /// The address.
        url: Url,
        /// Why not, and the mend.
        why: &'static str,
    },
    /// There was no connection: nothing of the request was sent.
    #[error("`{url}`: {cause}")]
    Unreached {
        /// The address.
        url: Url,
        /// What went wrong.
        cause: String,
    },
    /// The request failed.
    #[error("`{url}`: {cause}")]
    Failed {
        /// The address.
        url: Url,
        /// What went wrong.
        cause: String,
    },
    /// The answer is not 200.
    #[error("`{url}` answered {status}; redirects are not followed")]
    Status {
        /// The address.
        url: Url,
        /// The status.
        status: StatusCode,
    },
    /// The document is too large.
    #[error("`{0}` is larger than 256 KiB")]
    TooLarge(Url),
    /// The client could not be built.
    #[error("the outbound client could not be set up: {0}")]
    Setup(reqwest::Error),
}

/// What was answered.
#[derive(Clone)]
pub struct Answer {
    /// Its status, whichever it is.
    pub status: StatusCode,
    /// Its body.
    pub body: Vec<u8>,
}

/// Without the body, which may hold a token.
impl std::fmt::Debug for Answer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// The outbound client: https except to loopback, no redirects, no proxies, no private address by surprise.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    guard: Guard,
}

impl Fetcher {
    /// A client that follows `settings`.
    pub fn new(settings: FetchSettings) -> Result<Self, FetchError> {
        let guard = Guard {
            allow_private: settings.allow_private,
        };
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_idle_timeout(IDLE)
            .no_proxy()
            .dns_resolver(Arc::new(guard.clone()))
            .user_agent("narrows")
            .build()
            .map_err(FetchError::Setup)?;
        Ok(Self { client, guard })
    }

    /// GETs `url`: 200 and at most 256 KiB, or an error.
    pub async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        self.check(url)?;
        self.read(url, self.client.get(url.clone())).await
    }

    /// POSTs a form to `url` with this `Authorization`: 200 and at most 256 KiB, or an error.
    pub async fn post_form(&self, url: &Url, authorization: &str, form: String) -> Result<Vec<u8>, FetchError> {
        self.check(url)?;
        let request = self.client.post(url.clone()).header("authorization", authorization);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        self.read(url, request).await
    }

    /// POSTs `body`, of this media type, to `url`, with this `Authorization` if there is one: whatever is answered, of at most
    /// 256 KiB.
    pub async fn post(&self, url: &Url, authorization: Option<&str>, media: &str, body: String) -> Result<Answer, FetchError> {
        self.check(url)?;
        let mut request = self.client.post(url.clone()).header("content-type", media).body(body);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let (status, body) = self.answered(url, request, |_| true).await?;
        Ok(Answer { status, body })
    }

    async fn read(&self, url: &Url, request: RequestBuilder) -> Result<Vec<u8>, FetchError> {
        let (_, body) = self.answered(url, request, |status| status == StatusCode::OK).await?;
        Ok(body)
    }

    async fn answered(
        &self,
        url: &Url,
        request: RequestBuilder,
        taken: impl FnOnce(StatusCode) -> bool,
    ) -> Result<(StatusCode, Vec<u8>), FetchError> {
        let failed = |error| failed(url, error);
        let mut response = request.header("accept", "application/json").send().await.map_err(failed)?;
        let status = response.status();
        if !taken(status) {
            return Err(FetchError::Status { url: url.clone(), status });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > LARGEST {
                return Err(FetchError::TooLarge(url.clone()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether `url` may be asked at all: what can be said without connecting. Names are looked at when they are resolved.
    pub fn check(&self, url: &Url) -> Result<(), FetchError> {
        let refuse = |why| Err(FetchError::Refused { url: url.clone(), why });
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return refuse("expected an address with a host"),
        };
        let local = literal.map_or_else(
            || url.host_str() == Some("localhost"),
            |address| address.to_canonical().is_loopback(),
        );
        match url.scheme() {
            "https" => {}
            "http" if local => {}
            _ => return refuse("expected https; http is for loopback only"),
        }
        if literal.is_some_and(|address| !self.guard.admits(address)) {
            return refuse("a private address; name its network in fetch.allow_private if it is meant");
        }
        Ok(())
    }
}

/// What a request to `url` failed by.
pub(crate) fn failed(url: &Url, error: reqwest::Error) -> FetchError {
    let (url, unreached) = (url.clone(), error.is_connect());
    let cause = causes(&error.without_url());
    if unreached {
        FetchError::Unreached { url, cause }
    } else {
        FetchError::Failed { url, cause }
    }
}

/// An error with its causes: reqwest's own text alone says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
