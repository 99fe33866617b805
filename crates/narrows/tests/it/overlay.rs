//! Several files: one laid over another, and which of them a finding names.

use std::path::Path;

use crate::every_key::installation;
use crate::run::{Ran, narrows};

/// Runs with `over` laid over the configuration.
fn covered(folder: &Path, over: &str, arguments: &[&str]) -> Ran {
    std::fs::write(folder.join("over.toml"), over).unwrap();
    let arguments: Vec<_> = ["--config", "narrows.toml", "--config", "over.toml"].iter().chain(arguments).copied().collect();
    narrows(folder, &arguments, "")
}

fn shown(folder: &Path, over: &str) -> serde_json::Value {
    let ran = covered(folder, over, &["config", "show", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn what_a_later_file_sets_replaces_and_the_rest_stays() {
    let folder = installation();
    let over = "listen = \"127.0.0.1:8500\"\n[tokens]\nlifetime = \"30s\"\n";
    let shown = shown(folder.path(), over);
    assert_eq!(shown.pointer("/config/listen").unwrap(), "127.0.0.1:8500");
    assert_eq!(shown.pointer("/config/tokens/lifetime").unwrap(), "30s");
    assert_eq!(shown.pointer("/config/tokens/max_lifetime").unwrap(), "4m");
}

#[test]
fn an_entry_with_a_known_name_changes_that_entry_and_a_new_one_is_added() {
    let folder = installation();
    let over = "[[clients]]\nid = \"front\"\nowner = \"night@shop.example\"\n\
                auth = { method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" }\n\
                [[clients]]\nid = \"batch\"\nauth = { method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" }\n";
    let shown = shown(folder.path(), over);
    let clients = shown.pointer("/config/clients").unwrap().as_array().unwrap();
    let ids: Vec<_> = clients.iter().map(|client| client.get("id").unwrap().as_str().unwrap()).collect();
    assert_eq!(ids, ["front", "helper", "parcel-guard", "batch"]);
    assert_eq!(shown.pointer("/config/clients/0/owner").unwrap(), "night@shop.example");
    assert_eq!(shown.pointer("/config/clients/0/labels/zone").unwrap(), "outer");
    assert!(
        shown.pointer("/config/clients/0/auth").unwrap().is_object(),
        "the list of methods is replaced"
    );
}

#[test]
fn half_of_another_method_is_no_method() {
    let folder = installation();
    let over = "[[clients]]\nid = \"helper\"\nauth = { method = \"private_key_jwt\" }\n";
    let ran = covered(folder.path(), over, &["check"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("clients[1].auth: needs either `jwks_file` or `jwks_uri`"),
        "{}",
        ran.out
    );
}

#[test]
fn the_same_name_twice_in_one_file_is_a_mistake_there() {
    let folder = installation();
    let entry = "[[clients]]\nid = \"batch\"\nauth = { method = \"private_key_jwt\", jwks_file = \"edge.jwks.json\" }\n";
    let ran = covered(folder.path(), &format!("{entry}{entry}"), &["check"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.out.contains("over.toml:5: clients[4].id: `batch` is there twice"),
        "{}",
        ran.out
    );
}

#[test]
fn a_finding_names_the_file_that_set_the_value() {
    let folder = installation();
    let over = "[[clients]]\nid = \"front\"\nends = \"soon\"\n\n[[audiences]]\nid = \"https://parcels.internal\"\nmax_lifetime = \"2 m\"\n";
    let ran = covered(folder.path(), over, &["check"]);
    assert_eq!(ran.code, 1);
    for line in [
        "over.toml:3: clients[0].ends: expected a day",
        "over.toml:7: audiences[0].max_lifetime: expected a duration",
    ] {
        assert!(ran.out.contains(line), "{line}\n{}", ran.out);
    }
    let ran = covered(
        folder.path(),
        "[tokens]\nlifetime = \"5m\"\n\n[[clients]]\nid = \"front\"\ndelegates = [\"nobody\"]\n",
        &["check"],
    );
    assert!(ran.out.contains("over.toml:2: tokens.lifetime: is longer"), "{}", ran.out);
    assert!(
        ran.out.contains("over.toml:6: clients[0].delegates: there is no client `nobody`"),
        "{}",
        ran.out
    );
}
