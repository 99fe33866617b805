//! Verbs that need no running broker; the scenes run in `demo --once`.

use crate::run::narrows;

#[test]
fn wrong_use_exits_with_2_and_a_missing_configuration_with_1_and_the_mend() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["dance"], "").code, 2);
    let ran = narrows(folder.path(), &["check"], "");
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("narrows init"), "{}", ran.out);
}

#[test]
fn keys_and_clients_are_listed_and_changed_on_the_machine_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    assert_eq!(narrows(folder.path(), &["client", "disable", "edge"], "").code, 0);
    assert!(narrows(folder.path(), &["client", "list"], "").out.contains("disabled"));
    assert_eq!(narrows(folder.path(), &["client", "enable", "edge"], "").code, 0);
    assert!(narrows(folder.path(), &["client", "list", "--json"], "").out.contains("\"enabled\""));
    assert_eq!(narrows(folder.path(), &["client", "disable", "gone"], "").code, 1);
    assert_eq!(narrows(folder.path(), &["key", "list"], "").code, 0);
    let rotate = narrows(folder.path(), &["key", "rotate"], "");
    assert!(rotate.code == 1 && rotate.err.contains("holds no signing key"), "{}", rotate.err);
}

#[test]
fn exactly_one_thing_is_revoked_on_the_machine_of_the_store_and_it_must_be_known() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let would = narrows(folder.path(), &["revoke", "--client", "edge", "--dry-run"], "");
    assert!(would.code == 0 && would.out.contains("would revoke client `edge`"), "{}", would.out);
    // Every sixty-fourth id of ours begins with a sign that could begin another argument.
    let would = narrows(folder.path(), &["revoke", "--jti", "-j", "--dry-run"], "");
    assert!(would.code == 0 && would.out.contains("would revoke jti `-j`"), "{would:?}");
    let revoked = narrows(folder.path(), &["revoke", "--jti", "j-1", "--reason", "pasted", "--json"], "");
    assert!(
        revoked.code == 0 && revoked.out.contains("\"seq\":0"),
        "{} {}",
        revoked.out,
        revoked.err
    );
    let next = narrows(folder.path(), &["revoke", "--subject", "corp|alice", "--json"], "");
    assert!(
        next.code == 0 && next.out.contains("\"seq\":1"),
        "a rehearsal writes nothing: {}",
        next.out
    );
    for unknown in [
        ["--client", "gone"],
        ["--issuer", "gone"],
        ["--subject", "gone|alice"],
        ["--subject", "alice"],
    ] {
        assert_eq!(
            narrows(folder.path(), &["revoke", unknown[0], unknown[1]], "").code,
            1,
            "{unknown:?}"
        );
    }
    assert_eq!(narrows(folder.path(), &["revoke", "--token-stdin"], "no token").code, 1);
    for wrong in [["revoke", "--jti", "a", "--task", "b"].as_slice(), &["revoke"]] {
        assert_eq!(narrows(folder.path(), wrong, "").code, 2, "{wrong:?}");
    }
}

#[test]
fn somebodys_standing_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let show = || {
        let ran = narrows(folder.path(), &["subject", "show", "corp|alice", "--json"], "");
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()
    };
    assert_eq!(
        (&show()["standing"], &show()["risk"]),
        (&"enabled".into(), &serde_json::Value::Null)
    );
    assert_eq!(narrows(folder.path(), &["subject", "disable", "corp|alice"], "").code, 0);
    assert_eq!(show()["standing"], "disabled");
    let told = narrows(folder.path(), &["subject", "show", "corp|alice"], "").out;
    assert!(told.contains("is disabled since 20"), "{told}");
    for wrong in ["alice", "other|alice"] {
        assert_eq!(narrows(folder.path(), &["subject", "show", wrong], "").code, 1);
    }
}

/// Nothing listens there: what is no token is told before anything is sent.
#[test]
fn a_file_that_holds_more_than_a_token_is_named() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    for (text, what) in [
        ("`ann` is auditor. The token:\nnrwo_x\n", "several lines"),
        ("a token", "blanks"),
        ("\n", "there is no token"),
    ] {
        std::fs::write(folder.path().join("ann.token"), text).unwrap();
        let rows: [&[&str]; 2] = [&["report", "graph"], &["connection", "list"]];
        for verb in rows {
            let asked = [verb, &["--token-file", "ann.token", "--url", "http://127.0.0.1:1"]].concat();
            let refused = narrows(folder.path(), &asked, "");
            assert!(
                refused.code == 1 && refused.err.contains("--token-file `ann.token`: ") && refused.err.contains(what),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn an_operator_is_let_in_by_a_token_that_is_shown_once_and_kept_as_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let add = |name: &str, more: &[&str]| {
        let arguments = [&["operator", "add", name, "--role", "admin", "--role", "auditor"], more].concat();
        narrows(folder.path(), &arguments, "")
    };
    let listed = || {
        let listed = narrows(folder.path(), &["operator", "list", "--json"], "").out;
        serde_json::from_str::<serde_json::Value>(&listed).unwrap()
    };
    let dry = add("ann", &["--dry-run"]);
    assert!(
        dry.code == 0 && !dry.out.contains("nrwo_") && listed() == serde_json::json!([]),
        "{}",
        dry.out
    );

    let added = add("ann", &["--subject", "corp", "ann@corp", "--json"]);
    assert_eq!(added.code, 0, "{}", added.err);
    let added: serde_json::Value = serde_json::from_str(&added.out).unwrap();
    let token = added["token"].as_str().unwrap();
    let form = delegation::token::OpaqueForm::parse(token).unwrap();
    assert_eq!(form.kind(), delegation::token::OpaqueKind::Operator);
    let people = listed();
    assert_eq!(people[0]["name"], "ann");
    assert_eq!(people[0]["roles"], serde_json::json!(["auditor", "admin"]));
    assert_eq!(people[0]["subject"]["sub"], "ann@corp");
    assert!(people[0].get("token").is_none());
    let held = ["narrows.db", "narrows.db-wal"]
        .map(|name| std::fs::read(folder.path().join(name)).unwrap_or_default())
        .concat();
    assert!(
        !held.windows(token.len()).any(|bytes| bytes == token.as_bytes()),
        "the store keeps no token"
    );
    assert!(held.windows(32).any(|bytes| bytes == form.digest()), "but its digest");

    let again = add("ann", &[]);
    assert!(again.code == 1 && again.err.contains("already"), "{}", again.err);
    // To be written to a file as it is.
    let anna = add("anna", &[]);
    let form = delegation::token::OpaqueForm::parse(anna.out.trim()).unwrap();
    assert_eq!(form.kind(), delegation::token::OpaqueKind::Operator);
    assert!(anna.code == 0 && anna.err.contains("`anna` is auditor, admin"), "{}", anna.err);
    for (wrong, why) in [("a", "begins more than one"), ("bob", "there is no operator")] {
        let refused = narrows(folder.path(), &["operator", "remove", wrong], "");
        assert!(refused.code == 1 && refused.err.contains(why), "{}", refused.err);
    }
    for wrong in [["bob", "--subject", "nobody", "x"].as_slice(), &["b/b"]] {
        assert_eq!(add(wrong[0], &wrong[1..]).code, 1, "{wrong:?}");
    }
    assert_eq!(narrows(folder.path(), &["operator", "add", "bob", "--role", "king"], "").code, 2);
    assert_eq!(
        narrows(folder.path(), &["operator", "add", "bob"], "").code,
        2,
        "somebody who may do nothing"
    );
    assert_eq!(narrows(folder.path(), &["operator", "remove", "anna", "--dry-run"], "").code, 0);
    assert_eq!(listed().as_array().unwrap().len(), 2);
    assert_eq!(
        narrows(folder.path(), &["operator", "remove", "ann"], "").code,
        0,
        "a whole name is not a beginning"
    );
    assert_eq!(listed()[0]["name"], "anna");
}

#[test]
fn a_new_client_gets_a_key_pair_and_an_entry_that_is_right() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let added = narrows(folder.path(), &["client", "add", "billing"], "");
    assert_eq!(added.code, 0, "{}", added.err);
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n{}", added.out)).unwrap();
    let ran = narrows(folder.path(), &["check"], "");
    assert_eq!(ran.code, 0, "{}", ran.out);
}

#[test]
fn a_new_secret_has_our_form_is_shown_once_and_only_its_digest_is_in_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let added = narrows(folder.path(), &["client", "add", "billing", "--method", "client-secret-basic"], "");
    assert_eq!(added.code, 0, "{}", added.err);
    let secret = added.out.lines().next().unwrap().rsplit_once(": ").unwrap().1;
    let form = delegation::token::OpaqueForm::parse(secret).unwrap();
    assert_eq!(form.kind(), delegation::token::OpaqueKind::ClientSecret);
    let digest: String = form.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(added.out.contains(&format!("secret_sha256 = \"{digest}\"")), "{}", added.out);
    assert_eq!(added.out.matches(secret).count(), 1);
}

#[test]
fn explain_answers_by_rule_and_names_the_near_miss() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let ask = |group: &str| {
        let arguments = [
            "explain",
            "--client",
            "edge",
            "--subject",
            "corp|alice",
            "--group",
            group,
            "--audience",
            "https://tickets.internal",
            "--details",
            "ticket:read/42",
        ];
        narrows(folder.path(), &arguments, "")
    };
    let allowed = ask("support");
    assert!(
        allowed.code == 0 && allowed.out.contains("edge-reads-tickets-for-support"),
        "{}",
        allowed.out
    );
    assert_eq!(ask("corp|support").code, 0, "as policies and `policy matrix` spell it");
    let refused = ask("sales");
    assert!(
        refused.code == 1 && refused.out.contains("near miss") && refused.out.contains("Subject::\"corp|alice\" in Group::\"corp|sales\""),
        "{}",
        refused.out
    );
}

#[test]
fn completions_and_the_manual_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            narrows(folder.path(), &["completions", shell], "").out.contains("narrows"),
            "{shell}"
        );
    }
    assert!(narrows(folder.path(), &["man"], "").out.contains(".TH"));
}

#[test]
fn a_client_is_named_by_a_unique_beginning_and_a_dry_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", ".", "--from", "demo"], "");
    let listed = || narrows(folder.path(), &["client", "list"], "").out;
    assert_eq!(
        narrows(folder.path(), &["client", "disable", "ord", "--dry-run"], "").out,
        "would make `orders` disabled\n"
    );
    assert!(!listed().contains("disabled"));
    assert_eq!(narrows(folder.path(), &["client", "disable", "ord"], "").code, 0);
    assert!(listed().lines().any(|line| line.contains("orders") && line.contains("disabled")));
    let both = narrows(folder.path(), &["client", "enable", ""], "");
    assert!(both.code == 1 && both.err.contains("begins more than one client"), "{}", both.err);
    let alice = narrows(folder.path(), &["subject", "disable", "corp|alice", "--dry-run"], "");
    assert_eq!((alice.code, alice.out.as_str()), (0, "would make `corp|alice` disabled\n"));
    let nobody = narrows(folder.path(), &["subject", "disable", "crop|alice"], "");
    assert!(
        nobody.code == 1 && nobody.err.contains("no trusted issuer `crop`"),
        "{}",
        nobody.err
    );
    assert_eq!(
        narrows(folder.path(), &["key", "rotate", "--dry-run"], "").code,
        1,
        "there is no key to rotate yet"
    );
}

#[test]
fn a_clients_files_lie_beside_the_configuration_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "shop"], "");
    let add = |id: &str, more: &[&str]| {
        let arguments = [&["--config", "shop/narrows.toml", "client", "add", id], more].concat();
        narrows(folder.path(), &arguments, "")
    };
    let dry = add("../out", &["--dry-run"]);
    assert!(dry.out.starts_with("# would write shop/client..-out.jwks.json"), "{}", dry.out);
    assert!(!folder.path().join("shop/client..-out.key").exists());
    let config = folder.path().join("shop/narrows.toml");
    let mut text = std::fs::read_to_string(&config).unwrap();
    for id in ["../out", "spiffe://shop/billing", "a\"b"] {
        let added = add(id, &[]);
        assert_eq!(added.code, 0, "{}", added.err);
        text += &format!("\n{}", added.out);
    }
    text += &format!("\n{}", add("post", &["--method", "client-secret-post"]).out);
    std::fs::write(&config, text).unwrap();
    let ran = narrows(folder.path(), &["--config", "shop/narrows.toml", "check"], "");
    assert!(ran.code == 0 && ran.out.contains("clients 5"), "{}", ran.out);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing lies outside");
    let secret = add("dry", &["--method", "client-secret-basic", "--dry-run"]);
    assert!(secret.out.contains("would be shown"), "{}", secret.out);
}

#[test]
fn a_store_moves_to_postgresql_and_back_by_backup_and_restore() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| narrows(folder.path(), arguments, "");
    run(&["init", "."]);
    assert_eq!(run(&["client", "disable", "edge"]).code, 0);
    let dry = run(&["backup", "one", "--dry-run"]);
    assert!(
        dry.out.contains("would write") && !folder.path().join("one").exists(),
        "{}",
        dry.out
    );
    let first = run(&["backup", "one", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&first.out).unwrap();
    assert_eq!(
        (first.code, told.get("records").and_then(serde_json::Value::as_i64)),
        (0, Some(1)),
        "{}",
        first.err
    );
    assert_eq!(run(&["backup", "one"]).code, 1, "a file that is there is not written over");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(folder.path().join("one")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let database = testkit::PostgresDatabase::new();
    let (config, sqlite) = (folder.path().join("narrows.toml"), "sqlite:narrows.db");
    let on_sqlite = std::fs::read_to_string(&config).unwrap();
    assert!(on_sqlite.contains(sqlite));
    std::fs::write(&config, on_sqlite.replace(sqlite, &database.address())).unwrap();
    assert_eq!(run(&["check"]).code, 0);
    assert!(run(&["client", "list"]).out.contains("enabled"), "an empty database knows nobody");
    assert!(run(&["restore", "one", "--dry-run"]).out.contains("would restore"));
    let restored = run(&["restore", "one"]);
    assert!(
        restored.code == 0 && restored.out.contains("the epoch is 2"),
        "{}{}",
        restored.out,
        restored.err
    );
    assert!(run(&["client", "list"]).out.contains("disabled"));
    let again = run(&["restore", "one"]);
    assert!(again.code == 1 && again.err.contains("--replace"), "{}", again.err);
    assert_eq!(run(&["restore", "one", "--replace"]).code, 0);

    assert_eq!(run(&["backup", "two"]).code, 0);
    std::fs::write(&config, on_sqlite).unwrap();
    std::fs::remove_file(folder.path().join("narrows.db")).unwrap();
    assert_eq!(run(&["restore", "two"]).code, 0);
    assert!(run(&["client", "list"]).out.contains("disabled"));
    std::fs::write(folder.path().join("two"), "half").unwrap();
    let damaged = run(&["restore", "two", "--replace"]);
    assert!(
        damaged.code == 1 && damaged.err.contains("expected the head of a backup"),
        "{}",
        damaged.err
    );
}

#[test]
fn the_environment_does_not_send_fetches_through_a_proxy() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    // The issuer is at a port where nobody answers, so that nothing but a proxy could.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("https://login.corp.example", &format!("http://{gone}"))).unwrap();
    let issuer = testkit::FakeIssuer::es256(&format!("http://{gone}"));
    let claims = serde_json::json!({ "iss": issuer.issuer, "sub": "alice", "aud": "api://shop", "iat": 1, "exp": 2 });
    let token = issuer.sign("at+jwt", &claims);
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_narrows"))
        .arg("inspect")
        .current_dir(folder.path())
        .envs(["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"].map(|name| (name, &address)))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), token.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("NOT VERIFIED"));
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "SSRF-013");
}
