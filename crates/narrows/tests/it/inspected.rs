//! `inspect` of tokens from issuers that nobody told it of.

use testkit::vendor_files;

use crate::run::narrows;

#[test]
fn every_vendors_token_is_recognised_and_its_entry_passes_check_as_pasted() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("narrows.toml");
    for file in vendor_files() {
        let good = file.cases.iter().find(|case| case.name.starts_with("good")).unwrap();
        let token = file.token(good, "http://127.0.0.1:8420", 0);
        let _ = std::fs::remove_file(&base);
        let alone = narrows(folder.path(), &["inspect"], &token);
        assert!(
            alone.code == 1 && alone.out.contains("NOT VERIFIED"),
            "without a configuration: {}",
            alone.out
        );
        let installed = tempfile::tempdir().unwrap();
        assert_eq!(narrows(installed.path(), &["init", "."], "").code, 0);
        let ran = narrows(installed.path(), &["inspect", "--json"], &token);
        let inspected: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(inspected.get("profile").unwrap(), file.profile.as_str());
        assert_eq!(inspected.get("verified").unwrap(), false);
        for table in [
            inspected.get("entry").unwrap().as_str().unwrap(),
            alone.out.split("entry is:\n").nth(1).unwrap(),
        ] {
            assert!(table.contains(&format!("\"{}\"", file.profile)), "{table}");
            let config = installed.path().join("narrows.toml");
            let before = std::fs::read_to_string(&config).unwrap();
            std::fs::write(&config, format!("{before}\n{table}\n")).unwrap();
            let checked = narrows(installed.path(), &["check"], "");
            assert_eq!(checked.code, 0, "{table}\n{}", checked.out);
            std::fs::write(&config, before).unwrap();
        }
    }
}
