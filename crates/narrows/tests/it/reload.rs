//! A running broker follows its files, and refuses a bad change whole.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::narrows;

/// What the contract allows a change to take, and some for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    folder: tempfile::TempDir,
    address: SocketAddr,
    child: Child,
}

impl Served {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        narrows(folder.path(), &["init", "."], "");
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = folder.path().join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace("127.0.0.1:8420", &address.to_string())).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_narrows"))
            .arg("serve")
            .current_dir(folder.path())
            .env_remove("NARROWS_CONFIG")
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let served = Self { folder, address, child };
        served.until("it serves", |ready| ready.get("policy_version").is_some());
        served
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn get(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(self.address) else {
            return String::new();
        };
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        let mut reply = String::new();
        if stream.write_all(request.as_bytes()).is_err() || stream.read_to_string(&mut reply).is_err() {
            return String::new();
        }
        reply.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    fn ready(&self) -> Value {
        serde_json::from_str(&self.get("/readyz")).unwrap_or_default()
    }

    /// Asks `/readyz` until `holds`.
    fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let ready = self.ready();
            if holds(&ready) {
                return ready;
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {ready}\n{}", self.log());
            // The condition decides, not the pause: that only keeps the asking from being a load of its own.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn version(ready: &Value, name: &str) -> String {
    ready.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[test]
fn a_good_change_is_in_force_and_a_bad_one_is_refused_whole_and_told_three_times() {
    let served = Served::start();
    let before = served.ready();

    // A new policy, of a file that was not there.
    let extra = served.path().join("policies/extra.cedar");
    std::fs::write(
        &extra,
        "@id(\"closed\") forbid (principal, action, resource) when { context.hour < 6 };",
    )
    .unwrap();
    let old = version(&before, "policy_version");
    let changed = served.until("the new policy is in force", |ready| version(ready, "policy_version") != old);
    assert_eq!(changed.get("refused_change"), Some(&Value::Null));

    // Good configuration with a bad policy: neither is taken.
    let config = served.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &extra,
        "@id(\"closed\") forbid (principal, action, resource) when { context.our < 6 };",
    )
    .unwrap();
    std::fs::write(&config, text.replace("max_lifetime = \"2m\"", "max_lifetime = \"1m\"")).unwrap();
    let refused = served.until("the bad change is refused", |ready| {
        ready.get("refused_change").is_some_and(Value::is_string)
    });
    for name in ["policy_version", "config_version"] {
        assert_eq!(version(&refused, name), version(&changed, name), "{name} stays");
    }
    assert!(version(&refused, "refused_change").contains("extra.cedar:1"), "{refused}");
    assert!(served.get("/metrics").lines().any(|line| line == "narrows_change_refused 1"));
    assert!(
        served.log().contains("the change is refused and the old state stays"),
        "{}",
        served.log()
    );

    // Mended, and told by SIGHUP: both are taken, and nothing is refused any more.
    std::fs::remove_file(&extra).unwrap();
    let pid = served.child.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    let old = version(&changed, "config_version");
    let mended = served.until("the mended change is in force", |ready| version(ready, "config_version") != old);
    assert_eq!(version(&mended, "policy_version"), version(&before, "policy_version"));
    assert_eq!(mended.get("refused_change"), Some(&Value::Null));
    assert!(served.get("/metrics").lines().any(|line| line == "narrows_change_refused 0"));
}
