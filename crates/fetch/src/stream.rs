//! A response that goes on for as long as both sides like, read as it comes.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use tokio::time::timeout;
use url::Url;

use crate::fetcher::{FetchError, Fetcher, failed};

/// How long the head of a response may take.
const HEAD: Duration = Duration::from_secs(5);
/// No stream goes on for longer; whoever follows it asks again.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A response that is being read. How long one may be silent is for the reader to say.
pub struct Stream {
    url: Url,
    response: Response,
}

impl Fetcher {
    /// GETs `url` with this `Authorization` and these further headers, and gives the body as it comes: nothing of it is kept here.
    ///
    /// An answer that is not 200 is [`FetchError::Status`].
    pub async fn stream(&self, url: &Url, authorization: &str, headers: &[(&'static str, &str)]) -> Result<Stream, FetchError> {
        self.check(url)?;
        let mut request = self.client().get(url.clone()).timeout(LONGEST);
        request = request.header("authorization", authorization).header("accept", "text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(response) = timeout(HEAD, request.send()).await else {
            return Err(FetchError::Failed {
                url: url.clone(),
                cause: "no head of a response came within five seconds".to_owned(),
            });
        };
        let response = response.map_err(|error| failed(url, error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status {
                url: url.clone(),
                status: response.status(),
            });
        }
        let url = url.clone();
        Ok(Stream { url, response })
    }
}

impl Stream {
    /// What came next; nothing when the other side has ended it.
    pub async fn next(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, FetchError> {
        self.response.chunk().await.map_err(|error| failed(&self.url, error))
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Stream").field("url", &self.url).finish_non_exhaustive()
    }
}
