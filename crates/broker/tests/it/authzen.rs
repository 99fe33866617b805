//! `/access/v1`: who may ask whom, what is answered, and what is on record by then.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::{Clock, Role};
use delegation::oauth::ClientId;
use delegation::registry::{AuthMethod, ClientAuth, SecretDigest};
use delegation::time::Timestamp;
use delegation::token::sha256;
use issuance::policy::Inquiry;
use serde_json::{Value, json};

use crate::api::{self, operator, own_token};
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, Reply, seconds};

pub(crate) const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";

/// Clients show their secrets in the header too, and may have tokens for us.
pub(crate) fn plan() -> Plan {
    let Plan { change, .. } = api::plan();
    Plan {
        change: Box::new(move |snapshot| {
            change(snapshot);
            // Tickets are understood in one place, so that the audience need not be said.
            snapshot.audiences.retain(|id, _| id.as_str() != "https://orders.internal");
            let us = snapshot.issuer.clone();
            let ours = snapshot.audiences.values_mut().find(|audience| audience.id.as_str() == us).unwrap();
            ours.detail_types.clear();
            for client in snapshot.clients.values_mut() {
                let digest = sha256(format!("{}-secret", client.id).as_bytes());
                client.auth.push(ClientAuth {
                    method: AuthMethod::SecretBasic(SecretDigest::from_bytes(digest)),
                    until: None,
                });
            }
        }),
        ..api::plan()
    }
}

pub(crate) fn basic(client: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{client}:{secret}")))
}

/// May alice do this with that ticket?
fn question(action: &str, ticket: &str) -> Value {
    json!({
        "subject": { "type": "user", "id": "alice" },
        "action": { "name": action },
        "resource": { "type": "ticket", "id": ticket },
    })
}

pub(crate) async fn ask(narrows: &Installation, path: &str, credential: &str, body: &Value) -> Reply {
    let headers = [("authorization", credential), ("content-type", "application/json")];
    narrows.ask_with("POST", path, &headers, Some(body.to_string().into_bytes())).await
}

async fn by_edge(narrows: &Installation, path: &str, body: &Value) -> Reply {
    ask(narrows, path, &basic("edge", "edge-secret"), body).await
}

fn decision(reply: &Reply) -> (u16, Option<bool>, &str) {
    let reason = reply.body["context"]["reason"].as_str().unwrap_or_default();
    (reply.status, reply.body["decision"].as_bool(), reason)
}

fn decisions(reply: &Reply) -> Vec<bool> {
    let all = reply.body["evaluations"].as_array().unwrap_or_else(|| panic!("{:?}", reply.body));
    all.iter().map(|each| each["decision"].as_bool().unwrap()).collect()
}

async fn questions_on_record(narrows: &Installation) -> Vec<Value> {
    let records = narrows.records().await.into_iter();
    let is_one = |record: &Value| record["inputs"]["asked"].as_str().is_some_and(|door| door.contains("/access/v1/"));
    records.filter(is_one).filter(|record| record["kind"] == "exchange").collect()
}

#[tokio::test]
async fn nobody_is_told_anything_who_does_not_show_who_they_are() {
    let narrows = Installation::of(plan()).await;
    let for_tickets = format!("Bearer {}", narrows.exchange(&[]).await.text("access_token"));
    let outside = format!("Bearer {}", narrows.user_token());
    for path in [ONE, MANY] {
        for wrong in [
            basic("edge", "orders-secret"),
            basic("gone", "edge-secret"),
            basic("edge", ""),
            "Basic ???".to_owned(),
            "Basic".to_owned(),
            "Bearer x".to_owned(),
            for_tickets.clone(),
            outside.clone(),
        ] {
            let reply = ask(&narrows, path, &wrong, &question("read", "1")).await;
            assert_eq!((reply.status, reply.text("reason")), (401, "unauthenticated"), "{wrong}");
            let challenges: Vec<_> = reply.headers.get_all("www-authenticate").iter().collect();
            assert_eq!(
                challenges,
                ["Bearer realm=\"narrows\"", "Basic realm=\"narrows\", charset=\"UTF-8\""]
            );
        }
        let body = Some(question("read", "1").to_string().into_bytes());
        let headers = [("content-type", "application/json")];
        assert_eq!(narrows.ask_with("POST", path, &headers, body.clone()).await.status, 401);
        let credential = basic("edge", "edge-secret");
        let twice = [headers[0], ("authorization", &*credential), ("authorization", &*credential)];
        assert_eq!(narrows.ask_with("POST", path, &twice, body).await.status, 400);
    }
    assert_eq!(questions_on_record(&narrows).await.len(), 0);
    narrows.stop().await;
}

#[tokio::test]
async fn a_client_asks_about_itself_and_an_auditor_about_any() {
    let narrows = Installation::of(plan()).await;
    let own = format!("Bearer {}", own_token(&narrows, "orders", "profile").await);
    let auditor = format!("Bearer {}", operator(&narrows, "ann", &[Role::Auditor]).await);
    let others = format!(
        "Bearer {}",
        operator(&narrows, "bob", &[Role::Admin, Role::Approver, Role::Responder]).await
    );
    let about = |client: &str| {
        let mut question = question("read", "1");
        question["context"] = json!({ "client": client });
        question
    };
    for (credential, client, expected) in [
        (&basic("edge", "edge-secret"), "edge", 200),
        (&basic("edge", "edge-secret"), "orders", 403),
        (&own, "orders", 200),
        (&own, "edge", 403),
        (&own, "gone", 403),
        (&auditor, "edge", 200),
        (&auditor, "orders", 200),
        (&others, "edge", 403),
    ] {
        let reply = ask(&narrows, ONE, credential, &about(client)).await;
        assert_eq!(reply.status, expected, "{client}: {:?}", reply.body);
        assert_eq!(expected == 403, reply.text("reason") == "not_permitted");
    }
    assert_eq!(
        decision(&ask(&narrows, ONE, &own, &question("read", "1")).await),
        (200, Some(true), "")
    );
    let nobody = ask(&narrows, ONE, &auditor, &question("read", "1")).await;
    assert_eq!((nobody.status, nobody.text("reason")), (400, "malformed_request"), "whose?");
    let gone = ask(&narrows, ONE, &auditor, &about("gone")).await;
    assert_eq!(decision(&gone), (200, Some(false), "client_authentication_failed"));

    // Among several, it is that one alone.
    let batch = json!({ "evaluations": [about("edge"), about("orders"), question("read", "1")] });
    let reply = by_edge(&narrows, MANY, &batch).await;
    assert_eq!(decisions(&reply), [true, false, true]);
    assert_eq!(reply.body["evaluations"][1]["context"]["error"]["status"], 403);
    narrows.stop().await;
}

on_both_engines!(what_is_answered_is_on_record_with_all_that_policy_saw_and_nothing_is_issued);

async fn what_is_answered_is_on_record_with_all_that_policy_saw_and_nothing_is_issued(engine: Engine) {
    let narrows = Installation::of(Plan { engine, ..plan() }).await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let mut asked = question("read", "1");
    asked["subject"]["properties"] = json!({ "groups": ["support"] });
    asked["context"] = json!({ "client_ip": "192.0.2.7", "chain": ["orders"], "time": "2001-01-01T00:00:00Z" });
    let permitted = by_edge(&narrows, ONE, &asked).await;
    let denied = by_edge(&narrows, ONE, &question("read", "13")).await;
    assert_eq!(decision(&permitted), (200, Some(true), ""));
    assert_eq!(decision(&denied), (200, Some(false), "policy_denied"));
    assert_eq!(permitted.headers["cache-control"], "no-store");
    let records = questions_on_record(&narrows).await;
    let [yes, no] = records.as_slice() else { panic!("{records:?}") };
    for (record, reply, decision, rules) in [
        (yes, &permitted, "allow", json!(["tickets-are-read"])),
        (no, &denied, "deny", json!(["no-ticket-13"])),
    ] {
        assert_eq!(record["id"], reply.body["context"]["decision_id"]);
        assert_eq!(
            (record["decision"].as_str(), record["client"].as_str()),
            (Some(decision), Some("edge"))
        );
        assert_eq!(record["rules"], rules);
        assert!(
            !reply.body.to_string().contains(rules[0].as_str().unwrap()),
            "no rule is in an answer"
        );
        assert!(record.get("jti").is_none() && record.get("txn").is_none(), "{record}");
        assert_eq!(record["inputs"]["asked"], "POST /access/v1/evaluation");
        assert_eq!(
            (record["policy_version"].as_str(), record["config_version"].as_str()),
            (Some("p-1"), Some("c-test"))
        );
        let types = &testkit::snapshot().types;
        let again = Inquiry::from_json(&record["inputs"], types).unwrap();
        assert_eq!(again.client.id.as_str(), "edge");
    }
    assert_eq!(yes["inputs"]["client_ip"], "192.0.2.7", "which policy was told");
    assert_eq!(yes["client_ip"], "127.0.0.1", "who asked");
    assert_eq!(no["inputs"]["client_ip"], "127.0.0.1");
    assert_eq!(yes["inputs"]["now"], yes["time"], "time is ours");

    // An operator's question is nobody's request.
    let mut about = question("read", "1");
    about["context"] = json!({ "client": "edge" });
    let told = ask(&narrows, ONE, &format!("Bearer {auditor}"), &about).await;
    let records = questions_on_record(&narrows).await;
    let record = records.last().unwrap();
    assert_eq!(record["id"], told.body["context"]["decision_id"]);
    assert_eq!((record.get("client"), record["inputs"]["operator"].as_str()), (None, Some("ann")));
    assert!(
        record["inputs"].get("client_ip").is_none(),
        "the operator's address is not the client's"
    );

    // Whose decision it was may look at it, without the rules.
    let own = own_token(&narrows, "edge", "profile").await;
    let look = async |id: &Value| narrows.ask("GET", &format!("/v1/decisions/{}", id.as_str().unwrap()), &own, None).await;
    let seen = look(&denied.body["context"]["decision_id"]).await;
    assert!(seen.status == 200 && seen.body.get("rules").is_none(), "{:?}", seen.body);
    assert_eq!(look(&record["id"]).await.status, 404);
    narrows.stop().await;
}

#[tokio::test]
async fn standing_and_revocations_are_those_of_an_exchange() {
    let clock = Clock::standing(Timestamp::from_seconds(seconds()));
    let narrows = Installation::of(Plan { clock, ..plan() }).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let auditor = format!("Bearer {}", operator(&narrows, "bob", &[Role::Auditor]).await);
    let mut about = question("read", "1");
    about["context"] = json!({ "client": "edge" });
    let does = async |path: &str, body: &Value| narrows.ask("POST", path, &admin, Some(body)).await.status;
    let now = async || by_edge(&narrows, ONE, &question("read", "1")).await;
    let to_auditor = async || ask(&narrows, ONE, &auditor, &about).await;

    assert_eq!(does("/v1/subjects/corp/alice/disable", &json!({})).await, 200);
    assert_eq!(decision(&to_auditor().await), (200, Some(false), "subject_disabled"));
    assert_eq!(decision(&now().await), (200, Some(false), "policy_denied"));
    assert_eq!(does("/v1/subjects/corp/alice/enable", &json!({})).await, 200);
    assert_eq!(decision(&now().await), (200, Some(true), ""));
    assert_eq!(
        does("/v1/revocations", &json!({ "subject": { "iss": testkit::CORP, "sub": "alice" } })).await,
        201
    );
    assert_eq!(decision(&to_auditor().await), (200, Some(false), "subject_token_revoked"));
    assert_eq!(decision(&now().await), (200, Some(false), "policy_denied"));
    narrows.clock.set(Timestamp::from_seconds(narrows.clock.now().seconds() + 1));
    assert_eq!(decision(&now().await), (200, Some(true), ""), "a token of now would be a new one");

    let standing = broker::store::Standing::Disabled;
    let store = narrows.engine.open().await;
    let edge = ClientId::parse("edge").unwrap();
    let record = issuance::audit::Record::new("off".to_owned(), narrows.clock.now(), issuance::audit::Kind::Operator);
    store.set_standing(&broker::store::Party::Client(edge), standing, record).await.unwrap();
    narrows.broker.tend().await;
    assert_eq!(now().await.status, 401, "who is disabled asks nothing");
    assert_eq!(decision(&to_auditor().await), (200, Some(false), "client_authentication_failed"));
    narrows.stop().await;
}

#[tokio::test]
async fn with_a_stale_view_or_without_a_store_nothing_is_answered() {
    let stale = Installation::of(Plan {
        max_view_age: std::time::Duration::ZERO,
        ..plan()
    })
    .await;
    let auditor = format!("Bearer {}", operator(&stale, "ann", &[Role::Auditor]).await);
    let mut about = question("read", "1");
    about["context"] = json!({ "client": "edge" });
    for reply in [
        by_edge(&stale, ONE, &question("read", "1")).await,
        ask(&stale, ONE, &auditor, &about).await,
    ] {
        assert_eq!((reply.status, reply.text("reason")), (503, "revocation_view_stale"));
    }
    stale.stop().await;

    let narrows = Installation::of(plan()).await;
    narrows.broker.close().await;
    for reply in [
        by_edge(&narrows, ONE, &question("read", "1")).await,
        by_edge(&narrows, ONE, &question("read", "13")).await,
        by_edge(&narrows, MANY, &json!({ "evaluations": [question("read", "1"), {}] })).await,
    ] {
        assert_eq!((reply.status, reply.text("reason")), (503, "store_unavailable"), "{:?}", reply.body);
        assert!(reply.body.get("decision").is_none() && reply.body.get("evaluations").is_none());
    }
    narrows.stop().await;
}

#[tokio::test]
async fn answers_are_in_order_and_go_as_far_as_the_semantic_says() {
    let narrows = Installation::of(plan()).await;
    let items: Vec<_> = ["1", "13", "2", "13"]
        .map(|ticket| json!({ "resource": { "type": "ticket", "id": ticket } }))
        .into();
    let mut batch = question("read", "1");
    batch["evaluations"] = json!(items);
    let whole = [true, false, true, false];
    assert_eq!(decisions(&by_edge(&narrows, MANY, &batch).await), whole);
    for (semantic, expected) in [
        ("execute_all", &whole[..]),
        ("deny_on_first_deny", &[true, false]),
        ("permit_on_first_permit", &[true]),
    ] {
        batch["options"] = json!({ "evaluations_semantic": semantic, "more": 1 });
        let before = questions_on_record(&narrows).await.len();
        let reply = by_edge(&narrows, MANY, &batch).await;
        assert_eq!(decisions(&reply), expected, "{semantic}");
        assert_eq!(
            questions_on_record(&narrows).await.len() - before,
            expected.len(),
            "what is answered is on record, and what is not was not decided"
        );
    }
    batch["evaluations"] = json!([{ "subject": "x" }, items[0], items[0]]);
    batch["options"] = json!({ "evaluations_semantic": "deny_on_first_deny" });
    let reply = by_edge(&narrows, MANY, &batch).await;
    assert_eq!(decisions(&reply), [false], "what is no question is denied");
    let error = &reply.body["evaluations"][0]["context"]["error"];
    assert_eq!((error["status"].as_u64(), error["message"].is_string()), (Some(400), true));
    // At the other door the members of several mean nothing.
    batch["evaluations"] = json!(5);
    assert_eq!(decision(&by_edge(&narrows, ONE, &batch).await), (200, Some(true), ""));

    for (name, wrong) in [
        ("evaluations", json!(5)),
        ("evaluations", json!({})),
        ("evaluations", json!([5])),
        ("evaluations", json!([[]])),
        ("options", json!("execute_all")),
        ("options", json!({ "evaluations_semantic": "any" })),
        ("options", json!({ "evaluations_semantic": null })),
        ("context", json!([])),
        ("subject", json!("alice")),
    ] {
        let mut bad = question("read", "1");
        bad["evaluations"] = json!([question("read", "1")]);
        bad[name] = wrong;
        let reply = by_edge(&narrows, MANY, &bad).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{bad}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn a_batch_is_bounded_and_counts_as_many_requests_as_it_has_questions() {
    let of = |count: usize| {
        let mut batch = question("read", "1");
        batch["evaluations"] = json!(vec![json!({}); count]);
        batch
    };
    let narrows = Installation::of(plan()).await;
    let many = by_edge(&narrows, MANY, &of(65)).await;
    assert_eq!((many.status, many.text("reason")), (400, "malformed_request"));
    assert_eq!(decisions(&by_edge(&narrows, MANY, &of(64)).await).len(), 64);
    narrows.stop().await;

    let mut slow = plan();
    slow.rates.per_client = 10.try_into().unwrap();
    let narrows = Installation::of(slow).await;
    assert_eq!(by_edge(&narrows, MANY, &of(5)).await.status, 200);
    let over = by_edge(&narrows, MANY, &of(64)).await;
    assert_eq!((over.status, over.text("reason")), (429, "rate_limited"));
    assert_eq!(
        questions_on_record(&narrows).await.len(),
        6,
        "five questions, and one refusal of all the others"
    );
    narrows.stop().await;
}

#[tokio::test]
async fn the_id_of_a_request_comes_back_as_it_came_or_the_request_is_refused() {
    let narrows = Installation::of(plan()).await;
    let credential = basic("edge", "edge-secret");
    let long = "x".repeat(256);
    let send = async |id: &str, credential: &str, body: &Value| {
        let headers = [
            ("authorization", credential),
            ("content-type", "application/json"),
            ("x-request-id", id),
        ];
        narrows.ask_with("POST", ONE, &headers, Some(body.to_string().into_bytes())).await
    };
    for id in ["1", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "a b", "<script>", &long] {
        for (credential, body, status) in [
            (&*credential, question("read", "1"), 200),
            (&credential, question("read", "13"), 200),
            (&credential, json!({}), 400),
            ("Bearer x", question("read", "1"), 401),
        ] {
            let reply = send(id, credential, &body).await;
            assert_eq!((reply.status, reply.headers["x-request-id"].to_str().unwrap()), (status, id));
        }
    }
    for wrong in ["", &format!("{long}x"), "a\tb", "\u{e9}"] {
        let reply = send(wrong, &credential, &question("read", "1")).await;
        assert_eq!(reply.status, 400, "{wrong:?}");
        assert!(!reply.headers.contains_key("x-request-id"));
    }
    let twice = [
        ("authorization", &*credential),
        ("content-type", "application/json"),
        ("x-request-id", "1"),
        ("x-request-id", "2"),
    ];
    let body = question("read", "1").to_string().into_bytes();
    assert_eq!(narrows.ask_with("POST", ONE, &twice, Some(body)).await.status, 400);
    assert!(!by_edge(&narrows, ONE, &question("read", "1")).await.headers.contains_key("x-request-id"));
    narrows.stop().await;
}

#[tokio::test]
async fn a_body_that_two_readers_could_read_differently_is_refused() {
    let narrows = Installation::of(plan()).await;
    let credential = basic("edge", "edge-secret");
    let send = async |body: Vec<u8>, more: &[(&str, &str)]| {
        let mut headers = vec![("authorization", &*credential)];
        headers.extend(more);
        narrows.ask_with("POST", ONE, &headers, Some(body)).await.status
    };
    let json = [("content-type", "application/json")];
    let right = question("read", "1").to_string();
    assert_eq!(send(right.clone().into_bytes(), &json).await, 200);
    assert_eq!(
        send(right.clone().into_bytes(), &[("content-type", "application/json; charset=utf-8")]).await,
        200
    );
    let deep = format!(r#"{{"x":{}{},"#, "[".repeat(8), "]".repeat(8));
    for wrong in [
        right.replacen('{', r#"{"action":{"name":"read"},"#, 1),
        right.replacen(r#""id":"1""#, r#""\u0069d":"13","id":"1""#, 1),
        right.replacen('{', &deep, 1),
        format!("{right} x"),
        format!("\u{feff}{right}"),
        format!("[{right}]"),
        String::new(),
    ] {
        assert_eq!(send(wrong.clone().into_bytes(), &json).await, 400, "{wrong}");
    }
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[json[0], json[0]],
        &[json[0], ("content-encoding", "gzip")],
    ] {
        assert_eq!(send(right.clone().into_bytes(), headers).await, 400, "{headers:?}");
    }
    let large = right.replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(16 * 1024)), 1);
    assert_eq!(send(large.into_bytes(), &json).await, 413);
    let got = narrows.ask_with("GET", ONE, &[("authorization", &credential)], None).await;
    assert_eq!(got.status, 405);
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_known_and_malformed_is_no_question() {
    let narrows = Installation::of(plan()).await;
    for (pointer, wrong) in [
        ("/context", json!([])),
        ("/context", json!({ "client": 1 })),
        ("/context", json!({ "client": "" })),
        ("/context", json!({ "client_ip": "192.0.2" })),
        ("/context", json!({ "client_ip": 1 })),
        ("/context", json!({ "chain": "orders" })),
        ("/context", json!({ "chain": [1] })),
        ("/context", json!({ "chain": [""] })),
        ("/context", json!({ "acr": 1 })),
        ("/context", json!({ "requested_by": [] })),
        ("/context", json!({ "expires_in": 0 })),
        ("/context", json!({ "expires_in": -1 })),
        ("/context", json!({ "expires_in": 1.5 })),
        ("/context", json!({ "expires_in": "60" })),
        ("/context", json!({ "auth_age_seconds": -1 })),
        ("/context", json!({ "subject_age_seconds": u64::MAX })),
        ("/subject/properties", json!([])),
        ("/subject/properties", json!({ "issuer": 1 })),
        ("/resource/properties", json!("x")),
        ("/resource/properties", json!({ "audience": ["https://tickets.internal"] })),
        ("/action/properties", json!(null)),
        ("/subject/id", json!("")),
        ("/resource/type", json!("")),
        ("/action/name", json!("")),
    ] {
        let mut asked = question("read", "1");
        let (at, name) = pointer.rsplit_once('/').unwrap();
        asked.pointer_mut(at).unwrap()[name] = wrong;
        let reply = by_edge(&narrows, ONE, &asked).await;
        assert_eq!((reply.status, reply.text("reason")), (400, "malformed_request"), "{asked}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn the_configuration_names_what_is_served() {
    let narrows = Installation::of(plan()).await;
    let (status, media, body) = narrows.get("/.well-known/authzen-configuration").await;
    assert_eq!((status, media.as_str()), (200, "application/json"));
    let found: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(found["policy_decision_point"], narrows.url, "byte for byte");
    let mut names: Vec<_> = found.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["access_evaluation_endpoint", "access_evaluations_endpoint", "policy_decision_point"]
    );
    for name in ["access_evaluation_endpoint", "access_evaluations_endpoint"] {
        let path = found[name].as_str().unwrap().strip_prefix(&narrows.url).unwrap();
        assert_eq!(by_edge(&narrows, path, &question("read", "1")).await.status, 200, "{name}");
    }
    narrows.stop().await;
}

#[tokio::test]
async fn under_an_issuer_with_a_path_everything_stands_under_it() {
    let narrows = Installation::of(plan()).await;
    let mut snapshot = testkit::snapshot();
    snapshot.issuer = format!("{}/tenant1/", narrows.url);
    let mut in_force = narrows.in_force(crate::installation::RULES, broker::Rates::default());
    in_force.snapshot = snapshot.into();
    let settings = broker::Settings::clone(&narrows.broker.settings());
    narrows.broker.swap(settings, in_force, narrows.entries()).await.unwrap();
    let app = broker::routes(&narrows.broker, true);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let serving = tokio::spawn(broker::serve(
        broker::Listener::new(listener, None, 10),
        app,
        std::future::pending(),
    ));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let found = http.get(format!("http://{at}/.well-known/authzen-configuration/tenant1")).send().await.unwrap();
    let found: Value = serde_json::from_str(&found.text().await.unwrap()).unwrap();
    assert_eq!(found["policy_decision_point"], format!("{}/tenant1/", narrows.url));
    assert_eq!(
        found["access_evaluation_endpoint"],
        format!("{}/tenant1/access/v1/evaluation", narrows.url)
    );
    let asked = http.post(format!("http://{at}/tenant1/access/v1/evaluation")).send().await.unwrap();
    assert_eq!(asked.status(), 401, "it is there");
    serving.abort();
    narrows.stop().await;
}
