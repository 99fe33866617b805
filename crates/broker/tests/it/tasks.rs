//! Tasks: opened, redeemed, ended, and what hangs from them.

use std::sync::Arc;
use std::time::Duration;

use broker::store::{Party, Standing};
use broker::{Clock, Rates, Role};
use delegation::oauth::ClientId;
use delegation::revocation::{Key, Revocation};
use delegation::time::Timestamp;
use issuance::audit::{Kind, Record};
use issuance::task::Status;
use serde_json::json;
use tokio::task::JoinSet;

use crate::api;
use crate::engine::{Engine, on_both_engines};
use crate::installation::{ASSERTION_TYPE, Installation, Plan, RULES, Reply, encode, seconds};

pub(crate) const TASK: &str = "urn:narrows:params:oauth:token-type:task";
const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";

/// Who may open tasks, and do their work later.
const TASK_RULES: &str = r#"
@id("tasks") permit (principal == Workload::"edge", action in [Action::"task", Action::"defer"], resource is Audience)
when { context.expires_in <= 86400 };
"#;

/// The rules of every test, and those for tasks.
pub(crate) fn rules() -> String {
    format!("{RULES}{TASK_RULES}")
}

/// An installation whose edge opens tasks, for itself or for `orders`.
pub(crate) async fn installation(engine: Engine) -> Installation {
    Installation::of(Plan {
        engine,
        rules: rules(),
        change: Box::new(|snapshot| {
            let edge = snapshot.clients.get_mut(&ClientId::parse("edge").unwrap()).unwrap();
            edge.delegates = ["orders", "nobody"].map(|id| ClientId::parse(id).unwrap()).into();
        }),
        ..Plan::default()
    })
    .await
}

/// Opens a task for reading ticket 42 at both audiences, with these changes to the form.
async fn open(narrows: &Installation, changes: &[(&str, &str)]) -> Reply {
    let mut form = narrows.form();
    form.insert("requested_token_type".to_owned(), TASK.to_owned());
    for (name, value) in changes {
        form.insert((*name).to_owned(), (*value).to_owned());
    }
    let mut pairs: Vec<_> = form.into_iter().collect();
    pairs.push(("audience".to_owned(), "https://orders.internal".to_owned()));
    narrows.post(&encode(&pairs), &[]).await
}

/// Opens one, which must work, and gives its token and id.
pub(crate) async fn opened(narrows: &Installation, changes: &[(&str, &str)]) -> (String, String) {
    let reply = open(narrows, changes).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    (reply.text("access_token").to_owned(), reply.text("task_id").to_owned())
}

/// Redeems a task as the edge, with these changes to the form.
pub(crate) async fn redeem(narrows: &Installation, token: &str, changes: &[(&str, &str)]) -> Reply {
    let form = [&[("subject_token", token), ("subject_token_type", TASK)], changes].concat();
    narrows.exchange(&form).await
}

fn outcome(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.text("reason"))
}

/// What makes a request one of the edge's by this assertion.
fn by_key(assertion: &str) -> [(&str, &str); 4] {
    [
        ("client_id", ""),
        ("client_secret", ""),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion),
    ]
}

/// What makes a request one of orders.
const AS_ORDERS: [(&str, &str); 2] = [("client_id", "orders"), ("client_secret", "orders-secret")];
/// The audience that orders receives.
const FOR_ORDERS: (&str, &str) = ("audience", "https://orders.internal");

/// A token of the task at orders, exchanged on by orders.
async fn onward(narrows: &Installation, token: &str) -> Reply {
    let [id, secret] = AS_ORDERS;
    narrows.exchange(&[id, secret, ("subject_token", token)]).await
}

async fn is_active(narrows: &Installation, client: &str, token: &str) -> bool {
    narrows.about(INTROSPECT, client, token).await.body["active"] == json!(true)
}

on_both_engines!(
    a_task_is_opened_and_redeemed,
    a_task_gives_as_many_tokens_as_it_may,
    an_attempt_has_one_place_however_often_it_is_delivered,
    what_ends_a_task_ends_its_tokens,
    of_many_redemptions_at_once_one_wins,
    a_task_ends_in_one_way,
);

async fn a_task_is_opened_and_redeemed(engine: Engine) {
    let narrows = installation(engine).await;
    let reply = open(&narrows, &[("purpose", "answer ticket 42"), ("expires_in", "300")]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let (token, id) = (reply.text("access_token").to_owned(), reply.text("task_id").to_owned());
    assert_eq!(
        (reply.text("issued_token_type"), reply.text("token_type"), &reply.body["expires_in"]),
        (TASK, "N_A", &json!(300))
    );
    assert!(token.starts_with("nrwt_") && token.len() == 54 && !id.is_empty());
    assert_eq!(reply.body["authorization_details"][0]["identifier"], "42");

    let redeemed = redeem(&narrows, &token, &[FOR_ORDERS]).await;
    assert_eq!(redeemed.status, 200, "{:?}", redeemed.body);
    let claims = redeemed.claims();
    let said = (&claims["task"], &claims["sub"], &claims["client_id"]);
    assert_eq!(said, (&json!(id), &json!("alice"), &json!("edge")));
    assert_eq!(claims["act"], json!({ "iss": narrows.url, "sub": "edge" }), "the redeemer, once");
    assert_eq!(
        claims["chain"].as_array().unwrap().len(),
        1,
        "the subject token; the task is not in it"
    );
    // What comes of the token hangs from the task too.
    let next = onward(&narrows, redeemed.text("access_token")).await;
    assert_eq!(next.claims()["task"], json!(id), "{:?}", next.body);

    let records = narrows.records().await;
    let of_task: Vec<_> = records.iter().filter(|record| record["task"] == json!(id)).collect();
    let kinds: Vec<_> = of_task.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["task", "exchange", "exchange"]);
    assert_eq!(
        of_task[0]["inputs"]["also"].as_array().unwrap().len(),
        1,
        "one inquiry for each audience"
    );
    for record in &of_task {
        assert_eq!(record["inputs"]["task"]["purpose"], "answer ticket 42", "policy is told");
    }
    assert!(
        !records.iter().any(|record| record.to_string().contains(&token)),
        "no token in the log"
    );
    narrows.stop().await;
}

async fn a_task_gives_as_many_tokens_as_it_may(engine: Engine) {
    let narrows = installation(engine).await;
    let (token, _) = opened(&narrows, &[("max_tokens", "2")]).await;
    // A redemption that is refused takes no place.
    let wider = r#"[{"type":"ticket","actions":["read"],"identifier":"43"}]"#;
    let refused = redeem(&narrows, &token, &[("authorization_details", wider)]).await;
    assert_eq!(outcome(&refused), (400, "wider_than_subject"));
    for _ in 0..2 {
        assert_eq!(redeem(&narrows, &token, &[]).await.status, 200);
    }
    assert_eq!(outcome(&redeem(&narrows, &token, &[]).await), (400, "task_exhausted"));
    // A client whose redemption lost has its assertion used up by the refusal, and by nothing before it.
    let assertion = narrows.assertion(&[]);
    let signed = by_key(&assertion);
    assert_eq!(outcome(&redeem(&narrows, &token, &signed).await), (400, "task_exhausted"));
    assert_eq!(redeem(&narrows, &token, &signed).await.status, 401, "used up");
    // One that opens a task, or redeems one, is used up by that.
    let assertion = narrows.assertion(&[]);
    let opens = open(&narrows, &by_key(&assertion)).await;
    assert_eq!(opens.status, 200, "{:?}", opens.body);
    assert_eq!(open(&narrows, &by_key(&assertion)).await.status, 401);
    let (assertion, token) = (narrows.assertion(&[]), opens.text("access_token"));
    for status in [200, 401] {
        assert_eq!(redeem(&narrows, token, &by_key(&assertion)).await.status, status);
    }
    narrows.stop().await;
}

async fn an_attempt_has_one_place_however_often_it_is_delivered(engine: Engine) {
    let narrows = installation(engine).await;
    let (token, _) = opened(&narrows, &[("max_tokens", "1")]).await;
    for delivery in 0..3 {
        let reply = redeem(&narrows, &token, &[("attempt_id", "job-7")]).await;
        assert_eq!(reply.status, 200, "delivery {delivery}: {:?}", reply.body);
    }
    for other in [&[("attempt_id", "job-8")][..], &[]] {
        assert_eq!(
            outcome(&redeem(&narrows, &token, other).await),
            (400, "task_exhausted"),
            "{other:?}"
        );
    }
    for wrong in ["x".repeat(65).as_str(), "job\n7"] {
        let refused = redeem(&narrows, &token, &[("attempt_id", wrong)]).await;
        assert_eq!(outcome(&refused), (400, "malformed_request"), "{wrong:?}");
    }
    // It is the attempt's place at this task, and at no other.
    let (other, _) = opened(&narrows, &[("max_tokens", "1")]).await;
    assert_eq!(redeem(&narrows, &other, &[("attempt_id", "job-8")]).await.status, 200);
    let refused = redeem(&narrows, &other, &[("attempt_id", "job-7")]).await;
    assert_eq!(outcome(&refused), (400, "task_exhausted"));
    narrows.stop().await;
}

/// The place lasts for the life of the attempt's first token: a later delivery takes another.
#[tokio::test]
async fn an_attempt_keeps_its_place_for_the_life_of_its_first_token() {
    let clock = Clock::standing(Timestamp::from_seconds(seconds()));
    let narrows = Installation::of(Plan {
        clock: clock.clone(),
        rules: rules(),
        ..Plan::default()
    })
    .await;
    let (token, _) = opened(&narrows, &[("max_tokens", "2")]).await;
    let attempt = [("attempt_id", "job-7"), ("expires_in", "30")];
    assert_eq!(redeem(&narrows, &token, &attempt).await.status, 200);
    clock.set(clock.now().plus(Duration::from_secs(29)));
    assert_eq!(redeem(&narrows, &token, &attempt).await.status, 200, "the same place");
    clock.set(clock.now().plus(Duration::from_secs(1)));
    assert_eq!(
        redeem(&narrows, &token, &attempt).await.status,
        200,
        "the second place: the first token is over"
    );
    assert_eq!(outcome(&redeem(&narrows, &token, &[]).await), (400, "task_exhausted"));
    narrows.stop().await;
}

/// INT-016 for tasks.
async fn what_ends_a_task_ends_its_tokens(engine: Engine) {
    let narrows = installation(engine).await;
    let (token, id) = opened(&narrows, &[]).await;
    let redeemed = redeem(&narrows, &token, &[FOR_ORDERS]).await.text("access_token").to_owned();
    let child = onward(&narrows, &redeemed).await.text("access_token").to_owned();
    let (other, _) = opened(&narrows, &[]).await;
    for each in [&redeemed, &child] {
        assert!(is_active(&narrows, "orders", each).await);
    }
    for client in ["orders", "stranger"] {
        assert_eq!(
            outcome(&narrows.about(REVOKE, client, &token).await),
            (400, "invalid_grant"),
            "{client}"
        );
    }
    assert_eq!(narrows.about(REVOKE, "edge", &token).await.status, 200);

    assert_eq!(outcome(&redeem(&narrows, &token, &[]).await), (400, "task_cancelled"));
    for each in [&redeemed, &child] {
        assert!(!is_active(&narrows, "orders", each).await);
    }
    assert_eq!(outcome(&onward(&narrows, &redeemed).await), (400, "subject_token_revoked"));
    assert_eq!(narrows.about(REVOKE, "edge", &token).await.status, 200, "twice is once");
    assert_eq!(
        redeem(&narrows, &other, &[]).await.status,
        200,
        "another task of the same person goes on"
    );
    let kept = narrows.engine.open().await.task(&id).await.unwrap().unwrap();
    assert_eq!(kept.status, Status::Cancelled);
    narrows.stop().await;
}

/// Sixty-four at a time for the one place of a task, on one node; see the tests of faults for two.
async fn of_many_redemptions_at_once_one_wins(engine: Engine) {
    let narrows = Arc::new(installation(engine).await);
    for round in 0..4 {
        let (token, _) = opened(&narrows, &[("max_tokens", "1")]).await;
        let mut all = JoinSet::new();
        for _ in 0..64 {
            let (narrows, token) = (Arc::clone(&narrows), token.clone());
            all.spawn(async move { redeem(&narrows, &token, &[]).await });
        }
        let all = all.join_all().await;
        let won = all.iter().filter(|reply| reply.status == 200).count();
        let lost = all.iter().filter(|reply| outcome(reply) == (400, "task_exhausted")).count();
        assert_eq!((won, lost), (1, 63), "round {round}");
    }
    Arc::into_inner(narrows).unwrap().stop().await;
}

/// APR-011: the token of a task is worth nothing to another client; the contract's reason is `subject_token_not_for_client`.
#[tokio::test]
async fn a_task_is_for_its_actor_and_its_payload() {
    let narrows = installation(Engine::sqlite()).await;
    let payload = "ab".repeat(32);
    let (token, id) = opened(&narrows, &[("actor", "orders"), ("payload_sha256", &payload)]).await;
    let [client, secret] = AS_ORDERS;
    let bound = ("payload_sha256", payload.as_str());
    assert_eq!(
        outcome(&redeem(&narrows, &token, &[bound]).await),
        (400, "subject_token_not_for_client"),
        "the creator"
    );
    let other = "ac".repeat(32);
    for wrong in [&[client, secret][..], &[client, secret, ("payload_sha256", &other)]] {
        assert_eq!(
            outcome(&redeem(&narrows, &token, wrong).await),
            (400, "task_payload_mismatch"),
            "{wrong:?}"
        );
    }
    let redeemed = redeem(&narrows, &token, &[client, secret, bound]).await;
    assert_eq!(redeemed.status, 200, "{:?}", redeemed.body);
    let us = |sub: &str| json!({ "iss": narrows.url, "sub": sub });
    let mut act = us("orders");
    act["act"] = us("edge");
    assert_eq!(redeemed.claims()["act"], act, "the redeemer, then the creator");
    let (unbound, _) = opened(&narrows, &[]).await;
    assert_eq!(outcome(&redeem(&narrows, &unbound, &[bound]).await), (400, "task_payload_mismatch"));

    // Both see it, and nobody else.
    for (client, sees) in [("edge", true), ("orders", true), ("stranger", false)] {
        let said = narrows.about(INTROSPECT, client, &token).await.body;
        assert_eq!(said["active"], json!(sees), "{client}");
        if sees {
            let of = (
                &said["task"],
                &said["actor"],
                &said["client_id"],
                &said["token_type"],
                &said["tokens"],
            );
            assert_eq!(of, (&json!(id), &json!("orders"), &json!("edge"), &json!("N_A"), &json!(1)));
        }
    }
    assert_eq!(narrows.about(REVOKE, "orders", &token).await.status, 200, "its actor ends it too");
    assert!(!is_active(&narrows, "edge", &token).await);
    narrows.stop().await;
}

#[tokio::test]
async fn who_may_open_a_task_and_for_whom() {
    let narrows = installation(Engine::sqlite()).await;
    let malformed = (400, "malformed_request");
    for (changes, expected) in [
        (&[("actor", "stranger")][..], (400, "unauthorized_client")),
        (&[("actor", "nobody")], (400, "unauthorized_client")),
        (&[("actor", "a b")], (400, "unauthorized_client")),
        (&[("max_tokens", "0")], malformed),
        (&[("max_tokens", "-1")], malformed),
        (&[("deferred", "yes")], malformed),
        (&[("purpose", &"x".repeat(201))], malformed),
        (&[("purpose", "two\nlines")], malformed),
        (&[("payload_sha256", &"AB".repeat(32))], malformed),
        (&[("payload_sha256", &"ab".repeat(31))], malformed),
        (&[("audience", "https://unknown.internal")], (400, "unknown_audience")),
        (&[("audience", "")], (200, "")),
        (
            &[("actor_token", "nrwt_x"), ("actor_token_type", TASK)],
            (400, "unsupported_token_type"),
        ),
        (&[("scope", "admin")], (400, "wider_than_subject")),
        (&[("authorization_details", "[]")], (400, "nothing_asked")),
        (
            &[(
                "authorization_details",
                r#"[{"type":"ticket","actions":["read"],"identifier":"13"}]"#,
            )],
            (400, "policy_denied"),
        ),
        (
            &[(
                "authorization_details",
                r#"[{"type":"refund","actions":["create"],"identifier":"1"}]"#,
            )],
            (400, "wider_than_subject"),
        ),
    ] {
        let reply = open(&narrows, changes).await;
        assert_eq!(outcome(&reply), expected, "{changes:?}: {:?}", reply.body);
    }
    // Of what hangs from a task no other task is made, and none of a task itself.
    let (token, _) = opened(&narrows, &[]).await;
    assert_eq!(
        outcome(&redeem(&narrows, &token, &[("requested_token_type", TASK)]).await),
        (400, "unsupported_token_type")
    );
    let redeemed = redeem(&narrows, &token, &[FOR_ORDERS]).await.text("access_token").to_owned();
    let [id, secret] = AS_ORDERS;
    let again = open(&narrows, &[id, secret, ("subject_token", &redeemed)]).await;
    assert_eq!(outcome(&again), (400, "unsupported_token_type"), "{:?}", again.body);
    // A token that is nobody's, or another kind's, is no task.
    let mut forged = token.clone();
    forged.replace_range(10..11, if forged.get(10..11) == Some("a") { "b" } else { "a" });
    for bad in [forged.as_str(), &narrows.user_token(), "nrwt_"] {
        assert_eq!(outcome(&redeem(&narrows, bad, &[]).await), (400, "subject_token_invalid"));
    }
    narrows.stop().await;
}

/// APR-004 for deferred work.
#[tokio::test]
async fn policy_decides_about_tasks_and_is_asked_again_at_each_redemption() {
    let narrows = installation(Engine::sqlite()).await;
    let (token, _) = opened(&narrows, &[]).await;
    // No rule lets orders open one.
    let [id, secret] = AS_ORDERS;
    let own = redeem(&narrows, &token, &[FOR_ORDERS]).await.text("access_token").to_owned();
    drop(own);
    let refused = narrows
        .exchange(&[
            id,
            secret,
            ("requested_token_type", TASK),
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ])
        .await;
    assert_eq!(outcome(&refused), (400, "subject_token_not_for_client"));
    let closed = format!(
        "{}\n@id(\"closed\") forbid (principal, action == Action::\"ticket:read\", resource) when {{ context has task }};",
        rules()
    );
    narrows.swap(&closed, Rates::default(), narrows.entries()).await;
    assert_eq!(
        outcome(&redeem(&narrows, &token, &[]).await),
        (400, "policy_denied"),
        "what changed since counts"
    );
    let no_tasks = RULES.to_owned();
    narrows.swap(&no_tasks, Rates::default(), narrows.entries()).await;
    assert_eq!(
        outcome(&open(&narrows, &[]).await),
        (400, "policy_denied"),
        "no rule allows the task itself"
    );
    assert_eq!(redeem(&narrows, &token, &[]).await.status, 200);
    narrows.stop().await;
}

/// APR-013: a queue holds no token; one is made when the work runs, with its own life.
#[tokio::test]
async fn a_task_ends_with_what_it_came_from_unless_it_is_for_later() {
    let narrows = installation(Engine::sqlite()).await;
    let mut claims = narrows.user_claims();
    claims["exp"] = json!(narrows.clock.now().seconds() + 120);
    let short = narrows.issuer.sign("at+jwt", &claims);
    let now_only = open(&narrows, &[("subject_token", &short)]).await;
    let life = now_only.body["expires_in"].as_i64().unwrap();
    assert!((1..=120).contains(&life), "{life}");
    let later = open(&narrows, &[("subject_token", &short), ("deferred", "true"), ("expires_in", "7200")]).await;
    assert_eq!(later.body["expires_in"], json!(7200), "{:?}", later.body);
    let token = later.text("access_token").to_owned();
    let redeemed = redeem(&narrows, &token, &[("expires_in", "600")]).await;
    assert_eq!(redeemed.body["expires_in"], json!(60), "a token for later work lives for a minute");
    assert_eq!(
        outcome(&redeem(&narrows, &token, &[]).await),
        (400, "task_exhausted"),
        "it is done once"
    );
    let longest = open(&narrows, &[("deferred", "true"), ("expires_in", "999999")]).await;
    assert_eq!(longest.body["expires_in"], json!(86400));

    // Its root's end is its own: the person's token revoked, or the person disabled.
    let (token, _) = opened(&narrows, &[("deferred", "true")]).await;
    let store = narrows.engine.open().await;
    let alice = Party::Subject {
        issuer_name: "corp".to_owned(),
        sub: "alice".to_owned(),
    };
    let record = || Record::new("d".to_owned(), narrows.clock.now(), Kind::Operator);
    store.set_standing(&alice, Standing::Disabled, record()).await.unwrap();
    narrows.broker.tend().await;
    assert_eq!(outcome(&redeem(&narrows, &token, &[]).await), (400, "subject_disabled"));
    store.set_standing(&alice, Standing::Enabled, record()).await.unwrap();
    narrows.broker.tend().await;
    let entry = delegation::token::chain_entry(testkit::CORP, Some(&root(&narrows).await), "");
    let (kind, key) = Key::of_entry(&entry);
    let revocation = Revocation::new(kind, key, narrows.clock.now(), Duration::from_secs(600));
    store.revoke(&revocation, &record()).await.unwrap();
    narrows.broker.follow().await;
    assert_eq!(outcome(&redeem(&narrows, &token, &[]).await), (400, "subject_token_revoked"));
    narrows.stop().await;
}

/// The `jti` of the outside token from which the last task was opened.
async fn root(narrows: &Installation) -> String {
    let records = narrows.records().await;
    let opened = records.iter().rfind(|record| record["kind"] == "task" && record["decision"] == "allow").unwrap();
    opened["parent_jti"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_holds_the_token_of_a_task_says_when_its_work_is_done() {
    let narrows = installation(Engine::sqlite()).await;
    let (token, id) = opened(&narrows, &[]).await;
    let (other, _) = opened(&narrows, &[]).await;
    let redeemed = redeem(&narrows, &token, &[FOR_ORDERS]).await.text("access_token").to_owned();
    let complete = async |id: &str, token: &str| narrows.ask("POST", &format!("/v1/tasks/{id}/complete"), token, None).await;
    assert_eq!(outcome(&complete(&id, &other).await), (404, "not_found"), "another task's token");
    let operator = api::operator(&narrows, "ann", &[Role::Admin]).await;
    for wrong in [redeemed.as_str(), &narrows.user_token(), &operator, "nrwt_", "x"] {
        assert_eq!(outcome(&complete(&id, wrong).await), (401, "unauthenticated"));
    }
    // It is a bearer there and nowhere else.
    for (method, path) in [
        ("GET", "/v1/tasks".to_owned()),
        ("GET", format!("/v1/tasks/{id}")),
        ("POST", format!("/v1/tasks/{id}/cancel")),
        ("POST", "/v1/revocations".to_owned()),
    ] {
        assert_eq!(
            outcome(&narrows.ask(method, &path, &token, None).await),
            (401, "unauthenticated"),
            "{path}"
        );
    }
    assert!(is_active(&narrows, "orders", &redeemed).await);

    for _ in 0..2 {
        let done = complete(&id, &token).await;
        assert_eq!(
            (done.status, &done.body),
            (200, &json!({ "id": id, "status": "completed" })),
            "twice is once"
        );
    }
    assert!(!is_active(&narrows, "orders", &redeemed).await);
    assert_eq!(outcome(&redeem(&narrows, &token, &[]).await), (400, "task_completed"));
    assert_eq!(narrows.about(REVOKE, "edge", &token).await.status, 200, "ending what has ended");
    assert_eq!(
        outcome(&redeem(&narrows, &token, &[]).await),
        (400, "task_completed"),
        "it stays as it ended"
    );
    assert_eq!(narrows.about(REVOKE, "edge", &other).await.status, 200);
    let other_id = narrows.ask("GET", "/v1/tasks", &api::operator(&narrows, "bea", &[Role::Auditor]).await, None).await;
    let other_id = other_id.body["items"][1]["id"].as_str().unwrap().to_owned();
    assert_eq!(outcome(&complete(&other_id, &other).await), (409, "task_cancelled"));
    let records = narrows.records().await;
    let ended: Vec<_> = records.iter().filter(|record| record["kind"] == "task" && record["decision"] == "done").collect();
    let reasons: Vec<_> = ended.iter().map(|record| record["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["completed", "ended_before", "ended_before", "cancelled", "ended_before"]);
    narrows.stop().await;
}

/// APR-010: an id that nobody knows and one of another's are answered alike, and no id opens anything.
#[tokio::test]
async fn tasks_are_listed_shown_and_cancelled_by_those_who_may() {
    let narrows = Installation::of(Plan {
        rules: format!(
            "{}\n@id(\"own\") permit (principal, action == Action::\"scope:narrows.data_plane\", resource);",
            rules()
        ),
        ..api::plan()
    })
    .await;
    let (token, first) = opened(&narrows, &[("purpose", "answer 42")]).await;
    let (_, second) = opened(&narrows, &[]).await;
    let [auditor, approver, admin] = [("bea", Role::Auditor), ("cid", Role::Approver), ("ann", Role::Admin)];
    let auditor = api::operator(&narrows, auditor.0, &[auditor.1]).await;
    let approver = api::operator(&narrows, approver.0, &[approver.1]).await;
    let admin = api::operator(&narrows, admin.0, &[admin.1]).await;
    let list = async |token: &str, query: &str| narrows.ask("GET", &format!("/v1/tasks{query}"), token, None).await;
    let ids = |reply: &Reply| -> Vec<String> {
        let items = reply.body["items"].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&list(&auditor, "").await), [first.clone(), second.clone()]);
    let page = list(&approver, "?limit=1").await;
    assert_eq!((ids(&page), &page.body["next"]), (vec![first.clone()], &json!(first)));
    assert_eq!(ids(&list(&auditor, &format!("?after={first}")).await), vec![second.clone()]);
    assert_eq!(outcome(&list(&admin, "").await), (403, "not_permitted"));
    for query in ["?limit=0", "?after=none"] {
        assert_eq!(outcome(&list(&auditor, query).await), (400, "malformed_request"), "{query}");
    }

    let shown = narrows.ask("GET", &format!("/v1/tasks/{first}"), &auditor, None).await.body;
    let said = (
        &shown["status"],
        &shown["purpose"],
        &shown["subject"]["sub"],
        &shown["creator"],
        &shown["tokens"],
    );
    assert_eq!(
        said,
        (&json!("open"), &json!("answer 42"), &json!("alice"), &json!("edge"), &json!(0))
    );
    assert!(!shown.to_string().contains("nrwt_"));
    let refused = narrows.ask("GET", &format!("/v1/tasks/{first}"), &admin, None).await;
    assert_eq!(outcome(&refused), (403, "not_permitted"));
    // A client sees its own and nobody else's.
    let orders = api::own_token(&narrows, "orders", "narrows.data_plane").await;
    assert_eq!(ids(&list(&orders, "").await), Vec::<String>::new());
    assert_eq!(
        outcome(&narrows.ask("GET", &format!("/v1/tasks/{first}"), &orders, None).await),
        (404, "not_found")
    );

    let cancel = async |id: &str, token: &str| narrows.ask("POST", &format!("/v1/tasks/{id}/cancel"), token, None).await;
    for who in [&auditor, &orders] {
        assert_eq!(outcome(&cancel(&first, who).await), (403, "not_permitted"));
    }
    assert_eq!(outcome(&cancel("none", &admin).await), (404, "not_found"));
    assert_eq!(cancel(&first, &approver).await.body, json!({ "id": first, "status": "cancelled" }));
    assert_eq!(outcome(&redeem(&narrows, &token, &[]).await), (400, "task_cancelled"));
    // One that was revoked by its name is no longer open, either.
    let named = narrows.ask("POST", "/v1/revocations", &admin, Some(&json!({ "task": second }))).await;
    assert_eq!(named.status, 201);
    let shown = narrows.ask("GET", &format!("/v1/tasks/{second}"), &auditor, None).await.body;
    assert_eq!(shown["status"], "revoked");
    narrows.stop().await;
}

/// APR-014: it is completed by whoever holds it and cancelled by its creator at once, over and over: one of the two is what
/// happened, both are on record, and nobody gets a token after.
async fn a_task_ends_in_one_way(engine: Engine) {
    let narrows = Arc::new(installation(engine).await);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..24 {
        let (token, id) = opened(&narrows, &[]).await;
        let complete = {
            let (narrows, token, path) = (Arc::clone(&narrows), token.clone(), format!("/v1/tasks/{id}/complete"));
            tokio::spawn(async move { narrows.ask("POST", &path, &token, None).await.status })
        };
        let cancel = {
            let (narrows, token) = (Arc::clone(&narrows), token.clone());
            tokio::spawn(async move { narrows.about(REVOKE, "edge", &token).await.status })
        };
        let (completed, cancelled) = (complete.await.unwrap(), cancel.await.unwrap());
        let kept = narrows.engine.open().await.task(&id).await.unwrap().unwrap();
        let (status, reason) = match kept.status {
            Status::Completed => (200, "task_completed"),
            Status::Cancelled => (409, "task_cancelled"),
            Status::Open => panic!("round {round}: it goes on"),
        };
        assert_eq!((completed, cancelled), (status, 200), "round {round}: {reason}");
        assert_eq!(outcome(&redeem(&narrows, &token, &[]).await), (400, reason), "round {round}");
        seen.insert(reason);
    }
    let records = narrows.records().await;
    let ends = records.iter().filter(|record| record["kind"] == "task" && record["decision"] == "done").count();
    assert_eq!(ends, 48, "{seen:?}");
    Arc::into_inner(narrows).unwrap().stop().await;
}

/// A token of a task that is over may have leaked long ago: it writes no more than a stranger may.
#[tokio::test]
async fn whoever_completes_what_is_over_counts_as_a_stranger() {
    let narrows = Installation::of(Plan {
        rules: rules(),
        rates: Rates {
            per_client: std::num::NonZeroU32::new(1000).unwrap(),
            per_address: std::num::NonZeroU32::new(3).unwrap(),
        },
        ..Plan::default()
    })
    .await;
    let (token, id) = opened(&narrows, &[]).await;
    let complete = async |id: &str, token: &str| narrows.ask("POST", &format!("/v1/tasks/{id}/complete"), token, None).await.status;
    assert_eq!(complete(&id, &token).await, 200);
    let mut limited = 0;
    for _ in 0..12 {
        limited += i32::from(complete(&id, &token).await == 429);
    }
    assert!(limited >= 6, "{limited}");
    let records = narrows.records().await;
    let again = records.iter().filter(|record| record["reason"] == "ended_before").count();
    assert!(again <= 6, "{again}");
    narrows.stop().await;
}
