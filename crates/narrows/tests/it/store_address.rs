//! `store = "postgres://…"` in a configuration that lies elsewhere.

use testkit::PostgresDatabase;

use crate::run::narrows;

#[test]
fn certificates_that_an_address_names_lie_beside_the_file_that_names_it() {
    let database = PostgresDatabase::new();
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert_eq!(narrows(folder.path(), &["init", "."], "").code, 0);
    std::fs::create_dir(folder.path().join("certs of db")).unwrap();
    std::fs::copy(PostgresDatabase::authority(), folder.path().join("certs of db/ca.crt")).unwrap();
    let config = folder.path().join("narrows.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let keys = |named: &str| {
        let address = format!("{}?sslmode=verify-full&sslrootcert={named}", database.address_over_tcp("test"));
        let mut table: toml::Table = written.parse().unwrap();
        table.insert("store".to_owned(), address.into());
        std::fs::write(&config, toml::to_string(&table).unwrap()).unwrap();
        narrows(elsewhere.path(), &["--config", config.to_str().unwrap(), "key", "list"], "")
    };
    let absolute = folder.path().join("certs of db/ca.crt").display().to_string().replace(' ', "%20");
    for named in ["certs%20of%20db/ca.crt", "certs+of+db/ca.crt", &absolute] {
        let ran = keys(named);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{named}: {}", ran.out);
    }
    let lost = keys("ca.crt");
    assert!(lost.code != 0 && !lost.err.contains("test@"), "{}", lost.err);
}
