//! `tls` of a guard: it is served by TLS alone, follows the renewal of its certificate, and asks for a client's where it is told to.

use std::path::Path;

use reqwest::{Certificate, Client, ClientBuilder, Identity, Version};
use testkit::{CertificateAuthority, Issued};

use crate::echo;
use crate::guard::{behind, guard};
use crate::secured::{Served, free_address, installation};

/// A broker with a guard before a backend, with a certificate of its own.
struct Secured {
    folder: tempfile::TempDir,
    door: String,
    served: Served,
}

impl Secured {
    /// `more` of its `tls`.
    fn start(pair: &Issued, more: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = installation(&free_address(), &CertificateAuthority::new("broker").server());
        let door = free_address();
        put(folder.path(), pair);
        prepare(folder.path());
        let keys = format!("tls = {{ cert_file = \"door.crt\", key_file = \"door.key\"{more} }}");
        let tables = (behind(&format!("http://{}", echo::start())) + &guard(&keys))
            .replace("\"127.0.0.1:0\"", &format!("\"{door}\""))
            .replace("hosts    = [\"tickets.internal\"]", "hosts    = [\"localhost\"]");
        let config = folder.path().join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap() + &tables;
        std::fs::write(&config, text).unwrap();
        let mut served = Served::start(folder.path());
        served.told("\"serving\"");
        Self { folder, door, served }
    }

    /// Which HTTP is spoken with this client, and what the backend saw; nothing if there was no connection to be had.
    async fn asked(&self, client: ClientBuilder) -> Option<(Version, String)> {
        let address = self.door.parse().unwrap();
        let client = client.resolve("localhost", address).build().unwrap();
        let response = client.get(format!("https://localhost:{}/healthz", address.port())).send().await.ok()?;
        assert_eq!(response.status(), 200);
        Some((response.version(), response.text().await.ok()?))
    }
}

fn put(folder: &Path, pair: &Issued) {
    std::fs::write(folder.join("door.crt"), &pair.certificate).unwrap();
    std::fs::write(folder.join("door.key"), &pair.key).unwrap();
}

fn trusting(authority: &CertificateAuthority) -> ClientBuilder {
    let root = Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    Client::builder().no_proxy().tls_certs_only([root])
}

#[tokio::test]
async fn a_guard_is_served_by_tls_in_both_versions_of_http_and_follows_its_certificate() {
    let (first, second) = (CertificateAuthority::new("first"), CertificateAuthority::new("second"));
    let mut secured = Secured::start(&first.server(), "", |_| {});
    let (newer, seen) = secured.asked(trusting(&first)).await.unwrap();
    assert_eq!(newer, Version::HTTP_2);
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
    let (older, seen) = secured.asked(trusting(&first).http1_only()).await.unwrap();
    assert_eq!(older, Version::HTTP_11);
    assert!(seen.contains("x-forwarded-proto: https\r\n"), "{seen}");
    assert!(
        secured.asked(trusting(&second)).await.is_none(),
        "it is the certificate of its table"
    );
    let plain = Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .get(format!("http://{}/healthz", secured.door))
        .send()
        .await;
    assert!(plain.is_err(), "nor is it plain HTTP");

    // A pair whose halves do not belong together is refused whole, and the next right one is taken.
    std::fs::write(secured.folder.path().join("door.key"), second.server().key).unwrap();
    secured.served.told("guards[0].tls.key_file");
    assert!(secured.asked(trusting(&first)).await.is_some());
    put(secured.folder.path(), &second.server());
    secured.served.told("\"in force\"");
    assert!(secured.asked(trusting(&second)).await.is_some() && secured.asked(trusting(&first)).await.is_none());
}

#[tokio::test]
async fn a_guard_with_an_authority_for_clients_serves_nobody_without_its_certificate() {
    let (own, clients, other) = (
        CertificateAuthority::new("own"),
        CertificateAuthority::new("clients"),
        CertificateAuthority::new("other"),
    );
    let secured = Secured::start(&own.server(), ", client_ca_file = \"clients.pem\"", |folder| {
        std::fs::write(folder.join("clients.pem"), &clients.pem).unwrap();
    });
    let showing = |issued: &Issued| {
        let pem = format!("{}{}", issued.certificate, issued.key);
        trusting(&own).identity(Identity::from_pem(pem.as_bytes()).unwrap())
    };
    assert!(secured.asked(trusting(&own)).await.is_none(), "no certificate");
    assert!(secured.asked(showing(&other.client("app"))).await.is_none(), "of another authority");
    assert!(
        secured.asked(showing(&clients.expired_client("app"))).await.is_none(),
        "one that is over"
    );
    assert!(secured.asked(showing(&clients.client("app"))).await.is_some());
    assert!(secured.asked(showing(&clients.client("app")).http1_only()).await.is_some());
}
