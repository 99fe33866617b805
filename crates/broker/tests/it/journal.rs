//! The journal's contract, on both engines.

use broker::StoreJournal;
use broker::store::Store;
use delegation::time::Timestamp;
use issuance::audit::{CommitError, Entry, Journal, Kind, Record, Use, UseKind};

use crate::engine::{Engine, on_both_engines};

on_both_engines!(
    overlapping_commits_have_an_order_without_gaps,
    one_loser_leaves_the_others_alone_and_nothing_of_it_happens,
    what_a_loser_shares_with_an_earlier_entry_stays_used,
    of_many_that_use_one_key_at_once_one_wins,
    what_is_used_stays_used_after_a_restart,
    ids_that_an_index_cannot_hold_are_used_once_too,
    a_caller_that_goes_away_disturbs_nobody,
    two_writers_on_one_store_share_one_order,
    two_nodes_let_one_use_through_however_they_race,
    two_nodes_that_take_the_same_keys_in_other_orders_do_not_wait_in_a_circle,
    kinds_and_issuers_do_not_use_up_each_others_ids,
    what_has_expired_is_forgotten_and_nothing_else_is,
);

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
        revokes: None,
        task: None,
        keeps: None,
        beside: None,
    }
}

async fn open(engine: &Engine) -> (Store, StoreJournal) {
    let store = engine.open().await;
    let journal = StoreJournal::start(&store);
    (store, journal)
}

async fn overlapping_commits_have_an_order_without_gaps(engine: Engine) {
    let (store, journal) = open(&engine).await;
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

async fn one_loser_leaves_the_others_alone_and_nothing_of_it_happens(engine: Engine) {
    let (store, journal) = open(&engine).await;
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
    assert_eq!(
        journal.commit(entry("replay", &["b"])).await,
        Err(CommitError::AlreadyUsed),
        "what the loser found used stays used"
    );
    let text = store.records(0, 100).await.unwrap().join("\n");
    assert!(!text.contains("loser"));
}

async fn what_a_loser_shares_with_an_earlier_entry_stays_used(engine: Engine) {
    let (_, journal) = open(&engine).await;
    assert!(journal.commit(entry("first", &["a"])).await.is_ok());
    for round in 0..3 {
        let (loser, free) = tokio::join!(
            journal.commit(entry("loser", &["a", &format!("b{round}")])),
            journal.commit(entry("free", &[&format!("b{round}")]))
        );
        assert_eq!(loser, Err(CommitError::AlreadyUsed));
        assert!(free.is_ok(), "an entry that did not happen uses nothing up");
    }
    let twice = journal.commit(entry("twice", &["c", "c"])).await;
    assert_eq!(twice, Err(CommitError::AlreadyUsed), "the second use of one entry finds it used");
}

async fn of_many_that_use_one_key_at_once_one_wins(engine: Engine) {
    let (store, journal) = open(&engine).await;
    let journal = std::sync::Arc::new(journal);
    let commits = (0..64).map(|at| {
        let journal = std::sync::Arc::clone(&journal);
        tokio::spawn(async move { journal.commit(entry(&format!("d{at}"), &["one"])).await })
    });
    let mut won = 0;
    for each in commits.collect::<Vec<_>>() {
        won += u32::from(each.await.unwrap().is_ok());
    }
    assert_eq!((won, store.records(0, 100).await.unwrap().len()), (1, 1));
}

/// CLI-005
async fn what_is_used_stays_used_after_a_restart(engine: Engine) {
    let (_, journal) = open(&engine).await;
    assert!(journal.commit(entry("d", &["j"])).await.is_ok());
    journal.close().await;
    assert_eq!(journal.commit(entry("late", &[])).await, Err(CommitError::Unavailable), "closed");
    let (_, journal) = open(&engine).await;
    assert_eq!(journal.commit(entry("d2", &["j"])).await, Err(CommitError::AlreadyUsed));
    assert_eq!(journal.commit(entry("d3", &[])).await, Ok(1), "the order goes on");
}

async fn a_caller_that_goes_away_disturbs_nobody(engine: Engine) {
    // CON-020: of an entry whose caller has gone everything happened, or nothing.
    let (store, journal) = open(&engine).await;
    for at in 0..50 {
        let id = format!("gone{at}");
        drop(tokio::time::timeout(std::time::Duration::ZERO, journal.commit(entry(&id, &[&id]))).await);
    }
    assert!(journal.commit(entry("stays", &[])).await.is_ok());
    let records = store.records(0, 100).await.unwrap();
    for at in 0..50 {
        let id = format!("gone{at}");
        let is_recorded = records.iter().any(|body| body.contains(&format!("\"{id}\"")));
        let again = journal.commit(entry("again", &[&id])).await;
        assert_eq!(again == Err(CommitError::AlreadyUsed), is_recorded, "{id}");
    }
    let size = indexes(&store).await;
    assert_eq!(size, (0..i64::try_from(size.len()).unwrap()).collect::<Vec<_>>());
}

async fn two_writers_on_one_store_share_one_order(engine: Engine) {
    let (store, one) = open(&engine).await;
    let (_, other) = open(&engine).await;
    for at in 0..50 {
        let (first, second) = tokio::join!(
            one.commit(entry(&format!("a{at}"), &[])),
            other.commit(entry(&format!("b{at}"), &[]))
        );
        assert_ne!(first.unwrap(), second.unwrap());
    }
    assert_eq!(store.records(0, 1000).await.unwrap().len(), 100);
}

async fn two_nodes_let_one_use_through_however_they_race(engine: Engine) {
    // CON-001: 64 at a time on two nodes; one wins, and the log has it once.
    let (store, one) = open(&engine).await;
    let (_, other) = open(&engine).await;
    let nodes = [std::sync::Arc::new(one), std::sync::Arc::new(other)];
    for round in 0..10 {
        let commits = (0..64).map(|at| {
            let journal = std::sync::Arc::clone(&nodes[at % 2]);
            tokio::spawn(async move { journal.commit(entry(&format!("r{round}-{at}"), &[&format!("one{round}")])).await })
        });
        let mut won = 0;
        for each in commits.collect::<Vec<_>>() {
            match each.await.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error, CommitError::AlreadyUsed),
            }
        }
        assert_eq!(won, 1);
    }
    assert_eq!(indexes(&store).await, (0..10).collect::<Vec<_>>(), "no gap and no fork");
}

async fn two_nodes_that_take_the_same_keys_in_other_orders_do_not_wait_in_a_circle(engine: Engine) {
    let (store, one) = open(&engine).await;
    let (_, other) = open(&engine).await;
    for round in 0..40 {
        let key = |name: &str| format!("{name}{round}");
        let (a, b) = (key("a"), key("b"));
        let (first, second) = tokio::join!(one.commit(entry("x", &[&a, &b])), other.commit(entry("y", &[&b, &a])));
        let answers = [first, second];
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        assert!(answers.contains(&Err(CommitError::AlreadyUsed)), "{answers:?}");
    }
    assert_eq!(indexes(&store).await.len(), 40);
}

async fn ids_that_an_index_cannot_hold_are_used_once_too(engine: Engine) {
    let (_, journal) = open(&engine).await;
    let (long, shorter) = ("x".repeat(12_000), "x".repeat(11_999));
    for id in ["a\0b", &long, &shorter, "\u{7f}\u{202e}\u{1f642}", ""] {
        assert!(journal.commit(entry("once", &[id])).await.is_ok(), "{} bytes", id.len());
        assert_eq!(journal.commit(entry("twice", &[id])).await, Err(CommitError::AlreadyUsed));
    }
}

async fn kinds_and_issuers_do_not_use_up_each_others_ids(engine: Engine) {
    // CON-002: what is used up is (kind, issuer, id).
    let (_, journal) = open(&engine).await;
    for issuer in ["edge", "orders", "edge\0"] {
        let mut entry = entry("d", &["same"]);
        issuer.clone_into(&mut entry.uses[0].issuer);
        assert!(journal.commit(entry.clone()).await.is_ok(), "{issuer:?}");
        assert_eq!(journal.commit(entry).await, Err(CommitError::AlreadyUsed));
    }
}

/// The `index` of every record, in the order of their places.
async fn indexes(store: &Store) -> Vec<i64> {
    let records = store.records(0, 10_000).await.unwrap();
    let index = |body: &String| serde_json::from_str::<serde_json::Value>(body).unwrap()["index"].as_i64().unwrap();
    records.iter().map(index).collect()
}

#[tokio::test]
async fn the_sqlite_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let engine = Engine::sqlite();
    let Engine::Sqlite(folder) = &engine else { return };
    let _kept = open(&engine).await;
    let mode = std::fs::metadata(folder.path().join("narrows.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

async fn what_has_expired_is_forgotten_and_nothing_else_is(engine: Engine) {
    let (_, journal) = open(&engine).await;
    // Each 64th record makes room, the first of all among them.
    journal.commit(entry("zeroth", &[])).await.unwrap();
    let mut expired = entry("first", &["expired"]);
    // A second before the time of the records that follow.
    expired.uses[0].forget_at = Timestamp::from_seconds(1_779_999_999);
    journal.commit(expired).await.unwrap();
    journal.commit(entry("second", &["alive"])).await.unwrap();
    let used = async |key| journal.commit(entry("again", &[key])).await == Err(CommitError::AlreadyUsed);
    assert!(used("expired").await, "not forgotten yet");
    for at in 0..70 {
        journal.commit(entry(&format!("d{at}"), &[])).await.unwrap();
    }
    assert!(!used("expired").await && used("alive").await);
    journal.close().await;
}
