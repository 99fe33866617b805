//! The rules in `policies/`, which the demo and `init --from demo` use.

use std::path::Path;

use crate::run::{narrows, root};

fn demo() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(narrows(folder.path(), &["init", ".", "--from", "demo"], "").code, 0);
    folder
}

fn policies() -> std::path::PathBuf {
    root().join("policies")
}

#[test]
fn every_case_of_the_demo_holds_and_every_rule_has_one() {
    let folder = demo();
    let all = |end: &str| -> String {
        let both = ["shop", "tasks"].map(|name| std::fs::read_to_string(policies().join(format!("{name}.{end}"))).unwrap());
        both.concat()
    };
    let cases = all("cases.toml");
    let ran = narrows(folder.path(), &["policy", "test"], "");
    let count = cases.matches("[[case]]").count();
    assert_eq!((ran.code, ran.out.trim()), (0, format!("{count} passed, 0 failed").as_str()));
    let rules = all("cedar");
    let named: Vec<_> = rules.split("@id(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(!named.is_empty());
    for rule in named {
        assert!(cases.contains(&format!("\"{rule}\"")), "no case beside the policies names `{rule}`");
    }
}

#[test]
fn the_truth_table_of_the_demo_is_the_one_that_was_reviewed() {
    let folder = demo();
    let asked: [&[&str]; 3] = [&[], &["--group", "corp|support"], &["--group", "corp|support", "--chain", "edge"]];
    let mut printed = String::new();
    for options in asked {
        let ran = narrows(folder.path(), &[&["policy", "matrix"], options].concat(), "");
        assert_eq!(ran.code, 0, "{}", ran.err);
        let lines: Vec<_> = ran.out.lines().map(str::trim_end).collect();
        printed += &format!("{}\n\n", lines.join("\n"));
    }
    compare(&policies().join("matrix.out"), &printed);
}

/// A difference is a change of who may do what: review it, then take it over.
fn compare(reviewed: &Path, printed: &str) {
    let there = std::fs::read_to_string(reviewed).unwrap_or_default();
    assert_eq!(there.trim(), printed.trim(), "{} is not what is printed", reviewed.display());
}

#[test]
fn a_case_that_names_what_there_is_not_is_no_case_that_passed() {
    let folder = demo();
    let path = folder.path().join("policies/other.cases.toml");
    let case = |client: &str, subject: &str, audience: &str, expect: &str| {
        let text = format!(
            "[[case]]\nname = \"x\"\nclient = \"{client}\"\nsubject = \"{subject}\"\naudience = \"{audience}\"\ndetails = [\"order:read/7\"]\nexpect = \"{expect}\"\n"
        );
        std::fs::write(&path, text).unwrap();
        narrows(folder.path(), &["policy", "test"], "")
    };
    let orders = "https://orders.internal";
    assert_eq!(case("edge", "corp|alice", orders, "deny").code, 0);
    assert!(case("edge", "corp|alice", orders, "allow").out.contains("other.cases.toml: `x`: expected allow"));
    for (ran, why) in [
        (case("edgy", "corp|alice", orders, "deny"), "there is no client `edgy`"),
        (case("edge", "crop|alice", orders, "deny"), "there is no trusted issuer `crop`"),
        (case("edge", "corp|alice", "https://order.internal", "deny"), "there is no audience"),
        (case("edge", "corp|alice", orders, "no"), "expected allow, deny or hold"),
    ] {
        assert!(ran.code == 1 && ran.err.contains(why), "{why}: {ran:?}");
    }
}

#[test]
fn an_audience_that_is_closed_to_a_client_is_closed_in_the_truth_table() {
    let folder = demo();
    let ran = narrows(folder.path(), &["policy", "matrix", "--group", "corp|support", "--json"], "");
    let rows: Vec<serde_json::Value> = serde_json::from_str(&ran.out).unwrap();
    let answer = |client: &str| {
        let row = rows.iter().find(|row| row["client"] == client && row["action"] == "order:read").unwrap();
        (
            row["answer"].as_str().unwrap().to_owned(),
            row["rules"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(answer("orders"), ("closed".to_owned(), String::new()));
    assert_eq!(answer("edge"), ("allow".to_owned(), "edge-opens-orders-for-support".to_owned()));
}

#[test]
fn one_mistake_in_a_policy_is_told_once_however_many_actions_it_speaks_of() {
    let folder = demo();
    let rule = "@id(\"night\")\nforbid (principal, action, resource)\nwhen { context.our < 6 && context.minut < 3 };\n";
    std::fs::write(folder.path().join("policies/night.cedar"), rule).unwrap();
    let ran = narrows(folder.path(), &["check"], "");
    let told: Vec<_> = ran.out.lines().filter(|line| line.contains("night.cedar:3")).collect();
    let [first, second] = told.as_slice() else {
        unreachable!("two mistakes, two lines: {}", ran.out)
    };
    assert!(
        ran.code == 1 && first.contains("`our`") && second.contains("`minut`"),
        "{}",
        ran.out
    );
}
