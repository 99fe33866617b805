//! TLS to backends with certificates on both sides, by a guard and by a boundary of the running program.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{CertificateAuthority, Issued};

use crate::boundary::{body, claims, header, status};
use crate::guard::{Guarded, TICKETS, told as answered};
use crate::run::narrows;
use crate::tls_backend::{TlsBackend, told};
use crate::{corp, echo};

/// What anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// Authority and certificate for the backend, as most of these say.
const BOTH: &str = "{ ca_file = \"servers.pem\", cert_file = \"own.crt\", key_file = \"own.key\" }";

/// The authorities of a network, and the certificate that is ours in it.
struct Network {
    servers: CertificateAuthority,
    clients: CertificateAuthority,
    own: Issued,
}

impl Network {
    fn new() -> Self {
        let clients = CertificateAuthority::new("clients");
        Self {
            servers: CertificateAuthority::new("servers"),
            own: clients.client("narrows"),
            clients,
        }
    }

    /// A backend that demands a certificate of the network.
    fn backend(&self) -> TlsBackend {
        TlsBackend::start(&self.servers.server(), &[&self.clients])
    }

    /// The program with a guard before each of these services, in their order, and a boundary before all of them. A service is its
    /// `upstream`, its `upstream_tls`, and keys of its guard.
    fn narrows(&self, services: &[(&str, &str, &str)]) -> Doors {
        let mut text = format!(
            "[[clients]]\nid = \"tickets-guard\"\nreceives = [\"{TICKETS}\"]\n\
             auth = {{ method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" }}\n"
        );
        for (at, (upstream, tls, guard)) in services.iter().enumerate() {
            text += &format!(
                r#"
[[services]]
name         = "s{at}"
hosts        = ["s{at}.internal"]
upstream     = "{upstream}"
upstream_tls = {tls}
audience     = "{TICKETS}"
[services.routes]
"GET /healthz"      = "public"
"GET /tickets/{{id}}" = "ticket:read/{{id}}"

[[guards]]
service = "s{at}"
client  = "tickets-guard"
listen  = "127.0.0.1:0"
{guard}
"#
            );
        }
        text += "\n[[boundaries]]\nname = \"front\"\nclient = \"edge\"\nservices = \"*\"\norigin = \"https://edge.example\"\n\
                 proxy = \"127.0.0.1:0\"\nlogin = [\"corp\"]\n";
        // Files go beside the configuration before it is read for the first time.
        let folder = tempfile::tempdir().unwrap();
        self.write(folder.path());
        for name in ["servers.pem", "own.crt", "own.key", "second.crt", "second.key"] {
            text = text.replace(&format!("\"{name}\""), &format!("\"{}\"", folder.path().join(name).display()));
        }
        let guarded = Guarded::of(&corp::issuer(), &text, "");
        Doors {
            bearer: guarded.bearer(&["ticket:read/42"]),
            guarded,
            folder,
        }
    }

    fn write(&self, folder: &Path) {
        put(folder, "servers.pem", &self.servers.pem);
        put_pair(folder, "own", &self.own);
        put_pair(folder, "second", &self.clients.client("second"));
    }
}

struct Doors {
    guarded: Guarded,
    /// A token for ticket 42, made before anything becomes of the configuration.
    bearer: String,
    folder: tempfile::TempDir,
}

impl Doors {
    /// What the guard of the service at `at` answers to whoever shows that.
    fn guard(&self, at: usize) -> String {
        ask(self.guarded.doors[at], at, "/tickets/42", &self.bearer)
    }

    /// What the boundary answers to the same, with a token of the identity provider.
    fn boundary(&self, at: usize) -> String {
        let bearer = format!("authorization: Bearer {}\r\n", self.guarded.alice);
        ask(self.guarded.served.door("proxy"), at, "/tickets/42", &bearer)
    }
}

fn ask(door: SocketAddr, at: usize, target: &str, headers: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nhost: s{at}.internal\r\nconnection: close\r\n{headers}\r\n");
    echo::ask(door, &request)
}

/// Whole at once: a file that is read while it is written is half of one.
fn put(folder: &Path, name: &str, text: &str) {
    let new = folder.join("new");
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, folder.join(name)).unwrap();
}

fn put_pair(folder: &Path, name: &str, pair: &Issued) {
    put(folder, &format!("{name}.crt"), &pair.certificate);
    put(folder, &format!("{name}.key"), &pair.key);
}

/// What the backend saw, by its answer.
fn seen(reply: &str) -> Value {
    assert_eq!(status(reply), 200, "{reply}");
    serde_json::from_str(body(reply)).unwrap()
}

fn unavailable() -> (u16, String) {
    (502, "upstream_unavailable".to_owned())
}

#[test]
fn a_backend_that_asks_for_a_certificate_gets_ours_from_a_guard_and_from_a_boundary() {
    let network = Network::new();
    let backend = network.backend();
    let doors = network.narrows(&[(&backend.url(), BOTH, "forward = \"identity\"")]);
    let (by_guard, by_boundary) = (seen(&doors.guard(0)), seen(&doors.boundary(0)));
    for seen in [&by_guard, &by_boundary] {
        assert_eq!((&seen["shown"], &seen["alpn"]), (&json!(told(&network.own)), &Value::Null));
        let head = seen["head"].as_str().unwrap();
        assert!(
            head.starts_with("GET /tickets/42 HTTP/1.1\r\n") && head.contains("host: s0.internal\r\n"),
            "{head}"
        );
    }
    let head = by_guard["head"].as_str().unwrap();
    assert_eq!(
        (header(head, "narrows-subject"), header(head, "authorization")),
        (Some("alice"), None),
        "{head}"
    );
    let head = by_boundary["head"].as_str().unwrap();
    let token = header(head, "authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap();
    assert_eq!(claims(token)["aud"], TICKETS, "{head}");
    assert!(!doors.guarded.served.log().contains("PRIVATE"));
}

#[test]
fn a_backend_that_is_not_shown_what_it_asks_for_gets_no_request() {
    let network = Network::new();
    let (absent, others) = (network.backend(), TlsBackend::start(&network.servers.server(), &[&network.servers]));
    let doors = network.narrows(&[(&absent.url(), "{ ca_file = \"servers.pem\" }", ""), (&others.url(), BOTH, "")]);
    for (at, backend) in [absent, others].iter().enumerate() {
        assert_eq!(answered(&doors.guard(at)), unavailable(), "guard of s{at}");
        assert_eq!(answered(&doors.boundary(at)), unavailable(), "boundary before s{at}");
        assert_eq!(backend.requests(), 0, "s{at}");
    }
}

#[test]
fn a_backend_that_cannot_prove_who_it_is_gets_no_request() {
    let network = Network::new();
    let other = CertificateAuthority::new("others");
    // None of them asks for a certificate: nothing but what they show speaks against them.
    let of_another = TlsBackend::start(&other.server(), &[]);
    let elsewhere = TlsBackend::start(&network.servers.server_elsewhere(), &[]);
    let expired = TlsBackend::start(&network.servers.expired_server(), &[]);
    let unknown_to_the_system = TlsBackend::start(&network.servers.server(), &[]);
    let right = TlsBackend::start(&network.servers.server(), &[]);
    let authority = "{ ca_file = \"servers.pem\" }";
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let until = today.saturating_add(jiff::Span::new().days(30));
    let observing = format!("mode = \"observe\"\nobserve_until = \"{until}\"");
    let doors = network.narrows(&[
        (&of_another.url(), authority, ""),
        (&elsewhere.url(), authority, ""),
        (&expired.url(), authority, ""),
        (
            &unknown_to_the_system.url(),
            "{ cert_file = \"own.crt\", key_file = \"own.key\" }",
            "",
        ),
        (&of_another.url(), authority, &observing),
        (&right.url(), authority, ""),
    ]);
    for at in 0..5 {
        assert_eq!(answered(&doors.guard(at)), unavailable(), "guard of s{at}");
        assert_eq!(answered(&doors.boundary(at)), unavailable(), "boundary before s{at}");
    }
    for (at, backend) in [of_another, elsewhere, expired, unknown_to_the_system].iter().enumerate() {
        assert_eq!(backend.requests(), 0, "s{at}");
    }
    assert_eq!(
        seen(&doors.guard(5))["shown"],
        Value::Null,
        "the authority alone pins who it may be"
    );
    let log = doors.guarded.served.log();
    assert!(
        log.contains("UnknownIssuer") || log.contains("unknown issuer"),
        "why is told to the operator: {log}"
    );
}

/// Connections are kept for the next request, and not for that of another.
#[test]
fn two_services_at_one_backend_show_each_its_own_certificate() {
    let network = Network::new();
    let backend = network.backend();
    let second = BOTH.replace("own.", "second.");
    let doors = network.narrows(&[(&backend.url(), BOTH, ""), (&backend.url(), &second, "")]);
    let of_second = std::fs::read_to_string(doors.folder.path().join("second.crt")).unwrap();
    let of_second = Issued {
        certificate: of_second,
        key: String::new(),
    };
    for _ in 0..2 {
        for (at, own) in [(0, &network.own), (1, &of_second)] {
            assert_eq!(seen(&doors.guard(at))["shown"], told(own), "guard of s{at}");
            assert_eq!(seen(&doors.boundary(at))["shown"], told(own), "boundary before s{at}");
        }
    }
}

#[test]
fn a_renewed_certificate_is_shown_with_the_next_request_and_half_a_pair_is_not() {
    let network = Network::new();
    let backend = network.backend();
    let doors = network.narrows(&[(&backend.url(), BOTH, "")]);
    let both = || [seen(&doors.guard(0)), seen(&doors.boundary(0))].map(|seen| seen["shown"].clone());
    let (old, renewed) = (told(&network.own), network.clients.client("narrows"));
    assert_eq!(both(), [json!(old), json!(old)]);
    let version = doors.guarded.served.ready()["config_version"].clone();

    // Half of it: refused whole, and the old pair is shown as before.
    put(doors.folder.path(), "own.key", &renewed.key);
    let refused = doors.guarded.served.until("half a pair is refused", |ready| ready["refused_change"].is_string());
    let why = refused["refused_change"].as_str().unwrap();
    assert!(
        why.contains("services[0].upstream_tls.key_file") && !why.contains("PRIVATE"),
        "{why}"
    );
    assert_eq!(both(), [json!(old), json!(old)]);

    // The other half: from then on, over no connection that the old one opened.
    put(doors.folder.path(), "own.crt", &renewed.certificate);
    doors.guarded.served.until("the pair is in force", |ready| {
        ready["refused_change"].is_null() && ready["config_version"] != version
    });
    let (began, shown) = (Instant::now(), json!(told(&renewed)));
    while both() != [shown.clone(), shown.clone()] {
        assert!(began.elapsed() < PATIENCE, "the renewed certificate is not shown");
    }
    assert_eq!(both(), [shown.clone(), shown]);

    // Who the backend may be follows its file too, with connections open to one that was it before.
    put(doors.folder.path(), "servers.pem", &CertificateAuthority::new("successor").pem);
    let began = Instant::now();
    while [doors.guard(0), doors.boundary(0)].map(|reply| answered(&reply)) != [unavailable(), unavailable()] {
        assert!(began.elapsed() < PATIENCE, "the backend of the old authority is still asked");
    }
}

/// A folder with what `init` writes, a guard before `upstream`, and these keys of service and guard.
fn configured(network: &Network, upstream: &str, tls: &str, guard: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    network.write(folder.path());
    let config = folder.path().join("narrows.toml");
    let tables = crate::guard::behind(upstream).replace("audience = ", &format!("{tls}\naudience = "));
    let text = std::fs::read_to_string(&config).unwrap() + &tables + &crate::guard::guard(guard);
    std::fs::write(config, text).unwrap();
    folder
}

#[test]
fn an_identity_leaves_the_machine_for_a_backend_that_can_tell_whose_it_is() {
    let network = Network::new();
    let ca_alone = "upstream_tls = { ca_file = \"servers.pem\" }";
    let both = format!("upstream_tls = {BOTH}");
    let pair_alone = "upstream_tls = { cert_file = \"own.crt\", key_file = \"own.key\" }";
    let refusal = "guards[0].forward: identity headers leave this machine";
    for (upstream, tls, forward, refused) in [
        ("https://tickets.example:8443", both.as_str(), "", false),
        ("https://tickets.example:8443", pair_alone, "forward = \"identity\"", false),
        ("https://tickets.example:8443", ca_alone, "forward = \"identity\"", true),
        ("https://tickets.example:8443", "", "forward = \"identity\"", true),
        ("http://tickets.example:8443", both.as_str(), "forward = \"identity\"", true),
        ("https://tickets.example:8443", ca_alone, "forward = \"token\"", false),
    ] {
        let folder = configured(&network, upstream, tls, forward);
        let ran = narrows(folder.path(), &["check"], "");
        assert_eq!(ran.code == 1, refused, "{upstream} {tls} {forward}: {}", ran.out);
        assert_eq!(ran.out.contains(refusal), refused, "{upstream} {tls} {forward}: {}", ran.out);
    }
}

#[test]
fn what_no_backend_will_take_is_told_before_it_refuses() {
    let network = Network::new();
    let folder = configured(&network, "https://tickets.example:8443", &format!("upstream_tls = {BOTH}"), "");
    let checked = || {
        let ran = narrows(folder.path(), &["check"], "");
        assert_eq!(ran.code, 0, "nothing else waits for a renewal: {}", ran.out);
        ran.out
    };
    assert!(!checked().contains("upstream_tls"));
    let path = folder.path();
    let at = "services[0].upstream_tls.cert_file: `./own.crt`";
    put_pair(path, "own", &network.clients.expired_client("narrows"));
    let told = checked();
    assert!(
        told.contains(&format!(
            "{at} ended at 2020-12-31T00:00:00Z, and no upstream takes it; put a new one"
        )),
        "{told}"
    );
    put_pair(path, "own", &network.clients.later_client("narrows"));
    let told = checked();
    assert!(
        told.contains(&format!("{at} begins at 2096-01-01T00:00:00Z, and no upstream takes it before")),
        "{told}"
    );
    put_pair(path, "own", &network.clients.server());
    let told = checked();
    assert!(
        told.contains(&format!("{at} is for servers and not for clients")) && told.contains("`clientAuth`"),
        "{told}"
    );
    put_pair(path, "own", &network.own);
    std::fs::set_permissions(path.join("own.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = checked();
    assert!(
        told.contains("services[0].upstream_tls.key_file: `./own.key` can be read by others") && told.contains("chmod 600"),
        "{told}"
    );
}

#[test]
fn what_is_said_of_an_upstream_that_nothing_here_connects_to_is_told() {
    let network = Network::new();
    let folder = configured(&network, "https://tickets.example:8443", &format!("upstream_tls = {BOTH}"), "");
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let (services, _) = text.split_once("[[guards]]").unwrap();
    let boundary =
        "[[boundaries]]\nname = \"front\"\nclient = \"edge\"\nservices = \"*\"\norigin = \"https://edge.example\"\nlogin = [\"corp\"]\n";
    for (door, does_nothing) in [("forward_auth", true), ("proxy", false)] {
        std::fs::write(&config, format!("{services}{boundary}{door} = \"127.0.0.1:0\"\n")).unwrap();
        let ran = narrows(folder.path(), &["check"], "");
        assert_eq!(ran.code, 0, "{}", ran.out);
        assert_eq!(
            ran.out.contains("services[0].upstream_tls: does nothing"),
            does_nothing,
            "{door}: {}",
            ran.out
        );
    }
}

#[test]
fn it_is_shown_with_its_place_and_covered_whole() {
    let network = Network::new();
    let tls = format!("upstream_tls = {BOTH}");
    let folder = configured(&network, "https://tickets.example:8443", &tls, "forward = \"token\"");
    let ran = narrows(folder.path(), &["config", "show"], "");
    let line = "upstream_tls = { ca_file = \"./servers.pem\", cert_file = \"./own.crt\", key_file = \"./own.key\" }  # narrows.toml:";
    assert!(ran.out.contains(line), "{}", ran.out);
    // The version of what is in force changes with the certificate, and does not tell of the key.
    let version = || {
        let ran = narrows(folder.path(), &["config", "show"], "");
        ran.out.lines().find(|line| line.starts_with("# config_version")).map(str::to_owned).unwrap()
    };
    let before = version();
    put(folder.path(), "own.key", &network.own.key.replace('\n', "\r\n"));
    assert_eq!(version(), before);
    put_pair(folder.path(), "own", &network.clients.client("narrows"));
    assert_ne!(version(), before);
    // Half of another table is no table.
    let more = "[[services]]\nname = \"tickets\"\nupstream_tls = { ca_file = \"servers.pem\" }\n";
    std::fs::write(folder.path().join("more.toml"), more).unwrap();
    let ran = narrows(
        folder.path(),
        &["--config", "narrows.toml", "--config", "more.toml", "config", "show", "--json"],
        "",
    );
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        shown["config"]["services"][0]["upstream_tls"],
        json!({ "ca_file": "./servers.pem" }),
        "{}",
        ran.out
    );
}
