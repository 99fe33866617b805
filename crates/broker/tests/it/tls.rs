//! TLS of a listener, over real connections.

use std::sync::Arc;
use std::time::Duration;

use broker::{Listener, Tls, TlsFiles, TlsIdentity};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use testkit::{CertificateAuthority, Issued};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::installation::Installation;

/// A second listener of an installation's broker, with TLS.
struct Secured {
    narrows: Installation,
    authority: CertificateAuthority,
    tls: Tls,
    address: String,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Secured {
    async fn start(change: impl FnOnce(&mut Listener)) -> Self {
        Self::with_clients(None, change).await
    }

    async fn with_clients(clients: Option<&CertificateAuthority>, change: impl FnOnce(&mut Listener)) -> Self {
        let narrows = Installation::start().await;
        let authority = CertificateAuthority::new("test authority");
        let tls = Tls::new(identity(&narrows, &authority.server(), clients));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let mut listener = Listener::new(socket, Some(tls.clone()), 100);
        listener.meter = narrows.broker.meter();
        change(&mut listener);
        let (stop, mut stopped) = watch::channel(false);
        let until = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
        let routes = broker::routes(&narrows.broker, true);
        let serving = tokio::spawn(broker::serve(listener, routes, until));
        Self {
            narrows,
            authority,
            tls,
            address,
            stop,
            serving,
        }
    }

    fn client(&self) -> reqwest::ClientBuilder {
        trusting(&self.authority)
    }

    async fn healthy(&self, client: &reqwest::Client) -> Result<reqwest::Version, reqwest::Error> {
        let response = client.get(format!("https://{}/healthz", self.address)).send().await?;
        let version = response.version();
        assert_eq!(response.text().await?, "ok");
        Ok(version)
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.serving.await.unwrap();
        self.narrows.stop().await;
    }
}

fn trusting(authority: &CertificateAuthority) -> reqwest::ClientBuilder {
    let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    reqwest::Client::builder().no_proxy().tls_certs_only([root])
}

fn files(narrows: &Installation, pair: &Issued, clients: Option<&CertificateAuthority>) -> TlsFiles {
    let write = |name: &str, text: &str| {
        let path = narrows.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    TlsFiles {
        cert_file: write("tls.crt", &pair.certificate),
        key_file: write("tls.key", &pair.key),
        client_ca_file: clients.map(|authority| write("clients.pem", &authority.pem)),
    }
}

fn identity(narrows: &Installation, pair: &Issued, clients: Option<&CertificateAuthority>) -> TlsIdentity {
    TlsIdentity::load(&files(narrows, pair, clients)).unwrap()
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls() {
    let secured = Secured::start(|_| {}).await;
    let newer = secured.healthy(&secured.client().build().unwrap()).await.unwrap();
    let older = secured.healthy(&secured.client().http1_only().build().unwrap()).await.unwrap();
    assert_eq!((newer, older), (reqwest::Version::HTTP_2, reqwest::Version::HTTP_11));
    secured.stop().await;
}

#[tokio::test]
async fn a_stranger_to_the_authority_and_plain_http_get_nothing() {
    let secured = Secured::start(|_| {}).await;
    let other = trusting(&CertificateAuthority::new("another")).build().unwrap();
    assert!(secured.healthy(&other).await.is_err());
    let plain = secured.client().build().unwrap();
    assert!(plain.get(format!("http://{}/healthz", secured.address)).send().await.is_err());
    secured.healthy(&plain).await.unwrap();
    secured.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_open_ones_live_on() {
    let secured = Secured::start(|_| {}).await;
    let before = secured.client().build().unwrap();
    secured.healthy(&before).await.unwrap();
    let successor = CertificateAuthority::new("successor");
    secured.tls.present(identity(&secured.narrows, &successor.server(), None));
    secured.healthy(&before).await.unwrap(); // its connection is open
    assert!(secured.healthy(&secured.client().build().unwrap()).await.is_err());
    secured.healthy(&trusting(&successor).build().unwrap()).await.unwrap();
    secured.stop().await;
}

#[tokio::test]
async fn files_that_do_not_belong_together_are_refused_with_their_key() {
    let narrows = Installation::start().await;
    let authority = CertificateAuthority::new("test authority");
    let (one, other) = (authority.server(), authority.server());
    let pair = |certificate: &str, key: &str| Issued {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
    };
    for (pair, key) in [
        (pair(&one.certificate, &other.key), "key_file"),
        (pair(&one.certificate, "no key"), "key_file"),
        (pair("", &one.key), "cert_file"),
        (pair(&one.key, &one.key), "cert_file"),
    ] {
        let refused = TlsIdentity::load(&files(&narrows, &pair, None)).unwrap_err();
        assert_eq!(refused.key, key, "{refused}");
    }
    let mut no_authority = files(&narrows, &one, Some(&authority));
    std::fs::write(no_authority.client_ca_file.as_ref().unwrap(), "").unwrap();
    assert_eq!(TlsIdentity::load(&no_authority).unwrap_err().key, "client_ca_file");
    no_authority.client_ca_file = None;
    assert!(TlsIdentity::load(&no_authority).is_ok());
    narrows.stop().await;
}

#[tokio::test]
async fn with_authorities_for_clients_only_their_clients_connect() {
    let clients = CertificateAuthority::new("clients");
    let secured = Secured::with_clients(Some(&clients), |_| {}).await;
    let showing = |issued: Issued| {
        let pem = format!("{}{}", issued.certificate, issued.key);
        secured.client().identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap()).build().unwrap()
    };
    let with = |authority: &CertificateAuthority| showing(authority.client("edge"));
    secured.healthy(&with(&clients)).await.unwrap();
    assert!(secured.healthy(&secured.client().build().unwrap()).await.is_err(), "no certificate");
    assert!(
        secured.healthy(&with(&CertificateAuthority::new("others"))).await.is_err(),
        "another authority's"
    );
    assert!(
        secured.healthy(&with(&secured.authority)).await.is_err(),
        "the server's own authority's"
    );
    assert!(secured.healthy(&showing(clients.expired_client("edge"))).await.is_err(), "expired");
    secured.healthy(&with(&clients)).await.unwrap();
    secured.stop().await;
}

/// The broker closes the connection, and sends nothing before.
async fn is_closed(mut stream: TcpStream) {
    let (mut bytes, bound) = ([0; 16], Duration::from_secs(10));
    let read = tokio::time::timeout(bound, stream.read(&mut bytes)).await.unwrap();
    assert_eq!(read.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_peer_that_does_not_shake_hands_holds_up_nobody_and_is_cut_off() {
    let secured = Secured::start(|listener| listener.patience = Duration::from_millis(300)).await;
    let silent = TcpStream::connect(&secured.address).await.unwrap();
    secured.healthy(&secured.client().build().unwrap()).await.unwrap();
    is_closed(silent).await;
    let (_, _, metrics) = secured.narrows.get("/metrics").await;
    assert!(metrics.contains("narrows_tls_handshakes_failed_total 1"), "{metrics}");
    secured.stop().await;
}

/// The first bytes of a right handshake.
fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Sends `bytes` and no more; what the broker sent until it closed.
async fn sent_alone(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut reply = Vec::new();
    // The broker may close before it has all of it.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut reply).await;
    reply
}

#[tokio::test]
async fn no_malformed_handshake_holds_up_or_hurts_anybody() {
    // DOS-010
    let secured = Secured::start(|_| {}).await;
    let open = async || {
        let (_, _, metrics) = secured.narrows.get("/metrics").await;
        metrics.lines().find(|line| line.starts_with("narrows_connections ")).unwrap().to_owned()
    };
    let (before, hello) = (open().await, client_hello());
    let mut malformed: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10], // the hello of SSL 2
        vec![21, 3, 1, 0, 2, 1, 0],                        // close_notify before anything
        [21, 3, 1, 0, 2, 1, 0].repeat(1000),
        [22, 3, 1, 0, 0].repeat(1000),             // records without a byte
        vec![22, 3, 1, 0xff, 0xff],                // a record that is too long
        vec![22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff], // a hello that is too long
        [20, 3, 3, 0, 1, 1].repeat(1000),          // change of cipher, without end
        [&hello[..hello.len() / 2], &[21, 3, 1, 0, 2, 1, 0]].concat(),
        [hello.clone(), vec![21, 3, 3, 0, 2, 1, 0]].concat(),
        hello.repeat(3),
    ];
    // Cut off at each place of the first record, and one bit wrong at each of it.
    for at in (0..hello.len()).step_by(4) {
        malformed.push(hello[..at].to_vec());
        let mut flipped = hello.clone();
        flipped[at] ^= 1 << (at % 8);
        malformed.push(flipped);
    }
    for (number, bytes) in malformed.iter().enumerate() {
        let reply = sent_alone(&secured.address, bytes).await;
        assert!(!reply.windows(4).any(|word| word == b"HTTP"), "{bytes:?}");
        if number % 50 == 0 {
            secured.healthy(&secured.client().build().unwrap()).await.unwrap();
        }
    }
    // A right one that comes byte by byte is still right.
    let mut slow = TcpStream::connect(&secured.address).await.unwrap();
    slow.set_nodelay(true).unwrap();
    for byte in &hello {
        slow.write_all(&[*byte]).await.unwrap();
    }
    let mut first = [0; 6];
    slow.read_exact(&mut first).await.unwrap();
    assert_eq!((first[0], first[5]), (22, 2), "the broker's own hello");
    drop(slow);
    // Every connection is over: none of its tasks spins, and none ended in a panic, which would not have counted it out.
    for _ in 0..100_000 {
        if open().await == before {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(open().await, before);
    secured.stop().await;
}

#[tokio::test]
async fn a_peer_that_begins_no_version_of_http_is_cut_off() {
    let narrows = Installation::start().await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut listener = Listener::new(socket, None, 100);
    listener.patience = Duration::from_millis(300);
    let routes = broker::routes(&narrows.broker, true);
    let serving = tokio::spawn(broker::serve(listener, routes, std::future::pending()));
    let mut trickling = TcpStream::connect(address).await.unwrap();
    trickling.write_all(b"PRI * HT").await.unwrap();
    is_closed(trickling).await;
    serving.abort();
    narrows.stop().await;
}

#[tokio::test]
async fn a_handshake_counts_as_a_connection() {
    let secured = Secured::start(|listener| {
        listener.connections = 1;
        listener.patience = Duration::from_secs(3600);
    })
    .await;
    let silent = TcpStream::connect(&secured.address).await.unwrap();
    let client = secured.client().timeout(Duration::from_millis(500)).build().unwrap();
    assert!(secured.healthy(&client).await.unwrap_err().is_timeout(), "the only place is taken");
    drop(silent);
    secured.healthy(&secured.client().build().unwrap()).await.unwrap();
    secured.stop().await;
}

#[tokio::test]
async fn stopping_waits_for_no_handshake() {
    let secured = Secured::start(|listener| {
        listener.patience = Duration::from_secs(3600);
        listener.drain = Duration::from_secs(3600);
    })
    .await;
    let silent = TcpStream::connect(&secured.address).await.unwrap();
    secured.healthy(&secured.client().build().unwrap()).await.unwrap();
    secured.stop().await;
    is_closed(silent).await;
}

/// A request whose head the broker has read, and whose body it waits for.
async fn half_a_request(secured: &Secured) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(secured.authority.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(&secured.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let head = "POST /oauth2/token HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                content-type: application/x-www-form-urlencoded\r\ncontent-length: 29\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"\r\n\r\n") {
        said.push(stream.read_u8().await.unwrap());
    }
    assert!(said.starts_with(b"HTTP/1.1 100 "), "{}", String::from_utf8_lossy(&said));
    stream
}

#[tokio::test]
async fn stopping_lets_a_request_in_flight_finish_and_takes_no_other() {
    let secured = Secured::start(|listener| listener.drain = Duration::from_secs(3600)).await;
    let mut in_flight = half_a_request(&secured).await;
    secured.stop.send(true).unwrap();
    while TcpStream::connect(&secured.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    // All tasks share this thread: whatever could end without the request ends during these.
    for _ in 0..100 {
        assert!(TcpStream::connect(&secured.address).await.is_err());
    }
    assert!(!secured.serving.is_finished(), "it waits for the request");
    in_flight.write_all(b"grant_type=client_credentials").await.unwrap();
    let mut reply = String::new();
    let _ = in_flight.read_to_string(&mut reply).await;
    assert!(reply.starts_with("HTTP/1.1 401 ") && reply.contains("invalid_client"), "{reply}");
    secured.serving.await.unwrap();
    secured.narrows.stop().await;
}

#[tokio::test]
async fn stopping_waits_no_longer_than_it_may_for_a_request_that_never_ends() {
    let secured = Secured::start(|listener| listener.drain = Duration::from_millis(100)).await;
    let mut in_flight = half_a_request(&secured).await;
    secured.stop.send(true).unwrap();
    secured.serving.await.unwrap();
    // It was not waited for until it ended: it has not, and does now.
    in_flight.write_all(b"grant_type=client_credentials").await.unwrap();
    let mut reply = String::new();
    let _ = in_flight.read_to_string(&mut reply).await;
    assert!(reply.starts_with("HTTP/1.1 401 "), "{reply}");
    secured.narrows.stop().await;
}
