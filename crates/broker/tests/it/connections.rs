//! Upstream credentials in the store, on both engines: what is kept, replaced, listed and forgotten, each with its record.

use base64::Engine as _;
use broker::connections::{Connection, Connections, Holder, Per, Place, Put, PutWanted, Secret};
use broker::store::{Existing, Store};
use delegation::oauth::ClientId;
use delegation::time::Timestamp;
use http::HeaderName;
use issuance::audit::{Kind, Record};
use serde_json::{Value, json};

use crate::engine::{Engine, on_both_engines};

on_both_engines!(
    a_credential_is_kept_replaced_and_forgotten_with_a_record_of_each,
    credentials_are_listed_page_by_page_and_never_with_a_secret,
    a_backup_holds_credentials_encrypted,
);

const SECRET: &str = "sk-0123456789";

fn kept(store: &Store, folder: &tempfile::TempDir) -> Connections {
    let key_file = folder.path().join("n.key");
    std::fs::write(&key_file, base64::engine::general_purpose::STANDARD.encode([9; 32])).unwrap();
    Connections::open(store, &[key_file]).unwrap()
}

fn connection(name: &str, per: Per) -> Connection {
    Connection {
        name: name.to_owned(),
        per,
        origin: "https://api.example".to_owned(),
        header: HeaderName::from_static("x-api-key"),
        around: (String::new(), String::new()),
    }
}

fn record() -> Record {
    Record::new("r".to_owned(), Timestamp::from_seconds(1_780_000_000), Kind::Connection)
}

fn holders() -> [Holder; 4] {
    let user = |iss: &str, sub: &str| Holder::User {
        iss: iss.to_owned(),
        sub: sub.to_owned(),
    };
    [
        Holder::All,
        Holder::Client(ClientId::parse("edge").unwrap()),
        user("https://login.corp.example", "alice"),
        user("https://login.corp.example", "b|o \u{1f642}"),
    ]
}

async fn a_credential_is_kept_replaced_and_forgotten_with_a_record_of_each(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = engine.open().await;
    let kept = kept(&store, &folder);
    let secret = Secret::parse(SECRET).unwrap();
    for holder in holders() {
        let ours = connection("key", holder.per());
        let put = async |wanted| kept.put(&ours, &holder, &secret, wanted, record()).await.unwrap();
        assert_eq!(put(PutWanted::Replaced).await, Put::Unfit, "there is none");
        assert_eq!(put(PutWanted::Added).await, Put::Added);
        assert_eq!(put(PutWanted::Added).await, Put::Unfit, "there is one");
        assert_eq!(put(PutWanted::Replaced).await, Put::Replaced);
        assert_eq!(put(PutWanted::Either).await, Put::Replaced);
        assert!(kept.remove("key", &holder, record()).await.unwrap());
        assert!(!kept.remove("key", &holder, record()).await.unwrap());
        assert_eq!(put(PutWanted::Either).await, Put::Added);
    }
    let records: Vec<Value> = store
        .records(0, 100)
        .await
        .unwrap()
        .iter()
        .map(|text| serde_json::from_str(text).unwrap())
        .collect();
    let each = [
        "connection_added",
        "connection_rotated",
        "connection_rotated",
        "connection_removed",
        "connection_added",
    ];
    let told: Vec<_> = records.iter().map(|record| record["reason"].as_str().unwrap()).collect();
    assert_eq!(told, each.repeat(4), "what did not happen has no record");
    assert!(
        records
            .iter()
            .all(|record| record["kind"] == "connection" && record["inputs"]["connection"] == "key")
    );
    assert_eq!(
        records[10]["inputs"]["user"],
        json!({ "iss": "https://login.corp.example", "sub": "alice" })
    );
    assert!(!records.iter().any(|record| record.to_string().contains("0123456789")));
}

async fn credentials_are_listed_page_by_page_and_never_with_a_secret(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = engine.open().await;
    let kept = kept(&store, &folder);
    let secret = Secret::parse(SECRET).unwrap();
    for holder in holders() {
        kept.put(&connection("key", holder.per()), &holder, &secret, PutWanted::Added, record())
            .await
            .unwrap();
    }
    let (mut after, mut found) = (Place::default(), Vec::new());
    loop {
        let page = kept.list(&after, 1).await.unwrap();
        let Some(last) = page.last() else { break };
        assert_eq!(page.len(), 1);
        after = last.place();
        found.extend(page);
    }
    let mut seen: Vec<_> = found.iter().map(|each| each.holder.clone()).collect();
    seen.sort();
    let mut all = holders().to_vec();
    all.sort();
    assert_eq!(seen, all);
    for each in &found {
        assert!(each.is_ready(Some(&connection("key", each.holder.per()))));
        assert!(!each.is_ready(None) && !format!("{each:?}{}", each.to_json(true)).contains("0123456789"));
        let elsewhere = Connection {
            origin: "https://other.example".to_owned(),
            ..connection("key", each.holder.per())
        };
        assert!(!each.is_ready(Some(&elsewhere)));
    }
}

async fn a_backup_holds_credentials_encrypted(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let store = engine.open().await;
    let kept = kept(&store, &folder);
    let secret = Secret::parse(SECRET).unwrap();
    kept.put(&connection("key", Per::All), &Holder::All, &secret, PutWanted::Added, record())
        .await
        .unwrap();
    let path = folder.path().join("backup");
    let file = std::fs::File::create(&path).unwrap();
    let now = Timestamp::from_seconds(1_780_000_001);
    store.backup(std::io::BufWriter::new(file), now, |_| ()).await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"https://api.example\"") && !text.contains("0123456789"));
    for target in [Engine::sqlite(), Engine::postgres()] {
        let restored = target.open().await;
        restored.restore(&path, Existing::Keep, now, |_| ()).await.unwrap();
        let again = self::kept(&restored, &folder);
        assert_eq!(
            again.list(&Place::default(), 10).await.unwrap(),
            kept.list(&Place::default(), 10).await.unwrap()
        );
    }
}
