//! Guards in a process of their own, beside a broker that says what was revoked: both the real program.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::apart::Apart;
use crate::boundary::{body, has_ended, header, problem, status};
use crate::guard::{Guarded, TICKETS, as_header, behind, disabled_and_enabled, exchanged, get, guard, on_record, told, until};
use crate::run::narrows;
use crate::{corp, echo};

/// Whom the guard needs a token of, by its own name.
const DATA_PLANE: &str = r#"
[[audiences]]
id     = "http://127.0.0.1:8420"
scopes = ["narrows.data_plane"]

[[scopes]]
name    = "narrows.data_plane"
details = []
"#;
const RULE: &str =
    r#"@id("guards") permit (principal == Workload::"tickets-guard", action == Action::"scope:narrows.data_plane", resource);"#;

/// A broker with a guard of its own, and the same guard apart from it.
struct Both {
    beside: Guarded,
    apart: Apart,
}

impl Both {
    fn with(keys: &str) -> Self {
        Self::changed(keys, |text| text)
    }

    /// The same, after `change` had a look at what `init` writes.
    fn changed(keys: &str, change: impl Fn(String) -> String) -> Self {
        let tables = behind(&format!("http://{}", echo::start())) + &guard(keys) + DATA_PLANE;
        let beside = Guarded::changed(&corp::issuer(), &tables, RULE, change);
        let apart = Apart::run("guard", &files(beside.served.path(), beside.served.address));
        apart.until("the broker is heard", || apart.ready().0 == 200);
        Self { beside, apart }
    }

    fn door(&self) -> SocketAddr {
        self.apart.door("guard")
    }
}

/// What the process apart has: the broker's own configuration with one table more.
fn files(broker: &Path, at: SocketAddr) -> Vec<(&'static str, String)> {
    let read = |name: &str| std::fs::read_to_string(broker.join(name)).unwrap();
    let table =
        format!("\n[broker]\nurls = [\"http://{at}\"]\nclient = \"tickets-guard\"\nkey = {{ file = \"edge.key\" }}\ndeadline = \"30s\"\n");
    vec![
        (
            "narrows.toml",
            format!("metrics_listen = \"127.0.0.1:0\"\n{}{table}", read("narrows.toml")),
        ),
        ("edge.key", read("edge.key")),
        ("edge.jwks.json", read("edge.jwks.json")),
        ("corp.jwks.json", read("corp.jwks.json")),
    ]
}

#[test]
fn a_guard_apart_says_what_one_beside_the_broker_says() {
    let both = Both::with("forward = \"identity\"");
    let (folder, guarded) = (both.beside.served.path(), &both.beside);
    let good = guarded.bearer(&["ticket:read/42"]);
    let rows = [
        ("/tickets/42", good.clone(), 200),
        ("/healthz", good.clone(), 200),
        ("/healthz", String::new(), 200),
        ("/tickets/42", String::new(), 401),
        ("/tickets/42", as_header("x.y.z"), 401),
        ("/tickets/42", as_header(&guarded.alice), 401),
        ("/tickets/43", good.clone(), 403),
        ("/tickets/42", guarded.bearer(&["ticket:read/42", "ticket:read/43"]), 401),
        ("/admin", good.clone(), 403),
        ("//tickets/42", good.clone(), 400),
    ];
    let mut malformed = String::new();
    for (target, headers, expected) in rows {
        let replies = [guarded.doors[0], both.door()].map(|door| get(door, target, &headers));
        let [beside, apart] = replies.each_ref().map(|reply| (told(reply), header(reply, "www-authenticate")));
        assert_eq!(apart, beside, "{target} {headers}");
        assert_eq!(apart.0.0, expected, "{target} {headers}");
        let [beside, apart] = replies.each_ref().map(|reply| header(body(reply), "narrows-subject"));
        assert_eq!(
            (apart, apart.is_some()),
            (beside, expected == 200 && target != "/healthz"),
            "{target} {headers}"
        );
        if expected == 400 {
            // Of several in a second, the first two are on record under the ids that their callers were told.
            malformed = problem(&replies[1])["decision_id"].as_str().unwrap().to_owned();
        }
    }
    let (_, ready) = both.apart.ready();
    assert_eq!(
        (&ready["guards"][0]["service"], &ready["guards"][0]["keys"]),
        (&json!("tickets"), &json!("ok")),
        "{ready}"
    );
    assert!(ready["guards"][0]["view_age_ms"].is_u64(), "{ready}");
    assert_eq!(ready["guards"][0]["listen"], json!("127.0.0.1:0"), "{ready}");
    for there in ["narrows.db", "narrows.key", "policies"] {
        assert!(!both.apart.folder.path().join(there).exists(), "{there}");
    }
    // What is refused here is on record there.
    let reply = get(both.door(), "/tickets/43", &good);
    let why = on_record(folder, problem(&reply)["decision_id"].as_str().unwrap());
    assert!(
        ["\"guard\"", "\"/tickets/43\"", "alice", "wider_than_subject"]
            .iter()
            .all(|part| why.contains(part)),
        "{why}"
    );
    let why = on_record(folder, &malformed);
    assert!(why.contains("\"cause\": \"the path holds an empty segment\""), "{why}");
    // What is revoked at the broker is dead here too, and ends what is open.
    let lists = as_header(&exchanged(folder, &guarded.alice, TICKETS, &["ticket:list"], &[]));
    let mut stream = echo::open(
        both.door(),
        &format!("GET /stream HTTP/1.1\r\nhost: tickets.internal\r\n{lists}\r\n"),
    );
    assert!(echo::until(&mut stream, "first").starts_with("HTTP/1.1 200"));
    let revoked = narrows(folder, &["revoke", "--subject", "corp|alice"], "");
    assert_eq!(revoked.code, 0, "{revoked:?}");
    assert_eq!(
        until("it is revoked", 401, || { get(both.door(), "/tickets/42", &good) }),
        "subject_token_revoked"
    );
    let mut rest = Vec::new();
    assert!(has_ended(std::io::Read::read_to_end(&mut stream, &mut rest)));
}

/// What `door` says to a token that comes from 127.0.0.2.
fn from_elsewhere(door: SocketAddr, target: &str, headers: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nhost: tickets.internal\r\nconnection: close\r\n{headers}\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut stream = socket.connect(door).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        String::from_utf8(reply).unwrap()
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap() })
}

#[test]
fn a_token_that_two_guards_saw_at_two_places_ends_at_both() {
    let revoking = |text: String| text.replacen("max_lifetime = \"2m\"\n", "max_lifetime = \"2m\"\non_duplicate = \"revoke\"\n", 1);
    let both = Both::changed("", revoking);
    let good = both.beside.bearer(&["ticket:read/42"]);
    assert_eq!(status(&get(both.beside.doors[0], "/tickets/42", &good)), 200);
    assert_eq!(status(&from_elsewhere(both.door(), "/tickets/42", &good)), 200);
    for door in [both.beside.doors[0], both.door()] {
        // Each sees it from one place only.
        assert_eq!(
            until("it is revoked", 401, || match door {
                door if door == both.door() => from_elsewhere(door, "/tickets/42", &good),
                door => get(door, "/tickets/42", &good),
            }),
            "subject_token_revoked"
        );
    }
}

#[test]
fn whoever_is_disabled_at_the_broker_is_refused_by_a_guard_apart_until_enabled() {
    let both = Both::with("forward = \"identity\"");
    disabled_and_enabled(&both.beside, both.door());
}

#[test]
fn without_its_broker_a_guard_soon_lets_public_requests_through_and_nothing_else() {
    let mut both = Both::with("");
    let good = both.beside.bearer(&["ticket:read/42"]);
    let ask = |target: &str| get(both.apart.door("guard"), target, &good);
    assert_eq!(status(&ask("/tickets/42")), 200);
    both.beside.served.child.kill().unwrap();
    both.beside.served.child.wait().unwrap();
    assert_eq!(until("nothing is heard", 503, || ask("/tickets/42")), "revocation_view_stale");
    assert_eq!(header(&ask("/tickets/42"), "retry-after"), Some("1"));
    assert_eq!(status(&ask("/healthz")), 200);
    assert_eq!(both.apart.ready().0, 503);
}

/// Whom the broker does not take it tells nothing, in its process as in another: that is nothing of the caller's, who is told to come
/// again.
#[test]
fn a_guard_whose_client_is_disabled_blames_no_token_and_is_not_ready() {
    let both = Both::with("");
    let (served, folder) = (&both.beside.served, both.beside.served.path());
    let good = both.beside.bearer(&["ticket:read/42"]);
    let doors = [both.beside.doors[0], both.door()];
    for door in doors {
        assert_eq!(status(&get(door, "/tickets/42", &good)), 200);
    }
    let disabled = narrows(folder, &["client", "disable", "tickets-guard"], "");
    assert_eq!(disabled.code, 0, "{disabled:?}");
    for door in doors {
        until("it is disabled", 503, || get(door, "/tickets/42", &good));
        let reply = get(door, "/tickets/42", &good);
        assert_eq!(told(&reply), (503, "revocation_view_stale".to_owned()), "{reply}");
        assert_eq!(
            (header(&reply, "www-authenticate"), header(&reply, "retry-after")),
            (None, Some("1"))
        );
        assert_eq!(status(&get(door, "/healthz", "")), 200);
        if door == doors[0] {
            on_record(folder, problem(&reply)["decision_id"].as_str().unwrap());
        }
    }
    // Whoever else asks the broker is answered.
    assert_eq!(served.ready()["refused_clients"], json!(["tickets-guard"]));
    assert_eq!((&served.ready()["status"], both.apart.ready().0), (&json!("ready"), 503));
    let enabled = narrows(folder, &["client", "enable", "tickets-guard"], "");
    assert_eq!(enabled.code, 0, "{enabled:?}");
    both.apart.until("it is ready again", || both.apart.ready().0 == 200);
    for door in doors {
        until("it lets through again", 200, || get(door, "/tickets/42", &good));
    }
    assert_eq!(served.ready()["refused_clients"], json!([]));
}

/// There is no number for how long ago that was which never happened.
#[test]
fn a_guard_that_never_heard_its_broker_says_no_age_of_what_it_knows() {
    let mut both = Both::with("");
    both.beside.served.child.kill().unwrap();
    both.beside.served.child.wait().unwrap();
    let alone = Apart::run("guard", &files(both.beside.served.path(), both.beside.served.address));
    let (code, ready) = alone.ready();
    assert_eq!(
        (code, &ready["guards"][0]["view_age_ms"]),
        (503, &serde_json::Value::Null),
        "{ready}"
    );
    assert!(ready["guards"][0].get("view_age_ms").is_some(), "{ready}");
}

/// Its own configuration says that tokens are good once, whatever the broker's says and so the token.
#[test]
fn a_guard_apart_takes_a_token_once_where_its_own_file_says_so() {
    let both = Both::with("");
    let config = both.apart.folder.path().join("narrows.toml");
    let good = both.beside.bearer(&["ticket:read/42"]);
    let ask = || told(&get(both.door(), "/tickets/42", &good));
    assert_eq!([ask(), ask()], [(200, String::new()), (200, String::new())]);
    let before = both.apart.ready().1["config_version"].clone();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("max_lifetime = \"2m\"", "max_lifetime = \"2m\"\nsingle_use = true"),
    )
    .unwrap();
    both.apart.until("it is read", || both.apart.ready().1["config_version"] != before);
    assert_eq!([ask(), ask()], [(200, String::new()), (401, "token_used".to_owned())]);
}

#[test]
fn a_guard_apart_follows_its_files_and_stays_where_it_is() {
    let both = Both::with("forward = \"nothing\"");
    let config = both.apart.folder.path().join("narrows.toml");
    let wide = both.beside.bearer(&["ticket:read/42", "ticket:read/43"]);
    let ask = || get(both.door(), "/tickets/42", &wide);
    assert_eq!(told(&ask()), (401, "overbroad_token".to_owned()));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("forward = \"nothing\"", "forward = \"identity\"\nexcess = \"any\""),
    )
    .unwrap();
    until("it is read", 200, ask);
    assert_eq!(header(body(&ask()), "narrows-subject"), Some("alice"));
    std::fs::write(&config, text.replace("listen  = \"127.0.0.1:0\"", "listen  = \"127.0.0.2:0\"")).unwrap();
    both.apart.until("the change is refused", || {
        both.apart.ready().1["refused_change"].as_str().is_some_and(|why| why.starts_with("guards: "))
    });
}

/// What `narrows guard` says when it does not start; it is not waited for if it does.
fn refuses_to_run(folder: &Path) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_narrows"))
        .arg("guard")
        .current_dir(folder)
        .env_remove("NARROWS_CONFIG")
        .stderr(std::fs::File::create(folder.join("log")).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let code = loop {
        match child.try_wait().unwrap() {
            Some(ended) => break ended.code(),
            None if began.elapsed() > Duration::from_secs(30) => break None,
            None => std::thread::park_timeout(Duration::from_millis(20)),
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    let said = std::fs::read_to_string(folder.join("log")).unwrap();
    assert_eq!(code, Some(1), "{said}");
    said
}

#[test]
fn a_process_of_guards_says_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let tables = behind("http://127.0.0.1:9001") + &guard("");
    let broker = "\n[broker]\nurls = [\"http://127.0.0.1:8420\"]\nclient = \"edge\"\nkey = { file = \"edge.key\" }\n";
    for (text, expected) in [
        (text.clone() + &tables, "broker: is required here"),
        (
            text.clone() + &behind("http://127.0.0.1:9001") + broker,
            "guards: there is none to serve",
        ),
        (
            text + &tables + broker,
            "guards[0].client: `tickets` acts as `tickets-guard`, and this process as `edge`",
        ),
    ] {
        std::fs::write(&config, text).unwrap();
        let said = refuses_to_run(folder.path());
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
