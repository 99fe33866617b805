//! `demo`: the scenes through the program itself, and the file that tells where a demo is.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::run::narrows;

/// For a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// `narrows` with folders of its own for what it leaves behind.
fn command(runtime: &Path, temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narrows"));
    command.env("XDG_RUNTIME_DIR", runtime).env("TMPDIR", temporary).env_remove("NARROWS_CONFIG");
    command
}

fn folder(mode: u32) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
    folder
}

/// A demo that stays up, until this value ends.
struct Staying(Child);

impl Staying {
    fn start(mut command: Command, state: impl Fn() -> Option<PathBuf>) -> (Self, PathBuf) {
        let child = command.args(["demo", "--json"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let staying = Self(child);
        let began = Instant::now();
        loop {
            if let Some(path) = state() {
                return (staying, path);
            }
            assert!(began.elapsed() < PATIENCE, "the demo says where it is");
            // The condition decides, not the pause: that only keeps the asking from being a load of its own.
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn interrupt(&mut self) -> bool {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.0.wait().unwrap().success()
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_scene_behaves_and_is_told_as_json_from_the_address_that_was_asked_for() {
    let here = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ran = narrows(here.path(), &["demo", "--once", "--json", "--listen", &address], "");
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    let scenes = told.get("scenes").unwrap().as_array().unwrap();
    let ids: Vec<_> = scenes.iter().map(|scene| scene.get("id").unwrap().as_str().unwrap()).collect();
    assert_eq!(
        ids,
        [
            "S1", "S2", "S3", "S4", "S5", "S6", "S8", "S9", "S10", "S11", "S12", "S13", "S14", "S17", "S19"
        ]
    );
    for scene in scenes {
        assert_eq!(scene.get("ok"), Some(&Value::Bool(true)), "{scene:#}");
        assert!(!scene.get("title").unwrap().as_str().unwrap().is_empty());
        assert!(!scene.get("steps").unwrap().as_array().unwrap().is_empty());
    }
    let issuer = format!("issuer     http://{address}");
    assert!(ran.out.contains(&issuer), "{issuer}\n{}", ran.out);
    assert_eq!(narrows(here.path(), &["demo", "--once", "--listen", "8420"], "").code, 2);
}

#[test]
fn a_demo_says_where_it_is_to_its_user_alone_and_follows_no_link() {
    let (runtime, temporary) = (folder(0o700), folder(0o700));
    let (state, victim) = (runtime.path().join("narrows-demo.json"), temporary.path().join("victim"));
    std::fs::write(&victim, "untouched").unwrap();
    symlink(&victim, &state).unwrap();
    let token = |user: &str| command(runtime.path(), temporary.path()).args(["demo", "token", "--user", user]).output().unwrap();
    let none = token("alice");
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("no demo is running"));

    let there = || state.symlink_metadata().ok().filter(std::fs::Metadata::is_file).map(|_| state.clone());
    let (mut staying, path) = Staying::start(command(runtime.path(), temporary.path()), there);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
    let alice = token("alice");
    assert_eq!(String::from_utf8(alice.stdout).unwrap().trim().split('.').count(), 3, "a token");
    assert!(staying.interrupt());
    assert!(!state.exists());
}

#[test]
fn a_folder_that_others_may_enter_is_not_used_to_say_where_a_demo_is() {
    let (runtime, temporary) = (folder(0o755), folder(0o700));
    let inside = || std::fs::read_dir(temporary.path()).unwrap().flatten().map(|entry| entry.path());
    let there = || inside().map(|path| path.join("narrows-demo.json")).find(|path| path.is_file());
    let (mut staying, path) = Staying::start(command(runtime.path(), temporary.path()), there);
    let own = path.parent().unwrap();
    assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(runtime.path()).unwrap().count(), 0);
    assert!(staying.interrupt());

    std::fs::set_permissions(own, PermissionsExt::from_mode(0o755)).unwrap();
    let open = command(runtime.path(), temporary.path()).args(["demo", "token"]).output().unwrap();
    let said = String::from_utf8(open.stderr).unwrap();
    assert!(!open.status.success() && said.contains("is not a folder of yours alone"), "{said}");
}
