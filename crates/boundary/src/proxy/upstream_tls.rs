//! TLS to one upstream: whom it has to prove to be, and who we prove to be.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper_rustls::ConfigBuilderExt as _;
use rustls::client::WantsClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore};

use super::upstreams::Pool;

/// The files that an `upstream_tls` table names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTlsFiles {
    /// Authorities, in PEM: the upstream's certificate leads to one of them, and to no other. Without, to one that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// What is shown to an upstream that asks for a certificate.
    pub pair: Option<PairFiles>,
}

/// A certificate of our own, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate and what leads to its authority, in PEM, our own first.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
}

/// An `upstream_tls` table that is right, with the connections that are made by it.
///
/// Connections live with the value that they were made by: whoever puts another in its place asks nobody anything over an old one.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    files: UpstreamTlsFiles,
    pool: Pool,
    shown: Option<CertificateDer<'static>>,
}

/// Why an `upstream_tls` table is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct UpstreamTlsError {
    /// The key of the table.
    pub key: &'static str,
    /// What is wrong with the file that it names, without a byte of it.
    pub why: String,
}

/// Why no upstream will take the certificate that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It ended then.
    Ended(SystemTime),
    /// It begins then.
    NotBegun(SystemTime),
    /// It names what it is for (RFC 5280 §4.2.1.12), and clients are not among it.
    NotForClients,
}

/// Two are the same if they show the same over the same connections.
impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.pool.is(&other.pool)
    }
}

impl Eq for UpstreamTls {}

impl UpstreamTls {
    /// Reads the files and checks that they belong together. A certificate is taken with its key or not at all, so that a renewal which
    /// is half written never gets as far as a handshake.
    pub fn load(files: &UpstreamTlsFiles) -> Result<Self, UpstreamTlsError> {
        let trusting = match &files.ca_file {
            Some(path) => trusting(path)?,
            None => as_the_system_does().map_err(|error| UpstreamTlsError {
                key: "ca_file",
                why: format!("is not there, and the system names no authority: {error}; name a file of authorities"),
            })?,
        };
        let Some(PairFiles { cert_file, key_file }) = &files.pair else {
            let pool = Pool::new(trusting.with_no_client_auth(), true);
            let files = files.clone();
            return Ok(Self { files, pool, shown: None });
        };
        let chain = certificates("cert_file", cert_file)?;
        let key =
            PrivateKeyDer::from_pem_file(key_file).map_err(|why| error("key_file", key_file, &format!("no private key in PEM: {why}")))?;
        let shown = chain.first().cloned();
        let config = trusting.with_client_auth_cert(chain, key).map_err(|why| {
            let why = format!("does not go with the certificate: {why}");
            error("key_file", key_file, &why)
        })?;
        Ok(Self {
            files: files.clone(),
            pool: Pool::new(config, true),
            shown,
        })
    }

    /// The files that it was read from.
    pub fn files(&self) -> &UpstreamTlsFiles {
        &self.files
    }

    /// Why no upstream takes at `now` what is shown to it, if anything is shown.
    pub fn unfit(&self, now: SystemTime) -> Option<Unfit> {
        let shown = self.shown.as_ref()?;
        // Whom it leads to is the upstream's business: it counts as its own authority here, and what else is wrong with it comes first.
        let mut roots = RootCertStore::empty();
        roots.add(shown.clone()).ok()?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(aws_lc_rs::default_provider()));
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).ok()?);
        let at = |time: UnixTime| UNIX_EPOCH + Duration::from_secs(time.as_secs());
        match verifier.build().ok()?.verify_client_cert(shown, &[], now).err()? {
            rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => Some(Unfit::Ended(at(not_after))),
            rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
                Some(Unfit::NotBegun(at(not_before)))
            }
            rustls::Error::InvalidCertificate(CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. }) => {
                Some(Unfit::NotForClients)
            }
            _ => None,
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}

type Trusting = ConfigBuilder<ClientConfig, WantsClientCert>;

/// Certificates are verified as the system does it.
pub(super) fn as_the_system_does() -> Result<Trusting, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .try_with_platform_verifier()
}

/// The authorities in the file at `path`, and no other.
fn trusting(path: &Path) -> Result<Trusting, UpstreamTlsError> {
    let refused = |why: rustls::Error| error("ca_file", path, &why.to_string());
    let mut roots = RootCertStore::empty();
    for authority in certificates("ca_file", path)? {
        roots.add(authority).map_err(refused)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(refused)?.with_root_certificates(roots))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, UpstreamTlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(error(key, path, "holds no certificate in PEM")),
        Ok(chain) => Ok(chain),
        Err(why) => Err(error(key, path, &format!("no certificates in PEM: {why}"))),
    }
}

fn error(key: &'static str, path: &Path, why: &str) -> UpstreamTlsError {
    UpstreamTlsError {
        key,
        why: format!("`{}`: {why}", path.display()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use http::Request;

    use super::{UpstreamTls, UpstreamTlsFiles};
    use crate::proxy::Upstreams;
    use crate::settings::Upstream;

    #[tokio::test]
    async fn where_tls_is_said_nothing_goes_without() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        // Whom the system trusts is not asked for here: any authority will do.
        let authority = std::env::temp_dir().join(format!("authority-{}.pem", std::process::id()));
        std::fs::write(&authority, testkit::CertificateAuthority::new("any").pem).unwrap();
        let files = UpstreamTlsFiles {
            ca_file: Some(authority.clone()),
            pair: None,
        };
        let tls = UpstreamTls::load(&files).unwrap();
        std::fs::remove_file(authority).unwrap();
        let upstream = Upstream::parse(&address).unwrap().with_tls(Some(tls));
        let asked = Upstreams::new().unwrap().request(&upstream, Request::get(&address).body(Body::empty()).unwrap());
        let answered = tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap();
        assert!(answered.is_err() && listener.accept().is_err(), "nobody came");
    }
}
