//! The connections to upstreams.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use super::sockets::Connector;
use super::upstream_tls::{UpstreamTls, as_the_system_does};
use crate::settings::Upstream;

/// How long a connection to an upstream may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Unused connections to one upstream that are kept.
const IDLE: usize = 32;

/// Connections to upstreams, for all boundaries of a process: those to an upstream with TLS of its own live with that.
#[derive(Clone, Debug)]
pub struct Upstreams(Pool);

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
    /// No connection yet. Certificates are verified as the system does it, where nothing else is said.
    pub fn new() -> Result<Self, NoTls> {
        let tls = as_the_system_does().map_err(|error| NoTls(error.to_string()))?;
        Ok(Self(Pool::new(tls.with_no_client_auth(), false)))
    }

    /// Sends `request`, whose address is that of `upstream`.
    pub(super) fn request(&self, upstream: &Upstream, request: http::Request<HttpBody>) -> ResponseFuture {
        let pool = upstream.tls.as_ref().map_or(&self.0, UpstreamTls::pool);
        pool.0.request(request)
    }
}

/// Connections that are made in one way, and kept for the next request. Redirects are passed on and never followed.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<Client<HttpsConnector<Connector>, HttpBody>>);

impl Pool {
    /// No connection yet. Those to `https` addresses are made with `tls`; without `tls_alone` there are others.
    pub(super) fn new(tls: ClientConfig, tls_alone: bool) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let tls = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls);
        let schemes = if tls_alone { tls.https_only() } else { tls.https_or_http() };
        // One version: the head that is sent is the head that was decided on, and no trailers go on behind it.
        let connector = schemes.enable_http1().wrap_connector(Connector { tcp, patience: CONNECT });
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self(Arc::new(client))
    }

    /// Whether these are the same connections.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
