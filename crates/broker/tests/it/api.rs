//! `/v1`: who may ask what, and how it refuses.

use broker::{Operator, OperatorName, Role};
use delegation::oauth::{AudienceId, ClientId, Scope};
use delegation::registry::Snapshot;
use delegation::time::Timestamp;
use delegation::token::{OpaqueForm, OpaqueKind};
use issuance::audit::{Kind, Record};
use serde_json::{Value, json};

use crate::installation::{Installation, Plan, RULES, Reply, encode, seconds};

/// What `Plan` says unless a test wants otherwise: orders runs a data plane, and clients may have tokens for us.
pub(crate) fn plan() -> Plan {
    Plan {
        rules: format!("{RULES}\n@id(\"planes\") permit (principal, action == Action::\"scope:narrows.data_plane\", resource);"),
        change: Box::new(with_tokens_for_us),
        ..Plan::default()
    }
}

fn with_tokens_for_us(snapshot: &mut Snapshot) {
    let scope = Scope::parse("narrows.data_plane").unwrap();
    let mut audience = snapshot.audiences.values().next().unwrap().clone();
    audience.id = AudienceId::parse(&snapshot.issuer).unwrap();
    audience.scopes.insert(scope.clone());
    snapshot.audiences.insert(audience.id.clone(), audience);
    snapshot.scopes.insert(scope, Vec::new());
    snapshot.clients.get_mut(&ClientId::parse("orders").unwrap()).unwrap().data_plane = true;
}

/// Lets an operator in and gives the token.
pub(crate) async fn operator(narrows: &Installation, name: &str, roles: &[Role]) -> String {
    let token = OpaqueForm::make(OpaqueKind::Operator, &delegation::token::sha256(name.as_bytes()));
    let operator = Operator {
        name: OperatorName::parse(name).unwrap(),
        roles: roles.iter().copied().collect(),
        subject: None,
        added_at: Timestamp::from_seconds(seconds()),
    };
    let record = Record::new(format!("added-{name}"), operator.added_at, Kind::Operator);
    let store = narrows.engine.open().await;
    assert!(store.add_operator(&operator, &token.digest(), &record).await.unwrap());
    token.expose().to_owned()
}

/// The client's own token for us, with this scope.
pub(crate) async fn own_token(narrows: &Installation, client: &str, scope: &str) -> String {
    own_token_for(narrows, client, &narrows.url, scope).await
}

async fn own_token_for(narrows: &Installation, client: &str, audience: &str, scope: &str) -> String {
    let pairs = [
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("client_secret", &format!("{client}-secret")),
        ("audience", audience),
        ("scope", scope),
    ];
    let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let reply = narrows.post(&encode(&pairs), &[]).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.text("access_token").to_owned()
}

fn said(reply: &Reply) -> (u16, &str) {
    (reply.status, reply.text("reason"))
}

#[tokio::test]
async fn without_a_good_token_nobody_is_asking_and_every_cause_looks_the_same() {
    let narrows = Installation::of(plan()).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let cut = admin.get(1..).unwrap();
    let made_up = OpaqueForm::make(OpaqueKind::Operator, &[9; 32]).expose().to_owned();
    let secret = OpaqueForm::make(OpaqueKind::ClientSecret, &delegation::token::sha256(b"ann")).expose().to_owned();
    let for_tickets = narrows.exchange(&[]).await.text("access_token").to_owned();
    let mut seen = Vec::new();
    for wrong in [cut, &made_up, &secret, &for_tickets, &narrows.user_token(), "x", ""] {
        let reply = narrows.ask("POST", "/v1/revocations", wrong, Some(&json!({ "jti": "x" }))).await;
        assert_eq!(said(&reply), (401, "unauthenticated"), "{wrong}");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        assert_eq!(reply.headers["www-authenticate"], "Bearer realm=\"narrows\"");
        let mut body = reply.body.clone();
        body["decision_id"] = Value::Null;
        seen.push(body);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let basic = narrows
        .ask_with("GET", "/v1/revocations", &[("authorization", &format!("Basic {admin}"))], None)
        .await;
    assert_eq!(said(&basic), (401, "unauthenticated"));
    let bearer = format!("Bearer {admin}");
    let twice = narrows
        .ask_with(
            "GET",
            "/v1/revocations",
            &[("authorization", &bearer), ("authorization", &bearer)],
            None,
        )
        .await;
    assert_eq!(said(&twice), (400, "malformed_request"));
    assert!(narrows.records().await.iter().all(|record| record["kind"] != "revocation"));
    narrows.stop().await;
}

#[tokio::test]
async fn no_role_includes_another_and_whoever_may_not_is_on_record_by_name() {
    let narrows = Installation::of(plan()).await;
    let ends = async |token: &str| narrows.ask("POST", "/v1/revocations", token, Some(&json!({ "jti": "x" }))).await;
    let reads = async |token: &str| narrows.ask("GET", "/v1/revocations", token, None).await;
    for (name, role, may_end, may_read) in [
        ("auditor", Role::Auditor, 403, 200),
        ("approver", Role::Approver, 403, 403),
        ("responder", Role::Responder, 403, 403),
        ("admin", Role::Admin, 201, 403),
    ] {
        let token = operator(&narrows, name, &[role]).await;
        assert_eq!(ends(&token).await.status, may_end, "{name}");
        let read = reads(&token).await;
        assert_eq!(read.status, may_read, "{name}");
        assert_eq!(read.status == 403, read.text("reason") == "not_permitted");
    }
    // A client is no operator, whatever its token says.
    let client = own_token(&narrows, "orders", "narrows.data_plane").await;
    assert_eq!(said(&ends(&client).await), (403, "not_permitted"));
    assert_eq!(said(&reads(&client).await), (403, "not_permitted"));
    let records = narrows.records().await;
    let refused: Vec<_> = records.iter().filter(|record| record["reason"] == "not_permitted").collect();
    assert_eq!(refused.len(), 8);
    assert!(refused.iter().all(|record| record["decision"] == "deny"));
    assert_eq!(
        refused[0]["inputs"],
        json!({ "operator": "auditor", "asked": "POST /v1/revocations" })
    );
    assert_eq!(refused[7]["client"], "orders");
    assert!(
        refused.iter().all(|record| record["kind"] != "revocation"),
        "what may not end anything takes no place of what may"
    );
    let (_, _, metrics) = narrows.get("/metrics").await;
    assert!(metrics.contains("narrows_api_responses_total{status=\"403\"} 8"), "{metrics}");
    narrows.stop().await;
}

/// CLM-029: what the broker issues for others is nothing to its own API.
#[tokio::test]
async fn a_clients_token_counts_only_if_it_is_its_own_for_us_and_alive() {
    let narrows = Installation::of(plan()).await;
    let reads = async |token: &str| narrows.ask("GET", "/v1/revocations", token, None).await;
    // Alice's token for us, exchanged by the edge: the edge is not alice, and alice is no client.
    let for_alice = narrows
        .exchange(&[("audience", &narrows.url), ("authorization_details", ""), ("scope", "profile")])
        .await;
    assert_eq!(for_alice.status, 200, "{:?}", for_alice.body);
    assert_eq!(said(&reads(for_alice.text("access_token")).await), (401, "unauthenticated"));
    let own = own_token(&narrows, "orders", "profile").await;
    assert_eq!(said(&reads(&own).await), (403, "not_permitted"), "known, and no auditor");
    let elsewhere = own_token_for(&narrows, "orders", "https://tickets.internal", "profile").await;
    assert_eq!(
        said(&reads(&elsewhere).await),
        (401, "unauthenticated"),
        "its own, and for somebody else"
    );
    // Revoked, it shows nobody.
    assert_eq!(narrows.about("/oauth2/revoke", "orders", &own).await.status, 200);
    assert_eq!(said(&reads(&own).await), (401, "unauthenticated"));
    // So does one of a client that is disabled.
    let own = own_token(&narrows, "orders", "profile").await;
    let orders = broker::store::Party::Client(ClientId::parse("orders").unwrap());
    let record = Record::new("off".to_owned(), Timestamp::from_seconds(seconds()), Kind::Operator);
    let store = narrows.engine.open().await;
    store.set_standing(&orders, broker::store::Standing::Disabled, record).await.unwrap();
    narrows.broker.tend().await;
    assert_eq!(said(&reads(&own).await), (401, "unauthenticated"));
    narrows.stop().await;
}

#[tokio::test]
async fn a_client_whose_entry_ended_or_is_gone_shows_nobody() {
    let narrows = Installation::of(plan()).await;
    let own = own_token(&narrows, "orders", "profile").await;
    assert_eq!(narrows.ask("GET", "/v1/revocations", &own, None).await.status, 403);
    let orders = ClientId::parse("orders").unwrap();
    let ended = testkit::FakeIssuer::es256("https://another.example");
    narrows
        .trust(&ended, "another", |snapshot| {
            snapshot.clients.get_mut(&orders).unwrap().ends = Some(Timestamp::from_seconds(seconds() - 1));
        })
        .await;
    assert_eq!(narrows.ask("GET", "/v1/revocations", &own, None).await.status, 401);
    narrows.trust(&ended, "another", |snapshot| drop(snapshot.clients.remove(&orders))).await;
    assert_eq!(narrows.ask("GET", "/v1/revocations", &own, None).await.status, 401);
    narrows.stop().await;
}

#[tokio::test]
async fn with_a_stale_view_clients_wait_and_an_operator_who_ends_something_does_not() {
    let mut plan = plan();
    plan.max_view_age = std::time::Duration::from_secs(2);
    let narrows = Installation::of(plan).await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    let own = own_token(&narrows, "orders", "narrows.data_plane").await;
    // Nobody follows the store here, so the view only gets older.
    let grown_old = async {
        while narrows.ask("GET", "/v1/decisions/x", &own, None).await.status != 503 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), grown_old).await.unwrap();
    let refused = narrows.ask("GET", "/v1/revocations/stream", &own, None).await;
    assert_eq!(said(&refused), (503, "revocation_view_stale"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(
        narrows.ask("POST", "/v1/revocations", &admin, Some(&json!({ "jti": "x" }))).await.status,
        201
    );
    narrows.stop().await;
}

#[tokio::test]
async fn a_client_has_its_rate_here_too_and_an_operator_has_none() {
    let mut plan = plan();
    plan.rates.per_client = 3.try_into().unwrap();
    let narrows = Installation::of(plan).await;
    let (admin, own) = (
        operator(&narrows, "ann", &[Role::Admin]).await,
        own_token(&narrows, "orders", "profile").await,
    );
    let ask = async |token: &str| narrows.ask("POST", "/v1/revocations", token, Some(&json!({ "jti": "x" }))).await.status;
    let (mut clients, mut operators) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        clients.push(ask(&own).await);
        operators.push(ask(&admin).await);
    }
    assert!(clients.contains(&429) && clients.contains(&403), "{clients:?}");
    assert_eq!(operators, [201; 20]);
    narrows.stop().await;
}

#[tokio::test]
async fn an_operator_who_is_removed_is_let_in_no_more() {
    let narrows = Installation::of(plan()).await;
    let token = operator(&narrows, "ann", &[Role::Auditor]).await;
    assert_eq!(
        narrows.ask("GET", "/v1/revocations", &token, None).await.status,
        200,
        "before any tending"
    );
    narrows.broker.tend().await;
    let store = narrows.engine.open().await;
    let record = Record::new("removed".to_owned(), Timestamp::from_seconds(seconds()), Kind::Operator);
    store.remove_operator(&OperatorName::parse("ann").unwrap(), &record).await.unwrap();
    narrows.broker.tend().await;
    assert_eq!(
        said(&narrows.ask("GET", "/v1/revocations", &token, None).await),
        (401, "unauthenticated")
    );
    narrows.stop().await;
}

#[tokio::test]
async fn a_body_is_bounded_and_read_strictly() {
    let narrows = Installation::of(plan()).await;
    let bearer = format!("Bearer {}", operator(&narrows, "ann", &[Role::Admin]).await);
    let post = |body: Vec<u8>, headers: Vec<(&'static str, String)>| {
        let (narrows, bearer) = (&narrows, bearer.clone());
        async move {
            let mut all = vec![("authorization", bearer.as_str())];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            narrows.ask_with("POST", "/v1/revocations", &all, Some(body)).await
        }
    };
    let json = || vec![("content-type", "application/json".to_owned())];
    let good = br#"{"jti":"x"}"#.to_vec();
    for headers in [
        vec![],
        vec![("content-type", "text/plain".to_owned())],
        vec![
            ("content-type", "application/json".to_owned()),
            ("content-encoding", "gzip".to_owned()),
        ],
        vec![
            ("content-type", "application/json".to_owned()),
            ("content-type", "application/json".to_owned()),
        ],
    ] {
        assert_eq!(
            said(&post(good.clone(), headers.clone()).await),
            (400, "malformed_request"),
            "{headers:?}"
        );
    }
    for body in [&b"[]"[..], b"{", b"{\"jti\":\"x\",\"jti\":\"y\"}", b"{\"jti\":\"x\"} x", b"\xff"] {
        assert_eq!(said(&post(body.to_vec(), json()).await), (400, "malformed_request"), "{body:?}");
    }
    let deep = format!("{{\"jti\":\"x\",\"reason\":{}1{}}}", "[".repeat(8), "]".repeat(8));
    assert_eq!(said(&post(deep.into_bytes(), json()).await), (400, "malformed_request"));
    let large = format!("{{\"jti\":\"{}\"}}", "x".repeat(16 * 1024));
    assert_eq!(said(&post(large.into_bytes(), json()).await), (413, "too_large"));
    assert_eq!(
        post(good, vec![("content-type", "Application/JSON; charset=utf-8".to_owned())]).await.status,
        201
    );
    narrows.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let narrows = Installation::of(plan()).await;
    let nothing = narrows.ask_with("GET", "/v1/nothing", &[], None).await;
    assert_eq!(said(&nothing), (404, "not_found"));
    let deleted = narrows.ask_with("DELETE", "/v1/revocations", &[], None).await;
    assert_eq!(said(&deleted), (405, "method_not_allowed"));
    let allow = deleted.headers["allow"].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    for reply in [nothing, deleted] {
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        assert_eq!(reply.body["type"], "about:blank");
        assert_eq!(reply.body["status"], reply.status);
    }
    narrows.stop().await;
}

#[tokio::test]
async fn guesses_at_tokens_are_cut_off_and_an_operator_at_the_same_address_is_not() {
    let mut plan = plan();
    plan.rates.per_address = 3.try_into().unwrap();
    let narrows = Installation::of(plan).await;
    let admin = operator(&narrows, "ann", &[Role::Auditor]).await;
    narrows.broker.tend().await;
    let guess = OpaqueForm::make(OpaqueKind::Operator, &[9; 32]).expose().to_owned();
    let mut limited = 0;
    for _ in 0..12 {
        limited += i32::from(narrows.ask("GET", "/v1/revocations", &guess, None).await.status == 429);
    }
    assert!(limited >= 6, "{limited}");
    assert_eq!(narrows.ask("GET", "/v1/revocations", &admin, None).await.status, 200);
    narrows.stop().await;
}

#[tokio::test]
async fn the_api_describes_itself_to_anybody() {
    let narrows = Installation::of(plan()).await;
    let document = narrows.ask_with("GET", "/v1/openapi.json", &[], None).await;
    assert_eq!(document.status, 200);
    assert_eq!(document.headers["content-type"], "application/json");
    assert_eq!(document.body["openapi"], "3.1.0");
    assert_eq!(document.body["servers"], json!([{ "url": narrows.url }]));
    for (path, operations) in document.body["paths"].as_object().unwrap() {
        let path = path.replace("{issuer}", "corp").replace("{sub}", "alice").replace("{id}", "x");
        for method in operations.as_object().unwrap().keys() {
            let reply = narrows.ask_with(&method.to_uppercase(), &path, &[], None).await;
            let expected = match path.as_str() {
                "/v1/openapi.json" => 200,
                // Anybody may report, and an empty body is no report; nor is it an event that somebody signed.
                "/v1/leaks" | "/v1/events" => 400,
                _ => 401,
            };
            assert_eq!(reply.status, expected, "{method} {path}: nothing else is told to strangers");
        }
    }
    narrows.stop().await;
}
