//! What the store promises besides the journal, on both engines.

use std::time::Duration;

use broker::StoreJournal;
use broker::store::{Party, Standing, Store, StoreAddress, StoreError};
use delegation::identity::{AttributeValue, Attributes, Subject, SubjectKind};
use delegation::oauth::ClientId;
use delegation::time::Timestamp;
use issuance::audit::{Entry, Journal, Kind, Record, Transaction};
use sqlx::{ConnectOptions as _, Connection as _};
use testkit::{PostgresDatabase, PostgresServer};

use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Reply};

on_both_engines!(
    a_transaction_is_read_back_as_it_was_kept_whatever_an_outside_token_said,
    standing_is_seen_by_every_node_and_is_on_record,
    a_decision_is_found_by_the_beginning_of_its_id_and_by_nothing_else,
    many_nodes_may_open_an_empty_store_at_once,
    a_store_that_a_later_program_wrote_is_refused,
    an_exchange_works_and_an_assertion_is_shown_once,
    dates_beyond_2038_are_dates,
    a_hostile_assertion_id_hurts_nobody,
);

fn record(id: &str) -> Record {
    Record::new(id.to_owned(), Timestamp::from_seconds(1_780_000_000), Kind::Exchange)
}

async fn a_transaction_is_read_back_as_it_was_kept_whatever_an_outside_token_said(engine: Engine) {
    let store = engine.open().await;
    let journal = StoreJournal::start(&store);
    let odd = "a\0b\u{7f}\"'$1; DROP TABLE records; \u{1f642}\\";
    for requested_by in [None, Some(odd.to_owned()), Some("null".to_owned()), Some(String::new())] {
        let transaction = Transaction {
            txn: format!("t{}", requested_by.as_deref().unwrap_or_default().len()) + if requested_by.is_some() { "s" } else { "n" },
            subject: Subject {
                issuer_name: "corp".to_owned(),
                iss: "https://login.corp.example".to_owned(),
                sub: "alice 'or' 1=1".to_owned(),
            },
            kind: SubjectKind::User,
            attributes: Attributes {
                values: [("odd".to_owned(), AttributeValue::Text(odd.to_owned()))].into(),
                groups: [odd.to_owned()].into(),
            },
            requested_by,
            began: Timestamp::from_millis(1_780_000_000_123),
            forget_at: Timestamp::from_millis(253_402_300_799_000),
        };
        let entry = Entry {
            record: record(&transaction.txn),
            uses: Vec::new(),
            begins: Some(transaction.clone()),
            revokes: None,
            task: None,
            keeps: None,
            beside: None,
        };
        assert!(journal.commit(entry).await.is_ok());
        // Another node, which remembers nothing.
        let other = engine.open().await;
        assert_eq!(other.transaction(&transaction.txn).await.unwrap(), Some(transaction));
        assert_eq!(other.transaction("gone").await.unwrap(), None);
    }
}

async fn standing_is_seen_by_every_node_and_is_on_record(engine: Engine) {
    let (one, other) = (engine.open().await, engine.open().await);
    let edge = ClientId::parse("edge").unwrap();
    let alice = Party::Subject {
        issuer_name: "corp".to_owned(),
        sub: "alice".to_owned(),
    };
    let subject = Subject {
        issuer_name: "corp".to_owned(),
        iss: String::new(),
        sub: "alice".to_owned(),
    };
    let client = Party::Client(edge.clone());
    for party in [&client, &alice, &client] {
        one.set_standing(party, Standing::Disabled, record("off")).await.unwrap();
    }
    let view = other.standing().await.unwrap();
    assert!(view.is_client_disabled(&edge) && view.is_subject_disabled(&subject));
    for party in [&client, &alice] {
        other.set_standing(party, Standing::Enabled, record("on")).await.unwrap();
    }
    let view = one.standing().await.unwrap();
    assert!(!view.is_client_disabled(&edge) && !view.is_subject_disabled(&subject));
    assert_eq!(one.records(0, 100).await.unwrap().len(), 5, "each change has its record");
}

async fn a_decision_is_found_by_the_beginning_of_its_id_and_by_nothing_else(engine: Engine) {
    let store = engine.open().await;
    let journal = StoreJournal::start(&store);
    for at in 0..300 {
        let mut record = record(&format!("0190-{at:04}"));
        record.inputs = serde_json::json!({ "id": "ffff-0001" });
        assert!(
            journal
                .commit(Entry {
                    record,
                    uses: Vec::new(),
                    begins: None,
                    revokes: None,
                    task: None,
                    keeps: None,
                    beside: None,
                })
                .await
                .is_ok()
        );
    }
    let ids = async |prefix: &str| {
        let found = store.decisions(prefix).await.unwrap();
        let id = |body: &String| serde_json::from_str::<serde_json::Value>(body).unwrap()["id"].as_str().unwrap().to_owned();
        found.iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(ids("0190-0007").await, ["0190-0007"]);
    assert_eq!(ids("0190-00").await, ["0190-0099", "0190-0098"], "newest first, and two are enough");
    assert!(ids("ffff").await.is_empty(), "an id further inside is not the record's");
    assert!(ids("%' OR 1=1 --").await.is_empty());
}

async fn many_nodes_may_open_an_empty_store_at_once(engine: Engine) {
    let address = engine.address();
    let opened = (0..8).map(|_| {
        let address = address.clone();
        tokio::spawn(async move { Store::open(&address).await.map(drop) })
    });
    for each in opened.collect::<Vec<_>>() {
        each.await.unwrap().unwrap();
    }
    assert!(engine.open().await.is_reachable().await);
}

/// SQLite waits for no lock where it turns a new file to its write-ahead log, as whoever opens it first does.
#[tokio::test]
async fn whoever_opens_a_new_file_waits_for_another_that_is_making_it() {
    let engine = Engine::sqlite();
    let Engine::Sqlite(folder) = &engine else { unreachable!() };
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("narrows.db"));
    let mut other = file.create_if_missing(true).connect().await.unwrap();
    let making = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let address = engine.address();
    let mut opening = tokio::spawn(async move { Store::open(&address).await.map(drop) });
    let refused = tokio::time::timeout(Duration::from_millis(200), &mut opening).await;
    assert!(refused.is_err(), "{refused:?}");
    making.commit().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), opening).await.unwrap().unwrap().unwrap();
    assert!(engine.open().await.is_reachable().await);
}

async fn a_store_that_a_later_program_wrote_is_refused(engine: Engine) {
    // STO-019
    engine.open().await;
    engine.run("UPDATE store_version SET version = 99").await;
    let error = Store::open(&engine.address()).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

async fn an_exchange_works_and_an_assertion_is_shown_once(engine: Engine) {
    let narrows = Installation::on(engine).await;
    let first = narrows.exchange(&[]).await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    let assertion = narrows.assertion(&[]);
    let by_key = [
        ("client_id", ""),
        ("client_secret", ""),
        ("client_assertion", assertion.as_str()),
        ("client_assertion_type", crate::installation::ASSERTION_TYPE),
    ];
    assert_eq!(narrows.exchange(&by_key).await.status, 200);
    assert_eq!(narrows.exchange(&by_key).await.status, 401, "an assertion is shown once");
    narrows.stop().await;
}

async fn a_hostile_assertion_id_hurts_nobody(engine: Engine) {
    let narrows = Installation::on(engine).await;
    for jti in ["a\0b".to_owned(), "x".repeat(8_000), "\u{202e}\u{1f642}".to_owned()] {
        let assertion = narrows.assertion(&[("jti", serde_json::json!(jti))]);
        let by_key = [
            ("client_id", ""),
            ("client_secret", ""),
            ("client_assertion", assertion.as_str()),
            ("client_assertion_type", crate::installation::ASSERTION_TYPE),
        ];
        let (hostile, honest) = tokio::join!(narrows.exchange(&by_key), narrows.exchange(&[]));
        assert!(hostile.status < 500, "{:?}", hostile.body);
        assert_eq!(honest.status, 200, "{:?}", honest.body);
        assert_eq!(narrows.exchange(&by_key).await.status, 401, "once");
    }
    narrows.stop().await;
}

async fn dates_beyond_2038_are_dates(engine: Engine) {
    // CON-011
    let narrows = Installation::on(engine).await;
    for exp in [2_147_483_648_i64, 253_402_300_799] {
        let mut claims = narrows.user_claims();
        claims["exp"] = exp.into();
        let token = narrows.issuer.sign("at+jwt", &claims);
        let reply = narrows.exchange(&[("subject_token", &token)]).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        // The next hop reads what was kept for so long.
        let store = narrows.engine.open().await;
        let kept = store.transaction(reply.claims()["txn"].as_str().unwrap()).await.unwrap().unwrap();
        assert_eq!(kept.subject.sub, "alice");
    }
    narrows.stop().await;
}

/// Whether a reply says that the store is away, and when to ask again.
fn is_away(reply: &Reply) -> bool {
    reply.status == 503 && reply.text("reason") == "store_unavailable" && reply.headers.contains_key("retry-after")
}

#[tokio::test]
async fn while_the_database_is_away_nothing_is_issued_and_afterwards_it_is_without_a_restart() {
    // STO-016
    let narrows = Installation::on(Engine::postgres()).await;
    let Engine::Postgres(database) = &narrows.engine else { return };
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    database.close();
    for _ in 0..3 {
        let reply = narrows.exchange(&[]).await;
        assert!(is_away(&reply), "{reply:?}");
        assert!(!reply.body.to_string().contains("access_token"));
    }
    // A refusal that cannot be put on record is not told either, whoever it is about.
    for (name, value) in [("audience", "gone"), ("client_secret", "wrong")] {
        let reply = narrows.exchange(&[(name, value)]).await;
        assert!(is_away(&reply), "{name}: {reply:?}");
    }
    let (status, _, body) = narrows.get("/readyz").await;
    assert_eq!(status, 503, "{body}");
    database.open();
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    let allowed = narrows.records().await.iter().filter(|record| record["decision"] == "allow").count();
    assert_eq!(allowed, 2);
    narrows.stop().await;
}

#[tokio::test]
async fn a_store_that_reads_and_does_not_write_refuses_in_time_says_so_and_recovers() {
    // DOS-019: somebody else holds the table of records, for as long as it takes.
    let narrows = Installation::on(Engine::postgres()).await;
    let Engine::Postgres(database) = &narrows.engine else { return };
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    let mut other = sqlx::PgConnection::connect(&database.address()).await.unwrap();
    let mut held = other.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE records IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.unwrap();

    let asked: Vec<_> = (0..20).map(|_| narrows.exchange(&[])).collect();
    for reply in at_once(asked).await {
        assert!(is_away(&reply), "{reply:?}");
        assert!(!reply.body.to_string().contains("access_token"));
    }
    let (status, _, ready) = narrows.get("/readyz").await;
    assert_eq!(status, 503, "{ready}");
    assert!(ready.contains("\"store\":\"unavailable\""), "{ready}");
    // What needs no record is not held up.
    for path in ["/healthz", "/oauth2/jwks", "/metrics"] {
        assert_eq!(narrows.get(path).await.0, 200, "{path}");
    }

    held.rollback().await.unwrap();
    while narrows.get("/readyz").await.0 != 200 {}
    assert_eq!(narrows.exchange(&[]).await.status, 200);
    let records = narrows.records().await;
    assert!(records.iter().enumerate().all(|(at, record)| record["index"] == at), "no gap");
    assert_eq!(
        records.iter().filter(|record| record["decision"] == "allow").count(),
        2,
        "and no record without a token"
    );
    narrows.stop().await;
}

/// All of them at once, in the order in which they were given.
async fn at_once<F: Future<Output = Reply>>(asked: Vec<F>) -> Vec<Reply> {
    let mut asked: Vec<_> = asked.into_iter().map(|each| (Box::pin(each), None)).collect();
    std::future::poll_fn(|context| {
        for (future, reply) in &mut asked {
            if reply.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *reply = Some(ready);
            }
        }
        if asked.iter().all(|(_, reply)| reply.is_some()) {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
    asked.into_iter().filter_map(|(_, reply)| reply).collect()
}

#[tokio::test]
async fn a_connection_that_is_cut_leaves_no_second_token_for_one_assertion() {
    // CON-019: whether the commit happened may be unknown; then nothing was issued, and the same assertion never yields two.
    let narrows = Installation::on(Engine::postgres()).await;
    let Engine::Postgres(database) = &narrows.engine else { return };
    for _ in 0..20 {
        let assertion = narrows.assertion(&[]);
        let by_key = [
            ("client_id", ""),
            ("client_secret", ""),
            ("client_assertion", assertion.as_str()),
            ("client_assertion_type", crate::installation::ASSERTION_TYPE),
        ];
        let (first, ()) = tokio::join!(narrows.exchange(&by_key), async { database.cut() });
        assert!(first.status == 200 || is_away(&first), "{first:?}");
        let mut issued = usize::from(first.status == 200);
        for _ in 0..3 {
            issued += usize::from(narrows.exchange(&by_key).await.status == 200);
        }
        assert!(issued <= 1, "{issued} tokens");
    }
    for (at, record) in narrows.records().await.iter().enumerate() {
        assert_eq!(record["index"], serde_json::json!(at), "no gap");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn a_server_that_shows_the_wrong_certificate_or_none_is_not_talked_to() {
    let database = PostgresDatabase::new();
    let authority = PostgresDatabase::authority();
    let open = async |parameters: String| {
        let address = database.address_over_tcp("test") + &parameters;
        Store::open(&address.parse().unwrap()).await
    };
    let right = format!("?sslmode=verify-full&sslrootcert={}", authority.display());
    assert!(open(right).await.is_ok());
    let stranger = open("?sslmode=verify-full".to_owned()).await.unwrap_err();
    assert!(stranger.to_string().to_lowercase().contains("certificate"), "{stranger}");
    assert!(
        open("?sslmode=disable".to_owned()).await.is_err(),
        "this server takes nobody without TLS"
    );
}

#[tokio::test]
async fn an_error_never_repeats_the_address() {
    let database = PostgresDatabase::new();
    let address: StoreAddress = database.address_over_tcp("hunter2").parse().unwrap();
    let error = Store::open(&address).await.unwrap_err();
    assert!(!format!("{error} {error:?} {address:?}").contains("hunter2"), "{error}");
    assert!(error.to_string().contains("password authentication failed"), "{error}");
}

#[tokio::test]
async fn a_database_that_would_lose_an_answered_commit_is_refused() {
    let database = PostgresDatabase::new();
    let name = database.run("SELECT current_database()");
    database.run(&format!("ALTER DATABASE {} SET synchronous_commit = off", name.trim()));
    let error = Store::open(&database.address().parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("synchronous_commit"), "{error}");
}

/// What would run on this database, and why it does not.
async fn refused(address: &str) -> String {
    Store::open(&address.parse().unwrap()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_character_is_refused() {
    let database = PostgresDatabase::with("ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    let why = refused(&database.address()).await;
    assert!(why.contains("UTF8"), "{why}");
}

#[tokio::test]
async fn a_server_that_does_not_wait_for_its_disk_or_is_a_copy_is_refused() {
    let mut server = PostgresServer::start("fsync = off");
    let why = refused(&server.address()).await;
    assert!(why.contains("fsync"), "{why}");
    server.restart_as_standby();
    // CON-017, its first half: nothing is decided by what lags behind.
    let why = refused(&server.address()).await;
    assert!(why.contains("standby"), "{why}");
}

#[tokio::test]
async fn what_has_expired_is_found_by_an_index() {
    use sqlx::{AssertSqlSafe, ConnectOptions, Row};
    let find = |table: &str| format!("SELECT 1 FROM {table} WHERE forget_at < 1 LIMIT 512");
    let (sqlite, postgres) = (Engine::sqlite(), Engine::postgres());
    drop((sqlite.open().await, postgres.open().await));
    let (Engine::Sqlite(folder), Engine::Postgres(database)) = (&sqlite, &postgres) else {
        return;
    };
    for table in ["uses", "transactions"] {
        let index = format!("{table}_by_end");
        let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("narrows.db"));
        let plan = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", find(table)));
        let plan: String = sqlx::query(plan).fetch_one(&mut file.connect().await.unwrap()).await.unwrap().get("detail");
        assert!(plan.starts_with("SEARCH") && plan.contains(&index), "{plan}");
        // An empty table is read whole in any case, unless that is made dear.
        let plan = database.run(&format!("SET enable_seqscan = off; EXPLAIN {}", find(table)));
        assert!(plan.contains(&index), "{plan}");
    }
}

#[tokio::test]
async fn a_file_is_made_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let engine = Engine::sqlite();
    drop(engine.open().await);
    let Engine::Sqlite(folder) = &engine else { return };
    for name in std::fs::read_dir(folder.path()).unwrap() {
        let (mode, name) = (
            name.as_ref().unwrap().metadata().unwrap().permissions().mode() & 0o777,
            name.unwrap().file_name(),
        );
        assert_eq!(mode, 0o600, "{name:?}");
    }
}
