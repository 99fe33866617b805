//! What ends while a request is under way is not issued: the look at the view right before the commit.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use broker::store::{Party, Standing, Store};
use delegation::oauth::ClientId;
use delegation::registry::{AuthMethod, ClientAuth, WorkloadMatch};
use delegation::revocation::{Key, MarkKind, Revocation};
use delegation::time::Timestamp;
use fetch::KeySource;
use issuance::audit::{Kind, Record};
use serde_json::Value;
use sqlx::Connection as _;
use testkit::{CORP, FakeIssuer};
use tokio::sync::Semaphore;

use crate::engine::Engine;
use crate::installation::{ASSERTION_TYPE, Installation, Plan, Reply, seconds};
use crate::tasks;

const PARTNER: &str = "https://partner.example";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap()
}

/// A key server that says when it is asked, and answers when it is told to: meanwhile the request that asked stands still.
#[derive(Clone)]
struct KeyServer {
    jwks: Arc<str>,
    asked: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

async fn answer(State(server): State<KeyServer>) -> String {
    server.asked.add_permits(1);
    server.answers.acquire().await.unwrap().forget();
    server.jwks.to_string()
}

/// A broker that trusts a partner too, who has such a key server, and knows workloads of the partner's as the edge and as
/// orders. The edge opens tasks for orders.
struct Halting {
    narrows: Installation,
    partner: FakeIssuer,
    server: KeyServer,
}

impl Halting {
    async fn start() -> Self {
        let narrows = Installation::start().await;
        let partner = FakeIssuer::es256(PARTNER);
        let server = KeyServer {
            jwks: partner.jwks().to_string().into(),
            asked: Arc::new(Semaphore::new(0)),
            answers: Arc::new(Semaphore::new(0)),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap()).parse().unwrap();
        let routes = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let workload = |sub: &str| ClientAuth {
            method: AuthMethod::WorkloadJwt(WorkloadMatch {
                issuer_name: "partner".to_owned(),
                subject: sub.to_owned(),
                claims: std::collections::BTreeMap::new(),
            }),
            until: None,
        };
        let known = |snapshot: &mut delegation::registry::Snapshot| {
            let [edge, orders] = ["edge", "orders"].map(|id| ClientId::parse(id).unwrap());
            let of_edge = snapshot.clients.get_mut(&edge).unwrap();
            of_edge.auth.push(workload("job"));
            of_edge.delegates = [orders.clone()].into();
            snapshot.clients.get_mut(&orders).unwrap().auth.push(workload("worker"));
        };
        narrows.trust_source(PARTNER, "partner", KeySource::Uri(url), &tasks::rules(), known).await;
        Self { narrows, partner, server }
    }

    /// The partner's token for `sub`.
    fn token(&self, sub: &str) -> String {
        let mut claims = self.narrows.user_claims();
        claims["iss"] = PARTNER.into();
        claims["sub"] = sub.into();
        self.partner.sign("at+jwt", &claims)
    }

    /// An exchange that is halted at the partner's keys for as long as `meanwhile` takes.
    async fn exchange(&self, changes: &[(&str, &str)], meanwhile: impl Future<Output = ()>) -> Reply {
        let halts = async {
            in_time(self.server.asked.acquire()).await.unwrap().forget();
            meanwhile.await;
            self.server.answers.add_permits(1);
        };
        in_time(async { tokio::join!(self.narrows.exchange(changes), halts).0 }).await
    }

    async fn disable(&self, party: Party) {
        let store = self.narrows.engine.open().await;
        store.set_standing(&party, Standing::Disabled, record()).await.unwrap();
        self.narrows.broker.tend().await;
    }
}

fn record() -> Record {
    Record::new("d-operator".to_owned(), Timestamp::from_seconds(seconds()), Kind::Operator)
}

/// Revokes it in the store, as an operator does, and lets the broker follow.
async fn revoke(store: &Store, narrows: &Installation, kind: MarkKind, key: Key) {
    let at = Timestamp::from_seconds(seconds());
    let revocation = Revocation::new(kind, key, at, Duration::from_secs(600));
    store.revoke(&revocation, &record()).await.unwrap();
    narrows.broker.follow().await;
}

#[tokio::test]
async fn a_client_or_subject_that_is_disabled_meanwhile_gets_nothing() {
    let edge = Party::Client(ClientId::parse("edge").unwrap());
    let alice = Party::Subject {
        issuer_name: "partner".to_owned(),
        sub: "alice".to_owned(),
    };
    for (party, reason) in [(edge, "client_authentication_failed"), (alice, "subject_disabled")] {
        let halting = Halting::start().await;
        let token = halting.token("alice");
        let reply = halting.exchange(&[("subject_token", &token)], halting.disable(party)).await;
        assert_eq!(reply.text("reason"), reason, "{:?}", reply.body);
        halting.narrows.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_is_disabled_as_a_subject_meanwhile_gets_nothing_for_itself() {
    let itself = Party::Subject {
        issuer_name: "narrows".to_owned(),
        sub: "edge".to_owned(),
    };
    let halting = Halting::start().await;
    let mut claims = halting.narrows.user_claims();
    claims["iss"] = PARTNER.into();
    claims["sub"] = "job".into();
    claims["aud"] = halting.narrows.url.as_str().into();
    let assertion = halting.partner.sign("JWT", &claims);
    let changes = [
        ("grant_type", "client_credentials"),
        ("client_id", ""),
        ("client_secret", ""),
        ("subject_token", ""),
        ("subject_token_type", ""),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &*assertion),
    ];
    let reply = halting.exchange(&changes, halting.disable(itself.clone())).await;
    assert_eq!((reply.status, reply.text("reason")), (400, "subject_disabled"), "{:?}", reply.body);
    let store = halting.narrows.engine.open().await;
    store.set_standing(&itself, Standing::Enabled, record()).await.unwrap();
    halting.narrows.broker.tend().await;
    let again = halting.narrows.exchange(&changes).await;
    assert_eq!(again.status, 200, "in good standing: {:?}", again.body);
    halting.narrows.stop().await;
}

/// The edge acted in it, before orders shows it.
#[tokio::test]
async fn a_subject_token_that_names_somebody_who_is_disabled_meanwhile_becomes_nothing() {
    let worker = Party::Subject {
        issuer_name: "partner".to_owned(),
        sub: "worker".to_owned(),
    };
    for (party, reason) in [
        (Party::Client(ClientId::parse("edge").unwrap()), "subject_token_revoked"),
        (worker, "subject_disabled"),
    ] {
        let halting = Halting::start().await;
        let given = halting.narrows.exchange(&[("audience", "https://orders.internal")]).await;
        let actor = halting.token("worker");
        let changes = [
            ("client_id", "orders"),
            ("client_secret", "orders-secret"),
            ("subject_token", given.text("access_token")),
            ("actor_token", &*actor),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        let reply = halting.exchange(&changes, halting.disable(party.clone())).await;
        assert_eq!((reply.status, reply.text("reason")), (400, reason), "{:?}", reply.body);
        let store = halting.narrows.engine.open().await;
        store.set_standing(&party, Standing::Enabled, record()).await.unwrap();
        halting.narrows.broker.tend().await;
        let again = halting.narrows.exchange(&changes).await;
        assert_eq!(again.status, 200, "with all of them in good standing: {:?}", again.body);
        halting.narrows.stop().await;
    }
}

#[tokio::test]
async fn a_subject_token_that_is_revoked_meanwhile_becomes_nothing() {
    let halting = Halting::start().await;
    let narrows = &halting.narrows;
    let (claims, actor) = (narrows.user_claims(), halting.token("job"));
    let subject = narrows.issuer.sign("at+jwt", &claims);
    let changes = [
        ("subject_token", &*subject),
        ("actor_token", &actor),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    let (store, key) = (narrows.engine.open().await, Key::of_pair(CORP, claims["jti"].as_str().unwrap()));
    let reply = halting.exchange(&changes, revoke(&store, narrows, MarkKind::Outside, key)).await;
    assert_eq!(
        (reply.status, reply.text("reason")),
        (400, "subject_token_revoked"),
        "{:?}",
        reply.body
    );
    let other = [("actor_token", &*actor), ("actor_token_type", ACCESS_TOKEN)];
    assert_eq!(narrows.exchange(&other).await.status, 200, "with nothing revoked");
    halting.narrows.stop().await;
}

#[tokio::test]
async fn no_task_is_opened_for_a_subject_token_that_is_revoked_meanwhile() {
    let halting = Halting::start().await;
    let narrows = &halting.narrows;
    let (claims, actor) = (narrows.user_claims(), halting.token("job"));
    let subject = narrows.issuer.sign("at+jwt", &claims);
    let opens = [
        ("requested_token_type", tasks::TASK),
        ("actor_token", &actor),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    let changes = [&[("subject_token", &*subject)], &opens[..]].concat();
    let (store, key) = (narrows.engine.open().await, Key::of_pair(CORP, claims["jti"].as_str().unwrap()));
    let reply = halting.exchange(&changes, revoke(&store, narrows, MarkKind::Outside, key)).await;
    assert_eq!(
        (reply.status, reply.text("reason")),
        (400, "subject_token_revoked"),
        "{:?}",
        reply.body
    );
    assert_eq!(narrows.exchange(&opens).await.status, 200, "with nothing revoked");
    halting.narrows.stop().await;
}

/// What redeems a task as orders with this actor token.
fn as_orders<'a>(task: &'a str, actor: &'a str) -> [(&'a str, &'a str); 6] {
    [
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", task),
        ("subject_token_type", tasks::TASK),
        ("actor_token", actor),
        ("actor_token_type", ACCESS_TOKEN),
    ]
}

#[tokio::test]
async fn a_task_whose_creator_is_disabled_meanwhile_gives_nothing() {
    let halting = Halting::start().await;
    let narrows = &halting.narrows;
    let (task, _) = tasks::opened(narrows, &[("actor", "orders"), ("max_tokens", "2")]).await;
    let actor = halting.token("worker");
    let redeem = as_orders(&task, &actor);
    let edge = Party::Client(ClientId::parse("edge").unwrap());
    let reply = halting.exchange(&redeem, halting.disable(edge.clone())).await;
    assert_eq!(
        (reply.status, reply.text("reason")),
        (400, "subject_token_revoked"),
        "{:?}",
        reply.body
    );
    let store = narrows.engine.open().await;
    store.set_standing(&edge, Standing::Enabled, record()).await.unwrap();
    narrows.broker.tend().await;
    let again = narrows.exchange(&redeem).await;
    assert_eq!(again.status, 200, "with the edge in good standing: {:?}", again.body);
    halting.narrows.stop().await;
}

#[tokio::test]
async fn a_task_that_is_revoked_meanwhile_or_what_it_came_from_gives_nothing() {
    for (kind, reason) in [(MarkKind::Task, "task_cancelled"), (MarkKind::Txn, "subject_token_revoked")] {
        let halting = Halting::start().await;
        let narrows = &halting.narrows;
        let (task, id) = tasks::opened(narrows, &[("actor", "orders")]).await;
        let records = narrows.records().await;
        let opened = records.iter().find(|record| record["task"] == id.as_str()).unwrap();
        let key = if kind == MarkKind::Task {
            id.as_str()
        } else {
            opened["txn"].as_str().unwrap()
        };
        let (store, actor) = (narrows.engine.open().await, halting.token("worker"));
        let meanwhile = revoke(&store, narrows, kind, Key::of(key));
        let reply = halting.exchange(&as_orders(&task, &actor), meanwhile).await;
        assert_eq!((reply.status, reply.text("reason")), (400, reason), "{:?}", reply.body);
        halting.narrows.stop().await;
    }
}

/// The last thing that is waited for before the decision is a transaction that another node began.
#[tokio::test]
async fn an_actor_token_that_is_revoked_meanwhile_acts_for_nobody() {
    let planned = |engine| Plan {
        engine,
        change: Box::new(|snapshot| "https://narrows.example".clone_into(&mut snapshot.issuer)),
        ..Plan::default()
    };
    // 1. One node begins it, and makes the tokens.
    let first = Installation::of(planned(Engine::postgres())).await;
    let subject = first.exchange(&[("audience", "https://orders.internal")]).await;
    let itself = [
        ("grant_type", "client_credentials"),
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", ""),
        ("subject_token_type", ""),
    ];
    let actor = first.exchange(&itself).await;
    first.broker.close().await;
    // 2. Another one has to read it, and nobody may.
    let second = Installation::of(planned(first.engine)).await;
    let Engine::Postgres(database) = &second.engine else {
        unreachable!()
    };
    let store = second.engine.open().await;
    let mut watching = sqlx::PgConnection::connect(&database.address()).await.unwrap();
    let mut other = sqlx::PgConnection::connect(&database.address()).await.unwrap();
    let mut holding = other.begin().await.unwrap();
    sqlx::query("LOCK TABLE transactions").execute(&mut *holding).await.unwrap();
    let changes = [
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", subject.text("access_token")),
        ("actor_token", actor.text("access_token")),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    let meanwhile = async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'transactions'::regclass";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut watching).await.unwrap() == 0 {}
        let jti: Value = actor.claims()["jti"].clone();
        revoke(&store, &second, MarkKind::Jti, Key::of(jti.as_str().unwrap())).await;
        holding.rollback().await.unwrap();
    };
    let (reply, ()) = in_time(async { tokio::join!(second.exchange(&changes), meanwhile) }).await;
    assert_eq!(
        (reply.status, reply.text("reason")),
        (400, "actor_token_revoked"),
        "{:?}",
        reply.body
    );
    second.stop().await;
}
