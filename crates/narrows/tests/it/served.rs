//! A broker that runs from a folder of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::narrows;

/// What the contract allows a change to take, and some for a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// One broker; it ends with this value.
pub(crate) struct Served {
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    pub(crate) child: Child,
}

impl Served {
    /// What `init` writes, after `change` had a look at it.
    pub(crate) fn start(change: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        narrows(folder.path(), &["init", "."], "");
        change(folder.path());
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = folder.path().join("narrows.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace("127.0.0.1:8420", &address.to_string())).unwrap();
        let child = serve(folder.path());
        let served = Self { folder, address, child };
        served.until("it serves", |ready| ready.get("policy_version").is_some());
        served
    }

    /// Lets it end as whoever runs it would, and starts it again.
    pub(crate) fn restart(&mut self) {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(told.unwrap().success());
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "it does not end: {}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
        self.child = serve(self.path());
        self.until("it serves again", |ready| ready.get("policy_version").is_some());
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts `text` into a file of its folder, whole at once: one that is read while it is written is half of one.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        let whole = path.with_extension("new");
        std::fs::write(&whole, text).unwrap();
        std::fs::rename(&whole, &path).unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> String {
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

    pub(crate) fn ready(&self) -> Value {
        serde_json::from_str(&self.get("/readyz")).unwrap_or_default()
    }

    /// Asks `/readyz` until `holds`.
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
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

    /// Where this door of a boundary listens, as the program said when it opened it.
    pub(crate) fn door(&self, door: &str) -> SocketAddr {
        let log = self.log();
        door_of(&log, door).unwrap_or_else(|| panic!("{door} is not open:\n{log}"))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

/// Runs the broker of `folder`.
fn serve(folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_narrows"))
        .arg("serve")
        .current_dir(folder)
        .env_remove("NARROWS_CONFIG")
        .stderr(std::fs::File::create(folder.join("log")).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where this door listens, by the log of the program that opened it.
pub(crate) fn door_of(log: &str, door: &str) -> Option<SocketAddr> {
    doors_of(log, door).into_iter().next()
}

/// Where all doors of this kind listen, in the order in which they were opened.
pub(crate) fn doors_of(log: &str, door: &str) -> Vec<SocketAddr> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told = lines.filter(|line| line["fields"]["door"] == door);
    told.filter_map(|line| line["fields"]["address"].as_str()?.parse().ok()).collect()
}
