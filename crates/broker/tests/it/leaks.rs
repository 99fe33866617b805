//! `POST /v1/leaks`: what it ends, what it leaves alone, and what it does not tell.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use broker::{Clock, Rates, Role};
use delegation::oauth::ClientId;
use delegation::registry::{AuthMethod, ClientAuth, SecretDigest, Snapshot};
use delegation::revocation::{Key, MarkKind};
use delegation::time::Timestamp;
use delegation::token::{OpaqueForm, OpaqueKind};
use fetch::KeySource;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};
use testkit::FakeIssuer;
use tokio::task::JoinSet;

use crate::api;
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, RULES, Reply, encode, seconds};
use crate::tasks;

const JSON: (&str, &str) = ("content-type", "application/json");

/// A secret of the edge, beside the usual one.
fn secret() -> OpaqueForm {
    OpaqueForm::make(OpaqueKind::ClientSecret, &[5; 32])
}

fn with_a_second_secret(snapshot: &mut Snapshot) {
    let edge = snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap();
    let digest = SecretDigest::from_bytes(secret().digest());
    for method in [AuthMethod::SecretPost(digest.clone()), AuthMethod::SecretBasic(digest)] {
        edge.auth.push(ClientAuth { method, until: None });
    }
}

async fn on(engine: Engine) -> Installation {
    Installation::of(Plan {
        engine,
        rules: tasks::rules(),
        change: Box::new(with_a_second_secret),
        ..Plan::default()
    })
    .await
}

async fn report(narrows: &Installation, body: &Value) -> Reply {
    let body = body.to_string().into_bytes();
    narrows.ask_with("POST", "/v1/leaks", &[JSON], Some(body)).await
}

/// Reports a token, and sees the one answer that there is.
async fn leaked(narrows: &Installation, token: &str) {
    let reply = report(narrows, &json!({ "token": token })).await;
    assert_eq!((reply.status, &reply.body), (202, &json!({})), "{token}");
}

/// Alice's token, exchanged by the edge for orders.
async fn for_orders(narrows: &Installation, outside: &str) -> String {
    let reply = narrows.exchange(&[("audience", "https://orders.internal"), ("subject_token", outside)]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.text("access_token").to_owned()
}

/// The same, exchanged by orders for tickets.
async fn onward(narrows: &Installation, token: &str) -> String {
    let changes = [
        ("client_id", "orders"),
        ("client_secret", "orders-secret"),
        ("subject_token", token),
    ];
    narrows.exchange(&changes).await.text("access_token").to_owned()
}

async fn is_active(narrows: &Installation, client: &str, token: &str) -> bool {
    narrows.about("/oauth2/introspect", client, token).await.body["active"] == json!(true)
}

fn jti(token: &str) -> String {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

async fn leaks_on_record(narrows: &Installation) -> Vec<Value> {
    let mut records = narrows.records().await;
    records.retain(|record| record["kind"] == "leak");
    records
}

on_both_engines!(
    a_leaked_token_takes_with_it_what_came_from_it_and_nothing_else,
    a_leaked_token_of_an_issuer_takes_with_it_what_came_from_it,
    a_leaked_task_is_over,
    a_leaked_operator_token_lets_nobody_in,
    a_leaked_client_secret_is_taken_no_more,
    what_cannot_be_put_on_record_is_not_taken,
);

async fn a_leaked_token_takes_with_it_what_came_from_it_and_nothing_else(engine: Engine) {
    let narrows = on(engine).await;
    let outside = narrows.user_token();
    let (parent, sibling) = (for_orders(&narrows, &outside).await, for_orders(&narrows, &outside).await);
    let (child, other) = (onward(&narrows, &parent).await, onward(&narrows, &parent).await);
    // Not what it came from, nor what came from that beside it.
    leaked(&narrows, &child).await;
    assert!(!is_active(&narrows, "orders", &child).await);
    assert!(is_active(&narrows, "edge", &parent).await && is_active(&narrows, "orders", &other).await);

    let body = json!({ "token": format!(" {parent}\n"), "found_in": "a build log" });
    assert_eq!(report(&narrows, &body).await.status, 202);
    assert!(!is_active(&narrows, "edge", &parent).await && !is_active(&narrows, "orders", &other).await);
    assert!(is_active(&narrows, "edge", &sibling).await);
    for_orders(&narrows, &outside).await;

    let records = leaks_on_record(&narrows).await;
    let inputs = json!({ "kind": "jti", "named": jti(&parent), "found_in": "a build log" });
    assert_eq!((records.len(), &records[1]["inputs"]), (2, &inputs));
    assert_eq!(
        (&records[1]["reason"], &records[1]["decision"]),
        (&json!("revoked"), &json!("done"))
    );
    assert!(!json!(records).to_string().contains(parent.rsplit('.').next().unwrap()), "no token");
    narrows.stop().await;
}

async fn a_leaked_token_of_an_issuer_takes_with_it_what_came_from_it(engine: Engine) {
    let narrows = on(engine).await;
    let (outside, another) = (narrows.user_token(), narrows.user_token());
    let (issued, others) = (for_orders(&narrows, &outside).await, for_orders(&narrows, &another).await);
    leaked(&narrows, &outside).await;
    assert!(!is_active(&narrows, "edge", &issued).await && is_active(&narrows, "edge", &others).await);
    let refused = narrows.exchange(&[("subject_token", &outside)]).await;
    assert_eq!(refused.text("reason"), "subject_token_revoked");
    assert_eq!(leaks_on_record(&narrows).await[0]["inputs"]["kind"], "outside");
    narrows.stop().await;
}

async fn a_leaked_task_is_over(engine: Engine) {
    let narrows = on(engine).await;
    let (task, id) = tasks::opened(&narrows, &[]).await;
    let (another, _) = tasks::opened(&narrows, &[]).await;
    let redeemed = tasks::redeem(&narrows, &task, &[]).await.text("access_token").to_owned();
    leaked(&narrows, &task).await;
    assert!(!is_active(&narrows, "edge", &redeemed).await);
    assert_eq!(tasks::redeem(&narrows, &task, &[]).await.text("reason"), "task_cancelled");
    assert_eq!(tasks::redeem(&narrows, &another, &[]).await.status, 200);
    let records = leaks_on_record(&narrows).await;
    assert_eq!(records[0]["inputs"], json!({ "kind": "task", "named": id }));
    // A second report finds nothing to end.
    leaked(&narrows, &task).await;
    assert_eq!(leaks_on_record(&narrows).await[1]["reason"], "ended_before");
    narrows.stop().await;
}

async fn a_leaked_operator_token_lets_nobody_in(engine: Engine) {
    let narrows = on(engine).await;
    let (ann, bob) = (
        api::operator(&narrows, "ann", &[Role::Auditor]).await,
        api::operator(&narrows, "bob", &[Role::Auditor]).await,
    );
    let reads = async |token: &str| narrows.ask("GET", "/v1/revocations", token, None).await.status;
    // Known to the running broker, not only to its store.
    narrows.broker.tend().await;
    assert_eq!((reads(&ann).await, reads(&bob).await), (200, 200));
    leaked(&narrows, &ann).await;
    assert_eq!((reads(&ann).await, reads(&bob).await), (401, 200));
    assert_eq!(
        leaks_on_record(&narrows).await[0]["inputs"],
        json!({ "kind": "operator", "named": "ann" })
    );
    narrows.stop().await;
}

async fn a_leaked_client_secret_is_taken_no_more(engine: Engine) {
    let narrows = on(engine).await;
    let with_secret = async |secret: &str| narrows.exchange(&[("client_secret", secret)]).await;
    let secret = secret();
    let basic = format!("Basic {}", STANDARD.encode(format!("edge:{}", secret.expose())));
    let in_header = async || {
        let form = narrows.form().into_iter().filter(|(name, _)| !name.starts_with("client_"));
        narrows.post(&encode(&form.collect::<Vec<_>>()), &[("authorization", &basic)]).await.status
    };
    let issued = with_secret(secret.expose()).await;
    assert_eq!((issued.status, in_header().await), (200, 200));
    leaked(&narrows, secret.expose()).await;

    let (refused, wrong) = (with_secret(secret.expose()).await, with_secret("wrong").await);
    assert_eq!((refused.status, refused.text("reason")), (401, "client_authentication_failed"));
    assert_eq!(in_header().await, 401);
    let told = |reply: &Reply| [reply.text("error"), reply.text("reason"), reply.text("error_description")].map(str::to_owned);
    assert_eq!(told(&refused), told(&wrong), "nobody is told that it was right once");
    // What is a sibling of it lives: the client's other secret, and what it was issued.
    assert_eq!(with_secret("edge-secret").await.status, 200);
    assert!(is_active(&narrows, "edge", issued.text("access_token")).await);
    let records = leaks_on_record(&narrows).await;
    assert_eq!(records[0]["inputs"], json!({ "kind": "client_secret", "named": ["edge"] }));
    // Other nodes of the store, and a broker that starts there, know it as they know standing.
    let view = narrows.engine.open().await.standing().await.unwrap();
    assert!(view.is_secret_dead(&secret.digest()));
    narrows.broker.tend().await;
    assert_eq!(with_secret(secret.expose()).await.status, 401);
    leaked(&narrows, secret.expose()).await;
    assert_eq!(leaks_on_record(&narrows).await[1]["reason"], "ended_before");
    narrows.stop().await;
}

/// Another node ends what is reported while the report stands before the same row: what was to end has ended, and that is on
/// record.
#[tokio::test]
async fn a_report_that_another_overtakes_is_on_record() {
    let narrows = on(Engine::postgres()).await;
    let Engine::Postgres(database) = &narrows.engine else { return };
    let (operator, secret) = (api::operator(&narrows, "ann", &[Role::Auditor]).await, secret());
    let digest: String = secret.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    let dead = format!("INSERT INTO dead_secrets (digest, died_at) VALUES ('\\x{digest}', 0)");
    for (first, token) in [(dead.as_str(), secret.expose()), ("DELETE FROM operators", &operator)] {
        let [mut holds, mut watches] = [
            sqlx::PgConnection::connect(&database.address()).await.unwrap(),
            sqlx::PgConnection::connect(&database.address()).await.unwrap(),
        ];
        let mut held = holds.begin().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(first.to_owned())).execute(&mut *held).await.unwrap();
        let overtakes = async {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watches).await.unwrap() == 0 {}
            held.commit().await.unwrap();
        };
        let both = async { tokio::join!(leaked(&narrows, token), overtakes) };
        tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    }
    let records = leaks_on_record(&narrows).await;
    let told: Vec<_> = records.iter().map(|record| (&record["reason"], &record["inputs"]["kind"])).collect();
    let [ended, operators, secrets] = [json!("ended_before"), json!("operator"), json!("client_secret")];
    assert_eq!(told, [(&ended, &secrets), (&ended, &operators)]);
    narrows.stop().await;
}

async fn what_cannot_be_put_on_record_is_not_taken(engine: Engine) {
    let narrows = on(engine).await;
    let token = for_orders(&narrows, &narrows.user_token()).await;
    let (task, _) = tasks::opened(&narrows, &[]).await;
    let operator = api::operator(&narrows, "ann", &[Role::Auditor]).await;
    narrows.engine.run("ALTER TABLE records RENAME TO away").await;
    for each in [&token, &task, &operator, secret().expose(), "nothing"] {
        let reply = report(&narrows, &json!({ "token": each })).await;
        assert_eq!((reply.status, reply.text("reason")), (503, "store_unavailable"), "{each}");
    }
    narrows.engine.run("ALTER TABLE away RENAME TO records").await;
    let refused = leaks_on_record(&narrows).await;
    assert!(
        refused.iter().all(|record| record["decision"] == "deny" && record["inputs"].is_null()),
        "{refused:?}"
    );
    assert!(is_active(&narrows, "edge", &token).await);
    assert_eq!(tasks::redeem(&narrows, &task, &[]).await.status, 200);
    assert_eq!(narrows.ask("GET", "/v1/revocations", &operator, None).await.status, 200);
    assert_eq!(narrows.exchange(&[("client_secret", secret().expose())]).await.status, 200);
    narrows.stop().await;
}

#[tokio::test]
async fn a_token_that_has_expired_is_still_ended() {
    let clock = Clock::standing(Timestamp::from_seconds(seconds()));
    let narrows = Installation::of(Plan {
        clock: clock.clone(),
        ..Plan::default()
    })
    .await;
    let token = for_orders(&narrows, &narrows.user_token()).await;
    clock.set(clock.now().plus(Duration::from_secs(3_600)));
    leaked(&narrows, &token).await;
    let view = narrows.engine.open().await.standing().await.unwrap();
    assert!(view.is_dead(MarkKind::Jti, &Key::of(&jti(&token))));
    narrows.stop().await;
}

#[tokio::test]
async fn what_nobody_here_has_made_or_signed_ends_nothing_and_looks_the_same() {
    let narrows = on(Engine::sqlite()).await;
    let (outside, task) = (narrows.user_token(), tasks::opened(&narrows, &[]).await.0);
    let token = for_orders(&narrows, &outside).await;
    let (signed, _) = token.rsplit_once('.').unwrap();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let stranger = FakeIssuer::es256("https://stranger.example");
    // Our issuer and a trusted one, named by who is neither; and an issuer whom nobody trusts.
    let as_ours = stranger.sign("at+jwt", &claims);
    claims["iss"] = json!("https://stranger.example");
    let as_itself = stranger.sign("at+jwt", &claims);
    let as_corp = stranger.sign("at+jwt", &narrows.user_claims());
    let (other_signature, unsigned) = (as_ours.rsplit('.').next().unwrap().to_owned(), format!("{signed}."));
    let mut nothing = vec![as_ours, as_itself, as_corp, unsigned, format!("{signed}.{other_signature}")];
    nothing.extend(OpaqueKind::ALL.map(|(_, kind)| OpaqueForm::make(kind, &[77; 32]).expose().to_owned()));
    nothing.extend([task.get(..53).unwrap(), "x", "a.b.c", "nrws_"].map(str::to_owned));
    // A secret that is no opaque form of ours could be a guess.
    nothing.push("edge-secret".to_owned());
    let known = report(&narrows, &json!({ "token": tasks::opened(&narrows, &[]).await.0 })).await;
    let names = |reply: &Reply| reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    for each in &nothing {
        let reply = report(&narrows, &json!({ "token": each })).await;
        assert_eq!((reply.status, &reply.body), (known.status, &known.body), "{each}");
        assert_eq!(names(&reply), names(&known));
    }
    let records = leaks_on_record(&narrows).await;
    let unknown = records.iter().filter(|record| record["reason"] == "unknown_token");
    assert_eq!(unknown.count(), nothing.len());
    assert!(is_active(&narrows, "edge", &token).await);
    for_orders(&narrows, &outside).await;
    assert_eq!(tasks::redeem(&narrows, &task, &[]).await.status, 200);
    narrows.stop().await;
}

#[tokio::test]
async fn a_token_whose_issuer_cannot_be_asked_for_keys_is_not_said_to_be_taken() {
    let narrows = Installation::start().await;
    let gone = FakeIssuer::es256("https://gone.example");
    let nowhere = KeySource::File(narrows.folder.path().join("nowhere.json"));
    narrows.trust_source("https://gone.example", "gone", nowhere, RULES, |_| {}).await;
    let mut claims = narrows.user_claims();
    claims["iss"] = json!("https://gone.example");
    let reply = report(&narrows, &json!({ "token": gone.sign("at+jwt", &claims) })).await;
    assert_eq!((reply.status, reply.text("reason")), (503, "issuer_unavailable"));
    narrows.stop().await;
}

#[tokio::test]
async fn the_body_is_a_token_and_where_it_was_found() {
    let narrows = Installation::start().await;
    let wrong = [
        json!({}),
        json!({ "token": "" }),
        json!({ "token": " " }),
        json!({ "token": 5 }),
        json!({ "token": ["x"] }),
        json!({ "token": "x", "found_in": 5 }),
        json!({ "token": "x", "found_in": "x".repeat(201) }),
        json!({ "token": "x", "jti": "y" }),
        json!("x"),
    ];
    for body in wrong {
        let reply = report(&narrows, &body).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{body}");
    }
    let undeclared = narrows.ask_with("POST", "/v1/leaks", &[], Some(b"{\"token\":\"x\"}".to_vec())).await;
    assert_eq!(undeclared.status, 400);
    assert_eq!(report(&narrows, &json!({ "token": "x".repeat(16 * 1024) })).await.status, 413);
    let longest = json!({ "token": "x", "found_in": "ü".repeat(200) });
    assert_eq!(report(&narrows, &longest).await.status, 202);
    // Nobody has to be anybody, and a credential that is shown all the same is not looked at.
    let shown = narrows.ask("POST", "/v1/leaks", "nrwo_wrong", Some(&json!({ "token": "x" }))).await;
    assert_eq!(shown.status, 202);
    narrows.stop().await;
}

fn rates(per_address: u32) -> Rates {
    Rates {
        per_client: NonZeroU32::new(10_000).unwrap(),
        per_address: NonZeroU32::new(per_address).unwrap(),
    }
}

/// Reports this until it is refused for the number of reports.
async fn until_limited(narrows: &Installation, token: &str) {
    limited_after(narrows, &json!({ "token": token }), 202).await;
}

/// Sends this, which is answered with `status`, until it is refused for the number of such reports.
async fn limited_after(narrows: &Installation, body: &Value, status: u16) {
    for _ in 0..300 {
        let reply = report(narrows, body).await;
        if reply.status == 429 {
            assert!(reply.headers.contains_key("retry-after"));
            return;
        }
        assert_eq!(reply.status, status);
    }
    panic!("it is never refused");
}

#[tokio::test]
async fn reports_that_end_nothing_count_and_those_that_end_something_do_not() {
    let narrows = Installation::start().await;
    let mut tokens = Vec::new();
    for _ in 0..30 {
        tokens.push(for_orders(&narrows, &narrows.user_token()).await);
    }
    narrows.swap(RULES, rates(1), narrows.entries()).await;
    let dead = tokens.split_off(20);
    for token in &dead {
        leaked(&narrows, token).await;
    }
    // What is dead already is nothing.
    until_limited(&narrows, dead.last().unwrap()).await;
    // Whoever is over the limit is not listened to, whatever is shown: else the answer would tell what a token is. A second
    // may pass between the two, so it is tried until none does.
    let mut refused = false;
    for token in tokens {
        until_limited(&narrows, "nothing").await;
        if report(&narrows, &json!({ "token": token })).await.status == 429 {
            assert!(is_active(&narrows, "edge", &token).await);
            refused = true;
            break;
        }
    }
    assert!(refused);
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_no_report_counts_too() {
    let narrows = Installation::of(Plan {
        rates: rates(1),
        corp: Some(KeySource::File("nowhere.json".into())),
        ..Plan::default()
    })
    .await;
    for (body, status) in [
        (json!({}), 400),
        (json!({ "token": "x".repeat(16 * 1024) }), 413),
        (json!({ "token": narrows.user_token() }), 503),
    ] {
        limited_after(&narrows, &body, status).await;
    }
    narrows.stop().await;
}

#[tokio::test]
async fn however_many_reports_are_nothing_their_records_are_few_and_say_how_many() {
    let narrows = Installation::start().await;
    narrows.swap(RULES, rates(10_000), narrows.entries()).await;
    let narrows = Arc::new(narrows);
    let mut reporters = JoinSet::new();
    for reporter in 0..10 {
        let narrows = Arc::clone(&narrows);
        reporters.spawn(async move {
            for round in 0..100 {
                let body = json!({ "token": format!("nothing-{reporter}-{round}"), "found_in": "a log" });
                assert_eq!(report(&narrows, &body).await.status, 202);
            }
        });
    }
    reporters.join_all().await;
    let narrows = Arc::into_inner(narrows).unwrap();
    narrows.count_up().await;
    let records = leaks_on_record(&narrows).await;
    let counted: u64 = records.iter().map(|record| record.get("count").and_then(Value::as_u64).unwrap_or(1)).sum();
    assert_eq!(counted, 1_000);
    assert!(records.len() < 1_000, "they would have to take 19 seconds");
    let of_many = records.iter().filter(|record| record.get("count").is_some());
    assert!(of_many.clone().all(|record| record["inputs"].is_null()), "{records:?}");
    narrows.stop().await;
}
