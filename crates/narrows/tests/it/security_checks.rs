//! `docs/security-checks.md` names files, functions and tests that there are.

use std::collections::BTreeMap;

use crate::run::root;

/// The name between the backticks of a cell, or of the `at`th pair of them.
fn quoted(cell: &str, at: usize) -> Option<&str> {
    cell.split('`').nth(2 * at + 1)
}

/// The names of all functions in the Rust files of each crate, by the file's path from `crates/`.
fn functions() -> BTreeMap<String, String> {
    let crates = root().join("crates");
    let files = glob::glob(crates.join("*/**/*.rs").to_str().unwrap()).unwrap().map(Result::unwrap);
    files
        .map(|file| {
            let name = file.strip_prefix(&crates).unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(file).unwrap())
        })
        .collect()
}

#[test]
fn every_file_function_and_test_of_the_list_of_checks_exists() {
    let list = std::fs::read_to_string(root().join("docs/security-checks.md")).unwrap();
    let files = functions();
    let attacks = std::fs::read_to_string(root().join("tests/attacks/ids.txt")).unwrap();
    let mut lines = 0;
    for line in list.lines().filter(|line| line.starts_with("| ") && line.contains(".rs`")) {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").collect();
        let [_, place, rows, test] = <[&str; 4]>::try_from(cells).unwrap();
        let file = files.get(quoted(place, 0).unwrap());
        let function = format!("fn {}", quoted(place, 1).unwrap());
        assert!(file.is_some_and(|text| text.contains(&function)), "no such function: {line}");
        for row in rows.split_whitespace().filter(|row| *row != "–") {
            assert!(attacks.lines().any(|known| known == row), "no such attack: {line}");
        }
        let (package, path) = quoted(test, 0).unwrap().split_once("::").unwrap();
        let name = path.rsplit("::").next().unwrap();
        let defined = |(file, text): (&String, &String)| file.starts_with(&format!("{package}/")) && text.contains(&format!("fn {name}("));
        assert!(files.iter().any(defined), "no such test: {line}");
        lines += 1;
    }
    assert!(
        list.contains(&format!("\n{lines} checks. ")),
        "the list has {lines} lines, and says another number"
    );
}
