//! The journal on real SQLite.

use broker::SqliteJournal;
use broker::store::Store;
use delegation::time::Timestamp;
use issuance::audit::{CommitError, Entry, Journal, Kind, Record, Use, UseKind};

fn entry(id: &str, uses: &[&str]) -> Entry {
    let record = Record::new(id.to_owned(), Timestamp::from_seconds(1_780_000_000), Kind::Exchange);
    let key = |id: &&str| Use {
        kind: UseKind::ClientAssertion,
        issuer: "edge".to_owned(),
        id: (*id).to_owned(),
        forget_at: Timestamp::from_seconds(1_790_000_000),
    };
    Entry {
        record,
        uses: uses.iter().map(key).collect(),
        begins: None,
    }
}

async fn open(folder: &tempfile::TempDir) -> (Store, SqliteJournal) {
    let store = Store::open(&format!("sqlite:{}", folder.path().join("n.db").display())).await.unwrap();
    let journal = SqliteJournal::start(&store).await.unwrap();
    (store, journal)
}

#[tokio::test]
async fn overlapping_commits_have_an_order_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let (store, journal) = open(&folder).await;
    let journal = std::sync::Arc::new(journal);
    let commits = (0..500).map(|at| {
        let journal = std::sync::Arc::clone(&journal);
        tokio::spawn(async move { journal.commit(entry(&format!("d{at}"), &[])).await.unwrap() })
    });
    let mut indexes = Vec::new();
    for each in commits.collect::<Vec<_>>() {
        indexes.push(each.await.unwrap());
    }
    indexes.sort_unstable();
    assert_eq!(indexes, (0..500).collect::<Vec<_>>());
    assert_eq!(store.records(0, 1000).await.unwrap().len(), 500);
}

#[tokio::test]
async fn one_loser_leaves_the_others_alone_and_nothing_of_it_happens() {
    let folder = tempfile::tempdir().unwrap();
    let (store, journal) = open(&folder).await;
    assert_eq!(journal.commit(entry("first", &["b"])).await, Ok(0));
    let (one, loser, other) = tokio::join!(
        journal.commit(entry("one", &["a"])),
        journal.commit(entry("loser", &["b", "c"])),
        journal.commit(entry("other", &["d"]))
    );
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(loser, Err(CommitError::AlreadyUsed));
    assert!(
        journal.commit(entry("again", &["c"])).await.is_ok(),
        "the loser's other use was given back"
    );
    let text = store.records(0, 100).await.unwrap().join("\n");
    assert!(!text.contains("loser"));
}

#[tokio::test]
async fn what_is_used_stays_used_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (_, journal) = open(&folder).await;
    assert!(journal.commit(entry("d", &["j"])).await.is_ok());
    journal.close().await;
    assert_eq!(journal.commit(entry("late", &[])).await, Err(CommitError::Unavailable), "closed");
    let (_, journal) = open(&folder).await;
    assert_eq!(journal.commit(entry("d2", &["j"])).await, Err(CommitError::AlreadyUsed));
    assert_eq!(journal.commit(entry("d3", &[])).await, Ok(1), "the order goes on");
}

#[tokio::test]
async fn a_caller_that_goes_away_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (_, journal) = open(&folder).await;
    for at in 0..50 {
        drop(tokio::time::timeout(std::time::Duration::ZERO, journal.commit(entry(&format!("gone{at}"), &[]))).await);
    }
    assert!(journal.commit(entry("stays", &[])).await.is_ok());
}

#[tokio::test]
async fn two_writers_on_one_store_share_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let (store, one) = open(&folder).await;
    let (_, other) = open(&folder).await;
    for at in 0..50 {
        let (first, second) = tokio::join!(
            one.commit(entry(&format!("a{at}"), &[])),
            other.commit(entry(&format!("b{at}"), &[]))
        );
        assert_ne!(first.unwrap(), second.unwrap());
    }
    assert_eq!(store.records(0, 1000).await.unwrap().len(), 100);
}

#[tokio::test]
async fn the_store_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let _kept = open(&folder).await;
    let mode = std::fs::metadata(folder.path().join("n.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
