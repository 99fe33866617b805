//! The listener: an accept loop of our own, because every connection needs bounds before it is trusted with one.

mod held;
mod unstalled;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::telemetry::Meter;
use crate::tls::Tls;
use held::Held;
use unstalled::Unstalled;

/// No more header fields than this.
const MOST_HEADERS: usize = 64;
/// No longer heads than this, in bytes.
const LONGEST_HEAD: usize = 32 * 1024;

/// Where requests come in, and with how much patience.
#[derive(Debug)]
pub struct Listener {
    /// The bound socket.
    pub socket: TcpListener,
    /// Plain HTTP without.
    pub tls: Option<Tls>,
    /// The most connections at a time, handshakes included, and those that have changed to another protocol.
    pub connections: usize,
    /// How long a TLS handshake may take, how long until the head of a request is complete, and how long a peer may take
    /// nothing of a reply.
    pub patience: Duration,
    /// How long open requests may take when the process is asked to stop.
    pub drain: Duration,
    /// What its connections are counted with.
    pub meter: Meter,
}

impl Listener {
    /// A listener on `socket` with this many connections, ten seconds for a handshake, for a head and for draining, that counts
    /// for itself.
    pub fn new(socket: TcpListener, tls: Option<Tls>, connections: usize) -> Self {
        Self {
            socket,
            tls,
            connections,
            patience: Duration::from_secs(10),
            drain: Duration::from_secs(10),
            meter: Meter::default(),
        }
    }
}

/// Serves `routes` on `listener` until `stop` is done, then lets open requests finish.
///
/// A peer that makes its handshake or sends its head too slowly, one that takes nothing of its reply, a head that is too large and connections past the
/// limit are cut off. No peer holds up another: a handshake runs in its connection's own task. Whoever serves replies that go on
/// for ever ends them when `stop` is done.
pub async fn serve(listener: Listener, routes: Router, stop: impl Future<Output = ()>) {
    let Listener {
        socket,
        tls,
        connections,
        patience,
        drain,
        meter,
    } = listener;
    let permits = Arc::new(Semaphore::new(connections));
    let graceful = GracefulShutdown::new();
    let stopping = CancellationToken::new();
    let http = Arc::new(http(patience));
    tokio::pin!(stop);
    loop {
        // The permit comes first: past the limit, peers wait in the kernel's queue and cost nothing here.
        let permit = tokio::select! {
            permit = Arc::clone(&permits).acquire_owned() => permit,
            () = &mut stop => break,
        };
        let Ok(permit) = permit else { break };
        let (stream, peer) = tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::task::yield_now().await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        // A socket for both versions calls an IPv4 address ::ffff:a.b.c.d. Nobody behind this line sees it that way: networks,
        // limits and policies would take all of IPv4 for one network of version six.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let _ = stream.set_nodelay(true);
        let stream = Held::new(stream, permit);
        let connection = Connection {
            http: Arc::clone(&http),
            routes: routes.clone(),
            peer,
            patience,
            watcher: graceful.watcher(),
        };
        let (meter, tls, stopping) = (meter.clone(), tls.clone(), stopping.clone());
        tokio::spawn(async move {
            meter.opened();
            match tls {
                None => connection.serve(stream).await,
                Some(tls) => {
                    let secured = tokio::select! {
                        secured = handshake(&tls, stream, patience) => secured,
                        () = stopping.cancelled() => Err("the process stops".to_owned()),
                    };
                    match secured {
                        Ok(secured) => connection.serve(secured).await,
                        Err(why) => {
                            tracing::debug!(why, %peer, "a TLS handshake failed");
                            meter.handshake_failed();
                        }
                    }
                }
            }
            meter.closed();
        });
    }
    drop(socket);
    stopping.cancel();
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("open requests did not finish in time");
    }
}

async fn handshake<S>(tls: &Tls, stream: S, patience: Duration) -> Result<tokio_rustls::server::TlsStream<S>, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepted = tokio::time::timeout(patience, TlsAcceptor::from(tls.current()).accept(stream)).await;
    accepted.map_err(|_| "too slow".to_owned())?.map_err(|error| error.to_string())
}

/// HTTP/1.1 and HTTP/2 with our bounds.
fn http(patience: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_headers(MOST_HEADERS)
        .max_buf_size(LONGEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(32 * 1024)
        .max_concurrent_streams(128)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .keep_alive_timeout(patience);
    builder
}

/// One connection, before its first byte of HTTP.
struct Connection {
    http: Arc<Builder<TokioExecutor>>,
    routes: Router,
    peer: SocketAddr,
    patience: Duration,
    watcher: Watcher,
}

impl Connection {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let begun = Arc::new(AtomicBool::new(false));
        let service = service(self.routes, self.peer, Arc::clone(&begun));
        let connection = self
            .http
            .serve_connection_with_upgrades(TokioIo::new(Unstalled::new(stream, self.patience)), service)
            .into_owned();
        let connection = self.watcher.watch(connection);
        tokio::pin!(connection);
        // Which version of HTTP a peer speaks is waited for without a bound of its own: a silent peer would stay.
        let late = tokio::select! {
            ended = &mut connection => {
                note(ended);
                return;
            }
            () = tokio::time::sleep(self.patience) => !begun.load(Ordering::Relaxed),
        };
        if !late {
            note(connection.await);
        }
    }
}

fn note(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn service(
    routes: Router,
    peer: SocketAddr,
    begun: Arc<AtomicBool>,
) -> impl hyper::service::Service<
    Request<hyper::body::Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future = impl Future<Output = Result<axum::response::Response, Infallible>> + Send + 'static,
> + Send
+ Clone
+ 'static {
    hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        begun.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        routes.clone().oneshot(request)
    })
}
