//! `/v1/guards`: what a guard says and asks, who may, and what is on record of it.

use broker::guards::{self, Guard, RefusedCall, Told};
use broker::{Role, StoreJournal};
use delegation::oauth::{AudienceId, ClientId, Reason};
use delegation::registry::{OnDuplicate, Snapshot};
use delegation::time::Timestamp;
use issuance::audit::{Entry, Journal as _, Kind, Record, Use, UseKind};
use serde_json::{Value, json};

use crate::api::{operator, own_token, plan};
use crate::boundaries::with;
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, Reply};
use crate::uses::{ORDERS, claims_of, for_orders};

on_both_engines!(
    a_batch_that_is_sent_twice_or_at_once_is_on_record_once,
    refusals_of_nobody_in_particular_are_counted_together_and_none_twice,
    a_token_that_was_seen_twice_is_on_record_once_and_revoked_where_that_is_asked_for,
);

const REFUSALS: &str = "/v1/guards/orders/refusals";
const RECHECK: &str = "/v1/guards/orders/recheck";
const SIGHTINGS: &str = "/v1/guards/orders/sightings";

/// A policy that looks at whose request it is, and from where.
const RULES: &str = r#"
@id("support-reads") permit (principal == Workload::"edge", action in [Action::"ticket:read", Action::"ticket:list"], resource is Detail::Ticket)
when { context.subject in Group::"corp|support" };
@id("profile") permit (principal, action == Action::"scope:profile", resource);
@id("planes") permit (principal, action == Action::"scope:narrows.data_plane", resource);
@id("not-from-there") forbid (principal, action, resource)
when { context has client_ip && context.client_ip.isInRange(ip("198.51.100.0/24")) };
"#;

pub(crate) async fn started(engine: Engine, on_duplicate: OnDuplicate) -> (Installation, String) {
    let usual = plan();
    let change = move |snapshot: &mut Snapshot| {
        (usual.change)(snapshot);
        snapshot.audiences.get_mut(&AudienceId::parse(ORDERS).unwrap()).unwrap().on_duplicate = on_duplicate;
    };
    let narrows = Installation::of(Plan {
        engine,
        rules: RULES.to_owned(),
        change: Box::new(change),
        ..plan()
    })
    .await;
    let token = own_token(&narrows, "orders", "narrows.data_plane").await;
    (narrows, token)
}

fn id(at: usize) -> String {
    format!("0190a1b2-0000-7000-8000-{at:012}")
}

/// A refusal of a token that is ours.
fn overbroad(at: usize) -> Value {
    json!({
        "decision_id": id(at), "at": 1_780_000_000_123_i64, "reason": "overbroad_token", "client_ip": "192.0.2.7",
        "request": { "method": "GET", "host": "orders.internal", "path": "/orders/7" },
        "claims": {
            "jti": format!("j-{at}"), "sub": "corp|alice", "sub_id": { "format": "iss_sub", "iss": "https://login.corp.example", "sub": "alice" },
            "client_id": "edge", "aud": ORDERS, "exp": 1_780_000_060, "iat": 1_780_000_000, "txn": "t-7",
            "actor": [{ "iss": "https://narrows.example", "sub": "edge" }], "chain": ["o_root", "j-parent"], "scope": "profile",
            "authorization_details": [
                { "type": "ticket", "actions": ["read"], "identifier": "7" },
                { "type": "gone", "actions": ["read"], "identifier": "8" },
            ],
        },
        "compared": { "required": ["ticket:read/7"], "presented": ["ticket:read/7", "ticket:read/8"], "surplus": ["ticket:read/8"] },
    })
}

/// One of nobody who is known.
fn stranger(at: usize, from: &str, path: &str) -> Value {
    json!({
        "decision_id": id(at), "at": 1_780_000_000_123_i64, "reason": "no_token", "client_ip": from,
        "request": { "method": "GET", "host": "orders.internal", "path": path },
    })
}

pub(crate) async fn of_guards(narrows: &Installation) -> Vec<Value> {
    narrows.records().await.into_iter().filter(|record| record["kind"] == "guard").collect()
}

async fn sent(narrows: &Installation, plane: &str, refusals: &[Value]) -> Value {
    let reply = narrows.ask("POST", REFUSALS, plane, Some(&json!({ "refusals": refusals }))).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.body["recorded"].clone()
}

async fn a_batch_that_is_sent_twice_or_at_once_is_on_record_once(engine: Engine) {
    let (narrows, plane) = started(engine, OnDuplicate::Report).await;
    let batch: Vec<_> = (0..40).map(overbroad).collect();
    let (one, other) = tokio::join!(sent(&narrows, &plane, &batch), sent(&narrows, &plane, &batch));
    assert_eq!(one.as_u64().unwrap() + other.as_u64().unwrap(), 40);
    assert_eq!(sent(&narrows, &plane, &batch).await, 0);
    assert_eq!(
        sent(&narrows, &plane, &[overbroad(39), overbroad(40), overbroad(40)]).await,
        1,
        "one is new"
    );
    let mut before = overbroad(41);
    for name in ["actor", "chain", "scope", "authorization_details"] {
        before["claims"].as_object_mut().unwrap().remove(name);
    }
    assert_eq!(sent(&narrows, &plane, &[before]).await, 1, "a guard that does not say them yet");
    let records = of_guards(&narrows).await;
    assert_eq!(records.len(), 42);
    let one = records.iter().find(|record| record["id"] == id(7).as_str()).unwrap();
    let seen = (
        &one["decision"],
        &one["reason"],
        &one["client"],
        &one["subject"]["sub"],
        &one["jti"],
        &one["audience"],
    );
    assert_eq!(
        seen,
        (
            &json!("deny"),
            &json!("overbroad_token"),
            &json!("edge"),
            &json!("alice"),
            &json!("j-7"),
            &json!(ORDERS)
        )
    );
    let inputs = &one["inputs"];
    assert_eq!(
        (&inputs["service"], &inputs["guard"], &inputs["at"]),
        (&json!("orders"), &json!("orders"), &json!(1_780_000_000_123_i64))
    );
    assert_eq!(inputs["surplus"], json!(["ticket:read/8"]));
    // What the token said, as an exchange has it.
    assert_eq!(
        (&one["actor"], &one["chain"], &one["parent_jti"], &one["txn"]),
        (
            &json!([{ "iss": "https://narrows.example", "sub": "edge" }]),
            &json!(["o_root", "j-parent"]),
            &json!("j-parent"),
            &json!("t-7")
        )
    );
    assert_eq!(
        (&one["authorization_details"], &one["scope"]),
        (
            &json!([{ "type": "ticket", "actions": ["read"], "identifier": "7" }]),
            &json!("profile")
        )
    );
    assert_eq!(
        inputs["undeclared"][0]["type"], "gone",
        "of a type that the broker does not declare"
    );
    assert!(one["time"].as_i64().unwrap() > 1_780_000_000_123, "the log has a clock of its own");
    narrows.stop().await;
}

fn counts(records: &[Value]) -> u64 {
    records.iter().map(|record| record["count"].as_u64().unwrap_or(1)).sum()
}

/// A flood of requests of nobody is not one of records, however it is sent, and no count is lost.
async fn refusals_of_nobody_in_particular_are_counted_together_and_none_twice(engine: Engine) {
    let (narrows, plane) = started(engine, OnDuplicate::Report).await;
    let flood: Vec<_> = (0..200).map(|at| stranger(at, &format!("192.0.2.{at}"), "/orders/7")).collect();
    for batch in flood.chunks(20) {
        assert_eq!(sent(&narrows, &plane, batch).await, 20);
    }
    assert_eq!(sent(&narrows, &plane, &flood).await, 0, "counted");
    // Another node was told of the last one too, whose answer was lost.
    let other = StoreJournal::start(&narrows.engine.open().await);
    let mut elsewhere = Entry::of(Record::new(id(199), Timestamp::from_seconds(1), Kind::Guard));
    elsewhere.uses.push(Use {
        kind: UseKind::GuardRefusal,
        issuer: "orders".to_owned(),
        id: id(199),
        forget_at: Timestamp::from_seconds(4_000_000_000),
    });
    assert!(other.commit(elsewhere).await.is_ok());
    other.close().await;
    narrows.count_up().await;
    assert_eq!(sent(&narrows, &plane, &flood).await, 0, "on record");
    narrows.count_up().await;

    let records = of_guards(&narrows).await;
    assert_eq!(counts(&records), 200);
    let mut in_a_second = std::collections::BTreeMap::<i64, usize>::new();
    for record in &records {
        *in_a_second.entry(record["time"].as_i64().unwrap() / 1000).or_default() += 1;
    }
    // That of the other node is of another second.
    assert!(in_a_second.values().all(|many| *many <= 2), "{in_a_second:?}");
    let behind = records.iter().find(|record| record["count"].as_u64() > Some(1)).unwrap();
    assert_eq!(
        (&behind["reason"], &behind["request"]["path"], &behind["inputs"]["service"]),
        (&json!("no_token"), &json!("/orders/7"), &json!("orders"))
    );
    let told = |record: &Value| flood.iter().any(|refusal| refusal["decision_id"] == record["id"]);
    assert!(records.iter().all(told), "each has the id that a caller was told");
    narrows.stop().await;
}

/// In this process each is said as it comes.
#[tokio::test]
async fn refusals_of_nobody_that_come_one_by_one_share_a_record_too() {
    let (narrows, _) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let client = ClientId::parse("orders").unwrap();
    let guard = Guard {
        service: "orders",
        client: &client,
    };
    for at in 0..100 {
        let call = RefusedCall {
            decision_id: id(at),
            at: Timestamp::from_seconds(1_780_000_000),
            reason: Reason::NoToken,
            request: None,
            cause: None,
            from: "192.0.2.7".parse().unwrap(),
            claims: None,
            compared: None,
            observed: false,
        };
        assert_eq!(guards::refused(&narrows.broker, &guard, &[call], 0, Told::Here).await.unwrap(), 1);
    }
    narrows.count_up().await;
    let records = of_guards(&narrows).await;
    let seconds: std::collections::BTreeSet<_> = records.iter().map(|record| record["time"].as_i64().unwrap() / 1000).collect();
    assert_eq!(counts(&records), 100);
    assert!(records.len() <= 2 * seconds.len(), "{} records in {seconds:?}", records.len());
    narrows.stop().await;
}

/// They share the places of the second with what is refused at every other door.
#[tokio::test]
async fn past_fifty_networks_in_a_second_all_others_share_a_record() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let before = narrows.records().await.len();
    let flood: Vec<_> = (0..240).map(|at| stranger(at, &format!("10.{}.0.1", at % 80), "/orders/7")).collect();
    for batch in flood.chunks(60) {
        assert_eq!(sent(&narrows, &plane, batch).await, 60);
    }
    narrows.count_up().await;
    let records = narrows.records().await.split_off(before);
    assert_eq!(counts(&records), 240);
    let seconds: std::collections::BTreeSet<_> = records.iter().map(|record| record["time"].as_i64().unwrap() / 1000).collect();
    assert!(records.len() <= 102 * seconds.len(), "{} records in {seconds:?}", records.len());
    assert!(records.iter().any(|record| record["reason"] == "several"));
    narrows.stop().await;
}

/// What is counted is written when it can be, and what was lost is counted once.
#[tokio::test]
async fn refusals_of_nobody_that_cannot_be_written_are_counted_and_what_was_lost_is_on_record() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let some: Vec<_> = (0..4).map(|at| stranger(at, "192.0.2.7", "/a")).collect();
    narrows.engine.run("ALTER TABLE records RENAME TO away").await;
    assert_eq!(sent(&narrows, &plane, &some).await, 4);
    assert_eq!(sent(&narrows, &plane, &some).await, 0, "they wait");
    narrows.count_up().await;
    narrows.engine.run("ALTER TABLE away RENAME TO records").await;
    assert_eq!(sent(&narrows, &plane, &some).await, 0, "they still do");
    narrows.count_up().await;
    assert_eq!(counts(&of_guards(&narrows).await), 4);
    assert_eq!(sent(&narrows, &plane, &some).await, 0);

    let lost = json!({ "refusals": [stranger(300, "192.0.2.7", "/d")], "lost": 12 });
    for recorded in [1, 0] {
        assert_eq!(narrows.ask("POST", REFUSALS, &plane, Some(&lost)).await.body["recorded"], recorded);
    }
    narrows.count_up().await;
    let records = of_guards(&narrows).await;
    let lost: Vec<_> = records.iter().filter(|record| record["reason"] == "refusals_lost").collect();
    assert_eq!((lost.len(), &lost[0]["count"]), (1, &json!(12)), "said twice, counted once");
    assert_eq!(counts(&records), 17);
    let (_, _, metrics) = narrows.get("/metrics").await;
    assert!(
        metrics.contains("narrows_guard_refusals_lost_total{service=\"orders\"} 12"),
        "{metrics}"
    );
    assert!(
        metrics.contains("narrows_guard_refusals_total{service=\"orders\",reason=\"no_token\"} 5"),
        "{metrics}"
    );
    narrows.stop().await;
}

/// What went on is nothing to raise an alarm about.
#[tokio::test]
async fn what_a_guard_only_observes_is_not_counted_as_refused() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let mut observed = stranger(1, "192.0.2.7", "/orders/7");
    observed["observed"] = json!(true);
    assert_eq!(sent(&narrows, &plane, &[observed, stranger(2, "192.0.2.7", "/orders/7")]).await, 2);
    let (_, _, metrics) = narrows.get("/metrics").await;
    for line in [
        "narrows_guard_refusals_total{service=\"orders\",reason=\"no_token\"} 1\n",
        "narrows_observed_total{boundary=\"guard orders\",decision=\"deny\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    narrows.stop().await;
}

/// Whoever has one token that is over, or for something else, fills the log with it no more than strangers do.
#[tokio::test]
async fn of_many_refusals_of_one_token_that_are_alike_the_last_share_a_record() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let one_token = |at| {
        let mut refusal = overbroad(at);
        refusal["claims"]["jti"] = json!("j-1");
        refusal["request"]["path"] = json!(format!("/orders/{at}"));
        refusal
    };
    let same: Vec<_> = (0..100).map(one_token).chain([overbroad(100)]).collect();
    assert_eq!(sent(&narrows, &plane, &same).await, 101);
    assert_eq!(sent(&narrows, &plane, &same).await, 0);
    let mut counts: Vec<_> = of_guards(&narrows).await.iter().map(|record| record["count"].as_u64().unwrap_or(1)).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 1, 1, 92]);
    narrows.stop().await;
}

/// A guard says the ids of its refusals itself, and may so say one of somebody else's decision.
#[tokio::test]
async fn under_the_id_of_a_decision_nobody_is_shown_what_a_guard_says_later() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    narrows.exchange(&[]).await;
    let decided = narrows.records().await.into_iter().rfind(|record| record["kind"] == "exchange").unwrap();
    let mut forged = overbroad(1);
    forged["decision_id"] = decided["id"].clone();
    assert_eq!(sent(&narrows, &plane, &[forged]).await, 1);
    let found = narrows.engine.open().await.decisions(decided["id"].as_str().unwrap()).await.unwrap();
    let found: Vec<Value> = found.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    assert_eq!(found.iter().map(|record| &record["kind"]).collect::<Vec<_>>(), ["exchange"]);
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let path = format!("/v1/decisions/{}", decided["id"].as_str().unwrap());
    assert_eq!(narrows.ask("GET", &path, &auditor, None).await.body["kind"], "exchange");
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_not_described_is_refused_and_nothing_of_the_batch_is_on_record() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let rows = [
        json!({ "decision_id": "x" }),
        json!({ "decision_id": "0190A1B2-0000-7000-8000-000000000001" }),
        json!({ "decision_id": "0190a1b2_0000_7000_8000%" }),
        json!({ "decision_id": "a".repeat(65) }),
        json!({ "at": -1 }),
        json!({ "at": "now" }),
        json!({ "at": null }),
        json!({ "reason": "because" }),
        json!({ "client_ip": "here" }),
        json!({ "request": { "method": "GET", "host": "a", "path": "/x?secret" } }),
        json!({ "claims": { "jti": "j" } }),
        json!({ "claims": null }),
        json!({ "claims": "x" }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "token": "x" })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "exp": "x" })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "iat": -1 })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "jti": "a\u{0}b" })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "sub_id": { "iss": "a" } })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "client_id": "a b" })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "actor": [{ "iss": "a" }] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "actor": [{ "iss": "a", "sub": "b", "act": {} }] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "actor": vec![json!({ "iss": "a", "sub": "b" }); 65] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "chain": [1] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "chain": [""] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "chain": ["x".repeat(257)] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "chain": vec!["x"; 65] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "scope": "a  b" })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "authorization_details": ["x"] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "authorization_details": [{ "type": "ticket" }] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "authorization_details": vec![json!({ "type": "gone" }); 33] })) }),
        json!({ "claims": with(overbroad(0)["claims"].clone(), &json!({ "authorization_details": [{ "type": "gone", "x": "x".repeat(16_384) }] })) }),
        json!({ "compared": { "required": "x" } }),
        json!({ "compared": { "required": [1] } }),
        json!({ "compared": { "surplus": vec!["x"; 1025] } }),
        json!({ "compared": { "exception": null } }),
        json!({ "cause": ["x"] }),
        json!({ "cause": "x".repeat(16 * 1024 + 1) }),
        json!({ "observed": "true" }),
        json!({ "token": "x" }),
    ];
    for changes in rows {
        let body = json!({ "refusals": [overbroad(1), with(overbroad(2), &changes)] });
        let reply = narrows.ask("POST", REFUSALS, &plane, Some(&body)).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{changes}");
    }
    let many: Vec<_> = (0..257).map(|at| stranger(at, "192.0.2.7", "/")).collect();
    let sighting = json!({ "jti": "j", "exp": 1_780_000_060, "first": "192.0.2.1", "second": "192.0.2.2" });
    let question = json!({ "token": "x", "client_ip": "192.0.2.1", "scope": "profile" });
    for (path, body) in [
        (REFUSALS, json!({})),
        (REFUSALS, json!({ "refusals": {} })),
        (REFUSALS, json!({ "refusals": [1] })),
        (REFUSALS, json!({ "refusals": many })),
        (REFUSALS, json!({ "refusals": [], "lost": -1 })),
        (REFUSALS, json!({ "refusals": [], "lost": 1_000_000_000_001_u64 })),
        (REFUSALS, json!({ "refusals": [], "losts": 1 })),
        (SIGHTINGS, with(sighting.clone(), &json!({ "jti": "" }))),
        (SIGHTINGS, with(sighting.clone(), &json!({ "exp": null }))),
        (SIGHTINGS, with(sighting.clone(), &json!({ "iat": "x" }))),
        (SIGHTINGS, with(sighting.clone(), &json!({ "second": "there" }))),
        (SIGHTINGS, with(sighting, &json!({ "third": "192.0.2.3" }))),
        (RECHECK, with(question.clone(), &json!({ "token": "" }))),
        (RECHECK, with(question.clone(), &json!({ "client_ip": "here" }))),
        (RECHECK, with(question.clone(), &json!({ "authorization_details": {} }))),
        (RECHECK, with(question.clone(), &json!({ "scope": "a\"b" }))),
        (RECHECK, with(question, &json!({ "onward": [] }))),
    ] {
        let reply = narrows.ask("POST", path, &plane, Some(&body)).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{path}");
    }
    let records = of_guards(&narrows).await;
    assert!(records.is_empty(), "{records:?}");
    narrows.stop().await;
}

#[tokio::test]
async fn only_a_client_that_guards_a_service_speaks_for_it_and_only_as_a_data_plane() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let everything = [Role::Admin, Role::Approver, Role::Auditor, Role::Responder];
    let person = operator(&narrows, "ann", &everything).await;
    let other = own_token(&narrows, "edge", "profile").await;
    let no_plane = own_token(&narrows, "orders", "profile").await;
    let bodies = [
        ("refusals", json!({ "refusals": [] })),
        ("recheck", json!({ "token": "x", "client_ip": "192.0.2.1", "scope": "profile" })),
        (
            "sightings",
            json!({ "jti": "j", "exp": 1_780_000_060, "first": "192.0.2.1", "second": "192.0.2.2" }),
        ),
        ("places", json!({ "places": [] })),
    ];
    for (what, body) in &bodies {
        let ask = async |service: &str, token: &str| {
            let reply = narrows.ask("POST", &format!("/v1/guards/{service}/{what}"), token, Some(body)).await;
            (reply.status, reply.text("reason").to_owned())
        };
        assert_eq!(ask("orders", &plane).await.0, 200, "{what}");
        for (service, token) in [("orders", &other), ("orders", &person), ("orders", &no_plane), ("none", &plane)] {
            assert_eq!(
                ask(service, token).await,
                (403, "not_permitted".to_owned()),
                "{what} of `{service}`"
            );
        }
        assert_eq!(ask("orders", "x").await, (401, "unauthenticated".to_owned()), "{what}");
    }
    narrows.stop().await;
}

fn decided(reply: &Reply) -> &str {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    if reply.body["allowed"] == true {
        return "allowed";
    }
    reply.body["refused"]["reason"].as_str().unwrap()
}

#[tokio::test]
async fn policy_is_asked_again_about_what_the_request_needs_and_a_refusal_is_on_record() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let token = for_orders(&narrows).await;
    let detail = |id: &str| json!([{ "type": "ticket", "actions": ["read"], "identifier": id }]);
    let good = json!({ "token": token, "client_ip": "192.0.2.7", "authorization_details": detail("42") });
    let ask = async |path: &str, changes: Value| narrows.ask("POST", path, &plane, Some(&with(good.clone(), &changes))).await;

    assert_eq!(
        decided(&ask(RECHECK, json!({})).await),
        "allowed",
        "the subject's groups are those that the transaction began with"
    );
    let refused = ask(RECHECK, json!({ "client_ip": "198.51.100.7" })).await;
    assert_eq!(decided(&refused), "policy_denied");
    for (changes, reason) in [
        (json!({ "authorization_details": detail("43") }), "wider_than_subject"),
        (json!({ "authorization_details": [] }), "nothing_asked"),
        (json!({ "scope": "profile" }), "wider_than_subject"),
        (
            json!({ "authorization_details": [{ "type": "refund", "actions": ["create"], "identifier": "9" }] }),
            "wider_than_subject",
        ),
        (json!({ "token": narrows.user_token() }), "subject_token_invalid"),
        (
            json!({ "token": narrows.exchange(&[]).await.text("access_token") }),
            "subject_token_not_for_client",
        ),
    ] {
        assert_eq!(decided(&ask(RECHECK, changes.clone()).await), reason, "{changes}");
    }
    let elsewhere = ask("/v1/guards/tickets/recheck", json!({})).await;
    assert_eq!(
        decided(&elsewhere),
        "subject_token_not_for_client",
        "a token for another service than this"
    );

    let records = of_guards(&narrows).await;
    assert!(
        records.iter().all(|record| record["decision"] == "deny"),
        "an allow is on no record of its own"
    );
    let id = refused.body["refused"]["decision_id"].as_str().unwrap();
    let one = records.iter().find(|record| record["id"] == id).unwrap();
    assert_eq!(
        (&one["client"], &one["rules"], &one["client_ip"]),
        (&json!("edge"), &json!(["not-from-there"]), &json!("198.51.100.7"))
    );
    assert_eq!(
        (&one["inputs"]["service"], &one["inputs"]["client"]),
        (&json!("orders"), &json!("edge"))
    );
    assert_eq!(one["inputs"]["presented"], json!(["ticket:read/42"]), "what the token allows");
    assert_eq!(
        (&one["inputs"]["required"], &one["authorization_details"]),
        (&json!(["ticket:read/42"]), &detail("42"))
    );
    let shown = claims_of(&token);
    assert_eq!(
        (&one["chain"], &one["actor"][0]),
        (&shown["chain"], &json!({ "iss": shown["act"]["iss"], "sub": shown["act"]["sub"] }))
    );
    let narrow = records.iter().find(|record| record["reason"] == "wider_than_subject").unwrap();
    assert_eq!(
        (&narrow["inputs"]["required"], &narrow["authorization_details"]),
        (&json!(["ticket:read/43"]), &detail("42")),
        "what was needed, and what the token allows"
    );
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let jti = claims_of(&token)["jti"].clone();
    assert_eq!(
        narrows.ask("POST", "/v1/revocations", &admin, Some(&json!({ "jti": jti }))).await.status,
        201
    );
    assert_eq!(decided(&ask(RECHECK, json!({})).await), "subject_token_revoked");
    narrows.stop().await;
}

async fn a_token_that_was_seen_twice_is_on_record_once_and_revoked_where_that_is_asked_for(engine: Engine) {
    let (narrows, plane) = started(engine, OnDuplicate::Revoke).await;
    let ask = async |service: &str, claims: &Value, iat: Value| {
        let mut body = json!({ "jti": claims["jti"], "exp": claims["exp"], "first": "192.0.2.1", "second": "192.0.2.2" });
        if !iat.is_null() {
            body["iat"] = iat;
        }
        let reply = narrows.ask("POST", &format!("/v1/guards/{service}/sightings"), &plane, Some(&body)).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        (reply.body["recorded"] == true, reply.body["revoked"] == true)
    };
    let alive = async |token: &str| narrows.about("/oauth2/introspect", "orders", token).await.body["active"].clone();
    for with_iat in [true, false] {
        let token = for_orders(&narrows).await;
        let claims = claims_of(&token);
        let iat = if with_iat { claims["iat"].clone() } else { Value::Null };
        assert_eq!(alive(&token).await, true);
        assert_eq!(ask("orders", &claims, iat.clone()).await, (true, true));
        assert_eq!(alive(&token).await, false);
        assert_eq!(ask("orders", &claims, iat).await, (false, false), "once for each token");
    }
    // What is not theirs to see is on record, and ends nothing: a token for another audience, and one that was never issued.
    let other = narrows.exchange(&[]).await;
    let claims = other.claims();
    assert_eq!(ask("orders", &claims, claims["iat"].clone()).await, (true, false));
    let alive_elsewhere = narrows.about("/oauth2/introspect", "edge", other.text("access_token")).await;
    assert_eq!(alive_elsewhere.body["active"], true);
    let made_up = json!({ "jti": "a%", "exp": claims["exp"] });
    assert_eq!(ask("orders", &made_up, claims["iat"].clone()).await, (true, false));

    // What the same client says for another service that it guards is another word.
    let token = for_orders(&narrows).await;
    let claims = claims_of(&token);
    assert_eq!(ask("tickets", &claims, claims["iat"].clone()).await, (true, false));
    assert_eq!(alive(&token).await, true);
    assert_eq!(ask("orders", &claims, claims["iat"].clone()).await, (true, true));
    assert_eq!(alive(&token).await, false);

    let records = of_guards(&narrows).await;
    let seen: Vec<_> = records.iter().filter(|record| record["reason"] == "token_seen_twice").collect();
    assert_eq!(seen.len(), 6);
    let one = seen[0];
    assert_eq!(
        (&one["decision"], &one["client"], &one["subject"]["sub"]),
        (&json!("done"), &json!("edge"), &json!("alice"))
    );
    assert!(
        one["chain"].is_array() && one["actor"].is_array() && one["authorization_details"].is_array(),
        "{one}"
    );
    let inputs = &one["inputs"];
    assert_eq!(
        (&inputs["first"], &inputs["second"], &inputs["revoked"]),
        (&json!("192.0.2.1"), &json!("192.0.2.2"), &json!(true))
    );
    // What it ended is on record as any other revocation is, in the same commit.
    let all = narrows.records().await;
    let revoked: Vec<_> = all.iter().filter(|record| record["kind"] == "revocation").collect();
    assert_eq!(revoked.len(), 3);
    let first = revoked[0];
    assert_eq!(
        (
            &first["decision"],
            &first["reason"],
            &first["jti"],
            &first["subject"],
            &first["client"]
        ),
        (&json!("done"), &json!("revoked"), &one["jti"], &one["subject"], &one["client"])
    );
    assert_eq!(
        (
            &first["inputs"]["kind"],
            &first["inputs"]["named"],
            &first["inputs"]["why"],
            &first["inputs"]["guard"]
        ),
        (&json!("jti"), &one["jti"], &json!("token_seen_twice"), &json!("orders"))
    );
    assert_eq!(one["index"].as_u64(), first["index"].as_u64().map(|index| index + 1));
    assert_ne!(one["id"], first["id"]);
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let listed = narrows.ask("GET", "/v1/revocations", &auditor, None).await;
    assert_eq!(listed.body["items"][0]["seq"], first["index"], "{:?}", listed.body);
    narrows.stop().await;
}

#[tokio::test]
async fn where_duplicates_are_reported_a_token_goes_on() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    let token = for_orders(&narrows).await;
    let claims = claims_of(&token);
    let body = json!({ "jti": claims["jti"], "exp": claims["exp"], "iat": claims["iat"], "first": "192.0.2.1", "second": "192.0.2.2" });
    let reply = narrows.ask("POST", SIGHTINGS, &plane, Some(&body)).await;
    assert_eq!(reply.body, json!({ "recorded": true, "revoked": false }));
    assert_eq!(narrows.about("/oauth2/introspect", "orders", &token).await.body["active"], true);
    narrows.stop().await;
}

#[tokio::test]
async fn one_place_is_no_two_and_ends_nothing() {
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Revoke).await;
    let token = for_orders(&narrows).await;
    let claims = claims_of(&token);
    for (first, second) in [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::2")] {
        let body = json!({ "jti": claims["jti"], "exp": claims["exp"], "iat": claims["iat"], "first": first, "second": second });
        let reply = narrows.ask("POST", SIGHTINGS, &plane, Some(&body)).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{first} {second}");
    }
    assert_eq!(narrows.about("/oauth2/introspect", "orders", &token).await.body["active"], true);
    assert!(of_guards(&narrows).await.is_empty());
    narrows.stop().await;
}

/// `docs/api.md` has these rows.
#[tokio::test]
async fn a_body_is_as_large_as_the_documentation_says_and_no_larger() {
    let page = include_str!("../../../../docs/api.md");
    let (narrows, plane) = started(Engine::sqlite(), OnDuplicate::Report).await;
    for (row, most, doors) in [
        (
            "| 1 MiB | `/v1/guards/{service}/refusals`, `/v1/guards/{service}/places` |",
            1024 * 1024,
            &[REFUSALS, "/v1/guards/orders/places"] as &[&str],
        ),
        ("| 512 KiB | `/v1/usage` |", 512 * 1024, &["/v1/usage"]),
        (
            "| `limits.body`, 64 KiB if nothing is said | `/v1/boundaries/…`, `/v1/guards/{service}/recheck`, `/v1/uses` |",
            64 * 1024,
            &[RECHECK, "/v1/uses"],
        ),
        ("| 16 KiB | everything else |", 16 * 1024, &[SIGHTINGS, "/v1/leaks"]),
    ] {
        assert!(page.contains(row), "{row}");
        for door in doors {
            for (more, reason) in [(0, "malformed_request"), (1, "too_large")] {
                let body = json!({ "x": "x".repeat(most - r#"{"x":""}"#.len() + more) });
                let reply = narrows.ask("POST", door, &plane, Some(&body)).await;
                assert_eq!(reply.text("reason"), reason, "{door} {:?}", reply.body);
            }
        }
    }
}
