//! `config show`: what is in force, and from which file.

use std::path::Path;

use crate::every_key::installation;
use crate::run::narrows;

fn from(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let ran = narrows(folder, &[arguments, &["config", "show", "--json"]].concat(), "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let shown: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    shown.get("from").unwrap().clone()
}

#[test]
fn every_value_names_the_file_and_line_that_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let plain = std::fs::read_to_string(folder.path().join("narrows.toml")).unwrap();
    std::fs::create_dir(folder.path().join("conf.d")).unwrap();
    std::fs::write(
        folder.path().join("narrows.toml"),
        format!("include = [\"conf.d/*.toml\"]\n{plain}"),
    )
    .unwrap();
    let auth = "auth = { method = \"private_key_jwt\", jwks_file = \"../edge.jwks.json\" }";
    std::fs::write(
        folder.path().join("conf.d/x.toml"),
        format!("[tokens]\nlifetime = \"90s\"\n\n[[clients]]\nid = \"batch\"\n{auth}\n"),
    )
    .unwrap();
    std::fs::write(
        folder.path().join("over.toml"),
        "listen = \"127.0.0.1:9\"\n\n[[clients]]\nid = \"batch\"\nowner = \"ops\"\n",
    )
    .unwrap();
    let from = from(folder.path(), &["--config", "narrows.toml", "--config", "over.toml"]);
    for (key, place) in [
        ("issuer", "narrows.toml:4"),
        ("listen", "over.toml:1"),
        ("tokens.lifetime", "conf.d/x.toml:2"),
        ("clients[0].id", "narrows.toml:20"),
        ("clients[1].auth", "conf.d/x.toml:6"),
        ("clients[1].owner", "over.toml:5"),
    ] {
        assert_eq!(from.get(key).and_then(|place| place.as_str()), Some(place), "{key}: {from:#}");
    }
    let over = ["--config", "narrows.toml", "--config", "over.toml", "config", "show"];
    let text = narrows(folder.path(), &over, "").out;
    assert!(text.contains("lifetime = \"90s\"  # conf.d/x.toml:2\n"), "{text}");
}

#[test]
fn what_is_shown_is_a_configuration_that_says_the_same() {
    let folder = installation();
    let shown = |file: &str| {
        let ran = narrows(folder.path(), &["--config", file, "config", "show"], "");
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    };
    let first = shown("narrows.toml");
    // A masked secret is no digest; it is put back to be read again.
    let back = first.replace("secret_sha256 = \"***\"", &format!("secret_sha256 = \"{}\"", "0".repeat(64)));
    std::fs::write(folder.path().join("again.toml"), &back).unwrap();
    let parts = |text: &str| text.replace("./", "").parse::<toml::Table>().unwrap();
    assert_eq!(parts(&shown("again.toml")), parts(&first));
    assert!(first.contains("\"GET /parcels\""), "a route's key keeps its quotes: {first}");
}

#[test]
fn effective_holds_every_default_in_the_notation_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", ".", "--from", "demo"], "");
    let text = narrows(folder.path(), &["config", "show", "--effective"], "").out;
    for table in [
        "[keys]\npublish_before = \"1h\"  # default\nrotate_every = \"30d\"  # default\n",
        "[limits]\nbody = \"64KiB\"  # default\nconnections = 10000  # default\n\
         requests_per_second.per_address = 200  # default\n\
         requests_per_second.per_client = 500  # default\n",
        "[policy]\ntimezone = \"UTC\"  # default\n",
        "[revocation]\nmax_age = \"5s\"  # default\n",
        "[tasks]\ndeferred_max_lifetime = \"24h\"  # default\n\
         deferred_token_lifetime = \"60s\"  # default\nmax_lifetime = \"1h\"  # default\n",
        "[tokens]\nalgorithm = \"ES256\"  # default\nlifetime = \"5m\"  # default\nmax_chain = 8  # default\nmax_lifetime = \"10m\"  # default\n",
        "\nleeway = \"30s\"  # default\n",
        "\ngrants = [\"token_exchange\", \"client_credentials\"]  # default\n",
        // Of a boundary and a guard, beside what is written.
        "\nforwarded = \"rebuild\"  # default\nlogin = []  # default\nmode = \"enforce\"  # default\n",
        "\npeers = [\"127.0.0.1/32\", \"::1/128\"]  # default\n",
        "\ntrusted_proxies = []  # default\n",
        "\nexcess = \"same_resource\"  # default\nfixed = {}  # default\n",
        "\nrecheck = \"never\"  # default\n",
        "\ntrust_network = false  # default\n",
    ] {
        assert!(text.contains(table), "{table}\n{text}");
    }
    let profile = "[[trusted_issuers]]\nname = \"okta\"\nissuer = \"https://okta.example\"\nprofile = \"okta\"\nsub_prefix = \"o-\"\n";
    let config = folder.path().join("narrows.toml");
    std::fs::write(&config, std::fs::read_to_string(&config).unwrap() + profile).unwrap();
    let text = narrows(folder.path(), &["config", "show", "--effective"], "").out;
    assert!(text.contains("scope_claim = \"scp\"  # profile okta\n"), "{text}");
}

#[test]
fn include_is_a_known_key_and_is_not_followed_twice() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let config = folder.path().join("narrows.toml");
    let plain = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("shoebox = 1\n{plain}")).unwrap();
    let ran = narrows(folder.path(), &["check"], "");
    assert!(
        ran.out.contains("shoebox: unknown key; known here: ") && ran.out.contains(" include,"),
        "{}",
        ran.out
    );
    std::fs::write(&config, format!("include = [\"more.toml\"]\n{plain}")).unwrap();
    std::fs::write(folder.path().join("more.toml"), "include = [\"most.toml\"]\n").unwrap();
    let ran = narrows(folder.path(), &["check"], "");
    assert!(
        ran.code == 1 && ran.out.contains("more.toml:1: include: is read in the files of --config alone"),
        "{}",
        ran.out
    );
}

/// A configuration for boundaries alone is shown as theirs: without what only a broker goes by, and no further than it would start.
#[test]
fn boundaries_alone_are_shown_as_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    narrows(folder.path(), &["init", "."], "");
    let config = folder.path().join("narrows.toml");
    let plain = std::fs::read_to_string(&config).unwrap();
    let show = |arguments: &[&str]| narrows(folder.path(), &[&["config", "show"], arguments].concat(), "");
    let ran = show(&[]);
    assert!(
        ran.out.contains("# for `narrows serve`") && ran.out.contains(", policy_version p-"),
        "{ran:?}"
    );
    assert!(!ran.out.contains("narrows boundary"), "{ran:?}");

    let front = "[[services]]\nname = \"tickets\"\nhosts = [\"tickets.internal\"]\nupstream = \"http://127.0.0.1:9001\"\n\
                 audience = \"https://tickets.internal\"\n[services.routes]\n\"GET /tickets/{id}\" = \"ticket:read/{id}\"\n\
                 [[boundaries]]\nname = \"front\"\nclient = \"edge\"\nservices = \"*\"\norigin = \"http://127.0.0.1:8430\"\n\
                 proxy = \"127.0.0.1:8430\"\n\
                 [broker]\nurls = [\"https://narrows.internal\"]\nclient = \"edge\"\nkey = { file = \"edge.key\" }\n";
    let both = format!("{plain}\n{front}");
    std::fs::write(&config, &both).unwrap();
    let ran = show(&[]);
    assert!(
        ran.out.contains("# for `narrows serve`") && ran.out.contains("# `narrows boundary` reads the same without `listen`"),
        "{ran:?}"
    );

    let alone: Vec<_> = both
        .lines()
        .filter(|line| !["store ", "key_file "].iter().any(|key| line.starts_with(key)))
        .collect();
    std::fs::write(&config, alone.join("\n")).unwrap();
    std::fs::remove_file(folder.path().join("narrows.key")).unwrap();
    let ran = show(&["--effective"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for line in [
        "# for `narrows boundary`, boundaries alone",
        "# not used by it: listen, policies\n",
        "\n[broker]\nclient = \"edge\"",
        "deadline = \"150ms\"  # default\n",
        "\n[revocation]\nmax_age = \"5s\"  # default\n",
        "\n[tokens]\nmax_chain = 8  # default\nmax_lifetime = \"10m\"  # default\n",
    ] {
        assert!(ran.out.contains(line), "{line}\n{}", ran.out);
    }
    for line in [
        "policy_version",
        "\nlisten",
        "\npolicies",
        "[tasks]",
        "[keys]",
        "[policy]",
        "requests_per_second",
    ] {
        assert!(!ran.out.contains(line), "{line}\n{}", ran.out);
    }
    let shown: serde_json::Value = serde_json::from_str(&show(&["--json"]).out).unwrap();
    assert_eq!(
        (&shown["process"], &shown["not_used"]),
        (&"boundary".into(), &serde_json::json!(["listen", "policies"]))
    );

    let other = "[[clients]]\nid = \"other\"\nauth = { method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" }\n";
    let text = alone.join("\n").replace("client = \"edge\"\nservices", "client = \"other\"\nservices");
    std::fs::write(&config, text + "\n" + other).unwrap();
    let ran = show(&[]);
    assert!(
        ran.code == 1 && ran.err.contains("boundaries[0].client: `front` acts as `other`"),
        "{ran:?}"
    );
}
