//! Configurations that are wrong get key, value and mend; those that are right are taken.

use std::path::Path;

use crate::run::{Ran, narrows};

fn started(from: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let ran = narrows(folder.path(), &["init", ".", "--from", from], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    folder
}

/// Checks the configuration that `init` wrote, with `from` replaced by `to`.
fn checked(folder: &Path, from: &str, to: &str) -> Ran {
    let text = std::fs::read_to_string(folder.join("narrows.toml")).unwrap();
    assert!(text.contains(from), "`{from}` is in what init writes");
    std::fs::write(folder.join("changed.toml"), text.replacen(from, to, 1)).unwrap();
    narrows(folder, &["--config", "changed.toml", "check"], "")
}

#[test]
fn what_init_writes_is_right() {
    for from in ["plain", "demo", "envoy", "mcp"] {
        let folder = started(from);
        let ran = narrows(folder.path(), &["check"], "");
        assert_eq!(ran.code, 0, "{from}: {}{}", ran.out, ran.err);
        let again = narrows(folder.path(), &["init", ".", "--from", from], "");
        assert_eq!(again.code, 1, "nothing is overwritten");
    }
}

/// What is begun with Envoy needs no change before Envoy can be told of it.
#[test]
fn what_init_writes_for_envoy_warns_of_nothing_and_envoy_can_be_told_of_it() {
    let folder = started("envoy");
    let ran = narrows(folder.path(), &["check"], "");
    assert!(ran.code == 0 && !ran.out.contains("warning"), "{ran:?}");
    let ran = narrows(folder.path(), &["snippet", "envoy"], "");
    assert!(
        ran.code == 0 && ran.out.contains("# PATCH /tickets/{id} reads the body") && ran.out.contains("port_value: 8431"),
        "{ran:?}"
    );
    // The one thing that is commented out is right too.
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert_eq!(text.matches("# mode          = \"observe\"").count(), 1, "{text}");
}

/// Nothing is promised of tools that is not so: the file says that they are not served, and `check` warns of it.
#[test]
fn what_init_writes_for_mcp_says_that_it_is_not_served() {
    let folder = started("mcp");
    let text = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    let (before, _) = text.split_once("[[mcp]]\n").unwrap();
    assert!(
        before.contains("# NOT SERVED YET.") && before.contains("No tool is protected by it."),
        "{text}"
    );
    let ran = narrows(folder.path(), &["check"], "");
    let warnings: Vec<_> = ran.out.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert!(
        matches!(warnings.as_slice(), [only] if only.contains("mcp: is understood and checked, and does nothing yet")),
        "{ran:?}"
    );
    // It is checked: a tool that names what its audience does not have is wrong.
    let ran = checked(folder.path(), "\"ticket:read/{arguments.id}\"", "\"ticket:burn/{arguments.id}\"");
    assert!(ran.code == 1 && ran.out.contains("mcp[0].tools.get_ticket"), "{ran:?}");
    let written = narrows(folder.path(), &["init", "other", "--from", "mcp"], "");
    assert!(written.code == 0 && written.out.contains("not served yet"), "{written:?}");
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_a_mend() {
    let folder = started("plain");
    let rows = [
        (
            "issuer   = \"http://127.0.0.1:8420\"",
            "issuer = \"http://narrows.example\"",
            "expected an https URL",
        ),
        ("listen   = \"127.0.0.1:8420\"", "listen = \"8420\"", "expected ADDRESS:PORT"),
        (
            "sqlite:narrows.db",
            "postgres://db/narrows?ssl=on",
            "store: expected `sqlite:PATH` or `postgres://",
        ),
        ("sqlite:narrows.db", "narrows.db", "expected `sqlite:PATH`"),
        ("exchangers = [\"edge\"]", "exchangers = [\"edgy\"]", "there is no client `edgy`"),
        ("exchangers = [\"edge\"]", "", "name the clients in `exchangers`"),
        ("method = \"private_key_jwt\"", "method = \"password\"", "expected private_key_jwt"),
        ("jwks_file = \"edge.jwks.json\"", "jwks_file = \"gone.json\"", "there is no file"),
        ("max_lifetime = \"2m\"", "max_lifetime = \"2 minutes\"", "expected a duration"),
        ("max_lifetime = \"2m\"", "sender = \"dpop\"", "only `none` is served yet"),
        ("max_lifetime = \"2m\"", "single_use = true\ntoken = \"txn\"", "shown at every hop"),
        ("max_lifetime = \"2m\"", "max_liftime = \"2m\"", "did you mean `max_lifetime`?"),
        (
            "details      = [\"ticket\"]",
            "details = [\"tickets\"]",
            "add it to [[detail_types]]",
        ),
        ("[\"ticket:list\", \"ticket:read,update\"]", "[\"ticket:delete\"]", "unknown action"),
        ("{ fields = \"subset\" }", "{ fields = \"smaller\" }", "expected equal, subset"),
        (
            "type           = \"ticket\"",
            "type = \"https://x.example/ticket\"",
            "is not declared",
        ),
        ("name       = \"corp\"", "name = \"co|rp\"", "names have no `|`"),
        (
            "issuer     = \"https://login.corp.example\"",
            "issuer = \"login.corp.example\"",
            "expected an https URL for discovery",
        ),
    ];
    for (from, to, expected) in rows {
        let ran = checked(folder.path(), from, to);
        assert_eq!(ran.code, 1, "{to}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(expected) && ran.out.contains("changed.toml:"), "{to}: {}", ran.out);
    }
}

#[test]
fn an_empty_configuration_opens_nothing() {
    let folder = started("plain");
    std::fs::write(folder.path().join("empty.toml"), "").unwrap();
    for command in ["check", "serve"] {
        let ran = narrows(folder.path(), &["--config", "empty.toml", command], "");
        assert_eq!(ran.code, 1, "SUP-008: {command}: {}{}", ran.out, ran.err);
        assert!((ran.out + &ran.err).contains("issuer"), "SUP-008: {command} names what is missing");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let folder = started("plain");
    let text = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    let text = text.replace("127.0.0.1:8420\"", "x\"").replace("2m", "2x");
    std::fs::write(folder.path().join("narrows.toml"), text).unwrap();
    let ran = narrows(folder.path(), &["check", "--json"], "");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let keys: Vec<_> = found
        .get("problems")
        .unwrap()
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem.get("key").unwrap().as_str().unwrap())
        .collect();
    assert_eq!(keys, ["audiences[0].max_lifetime", "issuer", "listen"]);
}

#[test]
fn a_bad_policy_is_named_with_its_file_and_line() {
    let folder = started("plain");
    std::fs::write(
        folder.path().join("policies/bad.cedar"),
        "\n@id(\"bad\")\npermit (principal, action == Action::\"ticket:gone\", resource);\n",
    )
    .unwrap();
    let ran = narrows(folder.path(), &["check"], "");
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("bad.cedar:3"), "{}", ran.out);
}

#[test]
fn what_is_included_is_joined_and_nothing_is_set_twice() {
    let folder = started("plain");
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("include = [\"conf.d/*.toml\"]\n{text}")).unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(
        folder.path().join("conf.d/a.toml"),
        "[[audiences]]\nid = \"https://other.internal\"\ndetails = [\"ticket\"]\n",
    )
    .unwrap();
    let shown = narrows(folder.path(), &["config", "show", "--json"], "");
    assert!(shown.out.contains("https://other.internal"), "{}{}", shown.out, shown.err);
    std::fs::write(folder.path().join("conf.d/b.toml"), "listen = \"127.0.0.1:9\"\n").unwrap();
    let twice = narrows(folder.path(), &["check"], "");
    assert_eq!(twice.code, 1);
    assert!(
        twice.out.contains("set twice") && twice.out.contains("narrows.toml") && twice.out.contains("b.toml"),
        "{}",
        twice.out
    );
}

#[test]
fn strings_may_stand_elsewhere_and_secrets_are_masked() {
    let folder = started("plain");
    std::fs::write(folder.path().join("digest"), "00".repeat(32)).unwrap();
    let client = "\n[[clients]]\nid = \"basic\"\nauth = { method = \"client_secret_basic\", secret_sha256 = { file = \"digest\" } }\n";
    let config = folder.path().join("narrows.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}{client}")).unwrap();
    let ran = narrows(folder.path(), &["check"], "");
    assert_eq!(ran.code, 0, "{}", ran.out);
    std::fs::write(
        &config,
        format!(
            "{text}{}",
            client.replace("{ file = \"digest\" }", &format!("\"{}\"", "00".repeat(32)))
        ),
    )
    .unwrap();
    let shown = narrows(folder.path(), &["config", "show"], "");
    assert!(shown.out.contains("***") && !shown.out.contains(&"00".repeat(32)), "{}", shown.out);
}

#[test]
fn the_schemas_are_printed() {
    let folder = started("plain");
    let schema = narrows(folder.path(), &["check", "--schema"], "");
    let schema: serde_json::Value = serde_json::from_str(&schema.out).unwrap();
    assert!(schema.pointer("/properties/trusted_issuers").is_some());
    let cedar = narrows(folder.path(), &["check", "--cedar-schema"], "");
    assert!(cedar.out.contains("entity Ticket in [Audience]"), "{}", cedar.out);
}

#[test]
fn a_scope_of_an_audience_that_no_token_can_bring_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let config = folder.path().join("narrows.toml");
    let plain = std::fs::read_to_string(&config).unwrap();
    let listed = plain.replace("max_lifetime = \"2m\"", "max_lifetime = \"2m\"\nscopes = [\"profile\"]");
    let check = |text: &str| {
        std::fs::write(&config, text).unwrap();
        let ran = narrows(folder.path(), &["check"], "");
        assert_eq!(ran.code, 0, "{}", ran.out);
        ran.out
    };
    let warning = "audiences[0].scopes: no token of an issuer brings `profile`";
    assert!(check(&listed).contains(warning));
    assert!(!check(&format!("{listed}\n[[scopes]]\nname = \"profile\"\ndetails = []\n")).contains(warning));
    assert!(!check(&listed.replace("name       = \"corp\"", "name = \"corp\"\nauthority = \"policy\"")).contains(warning));
}

/// A guard lets such a request through without what its upstream asks for.
#[test]
fn a_credential_that_nobody_puts_on_is_warned_of() {
    let folder = started("plain");
    let config = folder.path().join("narrows.toml");
    let plain = std::fs::read_to_string(&config).unwrap();
    let guarded = plain
        + r#"
[[clients]]
id       = "tickets"
receives = ["https://tickets.internal"]
auth     = { method = "private_key_jwt", jwks_file = "edge.jwks.json" }
[[services]]
name     = "tickets"
hosts    = ["tickets.example"]
upstream = "http://127.0.0.1:9001"
audience = "https://tickets.internal"
[services.routes]
"GET /legacy/{id}"  = { detail = "ticket:read/{id}", connection = "tickets-key" }
"GET /tickets/{id}" = "ticket:read/{id}"
[[connections]]
name = "tickets-key"
kind = "key"
send = { origin = "http://127.0.0.1:9001", header = "X-Api-Key" }
[[guards]]
service = "tickets"
client  = "tickets"
listen  = "127.0.0.1:8441"
"#;
    let warnings = |more: &str| {
        std::fs::write(&config, guarded.clone() + more).unwrap();
        let ran = narrows(folder.path(), &["check"], "");
        assert_eq!(ran.code, 0, "{}", ran.out);
        ran.out
            .lines()
            .filter(|line| line.contains("without its `connection`"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let told = warnings("");
    let expected = "guards[0].service: `GET /legacy/{id}` of `tickets` goes on without its `connection`: a guard shows no credential, and no \
                    boundary with `proxy` serves it; add one, or leave `connection` out";
    assert!(matches!(told.as_slice(), [only] if only.ends_with(expected)), "{told:?}");
    let boundary = "[[boundaries]]\nname = \"front\"\nclient = \"edge\"\nservices = [\"tickets\"]\norigin = \"https://tickets.example\"\n\
                    proxy = \"127.0.0.1:8430\"\n";
    assert!(warnings(boundary).is_empty());
}

#[test]
fn a_workload_that_is_known_by_a_name_alone_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    let base = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    let warned = |profile: &str, subject: &str, claims: &str| {
        let entries = format!(
            "{base}\n[[trusted_issuers]]\nname = \"pods\"\nissuer = \"https://platform.example\"\nsub_prefix = \"pods:\"\nprofile = \"{profile}\"\n\n\
             [[clients]]\nid = \"orders\"\nauth = {{ method = \"workload_jwt\", issuer = \"pods\", subject = \"{subject}\", claims = {{ {claims} }} }}\n"
        );
        std::fs::write(folder.path().join("narrows.toml"), entries).unwrap();
        let ran = narrows(folder.path(), &["check", "--json"], "");
        assert_eq!(ran.code, 0, "{}", ran.out);
        ran.out.contains("clients[1].auth") && ran.out.contains("by a name alone")
    };
    let account = "system:serviceaccount:shop:orders";
    assert!(warned("kubernetes", account, ""));
    assert!(warned("kubernetes", account, "\"kubernetes.io.namespace\" = \"shop\""));
    assert!(!warned("kubernetes", account, "\"kubernetes.io.serviceaccount.uid\" = \"u-1\""));
    let branch = "ref:refs/heads/main";
    assert!(warned("github", &format!("repo:acme/shop:{branch}"), "repository = \"acme/shop\""));
    assert!(
        warned("github", &format!("repo:acme@1/shop:{branch}"), ""),
        "the repository's id is missing"
    );
    assert!(warned("github", &format!("repo:acme@x/shop@y:{branch}"), ""), "no ids");
    assert!(!warned("github", &format!("repo:acme@1/shop@2:{branch}"), ""));
    assert!(!warned("github", &format!("repo:acme/shop:{branch}"), "repository_id = \"2\""));
    assert!(!warned("rfc9068", account, ""), "other issuers have no ids to ask for");
}
