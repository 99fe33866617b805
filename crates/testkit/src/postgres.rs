//! A database of a real PostgreSQL, which lives for as long as any test needs it.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Open without waiting for somebody at the other end.
const O_NONBLOCK: i32 = 0o4000;

/// An empty database of its own on the one server of this test run; gone when this is dropped.
///
/// The server is Debian's, installed and started by `scripts/postgres`. A machine that cannot have it fails the test.
#[derive(Debug)]
pub struct PostgresDatabase {
    name: String,
}

impl PostgresDatabase {
    /// Makes the database.
    #[expect(clippy::new_without_default, reason = "it starts a server, which no default does")]
    pub fn new() -> Self {
        Self::with("")
    }

    /// Makes the database with these words of `CREATE DATABASE`.
    pub fn with(options: &str) -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("t_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        server().run(&format!("CREATE DATABASE {name} {options}"));
        Self { name }
    }

    /// Its address for `store`.
    pub fn address(&self) -> String {
        let server = server();
        format!(
            "postgres:///{}?host={}&port={}&user=narrows",
            self.name,
            server.folder.display(),
            server.port
        )
    }

    /// Its address over TCP on loopback, where the server asks for TLS and a password.
    pub fn address_over_tcp(&self, password: &str) -> String {
        format!("postgres://narrows:{password}@127.0.0.1:{}/{}", server().port, self.name)
    }

    /// The certificate that signed the server's.
    pub fn authority() -> PathBuf {
        server().folder.join("ca.crt")
    }

    /// Takes it away: connections are cut and no new ones are let in.
    pub fn close(&self) {
        server().run(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", self.name));
        self.cut();
    }

    /// Lets connections in again.
    pub fn open(&self) {
        server().run(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name));
    }

    /// Cuts every connection to it, whatever it is doing.
    pub fn cut(&self) {
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        server().run(&cut);
    }

    /// Runs SQL in it, as somebody else would.
    pub fn run(&self, sql: &str) -> String {
        server().run_in(&self.name, sql)
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            server().run(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// A server of a test's own, for settings that one database cannot have for itself; stopped when it is dropped.
#[derive(Debug)]
pub struct PostgresServer {
    folder: PathBuf,
}

impl PostgresServer {
    /// Makes and starts a server with these lines of `postgresql.conf`.
    pub fn start(settings: &str) -> Self {
        use std::io::Write as _;
        // Not in a folder of this user alone: PostgreSQL never runs as root.
        let folder = std::env::temp_dir().join(format!("narrows-postgres-own-{}", std::process::id()));
        let server = Self { folder };
        server.script(&["start"]);
        server.script(&["stop"]);
        let mut config = OpenOptions::new().append(true).open(server.folder.join("data/postgresql.conf")).unwrap();
        writeln!(config, "{settings}").unwrap();
        server.script(&["start"]);
        server
    }

    /// Starts it again with its usual settings, as a copy that waits for what a primary sends.
    pub fn restart_as_standby(&mut self) {
        self.script(&["stop"]);
        File::create(self.folder.join("data/standby.signal")).unwrap();
        let mut config = OpenOptions::new().append(true).open(self.folder.join("data/postgresql.conf")).unwrap();
        std::io::Write::write_all(&mut config, b"fsync = on\n").unwrap();
        self.script(&["start"]);
    }

    /// The address of its first database for `store`.
    pub fn address(&self) -> String {
        let port = std::fs::read_to_string(self.folder.join("port")).unwrap();
        format!("postgres:///postgres?host={}&port={port}&user=narrows", self.folder.display())
    }

    fn script(&self, verbs: &[&str]) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(Path::parent).unwrap();
        let run = Command::new(root.join("scripts/postgres")).args(verbs).arg(&self.folder).output().unwrap();
        assert!(run.status.success(), "{verbs:?}: {}", String::from_utf8_lossy(&run.stderr));
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.folder.join("data/postmaster.pid").exists() {
            self.script(&["stop"]);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[derive(Debug)]
struct Server {
    folder: PathBuf,
    port: String,
    programs: PathBuf,
    /// The server runs for as long as somebody holds this.
    _alive: File,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::find_or_start)
}

impl Server {
    fn find_or_start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().and_then(Path::parent).unwrap();
        let folder = root.join("target/postgres");
        std::fs::create_dir_all(&folder).unwrap();
        // Held until the server is: it ends only with this lock in hand, so it cannot end in between.
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let hold = || OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(folder.join("alive"));
        let alive = hold().unwrap_or_else(|_| {
            start(root, &folder);
            hold().unwrap()
        });
        let text = std::fs::read_to_string(folder.join("server")).unwrap();
        let mut lines = text.lines().map(str::to_owned);
        let mut next = || lines.next().unwrap();
        Self {
            folder: next().into(),
            port: next(),
            programs: next().into(),
            _alive: alive,
        }
    }

    fn run(&self, sql: &str) -> String {
        self.run_in("postgres", sql)
    }

    fn run_in(&self, database: &str, sql: &str) -> String {
        let output = Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"])
            .args([
                "--username",
                "narrows",
                "--dbname",
                database,
                "--port",
                &self.port,
                "--command",
                sql,
            ])
            .arg("--host")
            .arg(&self.folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Starts the server in the background; it ends when its last user has ended, however that came about.
#[expect(clippy::zombie_processes, reason = "it outlives this process, which may be one test of many")]
fn start(root: &Path, folder: &Path) {
    let mut child = Command::new(root.join("scripts/postgres"))
        .arg("share")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    if said.trim() != "ready" {
        let mut why = String::new();
        child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        let _ = child.wait();
        panic!("PostgreSQL is needed and does not run: {said}{why}");
    }
}
