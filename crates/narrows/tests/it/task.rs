//! Tasks on the command line: opened, run, looked at, ended.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use testkit::FakeIssuer;

use crate::corp;
use crate::run::{Ran, narrows};
use crate::served::Served;

/// The edge opens tasks.
const RULES: &str = "\n@id(\"tasks\") permit (principal == Workload::\"edge\", action == Action::\"task\", resource is Audience);\n";

const AUDIENCE: &str = "https://tickets.internal";

/// A broker that trusts `corp`, whose edge opens tasks.
fn served(issuer: &FakeIssuer) -> Served {
    Served::start(|folder| {
        corp::trust(folder, issuer);
        let rules = folder.join("policies/first.cedar");
        let text = std::fs::read_to_string(&rules).unwrap();
        std::fs::write(&rules, text + RULES).unwrap();
    })
}

fn alice(issuer: &FakeIssuer) -> String {
    corp::token(issuer, "tickets.full", "support", 300)
}

/// `task VERB` as the edge, for reading ticket 42.
fn as_edge<'a>(verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let who = [
        "task",
        verb,
        "--client",
        "edge",
        "--key",
        "edge.key",
        "--audience",
        AUDIENCE,
        "--details",
        "ticket:read/42",
    ];
    [&who, more].concat()
}

/// Exchanges the task's token as the edge, for reading ticket 42.
fn redeem(folder: &Path, token: &str) -> Ran {
    let asked = [
        "exchange",
        "--client",
        "edge",
        "--key",
        "edge.key",
        "--subject-token-type",
        "task",
        "--audience",
        AUDIENCE,
        "--details",
        "ticket:read/42",
    ];
    narrows(folder, &asked, token)
}

/// The one task that is known.
fn only(folder: &Path) -> Value {
    let listed: Value = serde_json::from_str(&narrows(folder, &["task", "list", "--all", "--json"], "").out).unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    listed.get(0).unwrap().clone()
}

fn member(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[test]
fn a_task_is_started_redeemed_shown_and_completed() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let dry = narrows(
        served.path(),
        &as_edge("start", &["--purpose", "answer 42", "--dry-run"]),
        "a.subject.token",
    );
    assert!(
        dry.code == 0 && dry.out.contains(" as edge, with\n") && dry.out.contains("answer 42\n") && dry.out.contains(AUDIENCE),
        "{dry:?}"
    );
    assert!(!dry.out.contains("a.subject.token"), "{dry:?}");
    let dry = narrows(served.path(), &as_edge("start", &["--dry-run", "--json"]), "a.subject.token");
    let shown: Value = serde_json::from_str(&dry.out).unwrap();
    assert!(shown["client"] == "edge" && !dry.out.contains("a.subject.token"), "{shown}");
    assert_eq!(narrows(served.path(), &["task", "list", "--all", "--json"], "").out, "[]\n");

    let started = narrows(
        served.path(),
        &as_edge("start", &["--purpose", "answer 42", "--json"]),
        &alice(&issuer),
    );
    assert_eq!(started.code, 0, "{started:?}");
    let reply: Value = serde_json::from_str(&started.out).unwrap();
    let (token, id) = (member(&reply, "access_token"), member(&reply, "task_id"));
    let redeem = || redeem(served.path(), &token);
    assert_eq!(redeem().code, 0);

    let listed = narrows(served.path(), &["task", "list"], "").out;
    assert!(
        listed.contains(&id) && listed.contains("alice at https://login.corp.example") && listed.contains("1 of 100"),
        "{listed}"
    );
    let beginning = id.get(..12).unwrap();
    let shown = narrows(served.path(), &["task", "show", beginning], "").out;
    assert!(
        shown.contains("answer 42") && shown.contains("open") && !shown.contains("nrwt_"),
        "{shown}"
    );
    for id in ["f", "%", "_"] {
        let missing = narrows(served.path(), &["task", "show", id], "");
        assert!(missing.code == 1 && missing.err.contains("task list --all"), "{missing:?}");
    }

    let dry = narrows(served.path(), &["task", "complete", &id, "--dry-run"], &token);
    assert!(dry.code == 0 && redeem().code == 0, "{dry:?}");
    let done = narrows(served.path(), &["task", "complete", &id], &token);
    assert!(done.code == 0 && done.out.contains("completed"), "{done:?}");
    let refused = redeem();
    assert!(refused.code == 1 && refused.err.contains("task_completed"), "{refused:?}");
    assert_eq!(
        narrows(served.path(), &["task", "list", "--json"], "").out.trim(),
        "[]",
        "none is open"
    );
    let again = narrows(served.path(), &["task", "cancel", &id], "");
    assert!(again.code == 1 && again.err.contains("was completed before"), "{again:?}");
}

#[test]
fn an_operator_cancels_a_task_at_the_store() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let token = narrows(served.path(), &as_edge("start", &[]), &alice(&issuer)).out.trim().to_owned();
    let id = member(&only(served.path()), "id");
    assert_eq!(narrows(served.path(), &["task", "cancel", &id, "--dry-run"], "").code, 0);
    assert_eq!(member(&only(served.path()), "status"), "open");
    assert_eq!(
        narrows(served.path(), &["task", "cancel", &id, "--reason", "by mistake"], "").code,
        0
    );
    // The row says so at once, whatever the broker has seen of the revocation.
    let refused = redeem(served.path(), &token);
    assert!(refused.err.contains("task_cancelled"), "{refused:?}");
}

/// Runs `task run` with this shell script.
fn run(served: &Served, more: &[&str], script: &str, input: &str) -> Ran {
    let command = ["--", "sh", "-c", script];
    narrows(served.path(), &[&as_edge("run", more)[..], &command].concat(), input)
}

#[test]
fn a_command_gets_tokens_of_its_task_which_ends_with_it() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let env = format!("TICKETS={AUDIENCE}");
    let script = r#"
        printf 'id %s\nenv %s\nfolder %s\n' "$NARROWS_TASK_ID" "$TICKETS" "$(dirname "$NARROWS_TASK_SOCKET")"
        test -S "$NARROWS_TASK_SOCKET" && test "$(stat -c %a "$(dirname "$NARROWS_TASK_SOCKET")")" = 700 && echo private
        printf 'https://tickets.internal ticket:read/42\nhttps://tickets.internal ticket:read/43\nhttps://tickets.internal\n' |
            python3 -c 'import os,socket,sys
s=socket.socket(socket.AF_UNIX); s.connect(os.environ["NARROWS_TASK_SOCKET"]); s.sendall(sys.stdin.buffer.read()); s.shutdown(socket.SHUT_WR)
sys.stdout.write(s.makefile().read())'
        exit 7
    "#;
    let ran = run(&served, &["--env", &env], script, &alice(&issuer));
    assert_eq!(ran.code, 7, "{ran:?}");
    let task = only(served.path());
    let id = member(&task, "id");
    let folder = ran.out.lines().find_map(|line| line.strip_prefix("folder "));
    assert!(
        folder.is_some_and(|folder| !Path::new(folder).exists()),
        "the socket is gone: {ran:?}"
    );
    let lines: Vec<_> = ran.out.lines().collect();
    let [first, env, _, mode, asked, wider, whole] = lines.as_slice() else {
        unreachable!("seven lines: {ran:?}")
    };
    assert_eq!((*first, *mode), (format!("id {id}").as_str(), "private"), "{ran:?}");
    assert!(
        env.starts_with("env eyJ") && asked.starts_with("eyJ") && whole.starts_with("eyJ"),
        "{ran:?}"
    );
    assert!(wider.starts_with("! wider_than_subject "), "{wider}");
    assert_eq!(member(&task, "status"), "cancelled", "it did not end well");
    let told = narrows(served.path(), &["inspect"], asked);
    assert!(told.out.contains("42"), "{told:?}");

    let ran = run(&served, &[], "true", &alice(&issuer));
    assert_eq!(ran.code, 0, "{ran:?}");
    let listed: Value = serde_json::from_str(&narrows(served.path(), &["task", "list", "--all", "--json"], "").out).unwrap();
    let statuses: Vec<_> = listed.as_array().unwrap().iter().map(|task| member(task, "status")).collect();
    assert_eq!(statuses, ["cancelled", "completed"]);
    let missing = run(
        &served,
        &["--env", "A=https://tickets.internal"],
        "exec no-such-program",
        &alice(&issuer),
    );
    assert_eq!(missing.code, 127, "the shell's word for it");
}

#[test]
fn a_command_that_is_not_there_or_a_token_that_is_refused_ends_the_task() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let command = as_edge("run", &["--", "/no/such/program"]);
    let ran = narrows(served.path(), &command, &alice(&issuer));
    assert!(ran.code == 1 && ran.err.contains("could not be started"), "{ran:?}");
    assert_eq!(member(&only(served.path()), "status"), "cancelled");
    // Of two tokens the task gives one: the command is not run with less than it was to have.
    let [one, other] = ["A", "B"].map(|name| format!("{name}={AUDIENCE}"));
    let ran = run(
        &served,
        &["--max-tokens", "1", "--env", &one, "--env", &other],
        "touch ran",
        &alice(&issuer),
    );
    assert!(ran.code == 1 && ran.err.contains("task_exhausted"), "{ran:?}");
    assert!(!served.path().join("ran").exists());
    let listed: Value = serde_json::from_str(&narrows(served.path(), &["task", "list", "--all", "--json"], "").out).unwrap();
    assert_eq!(member(&listed[1], "status"), "cancelled");
}

/// The token of a person is not for a command to have.
#[test]
fn a_command_is_not_handed_the_token_of_a_person() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let script = r#"test -z "$NARROWS_TOKEN$NARROWS_TOKEN_FILE""#;
    let subject = served.path().join("alice.token");
    std::fs::write(&subject, alice(&issuer)).unwrap();
    let mut child = started(&served, &[], script, &subject);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let command = as_edge("run", &["--", "sh", "-c", script]);
    let ended = Command::new(env!("CARGO_BIN_EXE_narrows"))
        .args(command)
        .current_dir(served.path())
        .env_remove("NARROWS_CONFIG")
        .env("NARROWS_TOKEN", alice(&issuer))
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn what_is_asked_of_the_socket_is_one_line_and_no_long_one() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let script = r#"
        python3 -c 'import os,socket
s=socket.socket(socket.AF_UNIX); s.connect(os.environ["NARROWS_TASK_SOCKET"]); s.sendall(b"x"*16384); s.shutdown(socket.SHUT_WR)
f=s.makefile(); print(f.readline().strip(), repr(f.readline()))'
        narrows="$0"; "$narrows" task token "$(printf 'a\nb')" 2>&1
    "#;
    let program = env!("CARGO_BIN_EXE_narrows");
    let command = as_edge("run", &["--", "sh", "-c", script, program]);
    let ran = narrows(served.path(), &command, &alice(&issuer));
    assert_eq!(ran.out.lines().next(), Some("! malformed_request ''"), "{ran:?}");
    assert!(ran.code == 1 && ran.out.contains("are one line"), "{ran:?}");
}

/// `task run` with the subject token from a file, not waited for.
fn started(served: &Served, more: &[&str], script: &str, subject: &Path) -> Child {
    let command = ["--", "sh", "-c", script];
    Command::new(env!("CARGO_BIN_EXE_narrows"))
        .args(as_edge("run", &[more, &command].concat()))
        .current_dir(served.path())
        .env_remove("NARROWS_CONFIG")
        .env("NARROWS_TOKEN_FILE", subject)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What `found` finds in the end.
fn until<T>(what: &str, found: impl Fn() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed().as_secs() < 60, "{what} does not come");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn kill(child: &Child, signal: &str) {
    let signal = format!("-{signal}");
    let killed = Command::new("kill").args([signal, child.id().to_string()]).status().unwrap();
    assert!(killed.success());
}

#[test]
fn a_signal_reaches_the_command_and_the_task_ends_after_it() {
    let issuer = corp::issuer();
    let served = served(&issuer);
    let subject = served.path().join("alice.token");
    std::fs::write(&subject, alice(&issuer)).unwrap();
    let mut child = started(
        &served,
        &[],
        "trap 'touch caught; exit 3' TERM; touch ready; for _ in $(seq 1200); do sleep 0.05; done",
        &subject,
    );
    let appears = |name: &str| until(name, || served.path().join(name).exists().then_some(()));
    appears("ready");
    assert_eq!(member(&only(served.path()), "status"), "open");
    kill(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(3), "the command's own answer to it");
    appears("caught");
    assert_eq!(member(&only(served.path()), "status"), "cancelled");
    assert_eq!(member(&only(served.path()), "creator"), "edge");
}

/// The payload is a pipe, which is read before the task is opened and once more before the command starts: there it stands still.
#[test]
fn a_signal_before_the_command_has_started_ends_the_task_too() {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let issuer = corp::issuer();
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        let served = served(&issuer);
        let (subject, pipe) = (served.path().join("alice.token"), served.path().join("payload"));
        std::fs::write(&subject, alice(&issuer)).unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let feed = || {
            // Without waiting: there is no writer before there is a reader.
            let open = || {
                std::fs::OpenOptions::new()
                    .write(true)
                    .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
                    .open(&pipe)
            };
            until("a reader", || open().ok()).write_all(b"payload").unwrap();
        };
        let mut child = started(&served, &["--payload", "payload"], "exec sleep 60", &subject);
        feed();
        let tasks = || narrows(served.path(), &["task", "list", "--all", "--json"], "").out;
        until("the task", || tasks().contains("\"id\"").then_some(()));
        kill(&child, signal);
        feed();
        assert_eq!(child.wait().unwrap().code(), Some(128 + number), "the signal, passed on");
        assert_eq!(member(&only(served.path()), "status"), "cancelled", "{signal}");
    }
}
