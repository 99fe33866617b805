//! TLS of a listener: a certificate, its key, and whose client certificates are asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The files that a `tls` table names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and what leads to its authority, in PEM, the listener's own first.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
    /// Authorities, in PEM: with them a handshake needs a client certificate that one of them signed.
    pub client_ca_file: Option<PathBuf>,
}

/// A `tls` table that is right, ready for handshakes.
#[derive(Clone, Debug)]
pub struct TlsIdentity(Arc<ServerConfig>);

/// Why a `tls` table is not taken: which of its keys, and what is wrong with the file that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: `{}`: {why}", path.display())]
pub struct TlsFileError {
    /// The key of the table.
    pub key: &'static str,
    /// The file that it names.
    pub path: PathBuf,
    /// What is wrong, without a byte of the file.
    pub why: String,
}

impl TlsIdentity {
    /// Reads the files and checks that they belong together: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1.
    ///
    /// A pair is taken whole or not at all, so that a half-written renewal never gets as far as a handshake.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsFileError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates("cert_file", &files.cert_file)?;
        let key_error = |why: String| TlsFileError {
            key: "key_file",
            path: files.key_file.clone(),
            why,
        };
        let key = PrivateKeyDer::from_pem_file(&files.key_file).map_err(|error| key_error(format!("no private key in PEM: {error}")))?;
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| key_error(error.to_string()))?;
        let clients = match &files.client_ca_file {
            None => versions.with_no_client_auth(),
            Some(path) => {
                let error = |why: String| TlsFileError {
                    key: "client_ca_file",
                    path: path.clone(),
                    why,
                };
                let mut roots = RootCertStore::empty();
                for authority in certificates("client_ca_file", path)? {
                    roots.add(authority).map_err(|refused| error(refused.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                versions.with_client_cert_verifier(verifier.map_err(|refused| error(refused.to_string()))?)
            }
        };
        let mut config = clients
            .with_single_cert(chain, key)
            .map_err(|error| key_error(format!("does not go with the certificate: {error}")))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let error = |why: String| TlsFileError {
        key,
        path: path.to_owned(),
        why,
    };
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(error("holds no certificate in PEM".to_owned())),
        Ok(chain) => Ok(chain),
        Err(why) => Err(error(format!("no certificates in PEM: {why}"))),
    }
}

/// What a listener presents now. A clone presents the same; another identity is for the next handshake on, and
/// connections that are open live on with the one that they began with.
#[derive(Clone, Debug)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

impl Tls {
    /// TLS with this identity.
    pub fn new(identity: TlsIdentity) -> Self {
        Self(Arc::new(ArcSwap::new(identity.0)))
    }

    /// Presents `identity` from the next handshake on.
    pub fn present(&self, identity: TlsIdentity) {
        self.0.store(identity.0);
    }

    /// What the next handshake is made with.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}
