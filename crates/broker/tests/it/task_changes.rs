//! What the journal changes about tasks, whole or not at all, on both engines.

use std::time::Duration;

use broker::StoreJournal;
use broker::store::Store;
use delegation::oauth::ClientId;
use delegation::time::Timestamp;
use issuance::audit::{CommitError, Entry, Journal, Kind, Record, Use, UseKind};
use issuance::task::{KeptTask, Over, Slot, Status, TaskChange};
use sqlx::Connection as _;

use crate::engine::{Engine, on_both_engines};

on_both_engines!(
    what_is_over_gives_no_place_and_stays_as_it_ended,
    an_entry_that_lost_takes_no_place,
    what_is_over_is_shown_for_a_week_and_an_attempt_keeps_its_place,
    two_nodes_that_take_places_in_other_orders_do_not_wait_in_a_circle,
);

fn now() -> Timestamp {
    Timestamp::from_seconds(1_780_000_000)
}

async fn open(engine: &Engine) -> (Store, StoreJournal) {
    let store = engine.open().await;
    let journal = StoreJournal::start(&store);
    (store, journal)
}

/// An entry of this time that changes this about a task.
fn entry(at: Timestamp, task: Option<TaskChange>) -> Entry {
    Entry {
        task,
        ..Entry::of(Record::new("d-1".to_owned(), at, Kind::Task))
    }
}

/// Opens a task that gives so many tokens and ends in an hour; its token is as its id.
async fn opens(journal: &StoreJournal, id: &str, max_tokens: u32) {
    let client = || ClientId::parse("edge").unwrap();
    let task = KeptTask {
        id: id.to_owned(),
        creator: client(),
        actor: client(),
        status: Status::Open,
        tokens: 0,
        max_tokens,
        created_at: now(),
        expires_at: now().plus(Duration::from_secs(3600)),
        terms: "{}".to_owned(),
    };
    let change = TaskChange::Opens {
        task: Box::new(task),
        token: delegation::token::sha256(id.as_bytes()),
    };
    journal.commit(entry(now(), Some(change))).await.unwrap();
}

/// A place for a token that lives for a minute.
fn takes(id: &str, attempt: Option<&str>, at: Timestamp) -> Entry {
    let slot = Slot {
        task: id.to_owned(),
        attempt: attempt.map(str::to_owned),
        now: at,
        until: at.plus(Duration::from_secs(60)),
    };
    entry(at, Some(TaskChange::Takes(slot)))
}

fn ends(id: &str, status: Status) -> Entry {
    let id = id.to_owned();
    entry(now(), Some(TaskChange::Ends { id, status }))
}

async fn what_is_over_gives_no_place_and_stays_as_it_ended(engine: Engine) {
    let (store, journal) = open(&engine).await;
    for (id, status, over) in [("a", Status::Completed, Over::Completed), ("b", Status::Cancelled, Over::Cancelled)] {
        opens(&journal, id, 5).await;
        assert!(journal.commit(takes(id, None, now())).await.is_ok());
        assert!(journal.commit(ends(id, status)).await.is_ok());
        for change in [takes(id, None, now()), ends(id, Status::Completed), ends(id, Status::Cancelled)] {
            assert_eq!(journal.commit(change).await, Err(CommitError::Over(over)), "{id}");
        }
        let kept = store.task(id).await.unwrap().unwrap();
        assert_eq!((kept.status, kept.tokens), (status, 1));
    }
    for change in [takes("none", None, now()), ends("none", Status::Completed)] {
        assert_eq!(journal.commit(change).await, Err(CommitError::Over(Over::Expired)));
    }
    // A status that this program does not know is not one that goes on.
    opens(&journal, "c", 5).await;
    engine.run("UPDATE tasks SET status = 'paused' WHERE id = 'c'").await;
    for change in [takes("c", None, now()), ends("c", Status::Completed)] {
        assert_eq!(journal.commit(change).await, Err(CommitError::Unavailable));
    }
    assert!(store.task("c").await.is_err());
}

async fn an_entry_that_lost_takes_no_place(engine: Engine) {
    let (store, journal) = open(&engine).await;
    opens(&journal, "a", 5).await;
    let once = || Entry {
        uses: vec![Use {
            kind: UseKind::ClientAssertion,
            issuer: "edge".to_owned(),
            id: "once".to_owned(),
            forget_at: now().plus(Duration::from_secs(60)),
        }],
        ..takes("a", None, now())
    };
    assert!(journal.commit(once()).await.is_ok());
    assert_eq!(journal.commit(once()).await, Err(CommitError::AlreadyUsed));
    assert_eq!(store.task("a").await.unwrap().unwrap().tokens, 1);
}

async fn what_is_over_is_shown_for_a_week_and_an_attempt_keeps_its_place(engine: Engine) {
    let (store, journal) = open(&engine).await;
    opens(&journal, "a", 1).await;
    assert!(journal.commit(takes("a", Some("job-7"), now())).await.is_ok());
    // Whenever so many records were written, what may be forgotten is.
    let room = async |after: u64| {
        let at = now().plus(Duration::from_secs(after));
        for _ in 0..65 {
            journal.commit(entry(at, None)).await.unwrap();
        }
        at
    };
    let at = room(59).await;
    assert!(journal.commit(takes("a", Some("job-7"), at)).await.is_ok(), "the same place");
    let week = 7 * 86_400;
    room(3600 + week).await;
    assert!(store.task("a").await.unwrap().is_some());
    room(3600 + week + 1).await;
    room(3600 + week + 1).await;
    assert!(store.task("a").await.unwrap().is_none());
}

async fn two_nodes_that_take_places_in_other_orders_do_not_wait_in_a_circle(engine: Engine) {
    let (_, one) = open(&engine).await;
    let (store, other) = open(&engine).await;
    for id in ["a", "b"] {
        opens(&one, id, 1000).await;
    }
    for round in 0..40 {
        let (here, there) = tokio::join!(
            async { tokio::join!(one.commit(takes("a", None, now())), one.commit(takes("b", None, now()))) },
            async { tokio::join!(other.commit(takes("b", None, now())), other.commit(takes("a", None, now()))) },
        );
        let answers = [here.0, here.1, there.0, there.1];
        assert!(answers.iter().all(Result::is_ok), "round {round}: {answers:?}");
    }
    for id in ["a", "b"] {
        assert_eq!(store.task(id).await.unwrap().unwrap().tokens, 80);
    }
}

#[tokio::test]
async fn a_place_that_another_node_is_taking_is_waited_for() {
    let engine = Engine::postgres();
    let Engine::Postgres(database) = &engine else { return };
    let (store, journal) = open(&engine).await;
    opens(&journal, "a", 1).await;
    let [mut holds, mut watches] = [
        sqlx::PgConnection::connect(&database.address()).await.unwrap(),
        sqlx::PgConnection::connect(&database.address()).await.unwrap(),
    ];
    let mut held = holds.begin().await.unwrap();
    let taken = "UPDATE tasks SET tokens = tokens + 1 WHERE id = 'a'";
    sqlx::raw_sql(taken).execute(&mut *held).await.unwrap();
    let other = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watches).await.unwrap() == 0 {}
        held.commit().await.unwrap();
    };
    let both = async { tokio::join!(journal.commit(takes("a", None, now())), other).0 };
    let outcome = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!(outcome, Err(CommitError::Over(Over::Exhausted)));
    assert_eq!(store.task("a").await.unwrap().unwrap().tokens, 1);
}
