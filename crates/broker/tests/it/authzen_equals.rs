//! AuthZEN's answer is the token endpoint's, where a subject token holds all that it could: permitted by one as by the other, and
//! refused for the same reason.

use std::collections::BTreeMap;

use broker::{Rates, Role};
use delegation::identity::{AttributeKind, AttributeRule};
use delegation::oauth::ClientId;
use delegation::registry::{Ceiling, Snapshot};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use testkit::CORP;

use crate::api::operator;
use crate::authzen::{ONE, ask, plan};
use crate::installation::{Installation, Plan};

/// Rules that read whatever can be stated.
const RULES: &str = r#"
@id("support") permit (principal, action in [Action::"ticket:read", Action::"ticket:list"], resource is Detail::Ticket)
when { context.subject in Group::"corp|support" && context.expires_in <= 90 };
@id("sales") permit (principal == Workload::"edge", action, resource is Detail::Ticket)
when { context.subject has department && context.subject.department == "sales" };
@id("blue") permit (principal, action == Action::"ticket:update", resource is Detail::Ticket)
when { resource has tenant && resource.tenant == "blue" && resource has limit && resource.limit <= 10 };
@id("not-13") forbid (principal, action, resource == Detail::Ticket::"13");
@id("no-risk") forbid (principal, action, resource) when { context.risk == "high" };
@id("elsewhere") forbid (principal, action, resource)
unless { context has client_ip && context.client_ip.isInRange(ip("127.0.0.0/8")) };
@id("refunds") permit (principal, action == Action::"refund:create", resource is Detail::Refund)
when { resource has amount && resource.amount <= 100 && context.chain.isEmpty() };
"#;

/// One question in words that both doors can be asked in.
#[derive(Clone, Debug)]
struct Asked {
    client: &'static str,
    sub: &'static str,
    properties: Value,
    kind: &'static str,
    action: &'static str,
    identifier: &'static str,
    constraints: BTreeMap<&'static str, Value>,
    audience: &'static str,
    expires_in: Option<u64>,
}

fn questions() -> impl Strategy<Value = Asked> {
    use prop::sample::select;
    let groups = select(vec![
        json!(null),
        json!([]),
        json!(["support"]),
        json!(["sales", "support"]),
        json!("support"),
    ]);
    let department = select(vec![
        json!("sales"),
        json!("it"),
        json!("it"),
        json!("sales"),
        json!("it"),
        json!(7),
        json!(null),
    ]);
    let properties = (groups, department, any::<bool>()).prop_map(|(groups, department, other)| {
        let mut properties = json!({});
        for (name, value) in [("groups", groups), ("department", department)] {
            if !value.is_null() {
                properties[name] = value;
            }
        }
        if other {
            properties["favourite"] = json!("colour");
        }
        properties
    });
    let values = vec![
        json!("blue"),
        json!("red"),
        json!(5),
        json!(50),
        json!(true),
        json!(["a"]),
        json!(""),
    ];
    // Only what the action declares can be said at both doors: what it does not is refused at one and means nothing at the other.
    let what = select(vec![
        ("ticket", "read", vec!["tenant"]),
        ("ticket", "read", vec!["tenant"]),
        ("ticket", "list", vec![]),
        ("ticket", "update", vec!["tenant", "limit", "fields", "path", "region"]),
        ("ticket", "search", vec!["limit"]),
        ("ticket", "burn", vec![]),
        ("refund", "create", vec!["amount"]),
        ("invoice", "read", vec![]),
    ]);
    let what = what.prop_flat_map(move |(kind, action, names)| {
        let value = prop::option::weighted(0.3, select(values.clone()));
        let constraints = names.into_iter().map(|name| (Just(name), value.clone())).collect::<Vec<_>>();
        (Just(kind), Just(action), constraints)
    });
    let who = (
        select(vec!["edge", "edge", "edge", "stranger", "edge", "orders"]),
        select(vec!["alice", "bob", "alice", "bob", "carol", "dan"]),
    );
    let rest = (
        select(vec!["1", "13", "1", "*", "1"]),
        select(vec![
            "https://tickets.internal",
            "https://orders.internal",
            "https://nowhere.internal",
        ]),
        select(vec![None, Some(30), Some(60), Some(10_000)]),
    );
    (who, properties, what, rest).prop_map(
        |((client, sub), properties, (kind, action, constraints), (identifier, audience, expires_in))| {
            let constraints = constraints.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            Asked {
                client,
                sub,
                properties,
                kind,
                action,
                identifier,
                constraints,
                audience,
                expires_in,
            }
        },
    )
}

/// A subject token with every authority, corp's attributes, and three clients that may exchange it.
fn everything(snapshot: &mut Snapshot) {
    let client = |id: &str| ClientId::parse(id).unwrap();
    let corp = snapshot.issuers.get_mut(CORP).unwrap();
    corp.ceiling = Ceiling::Policy;
    corp.exchangers.extend(["stranger", "orders"].map(client));
    let department = AttributeRule {
        kind: AttributeKind::Text,
        optional: false,
    };
    corp.attributes.insert("department".to_owned(), department);
    snapshot.clients.get_mut(&client("orders")).unwrap().grants.clear();
    let tickets = snapshot.audiences.values_mut().find(|each| each.id.as_str() == "https://tickets.internal").unwrap();
    tickets.clients = Some([client("edge"), client("orders")].into());
}

/// An auditor is told the reason itself.
async fn by_authzen(narrows: &Installation, auditor: &str, asked: &Asked) -> (bool, String) {
    let mut resource = json!(asked.constraints);
    resource["audience"] = json!(asked.audience);
    let mut question = json!({
        "subject": { "type": "user", "id": asked.sub, "properties": asked.properties },
        "action": { "name": asked.action },
        "resource": { "type": asked.kind, "id": asked.identifier, "properties": resource },
    });
    question["context"] = json!({ "client": asked.client, "client_ip": "127.0.0.1" });
    if let Some(seconds) = asked.expires_in {
        question["context"]["expires_in"] = json!(seconds);
    }
    let reply = ask(narrows, ONE, auditor, &question).await;
    assert_eq!(reply.status, 200, "{question} {:?}", reply.body);
    let reason = reply.body["context"]["reason"].as_str().unwrap_or_default();
    (reply.body["decision"].as_bool().unwrap(), reason.to_owned())
}

async fn by_exchange(narrows: &Installation, asked: &Asked) -> (bool, String) {
    let mut claims = narrows.user_claims();
    claims["sub"] = json!(asked.sub);
    claims["iat"] = json!(narrows.clock.now().seconds());
    claims.as_object_mut().unwrap().remove("groups");
    for (name, value) in asked.properties.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let mut detail = json!(asked.constraints);
    detail["type"] = json!(asked.kind);
    detail["actions"] = json!([asked.action]);
    if asked.identifier != "*" {
        detail["identifier"] = json!(asked.identifier);
    }
    let token = narrows.issuer.sign("at+jwt", &claims);
    let details = json!([detail]).to_string();
    let seconds = asked.expires_in.map(|seconds| seconds.to_string()).unwrap_or_default();
    let secret = format!("{}-secret", asked.client);
    let reply = narrows
        .exchange(&[
            ("client_id", asked.client),
            ("client_secret", &secret),
            ("subject_token", &token),
            ("audience", asked.audience),
            ("authorization_details", &details),
            ("expires_in", &seconds),
        ])
        .await;
    (reply.status == 200, reply.text("reason").to_owned())
}

#[tokio::test]
async fn what_one_door_permits_the_other_permits_and_what_it_refuses_is_refused_for_the_same_reason() {
    let change = plan();
    let narrows = Installation::of(Plan {
        rules: RULES.to_owned(),
        change: Box::new(move |snapshot| {
            let orders = snapshot
                .audiences
                .values()
                .find(|each| each.id.as_str() == "https://orders.internal")
                .unwrap()
                .clone();
            (change.change)(snapshot);
            snapshot.audiences.insert(orders.id.clone(), orders);
            everything(snapshot);
        }),
        rates: Rates {
            per_client: 100_000.try_into().unwrap(),
            per_address: 100_000.try_into().unwrap(),
        },
        ..plan()
    })
    .await;
    let admin = operator(&narrows, "ann", &[Role::Admin]).await;
    for (path, body) in [
        ("/v1/subjects/corp/carol/disable", json!({})),
        ("/v1/subjects/corp/dan/risk", json!({ "risk": "high" })),
    ] {
        assert_eq!(narrows.ask("POST", path, &admin, Some(&body)).await.status, 200);
    }
    let auditor = format!("Bearer {}", operator(&narrows, "bob", &[Role::Auditor]).await);
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..400 {
        let asked = questions().new_tree(&mut runner).unwrap().current();
        let (here, there) = (by_authzen(&narrows, &auditor, &asked).await, by_exchange(&narrows, &asked).await);
        assert_eq!(here, there, "{asked:?}");
        *seen.entry(if here.0 { "permitted".to_owned() } else { here.1 }).or_default() += 1;
    }
    for outcome in [
        "permitted",
        "policy_denied",
        "subject_token_invalid",
        "subject_disabled",
        "unauthorized_client",
        "audience_closed",
        "unknown_audience",
        "unknown_type",
        "malformed_details",
    ] {
        assert!(seen.get(outcome).is_some_and(|times| *times > 2), "{outcome}: {seen:?}");
    }
    narrows.stop().await;
}
