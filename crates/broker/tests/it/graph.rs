//! `/v1/reports/graph`: who handed authority to whom, as the records say it.

use broker::Role;
use delegation::oauth::ClientId;
use delegation::registry::{Receives, Snapshot};
use serde_json::{Value, json};

use crate::api::{operator, own_token, plan};
use crate::engine::{Engine, on_both_engines};
use crate::installation::{Installation, Plan, encode};

on_both_engines!(the_graph_tells_what_was_allowed_refused_and_forwarded_and_auditors_alone_see_it);

fn edges(graph: &Value) -> Vec<&Value> {
    graph["edges"].as_array().unwrap().iter().collect()
}

async fn the_graph_tells_what_was_allowed_refused_and_forwarded_and_auditors_alone_see_it(engine: Engine) {
    let usual = plan();
    let change = Box::new(|snapshot: &mut Snapshot| {
        (usual.change)(snapshot);
        let audience = "https://tickets.internal".to_owned();
        snapshot.clients.get_mut(&ClientId::parse("orders").unwrap()).unwrap().receives = vec![Receives {
            issuer_name: None,
            audience,
        }];
    });
    let narrows = Installation::of(Plan {
        engine,
        change,
        rules: usual.rules,
        ..plan()
    })
    .await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let admin = operator(&narrows, "bob", &[Role::Admin, Role::Approver, Role::Responder]).await;

    // One that is allowed, two that are refused, and the token of the first shown by a client that it is not for.
    let token = narrows.exchange(&[]).await.text("access_token").to_owned();
    for _ in 0..2 {
        let refused = narrows
            .exchange(&[(
                "authorization_details",
                r#"[{"type":"ticket","actions":["read"],"identifier":"13"}]"#,
            )])
            .await;
        assert_eq!(refused.text("reason"), "policy_denied");
    }
    let stray = narrows.exchange(&[("subject_token", &token)]).await;
    assert_eq!(stray.text("reason"), "subject_token_not_for_client", "{:?}", stray.body);

    let ask = async |token: &str, query: &str| narrows.ask("GET", &format!("/v1/reports/graph{query}"), token, None).await;
    let drawn = ask(&auditor, "").await;
    assert_eq!(drawn.status, 200, "{:?}", drawn.body);
    let edge = edges(&drawn.body)
        .into_iter()
        .find(|edge| edge["audience"] == "https://tickets.internal")
        .unwrap()
        .clone();
    assert_eq!(
        (&edge["client"], &edge["from"], &edge["boundary"], &edge["allowed"]),
        (&json!("edge"), &json!(null), &json!(null), &json!(1))
    );
    assert_eq!(
        (&edge["refused"], &edge["subjects"], &edge["depth"]),
        (&json!({ "policy_denied": 2 }), &json!(1), &json!(1))
    );
    let [hop] = drawn.body["forwarded"].as_array().unwrap().as_slice() else {
        panic!("{:?}", drawn.body)
    };
    assert_eq!(
        (&hop["how"], &hop["from"], &hop["client"], &hop["audience"], &hop["count"]),
        (
            &json!("refused"),
            &json!(["orders"]),
            &json!("edge"),
            &json!("https://tickets.internal"),
            &json!(1)
        )
    );
    let nodes = &drawn.body["nodes"];
    assert_eq!(
        (&nodes["clients"], &nodes["issuers"][0]["name"]),
        (&json!(["edge"]), &json!("corp"))
    );
    assert!(!drawn.body.to_string().contains(&token), "no token is in it");

    // Whoever only wants to know is handed nothing, and kept from nothing.
    for (identifier, allowed) in [("42", true), ("13", false)] {
        let question = json!({
            "client": "edge", "subject": { "type": "user", "id": "alice", "attributes": { "groups": ["support"] } },
            "audience": "https://tickets.internal",
            "authorization_details": [{ "type": "ticket", "actions": ["read"], "identifier": identifier }],
        });
        let told = narrows.ask("POST", "/v1/explain", &auditor, Some(&question)).await;
        assert_eq!((told.status, &told.body["allowed"]), (200, &json!(allowed)), "{:?}", told.body);
    }
    assert_eq!(ask(&auditor, "").await.body["edges"], drawn.body["edges"]);

    // A time in which nothing was, one that ends before it begins, and what is no time.
    for nothing in ["?since=0&until=1", "?since=2&until=1", "?since=9223372036854775807&until=0"] {
        let drawn = ask(&auditor, nothing).await;
        let told = (drawn.status, &drawn.body["records"], edges(&drawn.body).len());
        assert_eq!(told, (200, &json!(0), 0), "{nothing}");
    }
    for wrong in ["?since=yesterday", "?since=-1", "?from=1"] {
        assert_eq!(ask(&auditor, wrong).await.status, 400, "{wrong}");
    }

    // It names people's employers and every client, so that it is for auditors.
    let own = own_token(&narrows, "edge", "profile").await;
    for (whose, status) in [(admin.as_str(), 403), (&own, 403), ("x", 401)] {
        assert_eq!(ask(whose, "").await.status, status);
    }
    narrows.stop().await;
}

/// What is told of hops that forward, where `orders` receives tokens for tickets and these, and may exchange outside tokens.
async fn hops_where_orders_receives_too(more: Option<Receives>) -> Value {
    let usual = plan();
    let change = Box::new(move |snapshot: &mut Snapshot| {
        (usual.change)(snapshot);
        let orders = ClientId::parse("orders").unwrap();
        let tickets = Receives {
            issuer_name: None,
            audience: "https://tickets.internal".to_owned(),
        };
        snapshot.clients.get_mut(&orders).unwrap().receives = [tickets].into_iter().chain(more).collect();
        snapshot.issuers.get_mut(testkit::CORP).unwrap().exchangers.insert(orders);
    });
    let narrows = Installation::of(Plan {
        change,
        rules: usual.rules,
        ..plan()
    })
    .await;
    let auditor = operator(&narrows, "ann", &[Role::Auditor]).await;
    let token = narrows.user_token();
    let mut form = narrows.form();
    form.insert("subject_token".to_owned(), token.clone());
    assert_eq!(narrows.exchange(&[("subject_token", &token)]).await.status, 200);
    form.retain(|name, _| !name.starts_with("client_"));
    form.insert("client_id".to_owned(), "orders".to_owned());
    form.insert("client_secret".to_owned(), "orders-secret".to_owned());
    let pairs: Vec<_> = form.into_iter().collect();
    let again = narrows.post(&encode(&pairs), &[]).await;
    assert_eq!(again.status, 200, "{:?}", again.body);
    let drawn = narrows.ask("GET", "/v1/reports/graph", &auditor, None).await;
    narrows.stop().await;
    drawn.body["forwarded"].clone()
}

#[tokio::test]
async fn an_outside_token_is_seen_where_it_should_have_been_exchanged_unless_callers_may_come_there_straight() {
    let seen = hops_where_orders_receives_too(None).await;
    assert_eq!(
        (&seen[0]["how"], &seen[0]["from"], &seen[0]["client"]),
        (&json!("seen"), &json!(["edge"]), &json!("orders"))
    );
    // What audience the token had is not on record: what is bound to its issuer may be it.
    for (issuer_name, audience) in [(None, testkit::EDGE_AUDIENCE), (Some("corp".to_owned()), "api://orders")] {
        let straight = Receives {
            issuer_name,
            audience: audience.to_owned(),
        };
        assert_eq!(hops_where_orders_receives_too(Some(straight)).await, json!([]));
    }
}
