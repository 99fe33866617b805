//! Connections over TCP, and over sockets of this machine, which have a path in the place of an address.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tower_service::Service;

/// Behind the path of a socket in an authority. No name of a machine ends so (RFC 2606 §2).
const END: &str = ".unix.invalid";

/// The authority that means the socket at `path`: its bytes in hexadecimal digits.
pub(crate) fn authority(path: &str) -> String {
    let digits: String = path.bytes().map(|byte| format!("{byte:02x}")).collect();
    digits + END
}

/// The path of the socket that is meant by a host, if it is one.
fn path(host: &str) -> Option<String> {
    let digits = host.strip_suffix(END)?;
    let pairs = digits.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect::<Option<_>>()?).ok()
}

/// Connects to either.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) tcp: HttpConnector,
    /// How long a socket of this machine may take.
    pub(super) patience: Duration,
}

/// A connection over either.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TokioIo<TcpStream>),
    Unix(TokioIo<UnixStream>),
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Failed>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        if let Some(path) = address.host().and_then(path) {
            let patience = self.patience;
            return Box::pin(async move {
                let stream = timeout(patience, UnixStream::connect(path)).await??;
                Ok(Stream::Unix(TokioIo::new(stream)))
            });
        }
        let stream = self.tcp.call(address);
        Box::pin(async move { Ok(Stream::Tcp(stream.await?)) })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Tcp(stream) => stream.connected(),
            Self::Unix(_) => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{authority, path};

    #[test]
    fn the_path_of_a_socket_comes_back_out_of_its_authority() {
        for there in ["/run/app.sock", "/a b/\u{e9}@:#?", "/x"] {
            assert_eq!(path(&authority(there)).as_deref(), Some(there));
        }
        for none in ["localhost", "2f78.unix.invalid.example", "zz.unix.invalid", "2f7.unix.invalids"] {
            assert_eq!(path(none), None, "{none}");
        }
    }
}
