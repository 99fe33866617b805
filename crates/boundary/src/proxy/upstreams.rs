//! The connections to upstreams.

use std::time::Duration;

use axum::body::Body as HttpBody;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::sockets::Connector;

/// How long a connection to an upstream may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Unused connections to one upstream that are kept.
const IDLE: usize = 32;

/// Connections to upstreams, for all boundaries of a process.
#[derive(Clone, Debug)]
pub struct Upstreams(Client<HttpsConnector<Connector>, HttpBody>);

/// No TLS to upstreams can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoTls(pub String);

impl std::fmt::Display for NoTls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "certificates of upstreams cannot be verified here: {}", self.0)
    }
}

impl std::error::Error for NoTls {}

impl Upstreams {
    /// No connection yet. Certificates are verified as the system does it; redirects are passed on and never followed.
    pub fn new() -> Result<Self, NoTls> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|error| NoTls(error.to_string()))?
            .https_or_http()
            // One version: the head that is sent is the head that was decided on, and no trailers go on behind it.
            .enable_http1()
            .wrap_connector(Connector {
                tcp: connector,
                patience: CONNECT,
            });
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE)
            .pool_timer(TokioTimer::new())
            .build(tls);
        Ok(Self(client))
    }

    /// Sends `request` to where its address says.
    pub(super) fn request(&self, request: http::Request<HttpBody>) -> ResponseFuture {
        self.0.request(request)
    }
}
