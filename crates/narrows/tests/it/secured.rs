//! `tls` of a running broker: what `check` says about it, and how its files are followed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use testkit::{CertificateAuthority, FakeIssuer, Issued};

use crate::run::narrows;

/// What a change may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder whose configuration serves TLS at `listen` with `pair`.
pub(crate) fn installation(listen: &str, pair: &Issued) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    let text = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table.insert("issuer".to_owned(), "https://127.0.0.1:8420".into());
    table.insert("listen".to_owned(), listen.into());
    let tls: toml::Table = "cert_file = \"tls.crt\"\nkey_file = \"tls.key\"".parse().unwrap();
    table.insert("tls".to_owned(), tls.into());
    std::fs::write(folder.path().join("narrows.toml"), toml::to_string(&table).unwrap()).unwrap();
    put(folder.path(), pair);
    folder
}

fn put(folder: &Path, pair: &Issued) {
    std::fs::write(folder.join("tls.crt"), &pair.certificate).unwrap();
    std::fs::write(folder.join("tls.key"), &pair.key).unwrap();
    std::fs::set_permissions(folder.join("tls.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A broker that is killed when the test ends, however it ends.
pub(crate) struct Served {
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Served {
    pub(crate) fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_narrows"))
            .arg("serve")
            .current_dir(folder)
            .env_remove("NARROWS_CONFIG")
            .env_remove("NARROWS_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, log }
    }

    /// Reads the log up to a line that holds `word`.
    pub(crate) fn told(&mut self, word: &str) {
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the log does not tell `{word}`"));
            if line.contains(word) {
                return;
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// `/readyz` over a new connection, or `None` if there was no connection to be had.
async fn ready(address: &str, authority: &CertificateAuthority) -> Option<serde_json::Value> {
    let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let response = client.get(format!("https://{address}/readyz")).send().await.ok()?;
    serde_json::from_str(&response.text().await.ok()?).ok()
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_bad_pair_is_not() {
    let authority = CertificateAuthority::new("first");
    let address = free_address();
    let folder = installation(&address, &authority.server());
    let mut served = Served::start(folder.path());
    served.told("\"serving\"");
    let version = ready(&address, &authority).await.unwrap().get("config_version").cloned();

    // A pair whose halves do not belong together is refused whole.
    std::fs::write(folder.path().join("tls.key"), authority.server().key).unwrap();
    served.told("the change is refused");
    let refused = ready(&address, &authority).await.unwrap();
    assert!(
        refused.get("refused_change").unwrap().as_str().unwrap().contains("tls.key_file"),
        "{refused}"
    );

    // The next right one is taken.
    let successor = CertificateAuthority::new("second");
    put(folder.path(), &successor.server());
    served.told("\"in force\"");
    let renewed = ready(&address, &successor).await.unwrap();
    assert_ne!(renewed.get("config_version").cloned(), version);
    assert!(renewed.get("refused_change").unwrap().is_null());
    assert!(ready(&address, &authority).await.is_none(), "the old one does not");

    // Nor does a lost line make it plain HTTP.
    let text = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table.remove("tls");
    std::fs::write(folder.path().join("narrows.toml"), toml::to_string(&table).unwrap()).unwrap();
    served.told("tls: cannot be added or taken away");
    assert!(ready(&address, &successor).await.is_some());
}

/// What a door of a boundary at `address` says of itself over a new connection, or `None` if there was none to be had.
async fn described(address: &str, authority: &CertificateAuthority) -> Option<serde_json::Value> {
    let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let asked = client.get(format!("https://{address}/.well-known/oauth-protected-resource"));
    serde_json::from_str(&asked.send().await.ok()?.text().await.ok()?).ok()
}

#[tokio::test]
async fn the_doors_of_a_boundary_have_a_certificate_of_their_own_and_follow_its_renewal() {
    let (broker, first, second) = (
        CertificateAuthority::new("broker"),
        CertificateAuthority::new("first"),
        CertificateAuthority::new("second"),
    );
    let folder = installation(&free_address(), &broker.server());
    let doors = [free_address(), free_address()];
    let put_for_doors = |pair: &Issued| {
        std::fs::write(folder.path().join("door.crt"), &pair.certificate).unwrap();
        std::fs::write(folder.path().join("door.key"), &pair.key).unwrap();
    };
    put_for_doors(&first.server());
    let config = folder.path().join("narrows.toml");
    let tls = "tls = { cert_file = \"door.crt\", key_file = \"door.key\" }\n";
    let front = format!(
        "\n[[boundaries]]\nname = \"front\"\nclient = \"edge\"\norigin = \"https://edge.example\"\nproxy = \"{}\"\nforward_auth = \"{}\"\n{tls}",
        doors[0], doors[1]
    );
    let text = std::fs::read_to_string(&config).unwrap() + &front;
    std::fs::write(&config, &text).unwrap();
    let mut served = Served::start(folder.path());
    served.told("\"serving\"");
    for door in &doors {
        assert_eq!(described(door, &first).await.unwrap()["resource"], "https://edge.example");
        assert!(described(door, &broker).await.is_none(), "it is not the broker's");
        let plain = reqwest::Client::builder().no_proxy().build().unwrap().get(format!("http://{door}/")).send().await;
        assert!(plain.is_err(), "nor is it plain HTTP");
    }
    // A pair whose halves do not belong together is refused whole, and the next right one is taken.
    std::fs::write(folder.path().join("door.key"), second.server().key).unwrap();
    served.told("boundaries[0].tls.key_file");
    assert!(described(&doors[0], &first).await.is_some());
    put_for_doors(&second.server());
    served.told("\"in force\"");
    for door in &doors {
        assert!(described(door, &second).await.is_some() && described(door, &first).await.is_none());
    }
    std::fs::write(&config, text.replace(tls, "")).unwrap();
    served.told("tls: cannot be added or taken away");
    assert!(described(&doors[0], &second).await.is_some());
}

#[tokio::test]
async fn a_hangup_presents_a_renewal_that_no_stamp_shows() {
    let (authority, successor) = (CertificateAuthority::new("first"), CertificateAuthority::new("after"));
    let address = free_address();
    let pair = authority.server();
    let folder = installation(&address, &pair);
    let mut served = Served::start(folder.path());
    served.told("\"serving\"");
    assert!(ready(&address, &authority).await.is_some());

    // The same lengths and the same times, as after a restored backup: looking at the files shows nothing.
    let sizes = |pair: &Issued| (pair.certificate.len(), pair.key.len());
    let alike = std::iter::repeat_with(|| successor.server())
        .find(|renewed| sizes(renewed) == sizes(&pair))
        .unwrap();
    let aside = tempfile::tempdir_in(folder.path()).unwrap();
    put(aside.path(), &alike);
    for name in ["tls.crt", "tls.key"] {
        let (new, old) = (aside.path().join(name), folder.path().join(name));
        let times = std::fs::metadata(&old).unwrap().modified().unwrap();
        std::fs::File::options().write(true).open(&new).unwrap().set_modified(times).unwrap();
        std::fs::rename(new, old).unwrap();
    }
    assert!(ready(&address, &authority).await.is_some(), "not seen yet");
    let hangup = Command::new("kill").args(["-HUP", &served.child.id().to_string()]).status().unwrap();
    assert!(hangup.success());
    served.told("\"in force\"");
    assert!(ready(&address, &successor).await.is_some() && ready(&address, &authority).await.is_none());
}

/// What `inspect` says of a token whose keys are at `address`, on a machine that trusts `authority` and nobody else.
fn inspected(folder: &Path, address: &str, authority: &CertificateAuthority) -> String {
    std::fs::write(folder.join("trusted.pem"), &authority.pem).unwrap();
    let issuer = format!("https://{address}");
    let claims = serde_json::json!({ "iss": issuer, "sub": "alice", "aud": "a", "iat": 1, "exp": 4_000_000_000_u32 });
    let mut child = Command::new(env!("CARGO_BIN_EXE_narrows"))
        .arg("inspect")
        .current_dir(folder)
        .env_remove("NARROWS_CONFIG")
        .env_remove("SSL_CERT_DIR")
        .env("SSL_CERT_FILE", folder.join("trusted.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let token = FakeIssuer::es256(&issuer).sign("at+jwt", &claims);
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

/// An installation at a free address, which is its issuer identifier too.
fn at_its_own_address(pair: &Issued) -> (tempfile::TempDir, String) {
    let address = free_address();
    let folder = installation(&address, pair);
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("https://127.0.0.1:8420", &format!("https://{address}"))).unwrap();
    (folder, address)
}

#[test]
fn keys_are_fetched_from_nobody_whose_certificate_is_not_right() {
    // SSRF-014. A chain with SHA-1 cannot be made here; the library knows no such signature.
    let (authority, other) = (CertificateAuthority::new("trusted"), CertificateAuthority::new("another"));
    let cases = [
        ("right", authority.server(), ""),
        ("of an authority that is not trusted", other.server(), "UnknownIssuer"),
        ("for another host", authority.server_elsewhere(), "elsewhere.example"),
        ("expired", authority.expired_server(), "expired"),
        ("a client's", authority.client("localhost"), "certificate"),
    ];
    for (what, pair, why) in cases {
        let (folder, address) = at_its_own_address(&pair);
        let mut served = Served::start(folder.path());
        served.told("\"serving\"");
        let said = inspected(folder.path(), &address, &authority);
        assert!(said.contains("NOT VERIFIED: "), "{what}: {said}");
        // From the right one the keys are had, and the token's is not among them.
        assert_eq!(said.contains("/oauth2/jwks"), !why.is_empty(), "{what}: {said}");
        assert!(said.contains(why), "{what}: {said}");
    }
}

#[test]
fn keys_are_fetched_from_nobody_who_speaks_an_old_version_of_tls() {
    // SSRF-014
    let authority = CertificateAuthority::new("trusted");
    for version in [0, 1, 2] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (folder, _) = at_its_own_address(&authority.server());
        let config = folder.path().join("narrows.toml");
        let mut table: toml::Table = std::fs::read_to_string(&config).unwrap().parse().unwrap();
        table.insert("issuer".to_owned(), format!("https://{address}").into());
        std::fs::write(&config, toml::to_string(&table).unwrap()).unwrap();
        let old = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut record = [0; 5];
            stream.read_exact(&mut record).unwrap();
            let mut hello = vec![0; usize::from(u16::from_be_bytes([record[3], record[4]]))];
            stream.read_exact(&mut hello).unwrap();
            // A hello of that version: random, no session, AES-128-CBC with SHA-1, no compression.
            let body = [vec![3, version], vec![7; 32], vec![0, 0, 0x2f, 0]].concat();
            let handshake = [vec![2, 0, 0, u8::try_from(body.len()).unwrap()], body].concat();
            let reply = [vec![22, 3, version, 0, u8::try_from(handshake.len()).unwrap()], handshake].concat();
            stream.write_all(&reply).unwrap();
            let mut alert = [0; 7];
            stream.read_exact(&mut alert).unwrap();
            alert
        });
        let said = inspected(folder.path(), &address, &authority);
        assert!(said.contains("NOT VERIFIED: ") && said.contains("/oauth2/jwks"), "{said}");
        let alert = old.join().unwrap();
        assert_eq!((alert[0], alert[5]), (21, 2), "a fatal alert, and not a byte of a request");
    }
}

#[test]
fn doubtful_combinations_are_warned_of() {
    let authority = CertificateAuthority::new("first");
    let folder = installation("127.0.0.1:8420", &authority.server());
    let check = || narrows(folder.path(), &["check"], "");
    assert!(!check().out.contains("warning: "), "{}", check().out);
    std::fs::set_permissions(folder.path().join("tls.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(check().out.contains("tls.key_file: "), "{}", check().out);
    let text = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    table.insert("issuer".to_owned(), "http://127.0.0.1:8420".into());
    std::fs::write(folder.path().join("narrows.toml"), toml::to_string(&table).unwrap()).unwrap();
    assert!(check().out.contains("issuer: is http while"), "{}", check().out);
    table.insert("issuer".to_owned(), "https://narrows.example".into());
    table.insert("listen".to_owned(), "0.0.0.0:8420".into());
    table.remove("tls");
    std::fs::write(folder.path().join("narrows.toml"), toml::to_string(&table).unwrap()).unwrap();
    assert!(check().out.contains("listen: `0.0.0.0:8420` is plain HTTP"), "{}", check().out);
}
