//! A backend that speaks TLS, asks for certificates or does not, and answers with what came and who showed what.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use testkit::{CertificateAuthority, Issued};

/// One backend; it serves until the test process ends.
pub(crate) struct TlsBackend {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl TlsBackend {
    /// Which shows `own`, and demands a certificate that one of `clients` signed, if there are any.
    pub(crate) fn start(own: &Issued, clients: &[&CertificateAuthority]) -> Self {
        let config = Arc::new(config(own, clients));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, counter) = (Arc::clone(&config), Arc::clone(&counter));
                std::thread::spawn(move || answer(config, stream, &counter));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// How often anything of a request came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn config(own: &Issued, clients: &[&CertificateAuthority]) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let demanding = if clients.is_empty() {
        versions.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        for authority in clients {
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        versions.with_client_cert_verifier(verifier)
    };
    let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
    let mut config = demanding.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Answers one request after the other, so that the connection may be used again.
fn answer(config: Arc<ServerConfig>, stream: TcpStream, requests: &AtomicUsize) {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    while let Some(head) = head(&mut stream, requests) {
        let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
        let told = json!({
            "head": head,
            "shown": shown.map(|certificate| STANDARD.encode(certificate)),
            "alpn": stream.conn.alpn_protocol().map(String::from_utf8_lossy),
        });
        let told = told.to_string();
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{told}", told.len());
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// The next head; none where the connection ends, or was never one.
fn head(stream: &mut impl Read, requests: &AtomicUsize) -> Option<String> {
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        if seen.is_empty() {
            requests.fetch_add(1, Ordering::SeqCst);
        }
        seen.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&seen);
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            return Some(format!("{head}\r\n\r\n"));
        }
    }
}

/// A certificate as the backend tells of it.
pub(crate) fn told(issued: &Issued) -> String {
    STANDARD.encode(CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap())
}
